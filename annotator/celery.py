"""The Celery application. A message is a nudge: it names a kind of work and carries no list."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotator.settings")
app = Celery("switchyard")
app.config_from_object("django.conf:settings", namespace="CELERY")
