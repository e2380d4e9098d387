"""Each request in one transaction, within a time; and each POST with an idempotency key once.

A key is taken with a lock of the transaction, and the answer is stored in the same transaction as what was done. So
there is no moment between doing and storing: a process that dies before the commit has done nothing, its lock is gone
with its connection, and the request sent again does it; after the commit the request sent again gets the answer. Files
put into storage by a request that then failed belong to no job and are swept after a day. Only answers of requests
that succeeded are kept: a refusal has changed nothing, and may be none the next time.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from ninja.responses import NinjaJSONEncoder, Status
from pydantic import BaseModel

from annotator.api import bodies
from annotator.api.auth import token_of
from annotator.api.problems import Refused
from annotator.models import KeptAnswer

HEADER = "Idempotency-Key"
LONGEST_KEY = 200
WRITTEN = re.compile(r"[!-~]+")
# Seconds a request may take in the database: reading, and doing.
READ_TIME, WORK_TIME = 20, 50


def within(operation: Callable[..., Any]) -> Callable[..., Any]:
    """The operation in a transaction with a limit of time; of a POST its key is heeded. For `api.add_decorator`."""

    @functools.wraps(operation)
    def run(request: HttpRequest, *args: Any, **values: Any) -> Any:
        do = functools.partial(operation, request, *args, **values)
        if request.method != "POST":
            return _timed(do, READ_TIME)
        if limit := getattr(operation, "takes", 0):
            with bodies.spool(request, limit) as request.spooled:  # type: ignore[attr-defined]
                return _keyed(request, do, request.spooled.sha256)  # type: ignore[attr-defined]
        return _keyed(request, do, hashlib.sha256(request.body).hexdigest())

    return run


def _timed(do: Callable[[], Any], seconds: int) -> Any:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{seconds}s"])
        return do()


def _keyed(request: HttpRequest, do: Callable[[], Any], body: str) -> Any:
    key = request.headers.get(HEADER)
    if key is None:
        return _timed(do, WORK_TIME)
    if len(key) > LONGEST_KEY or not WRITTEN.fullmatch(key):
        raise Refused(422, f"{HEADER}: 1 to {LONGEST_KEY} visible ASCII characters, without spaces.")
    asked = hashlib.sha256(f"{request.method}\n{request.get_full_path()}\n{body}".encode()).hexdigest()
    return _timed(functools.partial(_once, request, do, key, asked), WORK_TIME)


def _once(request: HttpRequest, do: Callable[[], Any], key: str, asked: str) -> Any:
    """What was answered to this key before, else what `do` gives, kept. In the caller's transaction."""
    token = token_of(request)
    if not _locked(f"{token.pk}\n{key}"):
        raise Refused(409, "A request with this key is being worked on. Ask again in a second.", Retry_After="1")
    kept = KeptAnswer.objects.filter(token=token, key=key).first()
    if kept is None:
        result = do()
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
    return status, json.loads(json.dumps(value, cls=NinjaJSONEncoder))
