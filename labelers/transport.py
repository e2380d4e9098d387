"""How requests travel: to checked addresses only, until a deadline for all of it, and no more back than was agreed.

The timeouts of an HTTP library are for one read: a server that sends a byte now and then holds a call for ever. Here
the read timeout of a request is for the request, from its connection to the last byte of its answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpcore2
import httpx2

# Bytes that are written at once, so that the clock is looked at between them.
PIECE = 16 * 1024


class TooLong(httpx2.HTTPError):
    """The answer is longer than was agreed, or packed, so that its length is not known before it is unpacked."""


class Transport(httpx2.HTTPTransport):
    """Connects to `addresses` only, in this order (empty: by name); certificate and Host header stay those of the name.

    `most`: bytes of an answer's body. What it raises besides httpx's own is TooLong. Safe to share between threads, as
    long as an answer is read in the thread that asked, as clients do that do not stream.
    """

    def __init__(self, addresses: Sequence[str] = (), *, most: int, verify: bool = True) -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=100)
        super().__init__(verify=verify, trust_env=False, limits=limits)
        self.addresses, self.most = tuple(addresses), most
        self._clock = _Clock()
        # There is no public way to it through httpx; tests/labelers/test_chat.py notices when this has no effect.
        self._pool._network_backend = _Backend(self._clock)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self._clock.start(request.extensions.get("timeout", {}).get("read"))
        request.headers["Accept-Encoding"] = "identity"
        if not self.addresses:
            return self._answer(request)
        request.extensions = {**request.extensions, "sni_hostname": request.url.host}
        for address in self.addresses[:-1]:
            try:
                return self._at(address, request)
            except httpx2.ConnectError:
                continue
        return self._at(self.addresses[-1], request)

    def _at(self, address: str, request: httpx2.Request) -> httpx2.Response:
        request.url = request.url.copy_with(host=address)
        return self._answer(request)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        answer = super().handle_request(request)
        if answer.headers.get("content-encoding", "identity") != "identity":
            answer.close()
            raise TooLong("the answer is packed")
        assert isinstance(answer.stream, httpx2.SyncByteStream)
        answer.stream = _Measured(answer.stream, self.most)
        return answer


class _Measured(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, most: int) -> None:
        self.stream, self.left = stream, most

    def __iter__(self) -> Iterator[bytes]:
        for part in self.stream:
            self.left -= len(part)
            if self.left < 0:
                raise TooLong("the answer is too long")
            yield part

    def close(self) -> None:
        self.stream.close()


class _Clock(threading.local):
    """When the request of this thread has to be over, by the monotonic clock; None: never."""

    until: float | None = None

    def start(self, seconds: float | None) -> None:
        self.until = None if seconds is None else time.monotonic() + seconds

    def left(self, timeout: float | None, late: type[Exception]) -> float | None:
        """Seconds that one step may take, of the `timeout` it has by itself. Raises `late` when the time is over."""
        if self.until is None:
            return timeout
        left = self.until - time.monotonic()
        if left <= 0:
            raise late("the time for the whole request is over")
        return left if timeout is None else min(left, timeout)


class _Backend(httpcore2.SyncBackend):
    def __init__(self, clock: _Clock) -> None:
        self.clock = clock

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *more: Any, **most: Any
    ) -> httpcore2.NetworkStream:
        left = self.clock.left(timeout, httpcore2.ConnectTimeout)
        return _Stream(super().connect_tcp(host, port, left, *more, **most), self.clock)


class _Stream(httpcore2.NetworkStream):
    def __init__(self, inner: httpcore2.NetworkStream, clock: _Clock) -> None:
        self.inner, self.clock = inner, clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.inner.read(max_bytes, self.clock.left(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), PIECE):
            left = self.clock.left(timeout, httpcore2.WriteTimeout)
            self.inner.write(buffer[start : start + PIECE], left)

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        left = self.clock.left(timeout, httpcore2.ConnectTimeout)
        return _Stream(self.inner.start_tls(ssl_context, server_hostname, left), self.clock)

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)

    def close(self) -> None:
        self.inner.close()
