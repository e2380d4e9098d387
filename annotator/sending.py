"""Files of exports as answers: one as it is (also a part of it, so that a broken download goes on), or all as a zip."""

from __future__ import annotations

import re
from functools import partial

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.text import slugify

from annotator import stored
from annotator.formats.archive import zipped
from annotator.models import Export
from annotator.readings import consent

# No file is so long that its bytes have numbers of more digits; what looks otherwise is no range.
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def send(request: HttpRequest, export: Export, name: str) -> HttpResponseBase:
    """A finished export's file, or without `name` all of them as a zip. Always a download, never a page.

    Raises consent.Withdrawn for an export that may not leave any more, to whomever.
    """
    consent.refuse_withdrawn(export)
    folder = f"{slugify(export.project.name) or 'project'}-{export.number}-{export.format}"
    if not name:
        parts = [(f"{folder}/{file['name']}", partial(stored.opened, file["address"])) for file in export.files]
        return StreamingHttpResponse(
            zipped(parts),
            content_type="application/zip",
            headers={"Content-Disposition": f'attachment; filename="{folder}.zip"'},
        )
    file = next((file for file in export.files if file["name"] == name), None)
    if file is None:
        raise Http404
    return _part(request, file["address"], name, file["bytes"], file["sha256"])


def _part(request: HttpRequest, address: str, name: str, size: int, sha256: str) -> HttpResponseBase:
    """The whole file, or the one range that was asked for; several ranges at once are answered with the whole."""
    tag = f'"{sha256}"'
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": tag,
        "Content-Disposition": f'attachment; filename="{_filename(name)}"',
    }
    asked = _RANGE.fullmatch(request.headers.get("Range", ""))
    # A part fits to what somebody has already only while the file is the same.
    start, stop = _bounds(asked, size) if asked and request.headers.get("If-Range", tag) == tag else (0, size)
    if asked and start >= stop:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"})
    status = 200 if (start, stop) == (0, size) else 206
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return StreamingHttpResponse(
        stored.pieces(address, start, stop) if request.method == "GET" else [],
        status=status,
        content_type="application/octet-stream",
        headers={**headers, "Content-Length": str(stop - start)},
    )


def _bounds(asked: re.Match[str], size: int) -> tuple[int, int]:
    """Start and end (exclusive) of a range; equal for one that no byte is in."""
    first, last = asked.groups()
    if not first:
        return (max(0, size - int(last)), size) if last and int(last) else (0, 0)
    start, stop = int(first), min(size, int(last) + 1) if last else size
    return (start, stop) if start < stop else (0, 0)


def _filename(name: str) -> str:
    return name.replace("/", "-").replace('"', "")
