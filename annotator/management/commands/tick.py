from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from annotator import tick


class Command(BaseCommand):
    help = "Ask the database every two seconds what is due and nudge the workers. One of these a site is enough."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            tick.run()
        except KeyboardInterrupt:
            self.stdout.write("tick stopped")
