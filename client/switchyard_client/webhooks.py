"""Is this call from Switchyard? Only the standard library, and nothing of the rest of the client."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any, TypedDict

from switchyard_client.errors import Unverified

# Seconds that the server's clock and the receiver's may differ, with the time a call takes.
WINDOW = 300


class Event(TypedDict):
    """`delivery` is the same when a call comes again: do nothing for one that was dealt with."""

    event: str
    delivery: str
    project: int
    created_at: str
    data: dict[str, Any]


def verify(body: bytes, headers: Mapping[str, str], secret: str, *, window: float = WINDOW) -> Event:
    """The event in `body`, the bytes as they came, when it is signed with `secret` and at most `window` seconds old.

    Raises Unverified. Names of headers may be written in any case.
    """
    given = {name.lower(): value for name, value in headers.items()}
    timestamp, signature = given.get("switchyard-timestamp", ""), given.get("switchyard-signature", "")
    signed = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    # Bytes: a header that is not ASCII is a wrong one.
    if not hmac.compare_digest(f"v1={signed}".encode(), signature.encode()):
        raise Unverified("the signature is not made with this secret")
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > window:
        raise Unverified(f"the call is older than {window:g} seconds, or a clock is wrong")
    event: Event = json.loads(body)
    return event
