"""What comes in, within limits: size and depth of bodies, and text that the database can hold."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest
from ninja.parser import Parser

from annotator import uploads
from annotator.api.problems import Refused
from annotator.formats.rows import no_json

# Bytes of rows that are stored while the program waits. Of a file that a job imports: settings.UPLOAD_LIMIT.
ROWS_SIZE = 8 * 2**20
ROWS = 1000
DEPTH = 32
CHUNK = 2**16
# What is left free on the disk, in bytes, and after how many it is looked at again.
LEAST_FREE = 2**30
LOOK = 2**26
NDJSON = "application/x-ndjson"


class CheckedParser(Parser):
    """JSON and query strings, refused with words where they hold what cannot be stored."""

    def parse_body(self, request: HttpRequest) -> Any:
        try:
            given = json.loads(request.body, parse_constant=_refuse_constant)
        except RecursionError:
            raise Refused(422, f"The body is nested deeper than {DEPTH} levels.") from None
        check(given)
        return given

    def parse_querydict(self, data: Any, list_fields: list[str], request: HttpRequest) -> Any:
        given = super().parse_querydict(data, list_fields, request)
        check(given)
        return given


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def check(value: Any, name: str = "", depth: int = DEPTH) -> None:
    """Raises Refused(422) at the first text, at any depth, that PostgreSQL cannot hold."""
    if isinstance(value, str):
        if reason := _unstorable(value):
            raise Refused(422, f"{name or 'a text'} {reason}.", [{"field": name, "reason": reason}])
    elif isinstance(value, dict | list):
        if not depth:
            raise Refused(422, f"The body is nested deeper than {DEPTH} levels.")
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(key, str):
                check(key, f"a name in {name}" if name else "a name", depth)
            check(inner, f"{name}.{key}" if name else str(key), depth - 1)


def _unstorable(text: str) -> str:
    if "\0" in text:
        return "contains a NUL character, which the database cannot hold"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "is not valid Unicode (a lone surrogate)"
    return ""


class Spooled:
    """A body that was read to the end into a file on disk; `sha256` is of its content.

    `stored`: its address in storage, for operations that store it; the file itself may have been moved there.
    """

    def __init__(self, file: UploadedFile, digest: str, name: str, media_type: str) -> None:
        self.file, self.sha256, self.name, self.media_type = file, digest, name, media_type
        self.stored = ""


Store = Callable[[Spooled, Mapping[str, Any]], str]


@dataclass(frozen=True)
class Body:
    """What an operation takes: `limit` in bytes, by default the site's for a file.

    `check`: refuses the operation's other values before anything is read. `store`: puts what was read into storage
    and gives its address. Both are called before the transaction.
    """

    limit: int | None = None
    check: Callable[[Mapping[str, Any]], None] = lambda values: None
    store: Store | None = None

    @contextlib.contextmanager
    def spool(self, request: HttpRequest) -> Iterator[Spooled]:
        """The body, raw or as the field `file` of a form. Raises Refused: too large, empty, without length, no room."""
        _refuse_size(request, settings.UPLOAD_LIMIT if self.limit is None else self.limit)
        _refuse_full(int(request.META.get("CONTENT_LENGTH") or 0))
        is_form = request.content_type == "multipart/form-data"
        with contextlib.closing(_sent_file(request) if is_form else _raw(request)) as file:
            if not file.size:
                raise Refused(422, "The body is empty.")
            file.seek(0)
            digest = hashlib.file_digest(file.file, "sha256").hexdigest()  # type: ignore[arg-type]
            file.seek(0)
            name = file.name if is_form else ""
            yield Spooled(file, digest, name or "", request.content_type or "")


def takes(limit: int | None = None, **more: Any) -> Callable[[Any], Any]:
    """Marks an operation whose body is a `Body`; it finds what was read in `request.spooled`."""

    def mark(operation: Any) -> Any:
        operation.body = Body(limit, **more)
        return operation

    return mark


def _sent_file(request: HttpRequest) -> UploadedFile:
    request.upload_handlers = [uploads.ToDisk(request)]
    sent = request.FILES.get("file")
    if not isinstance(sent, UploadedFile):
        raise Refused(422, "The form has no file in its field `file`.", [{"field": "file", "reason": "is missing"}])
    return sent


def _raw(request: HttpRequest) -> UploadedFile:
    file = uploads.ArrivingFile("body", request.content_type or "", None, None)
    written = looked_at = 0
    try:
        while chunk := request.read(CHUNK):
            written += file.write(chunk)
            if written - looked_at > LOOK:  # others may be writing too
                _refuse_full(0)
                looked_at = written
    except BaseException:
        file.close()
        raise
    file.size = written
    return file


def _refuse_size(request: HttpRequest, limit: int) -> None:
    length = request.META.get("CONTENT_LENGTH") or ""
    if not length and request.META.get("HTTP_TRANSFER_ENCODING"):
        raise Refused(411, "Send the body with its Content-Length, not in chunks.")
    if length.isdecimal() and int(length) > limit:
        raise Refused(413, f"The body is larger than the {limit // 10**6} MB that this address takes.")


def _refuse_full(coming: int) -> None:
    """Refuses what would leave less than `LEAST_FREE` on the disk."""
    folder = uploads.arriving_folder() or tempfile.gettempdir()
    if shutil.disk_usage(folder).free - coming < LEAST_FREE:
        raise Refused(507, "The disk of this site is nearly full. Its operator must make room first.")


@contextlib.contextmanager
def rows_file(request: HttpRequest) -> Iterator[tuple[Path, list[Any]]]:
    """The rows of the request as a file of JSON Lines, and parsed; row n of the request is line n of the file.

    The body is a JSON list, an object with the list in `rows`, or NDJSON. Raises Refused with row and field.
    """
    spooled: Spooled = request.spooled  # type: ignore[attr-defined]
    content = spooled.file.read()
    rows = _lines(content) if spooled.media_type == NDJSON else _listed(content)
    if not rows:
        raise Refused(422, "There are no rows.")
    for number, row in enumerate(rows, 1):
        _check_row(number, row)
    with tempfile.NamedTemporaryFile(mode="w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        file.flush()
        yield Path(file.name), rows


def _check_row(number: int, row: Any) -> None:
    if not isinstance(row, dict):
        raise Refused(
            422, f"Row {number} is not an object.", [{"row": number, "field": "", "reason": "is not an object"}]
        )
    try:
        check(row)
    except Refused as refused:
        fault = refused.errors[0] if refused.errors else {"field": "", "reason": refused.detail}
        raise Refused(422, f"Row {number}: {refused.detail}", [{**fault, "row": number}]) from None


def _listed(content: bytes) -> list[Any]:
    given = _json(content, None)
    if isinstance(given, dict) and set(given) == {"rows"}:
        given = given["rows"]
    if not isinstance(given, list):
        raise Refused(422, "The body is no list of rows.", [{"field": "rows", "reason": "must be a list"}])
    if len(given) > ROWS:
        raise Refused(422, f"More than {ROWS} rows. Send fewer, or NDJSON ({NDJSON}).")
    return given


def _lines(content: bytes) -> list[Any]:
    return [_json(line, number) for number, line in enumerate(content.splitlines(), 1) if line.strip()]


def _json(content: bytes, row: int | None) -> Any:
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except RecursionError:
        reason = f"is nested deeper than {DEPTH} levels"
    except ValueError as error:
        # Lines of a body are the sender's, those within a row are nobody's.
        reason = no_json(error) if row else f"is not valid JSON: {error}"
    where = f"Row {row}" if row else "The body"
    raise Refused(422 if row else 400, f"{where} {reason}.", [{"row": row, "field": "", "reason": reason}])


def described(about: str) -> dict[str, Any]:
    """The body of an operation that takes rows, for the document."""
    row = {"type": "object", "description": about}
    several = {"type": "array", "items": row, "minItems": 1, "maxItems": ROWS}
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": several}, NDJSON: {"schema": {"type": "string"}}},
        }
    }
