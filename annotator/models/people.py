from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.translation import gettext_lazy as _


class User(AbstractUser):
    """Somebody who can log in. What they may do is said project by project, by `Membership`."""

    display_name = models.CharField(_("display name"), max_length=150, blank=True)
    # Of the interface, a key of settings.LANGUAGES; "" is as the browser asks.
    language = models.CharField(_("language"), max_length=10, blank=True)

    def __str__(self) -> str:
        return self.display_name or self.username
