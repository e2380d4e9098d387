"""Folders of tables, and zips of them: our own exports, and data set folders whose README names configurations.

A folder is read as one file: its table's splits one after the other. What names it gives are never used as paths: a
zip's files are unpacked one at a time into a folder of ours, and of a local folder nothing outside of it is read.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from annotator.formats import front_matter, splits
from annotator.formats.files import FileInvalid, Numbered, RowFile

DATA = (".jsonl", ".json", ".csv", ".parquet", ".jsonl.gz", ".json.gz", ".csv.gz")
# Files of that kind which hold no rows.
NO_ROWS = (
    "manifest.json", "croissant.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json",
)  # fmt: skip
SPLITS = ("train", "validation", "valid", "val", "dev", "test")
MOST_FILES = 10_000
# Bytes of a zip's directory, which is read whole; each entry of it begins with this.
LONGEST_DIRECTORY = 16 * 2**20
ENTRY = b"PK\1\2"
# Patterns of files that a README may name, and how many names may be held against patterns in all.
MOST_PATTERNS, MOST_MATCHED = 10_000, 2_000_000
# Of a README or manifest so many bytes are read.
LONGEST_README = 4 * 2**20
# Text packs to a tenth or a twentieth; a zip that unpacks to more than this many times its size is an attack.
MOST_UNPACKED = 200
LEAST_UNPACKED = 2**30
CHUNK = 2**20
# How folders begin in which files of zips are unpacked.
UNPACKED = "unpacked-"
TOO_MUCH = "the zip file unpacks to far more than its size; import its files one by one"


class Tree(Protocol):
    """Where the files lie: a local folder or a zip. Names have slashes between their parts."""

    size: int
    names: list[str]

    def text(self, name: str) -> str:
        """The start of a small file."""

    def file(self, name: str, scratch: Path, most: int | None) -> Path:
        """The file as a local one; of text perhaps only the first `most` bytes."""


class LocalTree:
    def __init__(self, path: Path) -> None:
        self.root = path.resolve()
        found = (one for one in sorted(self.root.rglob("*")) if one.is_file())
        inside = [one for one in found if one.resolve().is_relative_to(self.root)]
        self.names = [one.relative_to(self.root).as_posix() for one in inside]
        self.size = sum(one.stat().st_size for one in inside)

    def text(self, name: str) -> str:
        with (self.root / name).open("rb") as file:
            return file.read(LONGEST_README).decode(errors="replace")

    def file(self, name: str, scratch: Path, most: int | None) -> Path:
        return self.root / name


class BoundedReads(io.BufferedReader):
    """A zip's bytes. Its directory is bounded as zipfile reads it, before an entry of it becomes an object.

    That holds whatever the end of the file, which is read first, says of the directory's size and entries.
    """

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > LONGEST_DIRECTORY:
            raise FileInvalid(f"the zip file's directory is longer than {LONGEST_DIRECTORY // 2**20} MB")
        data = super().read(size)
        if data.count(ENTRY) > MOST_FILES:
            raise FileInvalid(f"the zip file holds more than {MOST_FILES:,} files and folders")
        return data


class ZipTree:
    def __init__(self, path: Path) -> None:
        file = BoundedReads(io.FileIO(path))
        weakref.finalize(self, file.close)
        try:
            self.zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise FileInvalid(f"the zip file is damaged: {error}") from error
        members = [one for one in self.zip.infolist() if not one.is_dir()]
        self.names = [one.filename for one in members]
        self.size = sum(one.file_size for one in members)
        self.left = max(LEAST_UNPACKED, MOST_UNPACKED * path.stat().st_size)

    def text(self, name: str) -> str:
        with self._open(name) as file:
            return file.read(LONGEST_README).decode(errors="replace")

    def file(self, name: str, scratch: Path, most: int | None) -> Path:
        declared = self.zip.getinfo(name).file_size if most is None else min(most, self.zip.getinfo(name).file_size)
        if declared > self.left:
            raise FileInvalid(TOO_MUCH)
        if declared > shutil.disk_usage(scratch).free / 2:
            raise FileInvalid(f"{name} in the zip file is larger than half of the disk's free space")
        # Not the member's name, which may say anything; only what kind of file it is.
        path = scratch / f"unpacked{''.join(PurePosixPath(name).suffixes[-2:])[-12:]}"
        with self._open(name) as packed, path.open("wb") as unpacked:
            self._unpack(packed, unpacked, name, most)
        return path

    def _unpack(self, packed: IO[bytes], unpacked: IO[bytes], name: str, most: int | None) -> None:
        """What is written is counted: what the zip says of its files' sizes may be wrong."""
        taken = 0
        try:
            while chunk := packed.read(CHUNK):
                taken, self.left = taken + len(chunk), self.left - len(chunk)
                if self.left < 0:
                    raise FileInvalid(TOO_MUCH)
                unpacked.write(chunk)
                if most is not None and taken > most:
                    return
        except (zipfile.BadZipFile, EOFError, OSError, zlib.error) as error:
            raise FileInvalid(f"{name} in the zip file cannot be read: {error}") from error

    def _open(self, name: str) -> IO[bytes]:
        try:
            return self.zip.open(name)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:  # RuntimeError: it has a password
            raise FileInvalid(f"{name} in the zip file cannot be read: {error}") from error


def digest(path: Path) -> tuple[str, int]:
    """sha256 and size of a file; of a folder over the names and hashes of what it holds."""
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
    tree, sha = LocalTree(path), hashlib.sha256()
    for name in tree.names:
        sha.update(f"{digest(tree.root / name)[0]}  {name}\n".encode(errors="surrogateescape"))
    return sha.hexdigest(), tree.size


def is_folder(path: Path) -> bool:
    """Whether `path` is to be read here: a folder, or a zip by its first bytes."""
    if path.is_dir():
        return True
    with path.open("rb") as file:
        return file.read(4) in (b"PK\3\4", b"PK\5\6")


class Folder:
    """Iterates (line, row) of one table, as RowFile does; lines count on from file to file, `where` tells them apart.

    `table`: its name, "" for the one that stands for the folder. `scratch`: where files of a zip are unpacked, one at
    a time. `budget` and `on_line` are those of RowFile, for each file.
    """

    def __init__(
        self,
        path: Path,
        table: str = "",
        *,
        scratch: Path | None = None,
        budget: int | None = None,
        on_line: Callable[[int], None] | None = None,
    ) -> None:
        self.tree: Tree = LocalTree(path) if path.is_dir() else ZipTree(path)
        self.tables = tables(self.tree)
        if not self.tables:
            raise FileInvalid("the folder holds no files of rows")
        if table and table not in self.tables:
            raise FileInvalid(f"the folder has no table {table}; it has {', '.join(self.tables)}")
        self.table = table or next(iter(self.tables))
        self.container = f"{'folder' if path.is_dir() else 'zip'}, {self.table}"
        self.scratch, self.budget, self.on_line = scratch, budget, on_line
        # (line before its first, name) of each file so far.
        self.began: list[tuple[int, str]] = []
        self._current: RowFile | None = None

    def share_read(self) -> float:
        inside = self._current.share_read() if self._current else 0.0
        return (max(len(self.began) - 1, 0) + inside) / len(self.tables[self.table])

    def split(self, line: int) -> str:
        """The split that a line's file is of, "" where nothing says so."""
        name = next((name for first, name in reversed(self.began) if first < line), "")
        return self.tables[self.table].get(name, "")

    def __iter__(self) -> Iterator[Numbered]:
        last = 0
        for name in self.tables[self.table]:
            self.began.append((last, name))
            with tempfile.TemporaryDirectory(dir=self.scratch, prefix=UNPACKED) as folder:
                for line, row in self._rows(name, Path(folder)):
                    last = self.began[-1][0] + line
                    yield last, row

    def _rows(self, name: str, folder: Path) -> Iterator[Numbered]:
        most = None if self.budget is None or name.endswith(".parquet") else self.budget + 1
        try:
            self._current = RowFile(self.tree.file(name, folder, most), budget=self.budget, on_line=self.on_line)
            yield from self._current
        except FileInvalid as invalid:
            raise FileInvalid(f"{name}: {invalid}") from invalid


def where(began: Sequence[tuple[int, str]], line: int) -> str:
    """The file of a line, and the line in it; `began` as in Folder."""
    before = [(first, name) for first, name in began if first < line]
    return f"{before[-1][1]}, {line - before[-1][0]}" if before else ""


def tables(tree: Tree) -> dict[str, dict[str, str]]:
    """Name -> files in the order of splits, each with its split, the table that stands for the folder first.

    Raises FileInvalid. A split is what the README calls it, else what the file's name begins with, else "".

    The lossless store's tables belong together and are not read here.
    """
    root = root_of(tree.names)
    names = {name.removeprefix(root): name for name in tree.names if name.startswith(root) and _is_data(name)}
    if exported_as(tree, root) == "judgments":
        raise FileInvalid("this is a lossless store: it is restored whole, and its tables are not imported")
    configs = _configs(tree, root)
    found = _of_readme(configs, list(names)) if configs else _by_folder(list(names))
    return {
        table: {names[name]: splits.name_of(split, name) for name, split in files.items()}
        for table, files in found.items()
        if files
    }


def root_of(names: list[str]) -> str:
    """ "name/" when everything lies in one folder that has a README or a manifest, else ""."""
    tops = {name.partition("/")[0] for name in names if not _is_hidden(name)}
    top = next(iter(tops)) if len(tops) == 1 else ""
    return f"{top}/" if {f"{top}/README.md", f"{top}/manifest.json"} & set(names) else ""


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _is_data(name: str) -> bool:
    return name.lower().endswith(DATA) and not _is_hidden(name) and PurePosixPath(name).name not in NO_ROWS


def exported_as(tree: Tree, root: str) -> str:
    """The format of an export of ours; "" of anything else."""
    if f"{root}manifest.json" not in tree.names:
        return ""
    try:
        manifest = json.loads(tree.text(f"{root}manifest.json"))
    except (ValueError, RecursionError):
        return ""
    return str(manifest.get("format", "")) if isinstance(manifest, dict) else ""


def _configs(tree: Tree, root: str) -> list[dict[str, Any]]:
    """The configurations that the README's header names, the default one first."""
    if f"{root}README.md" not in tree.names:
        return []
    try:
        given = front_matter.header(tree.text(f"{root}README.md")).get("configs")
    except front_matter.HeaderRefused as error:
        raise FileInvalid(f"the header of {root}README.md cannot be read: {error}; mend it or leave it out") from error
    configs = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    return sorted(configs, key=lambda one: not one.get("default"))


def _of_readme(configs: list[dict[str, Any]], names: list[str]) -> dict[str, dict[str, str]]:
    given = {place: sorted(_patterns(config.get("data_files")), key=_by_split) for place, config in enumerate(configs)}
    if (count := sum(map(len, given.values()))) > MOST_PATTERNS or count * len(names) > MOST_MATCHED:
        raise FileInvalid(f"the README names {count:,} patterns of files, too many for {len(names):,} files")
    found: dict[str, dict[str, str]] = {}
    for place, config in enumerate(configs):
        files: dict[str, str] = {}
        for split, pattern in given[place]:
            for name in sorted(names):
                if fnmatchcase(name, pattern):
                    files.setdefault(name, split)
        found[str(config.get("config_name", "default"))] = files
    return found


def _patterns(given: Any) -> list[tuple[str, str]]:
    """(split, pattern) of `data_files`: a pattern, a list of them, or {"split", "path"} with one or several."""
    if isinstance(given, str):
        return [("", given.removeprefix("./"))]
    if isinstance(given, list):
        return [pair for one in given for pair in _patterns(one)]
    if isinstance(given, dict):
        return [(str(given.get("split", "")), pattern) for _split, pattern in _patterns(given.get("path"))]
    return []


def _by_folder(names: list[str]) -> dict[str, dict[str, str]]:
    """Without configurations: what lies at the top or in data/ stands for the folder, each other folder is a table."""
    found: dict[str, dict[str, str]] = {}
    for name in sorted(names, key=lambda one: _by_split((PurePosixPath(one).name, one))):
        top = name.partition("/")[0] if "/" in name else "data"
        found.setdefault("default" if top == "data" else top, {})[name] = ""
    return dict(sorted(found.items(), key=lambda one: (one[0] != "default", one[0])))


def _by_split(pair: tuple[str, str]) -> tuple[int, str]:
    """Where a split, or a file by its name, stands in the order of splits."""
    split, name = pair
    place = next((place for place, known in enumerate(SPLITS) if split.lower().startswith(known)), len(SPLITS))
    return place, name
