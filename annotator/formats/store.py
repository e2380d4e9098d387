"""The lossless store (`formats.judgments`) as a folder or zip that came back: its files, checked by their hashes."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from annotator.formats import folders
from annotator.formats.files import FileInvalid, Numbered, RowFile
from annotator.formats.judgments import TABLES
from annotator.formats.tables import CONTAINERS, sha256_of

FORMAT = "judgments"
# A store without its manifest is known by these tables.
NEEDED = ("comparisons", "judgments", "prompts", "responses", "raters", "protocols")
# Gives how much of the work is done, 0 to 1.
Beat = Callable[[float], None]


def tree_of(path: Path) -> folders.Tree | None:
    """What lies at `path`, when it is a store. Raises FileInvalid for a zip that cannot be read."""
    if not folders.is_folder(path):
        return None
    tree: folders.Tree = folders.LocalTree(path) if path.is_dir() else folders.ZipTree(path)
    root = folders.root_of(tree.names)
    if exported_as := folders.exported_as(tree, root):
        return tree if exported_as == FORMAT else None
    tops = {name.removeprefix(root).partition("/")[0] for name in tree.names if name.startswith(root)}
    return tree if set(NEEDED) <= tops else None


class Store:
    """The files of each table in their order, and `digest`, the same for every store with the same data.

    Files of a zip are unpacked into `scratch` one at a time. Made only of what `tree_of` knows.
    """

    def __init__(self, path: Path, tree: folders.Tree, scratch: Path | None = None) -> None:
        self.tree, self.scratch = tree, scratch
        self.container = "folder" if path.is_dir() else "zip"
        self.root = folders.root_of(tree.names)
        self.manifest = self._manifest()
        self.files = {table: self._files(table) for table in TABLES}
        if absent := [table for table in NEEDED if not self.files[table]]:
            raise FileInvalid(f"the store has no table {absent[0]}; export it again")
        self.digest = ""

    def _manifest(self) -> dict[str, Any]:
        name = f"{self.root}manifest.json"
        if name not in self.tree.names:
            return {}
        try:
            return dict(json.loads(self.tree.text(name)))
        except (ValueError, TypeError, RecursionError) as error:
            raise FileInvalid(f"the store's manifest.json cannot be read: {error}") from None

    def _files(self, table: str) -> list[str]:
        top = f"{self.root}{table}/"
        return sorted(
            name for name in self.tree.names if name.startswith(top) and name.endswith(tuple(CONTAINERS.values()))
        )

    def verify(self, beat: Beat) -> None:
        """Hash every file and hold it against the manifest, where there is one. Raises FileInvalid."""
        told = self._told()
        names = [name for files in self.files.values() for name in files]
        lines = []
        for done, name in enumerate(names):
            beat(done / len(names))
            inside = name.removeprefix(self.root)
            with tempfile.TemporaryDirectory(dir=self.scratch, prefix="unpacked-") as folder:
                sha256 = sha256_of(self.tree.file(name, Path(folder), None))
            if self.manifest and told.pop(inside, None) != sha256:
                raise FileInvalid(
                    f"{inside} is not the file that the store's manifest.json names: it was changed after the export,"
                    " or damaged on its way. Export or copy the store again"
                )
            lines.append(f"{sha256}  {inside}\n")
        if told:
            raise FileInvalid(f"{min(told)} is missing, which the store's manifest.json names")
        self.digest = hashlib.sha256("".join(sorted(lines)).encode(errors="surrogateescape")).hexdigest()

    def _told(self) -> dict[str, str]:
        given = self.manifest.get("files")
        files = given if isinstance(given, list) else []
        return {str(one.get("name")): str(one.get("sha256")) for one in files if isinstance(one, dict)}

    def rows(self, table: str, beat: Beat, budget: int | None = None) -> Generator[tuple[str, Numbered]]:
        """(file, (row in it, its values or why it cannot be read)). Raises FileInvalid; `budget` is RowFile's."""
        for place, name in enumerate(self.files[table]):
            most = None if budget is None or name.endswith(".parquet") else budget + 1
            with tempfile.TemporaryDirectory(dir=self.scratch, prefix="unpacked-") as folder:
                file = RowFile(self.tree.file(name, Path(folder), most), budget=budget)

                def alive(_line: int, file: RowFile = file, place: int = place) -> None:
                    beat((place + file.share_read()) / len(self.files[table]))

                # Parquet may be looked at for long before its first row.
                file.on_line = alive
                for number, row in enumerate(self._read(file, name)):
                    if number % 1000 == 0:
                        alive(number)
                    yield name.removeprefix(self.root), row

    @staticmethod
    def _read(file: RowFile, name: str) -> Iterator[Numbered]:
        try:
            yield from file
        except FileInvalid as invalid:
            raise FileInvalid(f"{name}: {invalid}") from invalid
