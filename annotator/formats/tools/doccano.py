"""doccano's JSON Lines (or CSV) of text classification and sequence to sequence: "text", "label", "Comments".

doccano knows no comparisons; people who compared with it did so in one of two ways. Either the text is the prompt and
two fields beside it (doccano keeps such fields with the text) hold the responses, or the text holds all three, each
under a line of its own: "Prompt:", "Response A:", "Response B:". The label names the better response, a tie or neither.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotator.formats import rows
from annotator.formats.rows import Entry, RowInvalid, Vote
from annotator.formats.tools import sides
from annotator.formats.tools.said import Said

TITLE = "doccano"
COLUMNS = {
    "id": _("the comparison's name"),
    "text": _("the prompt; or prompt and responses under lines Prompt:, Response A: and Response B:"),
    "label": _("the judgment of one anonymous person: the better response, a tie or neither"),
    "Comments": _("the justification"),
}
SOURCE = "doccano"
KNOWN = ("id", "text", "label", "Comments", "comments")
HEADINGS = {
    "prompt": re.compile(r"^[ \t#*]*(?:prompt|question|instruction)[ \t*]*:", re.IGNORECASE | re.MULTILINE),
    "response_a": re.compile(r"^[ \t#*]*(?:response|answer)[ _]?(?:a|1)[ \t*]*:", re.IGNORECASE | re.MULTILINE),
    "response_b": re.compile(r"^[ \t#*]*(?:response|answer)[ _]?(?:b|2)[ \t*]*:", re.IGNORECASE | re.MULTILINE),
}


def claims(row: Mapping[str, Any]) -> bool:
    """Text classification and sequence to sequence give a list of labels; CSV joins them, and has Comments beside."""
    label = row.get("label")
    is_listed = isinstance(label, list) and all(isinstance(one, str) for one in label)
    is_joined = (label is None or isinstance(label, str)) and "Comments" in row
    return isinstance(row.get("text"), str) and "id" in row and "label" in row and (is_listed or is_joined)


def read(row: Mapping[str, Any]) -> Entry:
    """One example. Raises RowInvalid, of `text` where it is no comparison."""
    row_id = rows.identifier(row.get("id"), "id")
    beside = {name: value for name, value in row.items() if name not in KNOWN and value is not None}
    found = _sides(rows.text(row.get("text"), "text"), beside)
    left: list[str] = []
    vote = _vote(found, row, left)
    metadata = {name: value for name, value in beside.items() if name not in found.used}
    return found.entry(row_id, metadata, [vote] if vote else [], left)


def _sides(text: str, beside: dict[str, Any]) -> sides.Sides:
    marks = {name: list(pattern.finditer(text)) for name, pattern in HEADINGS.items()}
    if all(marks.values()):
        return sides.find(_split(text, marks), "text")
    try:
        return sides.find(beside, "text", prompt=text)
    except RowInvalid as invalid:
        if invalid.field != "text":
            raise
        headings = "Prompt:, Response A: and Response B: on lines of their own"
        reason = f"is no comparison: it has neither {headings} nor two responses in fields beside it; {sides.BY_HAND}"
        raise RowInvalid("text", reason) from None


def _split(text: str, marks: dict[str, list[re.Match[str]]]) -> dict[str, str]:
    """The three parts, whatever is before the first heading with the prompt."""
    if any(len(found) > 1 for found in marks.values()):
        raise RowInvalid(
            "text", "has a heading (Prompt:, Response A:, Response B:) twice, so where a part ends is open"
        )
    starts = [marks[name][0] for name in HEADINGS]
    if [one.start() for one in starts] != sorted(one.start() for one in starts):
        raise RowInvalid("text", "must have Prompt:, Response A: and Response B: in this order")
    ends = [starts[1].start(), starts[2].start(), len(text)]
    parts = [text[one.end() : end].strip() for one, end in zip(starts, ends, strict=True)]
    before = text[: starts[0].start()].strip()
    return dict(zip(HEADINGS, ["\n\n".join(part for part in (before, parts[0]) if part), *parts[1:]], strict=True))


def _vote(found: sides.Sides, row: Mapping[str, Any], left: list[str]) -> Vote | None:
    """The judgment: the export does not name its person, so each person's file is imported with a source of its own."""
    labels = row.get("label") or []
    # CSV joins several labels with #.
    labels = labels.split("#") if isinstance(labels, str) else rows.sequence(labels, "label")
    said = Said(found, "label")
    named = [label for label in labels if found.verdict(label)]
    for label in labels:
        if label not in named:
            said.keep("label", label)
    if len({found.verdict(label) for label in named}) > 1:
        # A shared project joins what everybody said.
        left.append("labels that contradict each other, of people who are not told apart")
        return None
    if not labels:
        return None
    if named:
        said.choose("label", named[0])
    for comment in _comments(row):
        said.write("comment", comment)
    vote = said.vote(None, is_ai=False, source=SOURCE, kept={})
    left += said.left
    return vote


def _comments(row: Mapping[str, Any]) -> list[str]:
    given = row.get("Comments", row.get("comments")) or []
    given = given.split("#") if isinstance(given, str) else rows.sequence(given, "Comments")
    return [rows.text(one, "Comments", empty=True) for one in given]
