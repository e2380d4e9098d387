"""Reading what lies in the site's storage: as a stream from any byte on, or as a local file, wherever it is kept."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from django.core.files.storage import default_storage

CHUNK = 2**18


def opened(address: str, start: int = 0) -> IO[bytes]:
    """The stored bytes from `start` on, to be closed by the caller. Raises FileNotFoundError.

    From object storage they are read as they are asked for: nothing is fetched that is not sent on.
    """
    file: Any = default_storage.open(address)
    if hasattr(file, "obj"):  # django-storages' S3File, which would fetch all of it before the first byte
        whole = {"Range": f"bytes={start}-"} if start else {}
        return file.obj.get(**whole)["Body"]  # type: ignore[no-any-return]
    file.seek(start)
    return file  # type: ignore[no-any-return]


def pieces(address: str, start: int, stop: int) -> Iterator[bytes]:
    """Bytes `start` to `stop` (exclusive) of a stored file, a piece at a time."""
    left = stop - start
    with opened(address, start) as content:
        while left > 0 and (piece := content.read(min(CHUNK, left))):
            left -= len(piece)
            yield piece


@contextlib.contextmanager
def local(address: str) -> Iterator[Path]:
    """The stored file as a local one: where it lies, or a temporary copy with the same suffixes."""
    try:
        path = Path(default_storage.path(address))
    except NotImplementedError:
        suffix = "".join(PurePosixPath(address).suffixes[-2:])
        with tempfile.NamedTemporaryFile(suffix=suffix) as copy, opened(address) as content:
            shutil.copyfileobj(content, copy, CHUNK)
            copy.flush()
            yield Path(copy.name)
        return
    yield path
