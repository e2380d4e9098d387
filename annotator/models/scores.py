from __future__ import annotations

from django.db import models

from annotator.models.judgments import Judgment


class CachedScore(models.Model):
    """log p of a response's tokens under one model: nothing is ever scored twice, by whichever labeler.

    Keyed by digests of tokens (`labelers.logprobs.cache.Key`), so it is the whole site's and holds no text.
    """

    model = models.CharField(max_length=300)
    context = models.CharField(max_length=32)
    response = models.CharField(max_length=32)
    options = models.CharField(max_length=100)
    # In nats; per token as fp32, little-endian.
    total = models.FloatField()
    tokens = models.PositiveIntegerField()
    per_token = models.BinaryField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["model", "context", "response", "options"], name="cached_score_once")
        ]

    def __str__(self) -> str:
        return f"{self.model}: {self.total}"


class HeatMap(models.Model):
    """Which tokens of A and B a labeler's verdict came from: [[start, end, value], …] in code points of each text."""

    judgment = models.OneToOneField(Judgment, models.CASCADE, related_name="heat_map")
    side_a = models.JSONField()
    side_b = models.JSONField()

    def __str__(self) -> str:
        return f"heat map of {self.judgment_id}"
