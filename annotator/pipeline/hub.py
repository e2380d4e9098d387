"""Talking to a hub with huggingface_hub: only over connections that were checked, and its token goes nowhere else."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx2
from django.conf import settings
from django.utils.translation import gettext as _

from annotator.models import JobCancelled
from annotator.pipeline.work import StepRefused
from labelers import endpoint
from labelers.transport import TooLong, Transport

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logging.getLogger(__name__)

# Seconds for one request with all it sends: a file of many gigabytes is one request.
LONGEST = 6 * 3600
# Bytes of an answer: lists of files are the longest.
MOST = 32 * 2**20


def check(hub: str) -> str:
    """The hub's address as it is stored. Raises StepRefused for one that is not https and not this machine."""
    address = hub.strip().rstrip("/")
    try:
        endpoint.check(address, allow_private=settings.LABELER_PRIVATE_ENDPOINTS)
    except endpoint.EndpointRefused as refusal:
        raise StepRefused(_("This hub cannot be used: %(reason)s") % {"reason": refusal}) from None
    if not endpoint.keeps_secrets(address):
        raise StepRefused(_("A token is not sent without encryption: give an address that begins with https://."))
    return address


@contextlib.contextmanager
def talking_to(hub: str, token: str) -> Iterator[HfApi]:
    """huggingface_hub's client for `hub`; what goes wrong while it is used is told in words (StepRefused).

    The library has one HTTP client a process, which is ours meanwhile: workers do one job at a time.
    """
    from huggingface_hub import HfApi, set_client_factory
    from huggingface_hub.utils import _http

    set_client_factory(lambda: httpx2.Client(transport=_Guarded(hub), timeout=httpx2.Timeout(30, read=LONGEST)))
    try:
        yield HfApi(endpoint=hub, token=token)
    except (JobCancelled, StepRefused):
        raise
    except Exception as error:  # whatever the hub or the library does, the person who waits must be told in words
        raise _told(error, endpoint.place(hub)) from error
    finally:
        # The one it had: no public name leads to it.
        set_client_factory(_http.default_client_factory)


class _Guarded(httpx2.BaseTransport):
    """Checks every host that is asked, the hub and wherever it sends uploads to, and connects to what was checked.

    The hub decides where files are put, and a lead which hub: neither may open the operator's network. Headers with
    the token are left out on the way to anybody else.
    """

    def __init__(self, hub: str) -> None:
        self.place = endpoint.place(hub)
        self.ways: dict[str, Transport] = {}

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        host = f"[{url.host}]" if ":" in url.host else url.host
        origin = f"{url.scheme}://{host}" + (f":{url.port}" if url.port else "")
        if endpoint.place(origin) != self.place:
            request.headers.pop("authorization", None)
        return self._way(origin).handle_request(request)

    def _way(self, origin: str) -> Transport:
        if origin not in self.ways:
            if not endpoint.keeps_secrets(origin):
                raise StepRefused(_("The hub wants files sent to %(place)s without encryption.") % {"place": origin})
            try:
                addresses = endpoint.check(origin, allow_private=settings.LABELER_PRIVATE_ENDPOINTS)
            except endpoint.EndpointRefused as refusal:
                raise StepRefused(_("This hub cannot be used: %(reason)s") % {"reason": refusal}) from None
            self.ways[origin] = Transport(addresses, most=MOST)
        return self.ways[origin]

    def close(self) -> None:
        for way in self.ways.values():
            way.close()


def _told(error: BaseException, place: str) -> BaseException:
    """What happened, in words; our own exceptions, which the library wraps, come out as they went in."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (JobCancelled, StepRefused)):
            return cause
        if (status := _status(cause)) is not None:
            return StepRefused(_words(status) % {"place": place, "status": status})
        if isinstance(cause, TooLong):
            break
        if isinstance(cause, (httpx2.TransportError, OSError)) and not isinstance(cause, FileNotFoundError):
            words = _("%(place)s cannot be reached (%(reason)s). Nothing was published; try again later.")
            return StepRefused(words % {"place": place, "reason": str(cause) or type(cause).__name__})
        cause = cause.__cause__
    logger.error("%s was not understood", place, exc_info=error)
    words = _("%(place)s answered in a way that was not understood (%(reason)s).")
    return StepRefused(words % {"place": place, "reason": f"{type(error).__name__}: {error}"[:300]})


def _status(error: BaseException) -> int | None:
    response: Any = getattr(error, "response", None)
    return response.status_code if isinstance(response, httpx2.Response) else None


def _words(status: int) -> str:
    if status == 401:
        return _("%(place)s does not know this token (401). Make a new one there and enter it.")
    if status == 403:
        return _("%(place)s does not let this token write to that repository (403). It needs the right to write.")
    if status == 404:
        return _("%(place)s has no such repository for this token (404): look at owner and name.")
    if status == 409:
        return _("%(place)s refused: somebody else changed the repository meanwhile (409). Push again.")
    if status == 429:
        return _("%(place)s asks for patience (429). Push again later; what is there already is not sent twice.")
    return _("%(place)s answered with an error (%(status)s). Push again later.")
