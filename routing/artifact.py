"""Files that hold a fitted object: what it is, how it was made, and a checksum that is read before anything else.

A file is one line of JSON (the header), then the payload. Two payloads exist:
- `arrays`: a dict of NumPy arrays and a JSON value, written by objects that know how to (`to_arrays`, `from_arrays`).
  Nothing in it can run code, so it may be read from anywhere.
- `joblib`: a pickled scikit-learn or LightGBM object. Unpickling runs code, so `load` asks for the SHA-256 that was
  stored elsewhere (our database) when it was saved, and reads nothing before that matches.

Written aside and renamed: a reader sees the old file, the new file, or none.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

FORMAT = "switchyard-artifact"
FORMAT_VERSION = 1
# A pickled estimator is only defined for the versions that wrote it.
PINNED = ("scikit-learn", "lightgbm", "numpy")


class ArtifactMismatch(Exception):
    """The file is not what the caller expects: other kind, version, digest, checksum or library. Fit and save anew."""


@runtime_checkable
class Arrays(Protocol):
    """An object that can be written without pickle."""

    def to_arrays(self) -> tuple[dict[str, np.ndarray], Any]: ...

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], meta: Any) -> Any: ...


def save(path: Path | str, fitted: object, *, kind: str, version: str = "1", digest: str = "") -> str:
    """Write `fitted` to `path` and return the SHA-256 (hex) of the whole file.

    `kind` says what it is ("text-embedding"), `version` how it was made, `digest` on what (e.g. the digest of a
    feature set).
    """
    payload, form = _pack(fitted)
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "version": version,
        "digest": digest,
        "payload": form,
        "payload_sha256": hashlib.sha256(payload).hexdigest(),
        "libraries": {name: installed(name) for name in PINNED},
    }
    content = json.dumps(header, sort_keys=True).encode() + b"\n" + payload
    _write_aside(Path(path), content)
    return hashlib.sha256(content).hexdigest()


def load(
    path: Path | str,
    *,
    kind: str,
    version: str | None = None,
    digest: str | None = None,
    sha256: str | None = None,
    into: type[Any] | None = None,
) -> Any:
    """Read what `save` wrote. `into` is the class of an `arrays` payload.

    Raises ArtifactMismatch when kind, version, digest, checksum or pinned library differ, or when a `joblib` payload
    is asked for without `sha256`; FileNotFoundError when there is no file.
    """
    content = Path(path).read_bytes()
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ArtifactMismatch(f"{path} is not the file that was saved: its SHA-256 differs. Fit and save it anew.")
    header, payload = _split(path, content)
    for name, wanted in (("kind", kind), ("version", version), ("digest", digest)):
        if wanted is not None and header.get(name) != wanted:
            raise ArtifactMismatch(f"{path} has {name} {header.get(name)!r}, wanted {wanted!r}. Fit and save it anew.")
    if hashlib.sha256(payload).hexdigest() != header["payload_sha256"]:
        raise ArtifactMismatch(f"{path} is damaged: its payload does not match its own checksum.")
    if header["payload"] == "arrays":
        return _unpack_arrays(path, payload, into)
    return _unpack_joblib(path, payload, header, sha256)


def _pack(fitted: object) -> tuple[bytes, str]:
    stream = io.BytesIO()
    if isinstance(fitted, Arrays):
        arrays, meta = fitted.to_arrays()
        np.savez(stream, **cast(dict[str, Any], {**arrays, "meta.json": np.array(json.dumps(meta))}))
        return stream.getvalue(), "arrays"
    # Not at the top: readers of array payloads do not need joblib.
    import joblib

    joblib.dump(fitted, stream, compress=3)
    return stream.getvalue(), "joblib"


def _split(path: Path | str, content: bytes) -> tuple[dict[str, Any], bytes]:
    line, _, payload = content.partition(b"\n")
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ArtifactMismatch(f"{path} is not an artifact of Switchyard.")
    if header.get("format_version") != FORMAT_VERSION:
        raise ArtifactMismatch(
            f"{path} has format {header.get('format_version')}, this version reads {FORMAT_VERSION}."
        )
    return header, payload


def _unpack_arrays(path: Path | str, payload: bytes, into: type[Any] | None) -> Any:
    if into is None:
        raise ArtifactMismatch(f"{path} holds arrays; say into which class they are to be read.")
    with np.load(io.BytesIO(payload), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    meta = json.loads(str(arrays.pop("meta.json")))
    return into.from_arrays(arrays, meta)


def _unpack_joblib(path: Path | str, payload: bytes, header: dict[str, Any], sha256: str | None) -> Any:
    if sha256 is None:
        raise ArtifactMismatch(f"{path} holds a pickled estimator: it is read only against its stored SHA-256.")
    for name, made_with in header["libraries"].items():
        if installed(name) != made_with:
            raise ArtifactMismatch(
                f"{path} was made with {name} {made_with}, here is {installed(name)}. Fit and save it anew."
            )
    import joblib

    return joblib.load(io.BytesIO(payload))


def _write_aside(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
