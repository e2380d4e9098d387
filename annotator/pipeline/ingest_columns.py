"""Which columns the rows of an import fill, and what is the same in all of them, written once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from struct import Struct
from typing import Any

from django.db import connections, models

from annotator.formats.rows import as_json
from annotator.pipeline.ingest_copy import EIGHT, LENGTH, array, binary_text, escaped, plain

Fields = list[tuple["models.Field[Any, Any]", Any]]


def _columns(model: type[models.Model], given: Sequence[str], same: Mapping[str, Any]) -> tuple[str, Fields]:
    """The columns that rows of a model fill: the `given` fields in this order, then those that are the same for all.

    That are `same` and every other field's own default; what is null by default is left to the database.
    """
    known = {field.name: field for field in model._meta.concrete_fields}
    values = {name: same[name] if name in same else field.get_default() for name, field in known.items()}
    rest = [
        (field, values[name])
        for name, field in known.items()
        if name not in given and not field.primary_key and values[name] is not None
    ]
    columns = [*(known[name].column for name in given), *(field.column for field, _value in rest)]
    return ", ".join(f'"{column}"' for column in columns), rest


class Table:
    """Where lines of a model go: each brings the `given` fields, and ends in what is the same for all."""

    def __init__(self, model: type[models.Model], given: Sequence[str], **same: Any) -> None:
        self.columns, rest = _columns(model, given, same)
        self.end = "".join(f"\t{_field(field, value)}" for field, value in rest) + "\n"
        self.copy = f"COPY {model._meta.db_table} ({self.columns}) FROM STDIN"


class TextsTable:
    """Where binary rows of a model go: each brings the `numbers` of eight bytes and the `given` fields.

    What is the same for all are numbers and texts.
    """

    def __init__(self, model: type[models.Model], numbers: Sequence[str], given: Sequence[str], **same: Any) -> None:
        columns, rest = _columns(model, (*numbers, *given), same)
        self.end = b"".join(_binary(field, value) for field, value in rest)
        self.copy = f"COPY {model._meta.db_table} ({columns}) FROM STDIN (FORMAT binary)"
        # Packs the start of a row: how many fields it has, then the numbers, each after its length, the first of which
        # is given here.
        self.head = partial(Struct("!h" + "iq" * len(numbers)).pack, len(numbers) + len(given) + len(rest), EIGHT)


def _binary(field: models.Field[Any, Any], value: Any) -> bytes:
    value = field.get_db_prep_save(value, connections["default"])
    if isinstance(value, str):
        return binary_text(value)
    kind = field.get_internal_type()
    if "SmallInteger" not in kind and kind not in ("BigIntegerField", "ForeignKey"):
        raise TypeError(f"{field} is neither text nor a number of two or eight bytes")
    width = Struct("!ih") if "SmallInteger" in kind else Struct("!iq")
    return width.pack(width.size - LENGTH.size, value)


def _field(field: models.Field[Any, Any], value: Any) -> str:
    if isinstance(field, models.JSONField):
        return escaped(as_json(value, field.name))
    value = field.get_db_prep_save(value, connections["default"])
    if isinstance(value, list):
        return array(value)
    return escaped(value) if isinstance(value, str) else plain(value)
