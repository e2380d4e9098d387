"""Files from browsers: written to the disk they stay on as they arrive, so memory holds one piece of them."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.core.files.uploadhandler import StopUpload, TemporaryFileUploadHandler
from django.http import HttpRequest

# Folder of what is still arriving, in storage where that is a disk of ours: what has arrived is moved, not copied.
ARRIVING = "uploads/arriving"


def is_too_large(request: HttpRequest) -> bool:
    """Whether the request says that it brings more than this site takes; asked before any of it is read."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    return length.isdecimal() and int(length) > settings.UPLOAD_LIMIT


def arriving_folder() -> str | None:
    """Where to write; None, for the system's own folder, where storage is somewhere else."""
    try:
        folder = Path(default_storage.path(ARRIVING))
    except NotImplementedError:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


class ArrivingFile(TemporaryUploadedFile):
    def __init__(self, name: str, content_type: str | None, charset: str | None, extra: Any) -> None:
        file = tempfile.NamedTemporaryFile(dir=arriving_folder())  # noqa: SIM115 - the request closes it
        UploadedFile.__init__(self, file, name, content_type, 0, charset, extra)


class ToDisk(TemporaryFileUploadHandler):
    """The only handler of large uploads, so that small files take the same way as those of gigabytes."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super(TemporaryFileUploadHandler, self).new_file(*args, **kwargs)
        self.file = ArrivingFile(self.file_name or "", self.content_type, self.charset, self.content_type_extra)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        if start + len(raw_data) > settings.UPLOAD_LIMIT:  # sent without its length, or with a wrong one
            self.upload_interrupted()
            raise StopUpload(connection_reset=True)
        self.file.write(raw_data)
        return None

    def upload_interrupted(self) -> None:
        if hasattr(self, "file"):
            with contextlib.suppress(FileNotFoundError):
                self.file.close()
