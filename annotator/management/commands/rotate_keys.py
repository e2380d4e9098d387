from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotator.pipeline import keys
from annotator.pipeline.work import StepRefused


class Command(BaseCommand):
    help = "Seals all stored keys of endpoints anew with the first of ENCRYPTION_KEYS (or SECRET_KEY without them)."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            number = keys.rotate()
        except StepRefused as refusal:
            raise CommandError(f"Nothing was changed. {refusal}") from None
        self.stdout.write(f"{number} keys sealed anew. Former ENCRYPTION_KEYS are not needed any more.")
