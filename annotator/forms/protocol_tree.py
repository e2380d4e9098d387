"""The form of the protocol editor: a definition as rows of boxes, and back.

What the boxes hold is a *tree*: the stored JSON with every row an object, so that box "aspects.1.levels.0.label" is
`tree["aspects"][1]["levels"][0]["label"]`. Buttons name what they do to it: "aspects.add", "aspects.1.up". The server
keeps nothing between two requests: the form is sent whole, changed, and given back whole.
"""

from __future__ import annotations

import copy
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from annotator import protocols
from annotator.protocols import ASKED, RANKINGS, Fault

Words = str | Promise
Tree = dict[str, Any]
ROWS_MAX = 40


class Asked(NamedTuple):
    """A box of every row: `kind` is text, area, number, check, choice or hidden."""

    key: str
    kind: str
    label: Words
    default: Any = ""
    help: Words = ""
    choices: tuple[tuple[str, Words], ...] = ()


class Table(NamedTuple):
    """A list of rows that can be added, moved and removed; `new` is what a row starts with."""

    key: str
    title: Words
    row: Words
    boxes: tuple[Asked, ...]
    tables: tuple[Table, ...] = ()
    new: Tree = {}
    help: Words = ""


class Part(NamedTuple):
    """One section of the editor; its boxes and tables belong to the tree itself, or to its part `key`."""

    title: Words
    boxes: tuple[Asked, ...]
    tables: tuple[Table, ...] = ()
    key: str = ""
    help: Words = ""


_ASKED_WORDS = tuple(zip(ASKED, (_("not asked"), _("optional"), _("required")), strict=True))
_RANKING_WORDS = tuple(
    zip(RANKINGS, (_("no: A against B"), _("all responses in order"), _("the best and the worst")), strict=True)
)
_KEY = Asked("key", "text", _("Key in exports"), help=_("Empty: made from the words. Keep it when only words change."))
_HELP = Asked("help", "area", _("Help beside it"))
_LABEL = Asked("label", "text", _("Words on screen"))
_MEANING = (
    Asked("meaning", "area", _("When to give it")),
    Asked("example", "area", _("Worked example, Markdown")),
)
_LEVELS = Table(
    "levels",
    _("Levels, from A to B"),
    _("Level"),
    (Asked("value", "hidden", ""), _LABEL, *_MEANING),
    help=_("2 to 9. The middle one of an odd number is the tie; an even number has none."),
)
_FIVE = [{"label": str(label)} for _value, label in protocols.PRESETS["multipref"]["levels"]]


def _choices(key: str, title: Words, row: Words) -> Table:
    return Table(key, title, row, (_LABEL, _KEY))


PARTS = (
    Part(
        _("Question"),
        (
            Asked("question", "text", _("Question")),
            Asked("help", "area", _("Help beside it")),
            Asked("ranking", "choice", _("Ranking"), "none", choices=_RANKING_WORDS),
            Asked("criterion", "check", _("Show the comparison's own criterion above the question"), False),
            Asked("confidence", "check", _("Ask how sure they are"), False),
            Asked("neither_valid", "check", _("Offer “neither valid”"), True),
            Asked("neither_words", "text", _("Other words for “neither valid”")),
            Asked("cannot_judge", "check", _("Offer “cannot judge”"), True),
        ),
        (_LEVELS, _choices("reasons", _("Reasons"), _("Reason"))),
    ),
    Part(
        _("Aspects"),
        (),
        (
            Table(
                "aspects",
                _("Aspects"),
                _("Aspect"),
                (
                    _LABEL,
                    _KEY,
                    _HELP,
                    Asked("required", "check", _("Required"), False),
                    Asked("confidence", "check", _("Ask how sure they are"), False),
                ),
                (_LEVELS, _choices("reasons", _("Reasons"), _("Reason"))),
                {"levels": _FIVE, "required": True},
            ),
        ),
        help=_("Questions about one side of quality, A against B on a scale of their own."),
    ),
    Part(
        _("Ratings"),
        (),
        (
            Table(
                "attributes",
                _("Ratings"),
                _("Rating"),
                (
                    _LABEL,
                    _KEY,
                    _HELP,
                    Asked("required", "check", _("Required"), True),
                    Asked("minimum", "number", _("Lowest number"), 0),
                    Asked("maximum", "number", _("Highest number"), 4),
                ),
                (Table("anchors", _("Numbers in words, from the lowest"), _("Number"), (_LABEL, *_MEANING)),),
                {"minimum": 0, "maximum": 4, "required": True},
            ),
        ),
        help=_("Numbers for each response alone."),
    ),
    Part(
        _("Marked passages"),
        (Asked("comment", "check", _("Ask for a comment on each passage"), True),),
        (
            _choices("types", _("Types of error"), _("Type")),
            _choices("severities", _("Severities"), _("Severity")),
        ),
        "spans",
        _("Annotators mark errors where they stand. Without a type none are marked."),
    ),
    Part(
        _("Written words"),
        (
            Asked("justification", "choice", _("Justification"), "optional", choices=_ASKED_WORDS),
            Asked("justification_min", "number", _("Shortest justification, characters"), 0),
            Asked("feedback", "choice", _("Feedback on each response"), "none", choices=_ASKED_WORDS),
            Asked("feedback_min", "number", _("Shortest feedback, characters"), 0),
            Asked("edit", "choice", _("The better response, edited"), "none", choices=_ASKED_WORDS),
        ),
        help=_("A length counts only where the words are required."),
    ),
    Part(_("Flags"), (), (_choices("flags", _("Flags"), _("Flag")),), help=_("What may be wrong with a comparison.")),
)


# ---------- the tree: from a definition, from what was sent, and back ----------


def tree_of(definition: protocols.Definition) -> Tree:
    spans = definition.spans
    names = [asked.key for part in PARTS if not part.key for asked in part.boxes]
    return {
        **{name: getattr(definition, name) for name in names},
        "levels": _words_of(definition.levels),
        "reasons": _rows_of(definition.reasons),
        "flags": _rows_of(definition.flags),
        "spans": {
            "comment": spans.comment if spans else True,
            "types": _rows_of(spans.types if spans else ()),
            "severities": _rows_of(spans.severities if spans else ()),
        },
        "aspects": [
            {**vars(aspect), "levels": _words_of(aspect.levels), "reasons": _rows_of(aspect.reasons)}
            for aspect in definition.aspects
        ],
        "attributes": [
            {**vars(attribute), "anchors": _words_of(attribute.anchors)} for attribute in definition.attributes
        ],
    }


def _words_of(levels: Iterable[protocols.Level]) -> list[Tree]:
    return [dict(vars(level)) for level in levels]


def _rows_of(choices: Iterable[protocols.Choice]) -> list[Tree]:
    return [dict(vars(choice)) for choice in choices]


def tree_sent(sent: Mapping[str, Any]) -> Tree:
    """The tree of a form that was sent; a box that is not there is empty, a name that is no box is passed over."""
    tree: Tree = {}
    for part in PARTS:
        prefix = f"{part.key}." if part.key else ""
        own = tree.setdefault(part.key, {}) if part.key else tree
        own |= _boxes_sent(sent, prefix, part.boxes, part.tables)
    return tree


def _boxes_sent(sent: Mapping[str, Any], prefix: str, boxes: Iterable[Asked], tables: Iterable[Table]) -> Tree:
    row: Tree = {box.key: _value(box, sent.get(f"{prefix}{box.key}")) for box in boxes}
    for table in tables:
        start = f"{prefix}{table.key}."
        numbers = {name[len(start) :].partition(".")[0] for name in sent if name.startswith(start)}
        in_order = sorted(int(number) for number in numbers if number.isdecimal() and len(number) < 5)
        row[table.key] = [
            _boxes_sent(sent, f"{start}{number}.", table.boxes, table.tables) for number in in_order[:ROWS_MAX]
        ]
    return row


def _value(box: Asked, given: Any) -> Any:
    if box.kind == "check":
        return bool(given)
    words = str(given or "").replace("\r\n", "\n").strip()
    if box.kind in ("number", "hidden"):
        return int(words) if re.fullmatch(r"-?\d{1,6}", words) else words or box.default
    return words


def changed(tree: Tree, do: str) -> str:
    """Carry out what a button says; gives the name of what has the focus then, "" when nothing was done."""
    path, _dot, verb = do.rpartition(".")
    if verb == "add":
        return _added(tree, path)
    table, _dot, number = path.rpartition(".")
    rows = _at(tree, table)
    if not isinstance(rows, list) or not _counts(number, rows):
        return ""
    place = int(number)
    moved = {"up": place - 1, "down": place + 1}.get(verb, place)
    if verb == "remove":
        del rows[place]
    elif moved != place and 0 <= moved < len(rows):
        rows[place], rows[moved] = rows[moved], rows[place]
    else:
        return ""
    _renumber(table, rows)
    return f"{table}.add" if verb == "remove" else f"{table}.{moved}.{verb}"


def _added(tree: Tree, path: str) -> str:
    rows, table = _at(tree, path), TABLES.get(re.sub(r"\.\d+", "", path))
    if not isinstance(rows, list) or table is None or len(rows) >= ROWS_MAX:
        return ""
    rows.append({**_boxes_sent({}, "", table.boxes, table.tables), **copy.deepcopy(table.new)})
    _renumber(path, rows)
    return f"{path}.{len(rows) - 1}.label"


def _counts(number: str, rows: list[Any]) -> bool:
    """Whether `number` is the place of a row."""
    return number.isdecimal() and len(number) < 5 and int(number) < len(rows)


def _at(tree: Tree, path: str) -> Any:
    node: Any = tree
    for step in path.split("."):
        if isinstance(node, list) and _counts(step, node):
            node = node[int(step)]
        elif isinstance(node, dict) and step in node:
            node = node[step]
        else:
            return None
    return node


def _renumber(path: str, rows: list[Tree]) -> None:
    """Levels count from A to B; of an even number none is in the middle."""
    if path.endswith("levels"):
        for row, value in zip(rows, _values(len(rows)), strict=True):
            row["value"] = value


def _values(count: int) -> list[int]:
    half = count // 2
    return [value for value in range(-half, half + 1) if value or count % 2]


def _all_tables() -> dict[str, Table]:
    found = {}
    for part in PARTS:
        for table in part.tables:
            path = f"{part.key}.{table.key}" if part.key else table.key
            found[path] = table
            found |= {f"{path}.{inner.key}": inner for inner in table.tables}
    return found


TABLES = _all_tables()


def definition_of(tree: Tree) -> dict[str, Any]:
    """The JSON to store; what is not asked is left out, so that it reads as short as it is."""
    known = {
        box.key: tree[box.key] for part in PARTS for box in part.boxes if not part.key and tree[box.key] != box.default
    }
    known |= {"question": tree["question"], "levels": _levels(tree["levels"])}
    known |= {name: _pairs(tree[name]) for name in ("reasons", "flags") if tree[name]}
    if tree["spans"]["types"] or tree["spans"]["severities"]:
        lists = {name: _pairs(tree["spans"][name]) for name in ("types", "severities")}
        known["spans"] = {**lists, "comment": tree["spans"]["comment"]}
    if tree["aspects"]:
        known["aspects"] = [
            {**_own(row), "levels": _levels(row["levels"]), "reasons": _pairs(row["reasons"])}
            for row in _keyed(tree["aspects"])
        ]
    if tree["attributes"]:
        known["attributes"] = [
            {**_own(row), "anchors": [_anchor(anchor) for anchor in row["anchors"]]}
            for row in _keyed(tree["attributes"])
        ]
    return known


def _own(row: Tree) -> Tree:
    return {name: value for name, value in row.items() if name != "help" or value}


def _levels(rows: list[Tree]) -> list[list[Any]]:
    """With the numbers they came with, while these are a scale."""
    values = [row.get("value") for row in rows]
    numbers = [value for value in values if type(value) is int]
    if numbers != sorted(set(numbers)) or numbers != [-n for n in reversed(numbers)] or len(numbers) != len(rows):
        numbers = _values(len(rows))
    return [[value, *_said(row)] for value, row in zip(numbers, rows, strict=True)]


def _said(row: Tree) -> list[str]:
    words = [row.get(name) or "" for name in ("label", "meaning", "example")]
    while len(words) > 1 and not words[-1]:
        words.pop()
    return words


def _anchor(row: Tree) -> Any:
    words = {name: row.get(name) or "" for name in ("label", "meaning", "example")}
    said = {name: value for name, value in words.items() if value or name == "label"}
    return said if len(said) > 1 else said["label"]


def _pairs(rows: list[Tree]) -> list[list[str]]:
    return [[row["key"], row.get("label") or ""] for row in _keyed(rows)]


def _keyed(rows: list[Tree]) -> list[Tree]:
    """Rows with a key each: where none was given, one of its words."""
    taken = {row.get("key") for row in rows}
    keyed = []
    for row in rows:
        key = row.get("key") or _free(_slug(row.get("label") or ""), taken)
        taken.add(key)
        keyed.append({**row, "key": key})
    return keyed


def _slug(words: str) -> str:
    plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:50] or "row"


def _free(key: str, taken: set[Any]) -> str:
    number = 1
    while (free := key if number == 1 else f"{key}_{number}") in taken:
        number += 1
    return free


def read_json(written: str) -> tuple[Any, list[Fault]]:
    """What was written as JSON, and what is wrong with it; None when it is none."""
    try:
        definition = json.loads(written)
    except json.JSONDecodeError as error:
        place = str(_("Line %(line)d, character %(column)d")) % {"line": error.lineno, "column": error.colno}
        return None, [Fault("", place, error.msg)]
    except (ValueError, RecursionError):
        return None, [Fault("", "", str(_("this is not JSON")))]
    return definition, protocols.faults(definition)


def as_json(definition: Mapping[str, Any]) -> str:
    written = json.dumps(definition, ensure_ascii=False, indent=2)
    try:
        written.encode()
    except UnicodeEncodeError:  # a lone surrogate, which no page can hold
        return json.dumps(definition, indent=2)
    return written
