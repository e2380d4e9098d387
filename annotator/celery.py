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
    """Who starts a worker and is killed leaves no process that goes on with a job another is about to take over.

    Sent by the solo pool too, of which our workers are (`annotator.workers`).
    """
    die_with_parent()
