from __future__ import annotations

from typing import Any, Self

from django.db import models, transaction
from django.utils.timezone import now

from annotator.models.labelers import Rater


class ProfileQuerySet(models.QuerySet["Profile"]):
    def agreed(self) -> Self:
        """Those that may be published with their person's answers."""
        return self.filter(consented_at__isnull=False, withdrawn_at=None)


class Profile(models.Model):
    """What a person chose to tell about themselves, in coarse bins, and whether it may be published with their answers.

    Nothing of it leaves without `consented_at`, nor after `withdrawn_at`.
    """

    rater = models.OneToOneField(Rater, models.CASCADE, related_name="profile")
    # {"age": "25-34", "education": "bachelor", "region": "...", "languages": [...], ...}; every part may be absent.
    about = models.JSONField(default=dict)
    # What the person agreed to, word for word, so that it can be shown later what was asked.
    consent = models.TextField(blank=True)
    consented_at = models.DateTimeField(null=True)
    withdrawn_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ProfileQuerySet.as_manager()

    def __str__(self) -> str:
        return f"profile of rater {self.rater_id}"

    @property
    def is_agreed(self) -> bool:
        return self.consented_at is not None and self.withdrawn_at is None

    def agree(self, about: dict[str, Any], consent: str) -> None:
        """Keep the answers and the words under which they may be published."""
        self.about, self.consent = about, consent
        self.consented_at, self.withdrawn_at = now(), None
        self.save()

    @transaction.atomic
    def withdraw(self) -> None:
        """Take the consent back; the answers go, the words that were agreed to stay as the record of it."""
        # After an export that is being published at this moment: it is then an earlier one.
        Profile.objects.select_for_update().filter(pk=self.pk).first()
        self.about = {}
        self.withdrawn_at = now()
        self.save()
