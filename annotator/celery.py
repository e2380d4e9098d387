"""The Celery application. A message is a nudge: it names a kind of work and carries no list."""

import os

from celery import Celery
from celery.signals import worker_process_init

from annotator.processes import die_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotator.settings")
app = Celery("switchyard")
app.config_from_object("django.conf:settings", namespace="CELERY")


@worker_process_init.connect
def end_with_the_worker(**_: object) -> None:
    """A killed worker leaves no process that goes on with a job another worker is about to take over."""
    die_with_parent()
