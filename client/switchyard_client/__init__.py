"""Ask Switchyard from a program: `Client` asks, `webhooks.verify` checks what comes by itself."""

from switchyard_client import webhooks
from switchyard_client.answers import (
    Comparison,
    Dataset,
    Export,
    File,
    Imported,
    Job,
    Labeler,
    Link,
    NewLink,
    Page,
    Plan,
    Project,
    Run,
    Webhook,
)
from switchyard_client.client import Client
from switchyard_client.errors import Conflict, Fault, JobFailed, NotFound, Refused, Unreachable, Unverified

__all__ = [
    "Client",
    "Comparison",
    "Conflict",
    "Dataset",
    "Export",
    "Fault",
    "File",
    "Imported",
    "Job",
    "JobFailed",
    "Labeler",
    "Link",
    "NewLink",
    "NotFound",
    "Page",
    "Plan",
    "Project",
    "Refused",
    "Run",
    "Unreachable",
    "Unverified",
    "Webhook",
    "webhooks",
]
