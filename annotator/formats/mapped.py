"""Files with columns of their own: somebody says which column is the prompt, which the responses, which the winner.

A mapping is {"columns": {field: column}, "winner": {value: verdict}, "by": "person" | "ai"}. Its rows become rows of
our own shape. Columns that it does not name stay in the comparison's metadata.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any

from annotator.formats import native, rows
from annotator.formats.files import FileInvalid, Numbered
from annotator.formats.rows import Entry, RowInvalid

FIELDS = (
    *("id", "prompt", "system", "response_a", "response_b", "model_a", "model_b", "winner", "rater", "justification"),
)
NEEDED = ("prompt", "response_a", "response_b")
# What a winner's value may mean; "" is no judgment.
VERDICTS = ("a", "b", "tie", "neither", "")
RATERS = ("person", "ai")
# A column with more different values is no winner.
MOST_VALUES = 30
# So many rows may be about one comparison: they are held together.
MOST_TOGETHER = 1000

# How the two of a pair are told apart in names of columns and in values of a winner.
_PAIRS = (("a", "b"), ("1", "2"), ("left", "right"), ("first", "second"), ("0", "1"), ("one", "two"))
_TEXTS = ("response", "answer", "completion", "output", "reply", "text", "summary", "candidate", "generation", "")
_MODELS = ("model", "model_name", "system_name", "generator", "policy")
_NAMES = {
    "id": ("id", "row_id", "pair_id", "item_id", "example_id", "task_id", "uid", "uuid"),
    "prompt": ("prompt", "question", "instruction", "query", "input", "user_prompt", "request", "task", "messages"),
    "system": ("system", "system_prompt", "system_message"),
    "winner": (
        "winner",
        "preferred",
        "preference",
        "better",
        "choice",
        "chosen",
        "vote",
        "verdict",
        "selected",
        "label",
    ),
    "rater": ("rater", "annotator", "annotator_id", "worker", "worker_id", "rater_id", "evaluator", "judge", "user_id"),
    "justification": ("justification", "rationale", "reason", "explanation", "comment", "why"),
}
_TIES = ("tie", "equal", "same", "draw", "both", "both_good", "equally_good", "no_preference", "0_5")
_NEITHER = ("neither", "neither_valid", "tie_bothbad", "both_bad", "bothbad", "none", "none_of_them")
_NO_ANSWER = ("", "skip", "skipped", "n_a", "na", "null", "unknown")


class MappingInvalid(FileInvalid):
    """The mapping cannot be used; the message says what it lacks."""


@dataclass(frozen=True)
class Columns:
    """A checked mapping."""

    columns: dict[str, str]
    winner: dict[str, str] = field(default_factory=dict)
    by: str = "person"

    def as_json(self) -> dict[str, Any]:
        return {"columns": dict(self.columns), "winner": dict(self.winner), "by": self.by}


def checked(given: Mapping[str, Any]) -> Columns:
    """The mapping, when it says what is needed. Raises MappingInvalid."""
    columns = {name: column for name, column in (given.get("columns") or {}).items() if column}
    winner, by = dict(given.get("winner") or {}), given.get("by") or "person"
    if unknown := [name for name in columns if name not in FIELDS]:
        raise MappingInvalid(f"{unknown[0]} is no field that a column can go to; fields: {', '.join(FIELDS)}")
    if missing := [name for name in NEEDED if name not in columns]:
        raise MappingInvalid(f"say which column is the {missing[0]}")
    if twice := [name for name in columns if list(columns.values()).count(columns[name]) > 1]:
        raise MappingInvalid(f"the column {columns[twice[0]]} goes to {' and to '.join(twice)}; choose one")
    if wrong := [verdict for verdict in winner.values() if verdict not in VERDICTS]:
        raise MappingInvalid(f"a winner is a, b, tie, neither or nothing, not {wrong[0]}")
    if by not in RATERS:
        raise MappingInvalid(f"judgments are by {' or '.join(RATERS)}, not {by}")
    if by == "ai" and "winner" in columns and "rater" not in columns:
        raise MappingInvalid("judgments of AI need a column with the name of the judge (rater)")
    return Columns(columns, winner, by)


def words(name: str) -> str:
    """A name or value as guesses compare it: "Answer 1" and "answer1" are both "answer_1"."""
    spaced = re.sub(r"([a-z])(\d)", r"\1_\2", re.sub(r"[^0-9a-z]+", "_", name.casefold()).strip("_"))
    return spaced


def guess(names: Iterable[str]) -> dict[str, str]:
    """Field -> column, as far as names of columns tell."""
    known = {words(name): name for name in reversed(list(names))}
    found = {
        goal: known[name] for goal, usual in _NAMES.items() for name in reversed(usual) if name in known
    }  # the reverse: the most usual name is written last and stays
    for goal, stems in (("response", _TEXTS), ("model", _MODELS)):
        for stem, (a, b) in ((stem, pair) for stem in stems for pair in _PAIRS):
            left, right = words(f"{stem}_{a}"), words(f"{stem}_{b}")
            if left in known and right in known:
                found |= {f"{goal}_a": known[left], f"{goal}_b": known[right]}
                break
    taken: dict[str, str] = {}
    return {goal: column for goal, column in found.items() if taken.setdefault(column, goal) == goal}


def verdict_of(value: str, columns: Mapping[str, str]) -> str | None:
    """What a winner's value means by its words: one of VERDICTS, None where they do not tell."""
    said = words(value)
    for side, place in (("a", 0), ("b", 1)):
        names = {pair[place] for pair in _PAIRS if pair != ("0", "1")}
        names |= {words(f"{stem}_{name}") for stem in (*_TEXTS, *_MODELS) for name in names}
        if said in names or said == words(columns.get(f"response_{side}", "")):
            return side
    for verdict, known in (("tie", _TIES), ("neither", _NEITHER), ("", _NO_ANSWER)):
        if said in known:
            return verdict
    return None


class Reader:
    """Reads rows by a mapping, as the other readers read theirs."""

    def __init__(self, mapping: Columns) -> None:
        self.mapping = mapping

    def joined(self, numbered: Iterable[Numbered]) -> Iterator[Numbered]:
        """Rows of our own shape. Neighbours about the same two responses are one with several judgments."""
        made = ((line, self._translated(row)) for line, row in numbered)
        for _key, group in groupby(made, key=lambda one: _same(one[1])):
            together = list(islice(group, MOST_TOGETHER + 1))
            line, first = together[0]
            if isinstance(first, RowInvalid):
                yield from together
            elif len(together) > MOST_TOGETHER:
                yield line, RowInvalid("", f"more than {MOST_TOGETHER:,} rows are about the same two responses")
            else:
                yield line, _merged(first, [row for _line, row in together[1:] if isinstance(row, dict)])

    def read(self, row: Mapping[str, Any]) -> Entry:
        try:
            return native.read(row)
        except RowInvalid as invalid:
            raise self._named(invalid) from None

    def _named(self, invalid: RowInvalid) -> RowInvalid:
        """The error with the file's own name of the column."""
        name = re.match(r"\w*", invalid.field)[0]  # type: ignore[index]
        return RowInvalid(self.mapping.columns.get(name, name) + invalid.field[len(name) :], invalid.reason)

    def _translated(self, row: dict[str, Any] | RowInvalid) -> dict[str, Any] | RowInvalid:
        if isinstance(row, RowInvalid):
            return row
        try:
            return self._own_shape(row)
        except RowInvalid as invalid:
            return self._named(invalid)

    def _own_shape(self, row: dict[str, Any]) -> dict[str, Any]:
        columns = self.mapping.columns
        given = {name: row.get(column) for name, column in columns.items()}
        for name in NEEDED:
            if given[name] is None:
                raise RowInvalid(name, "is missing")
        rest = {name: value for name, value in row.items() if name not in columns.values()}
        made = {
            name: given.get(name) for name in ("prompt", "system", "response_a", "response_b", "model_a", "model_b")
        }
        made["id"] = _made_id(made) if given.get("id") is None else rows.identifier(given["id"], "id")
        judgment = self._judgment(given)
        return {**made, "metadata": rest, "judgments": [judgment] if judgment else []}

    def _judgment(self, given: Mapping[str, Any]) -> dict[str, Any] | None:
        """The row's judgment; None where it gives no winner."""
        verdict = self._verdict(given)
        if not verdict:
            return None
        said: dict[str, dict[str, Any]] = {"tie": {"preference": 0}, "neither": {"outcome": "neither_valid"}}
        return {
            "kind": self.mapping.by,
            "rater": None if given.get("rater") is None else rows.identifier(given["rater"], "rater"),
            "justification": given.get("justification"),
            **said.get(verdict, {"preference": -1 if verdict == "a" else 1}),
        }

    def _verdict(self, given: Mapping[str, Any]) -> str:
        if not is_answer(given.get("winner")):
            return ""
        value = value_of(given["winner"])
        if value in self.mapping.winner:
            return self.mapping.winner[value]
        for side in ("a", "b"):
            other = given.get("model_b" if side == "a" else "model_a")
            if value == given.get(f"model_{side}") != other:
                return side
        verdict = verdict_of(value, self.mapping.columns)
        if verdict is None:
            raise RowInvalid("winner", f"says {value!r}: say whether that means A, B, a tie or neither")
        return verdict


def is_answer(value: Any) -> bool:
    """Whether a winner's cell says anything: nothing and NaN, which tables write for nothing, do not."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def value_of(value: Any) -> str:
    """A winner's value as text: 1, 1.0 and "1" are one. JSON's 1e999 is infinite."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _made_id(made: Mapping[str, Any]) -> str:
    """A name for the two responses to this prompt: the same when the file comes again."""
    return f"row-{rows.digest(*(rows.as_json(value, name) for name, value in sorted(made.items())))[:32]}"


def _same(row: dict[str, Any] | RowInvalid) -> Any:
    """What rows about the same comparison share; every row that cannot be read is alone."""
    if isinstance(row, RowInvalid):
        return id(row)
    return tuple(row.get(name) for name in ("id", "prompt", "system", "response_a", "response_b"))


def _merged(first: dict[str, Any], others: list[dict[str, Any]]) -> dict[str, Any]:
    """One row. What differs between the rows says something of their judgments, and goes with these."""
    every = [first, *others]
    shared = {
        name: value
        for name, value in first["metadata"].items()
        if all(name in one["metadata"] and one["metadata"][name] == value for one in others)
    }
    judgments = []
    for one in every:
        own = {name: value for name, value in one["metadata"].items() if name not in shared}
        judgments += [{**judgment, "provenance": own} for judgment in one["judgments"]]
    return {**first, "metadata": shared, "judgments": judgments}
