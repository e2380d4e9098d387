"""Requests to one scoring server: to checked addresses, without redirects, the key in no message."""

from __future__ import annotations

import json
import math
import weakref
from collections.abc import Mapping, Sequence
from functools import cached_property
from http.client import responses
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from labelers.base import Failure, LabelerError
from labelers.endpoint import place
from labelers.keys import sendable

if TYPE_CHECKING:
    import httpx2


# Bytes of an answer: some hundred for each token, and a server may be asked about many texts at once.
LONGEST = 256 * 2**20


class Refused(LabelerError):
    """The server answered, with a status that is not 2xx. Its words are a stranger's and are left out."""

    def __init__(self, where: str, status: int, retry_after: float | None) -> None:
        can_pass = status in (408, 409, 429) or status >= 500
        words = f"{where} answered HTTP {status} {responses.get(status, '')}".rstrip()
        super().__init__(words, permanent=not can_pass, retry_after=retry_after)
        self.status = status


class Http:
    """`base_url` with or without /v1. Safe to share between threads.

    `addresses` (IP, as `endpoint.check` gave them) are connected to instead of what the name says at that moment;
    empty: by name. Redirects are not followed and the environment's proxies not asked: either could leave the server
    that was checked. A request has ended after `timeout` seconds, however slowly its answer comes in.
    """

    def __init__(self, base_url: str, *, api_key: str = "", timeout: float = 300.0, addresses: Sequence[str] = ()):
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{base_url!r} is no address of a server: it begins with https:// or http://")
        path = parts.path.rstrip("/").removesuffix("/v1")
        self.root = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        self.place = place(self.root)
        self.timeout, self.addresses, self._secret = timeout, tuple(addresses), sendable(api_key)

    @cached_property
    def _client(self) -> httpx2.Client:
        import httpx2

        from labelers.transport import Transport

        client = httpx2.Client(
            headers={"Authorization": f"Bearer {self._secret}"} if self._secret else {},
            timeout=self.timeout,
            follow_redirects=False,
            trust_env=False,
            # Reading all certificates takes a tenth of a second, for nothing where there is no TLS.
            transport=Transport(self.addresses, most=LONGEST, verify=self.root.startswith("https:")),
        )
        # Its connections go when the engine goes.
        weakref.finalize(self, client.close)
        return client

    def get(self, path: str) -> Any:
        return self._asked("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON that came back. Raises LabelerError; `Refused` where the server said no."""
        return self._asked("POST", path, body)

    def _asked(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        import httpx2

        from labelers.transport import TooLong

        where = f"{self.place}{path}"
        try:
            answer = self._client.request(method, self.root + path, json=body)
        except httpx2.TimeoutException:
            words = f"{where} gave no answer in {self.timeout:g} s"
            raise LabelerError(words, permanent=False, may_have_cost=True, kind=Failure.TIMEOUT) from None
        except TooLong as error:
            raise LabelerError(f"{where}: {error}", permanent=False, may_have_cost=True, kind=Failure.GARBAGE) from None
        except httpx2.HTTPError as error:
            raise LabelerError(f"{where}: no connection ({type(error).__name__})", permanent=False) from None
        if not answer.is_success:
            raise Refused(where, answer.status_code, _seconds(answer.headers.get("retry-after")))
        try:
            return json.loads(answer.content)
        except (ValueError, RecursionError):
            raise LabelerError(f"{where} answered with something that is not JSON", permanent=False) from None


def _seconds(header: str | None) -> float | None:
    """Of a Retry-After header; its date form is left to our own patience."""
    try:
        seconds = float(header) if header else math.nan
    except ValueError:
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
