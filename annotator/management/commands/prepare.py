from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import CommandParser, call_command
from django.core.management.base import BaseCommand

from annotator import rendering
from annotator.celery import app
from annotator.embedded import WORKERS
from annotator.models import Project


class Command(BaseCommand):
    help = "Bring database, cache table, static files and broker folders up to date. Can be repeated."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--demo", action="store_true", help="load the demo projects and users too")

    def handle(self, *args: Any, demo: bool, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=1)
        call_command("createcachetable")
        call_command("collectstatic", interactive=False, verbosity=0)
        declare_queues()
        render_anew()
        if demo:
            call_command("load_demo")


def render_anew() -> None:
    """Ask the worker to render and to featurise what an earlier release did otherwise, before somebody waits for it.

    Texts are rendered in the order of their ids, so the newest comparison tells for the whole project.
    """
    from annotator.pipeline import featurise

    for project in Project.objects.order_by("pk"):
        newest = project.comparisons.select_related("response_b").order_by("-pk").first()
        if newest and (newest.response_b.html_version != rendering.VERSION or featurise.is_outdated(project)):
            featurise.request(project)


def declare_queues() -> None:
    """Make the embedded broker's folders and its table of queues before several processes do so at once."""
    if urlsplit(settings.CELERY_BROKER_URL).scheme != "filesystem":
        return
    for folder in settings.CELERY_BROKER_TRANSPORT_OPTIONS.values():
        if isinstance(folder, str):
            Path(folder).mkdir(parents=True, exist_ok=True)
    with app.connection_for_write() as connection, connection.channel() as channel:
        for name in ",".join(WORKERS.values()).split(","):
            app.amqp.queues[name](channel).declare()
