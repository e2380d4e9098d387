"""Every refusal has one form: application/problem+json (RFC 9457), with what is wrong by row and field."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import DataError, InternalError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.multipartparser import MultiPartParserError
from ninja import NinjaAPI, Schema
from ninja.errors import HttpError, ValidationError

from annotator.pipeline import work

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TOO_LONG = "This took too long and was stopped; nothing was changed. Ask for less at once, or try again in a minute."


class Fault(Schema):
    """One thing that is wrong. `row` counts from 1 in requests that bring rows, and is null elsewhere."""

    row: int | None = None
    field: str
    reason: str


class Problem(Schema):
    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault]


class Refused(Exception):
    """The request is refused. The message says what to do next; nothing was changed."""

    def __init__(self, status: int, detail: str, errors: list[dict[str, Any]] | None = None, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors or []
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def answer(refused: Refused) -> HttpResponse:
    content = {
        "type": "about:blank",
        "title": HTTPStatus(refused.status).phrase,
        "status": refused.status,
        "detail": refused.detail,
        "errors": [{"row": None, **fault} for fault in refused.errors],
    }
    return JsonResponse(content, status=refused.status, content_type=MEDIA_TYPE, headers=refused.headers)


def of_step(refusal: work.StepRefused) -> Refused:
    """A step's refusal: 422 when it names rows of the request, else 409, for then the project is not ready for it."""
    faults = refusal.result.get("errors")
    if isinstance(faults, list) and faults:
        return Refused(422, str(refusal), [_of_line(fault) for fault in faults])
    if after := refusal.result.get("retry_after"):
        return Refused(409, str(refusal), Retry_After=str(after))
    return Refused(409, str(refusal))


def _of_line(fault: dict[str, Any]) -> dict[str, Any]:
    return {"row": fault.get("line"), "field": fault.get("field") or "", "reason": str(fault.get("reason", ""))}


def _of_validation(error: ValidationError) -> Refused:
    faults = []
    for fault in error.errors:
        place, *names = fault["loc"]
        # The body's own name in the code says nothing to who wrote the body.
        shown = names[1:] if place == "body" and len(names) > 1 else names
        faults.append({"field": ".".join(str(name) for name in shown), "reason": fault["msg"]})
    first = faults[0] if faults else {"field": "", "reason": "it does not fit the document"}
    return Refused(422, f"{first['field']}: {first['reason']}", faults)


def _of_http(error: HttpError) -> Refused:
    cause = error.__cause__
    if isinstance(cause, Refused):  # the parser of bodies hides what it was told
        return cause
    if error.status_code == 401:
        return Refused(401, "Send a token: Authorization: Bearer sw_…", WWW_Authenticate="Bearer")
    if error.status_code == 400:
        return Refused(400, "The body is not JSON.")
    return Refused(error.status_code, str(error))


def refused(error: Exception) -> Refused:
    """What an exception means to who asked. What nobody foresaw is logged and told as 500."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, work.StepRefused):
        return of_step(error)
    if isinstance(error, ValidationError):
        return _of_validation(error)
    if isinstance(error, HttpError):
        return _of_http(error)
    if isinstance(error, Http404):
        return Refused(404, "There is no such thing, or it is not yours.")
    if isinstance(error, RequestDataTooBig):
        return Refused(413, "The body is larger than this address takes.")
    if isinstance(error, MultiPartParserError):
        return Refused(400, f"The form cannot be read: {error}.")
    if isinstance(error, SuspiciousOperation):
        return Refused(400, "The request cannot be read.")
    if isinstance(error, DataError):
        return Refused(422, f"The database refuses a value: {str(error).splitlines()[0]}")
    if isinstance(error, OperationalError | InternalError) and "timeout" in str(error):
        return Refused(503, TOO_LONG, Retry_After="30")
    logger.error("a request of the program interface failed", exc_info=error)
    return Refused(500, "Something broke here. The log of the web process tells what; tell an administrator.")


def install(api: NinjaAPI) -> None:
    def handler(request: HttpRequest, error: Exception) -> HttpResponse:
        return answer(refused(error))

    for kind in (Exception, Http404, HttpError, ValidationError):
        api.add_exception_handler(kind, handler)  # type: ignore[arg-type]
