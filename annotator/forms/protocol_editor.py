"""What the template of the protocol editor shows: the boxes and rows of a tree, each with what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from annotator.forms.protocol_tree import PARTS, Asked, Table, Tree, Words
from annotator.protocols import Fault


@dataclass(frozen=True)
class Box:
    """One control: its name, an id made of it, what it holds and what is wrong with that."""

    name: str
    kind: str
    label: Words
    value: Any
    help: Words
    choices: tuple[tuple[str, Words], ...]
    error: str
    focus: bool

    @property
    def id(self) -> str:
        return identifier(self.name)


@dataclass(frozen=True)
class Row:
    """`title` names it for those who do not see where it stands; the first box is always in view."""

    name: str
    title: str
    first: Box
    boxes: tuple[Box, ...]
    hidden: tuple[Box, ...]
    grids: tuple[Grid, ...]
    is_first: bool
    is_last: bool
    focus: str
    # Whether what is folded away has something in it or something wrong with it.
    is_open: bool


@dataclass(frozen=True)
class Grid:
    """The rows of one table, with the button that adds one."""

    name: str
    title: Words
    row: Words
    help: Words
    rows: tuple[Row, ...]
    error: str
    focus: bool
    # Inside a row the table is folded away unless something in it is wrong or has the focus.
    is_open: bool

    @property
    def id(self) -> str:
        return identifier(self.name)


@dataclass(frozen=True)
class Section:
    title: Words
    help: Words
    boxes: tuple[Box, ...]
    grids: tuple[Grid, ...]


def identifier(name: str) -> str:
    return "p-" + name.replace(".", "-")


def sections(tree: Tree, faults: Iterable[Fault] = (), focus: str = "") -> list[Section]:
    wrong: dict[str, str] = {}
    for fault in faults:
        wrong.setdefault(fault.path, fault.reason)
    drawn = _Drawing(wrong, focus)
    return [
        Section(
            part.title,
            part.help,
            drawn.boxes(tree[part.key] if part.key else tree, f"{part.key}." if part.key else "", part.boxes),
            drawn.grids(tree[part.key] if part.key else tree, f"{part.key}." if part.key else "", part.tables),
        )
        for part in PARTS
    ]


@dataclass(frozen=True)
class _Drawing:
    wrong: Mapping[str, str]
    focus: str

    def boxes(self, row: Tree, prefix: str, asked: Iterable[Asked]) -> tuple[Box, ...]:
        return tuple(
            Box(
                name=f"{prefix}{box.key}",
                kind=box.kind,
                label=box.label,
                value=row.get(box.key, box.default),
                help=box.help,
                choices=box.choices,
                error=self.wrong.get(f"{prefix}{box.key}", ""),
                focus=self.focus == f"{prefix}{box.key}",
            )
            for box in asked
        )

    def grids(self, tree: Tree, prefix: str, tables: Iterable[Table]) -> tuple[Grid, ...]:
        return tuple(self.grid(tree.get(table.key) or [], f"{prefix}{table.key}", table) for table in tables)

    def grid(self, rows: list[Tree], name: str, table: Table) -> Grid:
        drawn = tuple(self.row(row, name, table, place, len(rows)) for place, row in enumerate(rows))
        inside = any(path.startswith(f"{name}.") for path in (*self.wrong, self.focus))
        return Grid(
            name=name,
            title=table.title,
            row=table.row,
            help=table.help,
            rows=drawn,
            error=self.wrong.get(name, ""),
            focus=self.focus == f"{name}.add",
            is_open=inside or name in self.wrong,
        )

    def row(self, row: Tree, name: str, table: Table, place: int, count: int) -> Row:
        prefix = f"{name}.{place}."
        boxes = self.boxes(row, prefix, table.boxes)
        visible = [box for box in boxes if box.kind != "hidden"]
        faulty = any(box.error for box in visible[1:])
        has_grids = bool(table.tables)
        written = any(box.value for box in visible[1:] if box.kind == "area")
        return Row(
            name=prefix[:-1],
            title=f"{table.row} {place + 1}",
            first=visible[0],
            boxes=tuple(visible[1:]),
            hidden=tuple(box for box in boxes if box.kind == "hidden"),
            grids=self.grids(row, prefix, table.tables),
            is_first=place == 0,
            is_last=place == count - 1,
            focus=self.button(prefix, place == 0, place == count - 1),
            is_open=has_grids or written or faulty,
        )

    def button(self, prefix: str, is_first: bool, is_last: bool) -> str:
        """The button of the row that has the focus; one that cannot be pressed any more hands it to the other."""
        verb = self.focus.removeprefix(prefix) if self.focus.startswith(prefix) else ""
        if verb == "up" and is_first:
            return "down"
        return "up" if verb == "down" and is_last else verb
