"""Rows as COPY reads them: lines of text, fields apart by tabs.

Written by hand because most of a row is the same from row to row: the end of a line, of a judgment's answer, is made
once. https://www.postgresql.org/docs/current/sql-copy.html, "Text Format".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import connections, models

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


class Table:
    """Where lines of a model go. Each brings the `given` fields in this order, and ends in what is the same for all.

    That are `same` and every other field's own default; what is null by default is left to the database.
    """

    def __init__(self, model: type[models.Model], given: Sequence[str], **same: Any) -> None:
        self.model = model
        known = {field.name: field.column for field in model._meta.concrete_fields}
        columns = [known[name] for name in given]
        ends = []
        for field in model._meta.concrete_fields:
            value = same[field.name] if field.name in same else field.get_default()
            if field.name in given or field.primary_key or value is None:
                continue
            columns.append(field.column)
            ends.append(_field(field, value))
        self.columns = ", ".join(f'"{column}"' for column in columns)
        self.end = "".join(f"\t{text}" for text in ends) + "\n"
        self.copy = f"COPY {model._meta.db_table} ({self.columns}) FROM STDIN"


def _field(field: models.Field[Any, Any], value: Any) -> str:
    if isinstance(field, models.JSONField):
        return escaped(as_json(value, field.name))
    value = field.get_db_prep_save(value, connections["default"])
    if isinstance(value, list):
        return array(value)
    return escaped(value) if isinstance(value, str) else plain(value)


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
