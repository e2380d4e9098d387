"""Rows as COPY reads them: lines of text, fields apart by tabs; where texts are long, binary, each after its length.

Written by hand because most of a row is the same from row to row: the end of a line, of a judgment's answer, is made
once. https://www.postgresql.org/docs/current/sql-copy.html, "Text Format" and "Binary Format".
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from struct import Struct
from typing import Any

from annotator.formats import recorded
from annotator.formats.rows import Vote, as_json
from annotator.protocols import Answer

NULL = "\\N"
# Fields of an answer that are objects or lists of them.
OBJECTS = ("feedback", "edit", "spans", "ranking")
# What of a judgment is said by vote and answer, in the order of `said`.
SAID = (
    *("outcome", "level", "preference", "confidence", "aspects", "attributes", "reasons", "justification", "flags"),
    *(*OBJECTS, "p_b", "p_tie", "a_first", "active_ms", "cost", "provenance", "created_at"),
)
# An answer that is nothing but a level: aspects, attributes, reasons, justification, flags, OBJECTS.
ONLY_LEVEL = "\t{}\t{}\t{}\t\t{}\t{}\t{}\t[]\t{}"


def escaped(text: str) -> str:
    """`text` as one field: what would end the field or the line is written with a backslash."""
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if "\n" in text:
        text = text.replace("\n", "\\n")
    if "\t" in text:
        text = text.replace("\t", "\\t")
    if "\r" in text:
        text = text.replace("\r", "\\r")
    return text


def array(texts: Iterable[str]) -> str:
    """A field that holds an array of texts."""
    quoted = ['"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts]
    return escaped("{" + ",".join(quoted) + "}")


def numbers(given: Iterable[int]) -> str:
    """An array of whole numbers as a parameter that is cast: psycopg takes ten times as long for a list."""
    return "{" + ",".join(map(str, given)) + "}"


def plain(value: Any) -> str:
    """A field that holds a value whose text nothing needs to be done to: a number, a truth value, a time, or none."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return "t" if value else "f"
    return value.isoformat() if isinstance(value, datetime) else str(value)


# A number of four bytes: the length of a field, which stands before it.
LENGTH = Struct("!i")
# That of a number of eight bytes.
EIGHT = 8
# The first byte of jsonb is the version of its binary form.
JSON_LENGTH = Struct("!ib")
BINARY_BEGIN, BINARY_END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"


def binary_text(text: str) -> bytes:
    """`text` as one field of a binary row."""
    data = text.encode()
    return LENGTH.pack(len(data)) + data


def binary_json(text: str) -> bytes:
    """JSON text as one field of a binary row."""
    data = text.encode()
    return JSON_LENGTH.pack(len(data) + 1, 1) + data


def said(vote: Vote, answer: Answer, given_time: str) -> str:
    """The fields SAID. Raises RowInvalid for what cannot be JSON."""
    p_b, p_tie = recorded.probability(vote, answer.outcome)
    a_first = NULL if vote.a_first is None else plain(vote.a_first)
    when = vote.created_at.isoformat() if vote.created_at else given_time
    return (
        f"{_answer(vote, answer)}\t{NULL if p_b is None else p_b}\t{NULL if p_tie is None else p_tie}\t{a_first}"
        f"\t{NULL if vote.active_ms is None else vote.active_ms}\t{vote.cost}\t{escaped(vote.provenance)}\t{when}"
    )


def _answer(vote: Vote, answer: Answer) -> str:
    head = f"{answer.outcome}\t{plain(answer.level)}\t{plain(answer.preference)}\t{plain(answer.confidence)}"
    if _is_only_level(answer):
        return head + ONLY_LEVEL
    objects = [escaped(as_json(getattr(answer, name), f"{vote.field}.{name}")) for name in OBJECTS]
    return "\t".join(
        (
            head,
            escaped(as_json(answer.aspects, vote.field)),
            escaped(as_json(answer.attributes, vote.field)),
            array(answer.reasons),
            escaped(answer.justification),
            array(answer.flags),
            *objects,
        )
    )


def _is_only_level(answer: Answer) -> bool:
    return not (
        answer.aspects
        or answer.attributes
        or answer.reasons
        or answer.justification
        or answer.flags
        or answer.feedback
        or answer.edit
        or answer.spans
        or answer.ranking
    )
