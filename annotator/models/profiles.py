from __future__ import annotations

from django.db import models

from annotator.models.labelers import Rater


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

    def __str__(self) -> str:
        return f"profile of rater {self.rater_id}"
