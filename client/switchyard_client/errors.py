"""What can go wrong, as exceptions that say what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a request. `row` counts from 1; None where there are no rows."""

    row: int | None
    field: str
    reason: str


class Refused(Exception):
    """The server refused; nothing was changed. `status` is that of HTTP, `detail` its words, `faults` row by row."""

    def __init__(self, status: int, detail: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(f"{status}: {detail}")
        self.status, self.detail, self.faults = status, detail, faults


class NotFound(Refused):
    """There is no such thing, or the token does not reach it."""


class Conflict(Refused):
    """It fits, but the project is not ready for it."""


class Unreachable(Exception):
    """No answer after every attempt. With the same idempotency key it may be asked again: it is done once."""


class JobFailed(Exception):
    """The job ended without what was asked for; `job` says why."""

    def __init__(self, job: Any) -> None:
        super().__init__(job["message"] or f"job {job['id']} is {job['state']}")
        self.job = job


class Unverified(Exception):
    """A webhook call that is not from the server, or an old one that somebody plays again."""
