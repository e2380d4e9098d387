"""A row of a report's tables and diagrams: a measure in words with its 95% interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Value = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """A row of a table: a measure in words with its 95% interval; `places` as `kind` wants it shown."""

    words: str
    value: float | None
    low: float | None
    high: float | None
    n: int | None = None
    # "share" (in percent) or "score".
    kind: str = "share"


def line(words: str, value: Value, kind: str = "share") -> Line:
    return Line(words, value["value"], value["low"], value["high"], value["n"], kind)


def difference(words: str, found: Value, kind: str = "points") -> Line:
    return Line(words, found["difference"], found["low"], found["high"], found["n"], kind)
