"""Each request in one transaction, within a time; and each POST with an idempotency key once.

A key is taken with a lock of the transaction, and the answer is stored in the same transaction as what was done. So
there is no moment between doing and storing: a process that dies before the commit has done nothing, its lock is gone
with its connection, and the request sent again does it; after the commit the request sent again gets the answer. Only
answers of requests that succeeded are kept: a refusal has changed nothing, and may be none the next time.

Nothing slow happens inside: what a request brings is read, and put into storage, before its transaction begins, and
whether it may be brought at all is asked before that. A stored file whose request then failed belongs to no job; it is
removed when the request was refused, and else swept after a day.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from ninja.responses import Status
from pydantic import BaseModel

from annotator import access
from annotator.api import bodies
from annotator.api.auth import project_of, token_of
from annotator.api.problems import Refused
from annotator.api.writing import Encoder
from annotator.models import KeptAnswer
from annotator.pipeline import work

HEADER = "Idempotency-Key"
LONGEST_KEY = 200
WRITTEN = re.compile(r"[!-~]+")
# Seconds a request may take in the database: reading, and doing.
READ_TIME, WORK_TIME = 20, 50
# Of one statement, of waiting for this process, and of all together, which PostgreSQL 17 and newer can limit.
LIMITS = ("statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout")


def within(operation: Callable[..., Any]) -> Callable[..., Any]:
    """The operation in a transaction with a limit of time; of a POST its key is heeded. For `api.add_decorator`.

    Whoever sends a POST is a lead of the project now, also when only a stored answer is asked for.
    """

    @functools.wraps(operation)
    def run(request: HttpRequest, *args: Any, **values: Any) -> Any:
        do = functools.partial(operation, request, *args, **values)
        if request.method != "POST":
            return _timed(do, READ_TIME)
        guard = functools.partial(project_of, request, values["project_id"], access.LEADS)
        body: bodies.Body | None = getattr(operation, "body", None)
        if body is None:
            return _keyed(request, guard, do, hashlib.sha256(request.body).hexdigest())
        _timed(guard, READ_TIME)
        body.check(values)
        with body.spool(request) as request.spooled:  # type: ignore[attr-defined]
            return _brought(request, guard, do, body.store, values)

    return run


def _brought(
    request: HttpRequest, guard: Callable[[], Any], do: Callable[[], Any], store: bodies.Store | None, values: Any
) -> Any:
    """What `do` makes of the body that was read, which is stored first where the operation says so."""
    spooled: bodies.Spooled = request.spooled  # type: ignore[attr-defined]
    if store is None:
        return _keyed(request, guard, do, spooled.sha256)
    if (kept := _keyed(request, guard, None, spooled.sha256)) is not None:
        return kept
    spooled.stored = store(spooled, values)
    try:
        answer = _keyed(request, guard, do, spooled.sha256)
    except (Refused, work.StepRefused):
        default_storage.delete(spooled.stored)
        raise
    if isinstance(answer, HttpResponse):  # the same request was done meanwhile, with its own file
        default_storage.delete(spooled.stored)
    return answer


def _timed(do: Callable[[], Any], seconds: int) -> Any:
    """`do` in a transaction that the database ends after `seconds`, whatever it waits for (before 17: for most)."""
    is_ours = not connection.in_atomic_block  # one around this one has its own limits
    with transaction.atomic():
        with connection.cursor() as cursor:
            for name in _limits() if is_ours else LIMITS[:1]:
                cursor.execute("SELECT set_config(%s, %s, true)", [name, f"{seconds}s"])
        return do()


def _limits() -> tuple[str, ...]:
    return LIMITS if connection.pg_version >= 170_000 else LIMITS[:2]  # type: ignore[attr-defined]


def _keyed(request: HttpRequest, guard: Callable[[], Any], do: Callable[[], Any] | None, body: str) -> Any:
    """What was answered to the request's key before, else what `do` gives; without `do` None."""
    key = request.headers.get(HEADER)
    if key is None:
        return _timed(do, WORK_TIME) if do else None
    if len(key) > LONGEST_KEY or not WRITTEN.fullmatch(key):
        raise Refused(422, f"{HEADER}: 1 to {LONGEST_KEY} visible ASCII characters, without spaces.")
    asked = hashlib.sha256(f"{request.method}\n{request.get_full_path()}\n{body}".encode()).hexdigest()

    def once() -> Any:
        guard()
        return _once(request, do, key, asked)

    return _timed(once, WORK_TIME)


def _once(request: HttpRequest, do: Callable[[], Any] | None, key: str, asked: str) -> Any:
    """What was answered to this key before, else what `do` gives, kept. In the caller's transaction."""
    token = token_of(request)
    if not _locked(f"{token.pk}\n{key}"):
        raise Refused(409, "A request with this key is being worked on. Ask again in a second.", Retry_After="1")
    kept = KeptAnswer.objects.filter(token=token, key=key).first()
    if kept is None and do is None:
        return None
    if kept is None:
        result = do()  # type: ignore[misc]
        status, content = _content(result)
        KeptAnswer.objects.create(token=token, key=key, request=asked, status=status, body=content)
        return result
    if kept.request != asked:
        raise Refused(409, "This key was used for another request. Choose a new key for each request.")
    return HttpResponse(
        json.dumps(kept.body),
        status=kept.status,
        content_type="application/json",
        headers={"Idempotent-Replay": "true"},
    )


def _locked(name: str) -> bool:
    number = int.from_bytes(hashlib.sha256(f"kept answer\n{name}".encode()).digest()[:8], signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        return bool(cursor.fetchone()[0])


def _content(result: Any) -> tuple[int, Any]:
    """(status, JSON) of what an operation that does something gives: a schema, with its status unless that is 200.

    A schema with a method `kept` says what of it may be stored: a secret may not.
    """
    status, value = (result.status_code, result.value) if isinstance(result, Status) else (200, result)
    value = value.kept() if hasattr(value, "kept") else value
    assert isinstance(value, BaseModel), "an operation that may be asked for twice gives a schema"
    return status, json.loads(json.dumps(value, cls=Encoder))
