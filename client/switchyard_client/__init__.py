"""Ask Switchyard from a program: `Client` asks, `webhooks.verify` checks what comes by itself."""

from switchyard_client import webhooks
from switchyard_client.answers import Comparison, Dataset, Export, File, Imported, Job, Page, Plan, Project
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
    "NotFound",
    "Page",
    "Plan",
    "Project",
    "Refused",
    "Unreachable",
    "Unverified",
    "webhooks",
]
