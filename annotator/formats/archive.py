"""A zip file as a stream: parts are read when they are sent, so memory stays flat however large the files are."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

CHUNK = 2**18
# Entries carry no time of their own: the same files give the same archive.
EPOCH = (1980, 1, 1, 0, 0, 0)


class _Pipe(io.RawIOBase):
    """Keeps what zipfile writes until it is taken; cannot seek, so zipfile writes sizes behind each part."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


def zipped(files: Iterable[tuple[str, Callable[[], IO[bytes]]]]) -> Iterator[bytes]:
    """The bytes of an uncompressed zip of (name, opener); data files are compressed already."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        for name, opener in files:
            part = zipfile.ZipInfo(name, EPOCH)
            part.external_attr = 0o644 << 16
            with opener() as content, archive.open(part, "w", force_zip64=True) as entry:
                while chunk := content.read(CHUNK):
                    entry.write(chunk)
                    yield pipe.take()
            yield pipe.take()
    yield pipe.take()
