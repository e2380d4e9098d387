"""Lists by key: `?after=` the last key seen. What is added meanwhile neither shifts nor repeats a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

from ninja import Field, Schema

Item = TypeVar("Item")
MOST = 1000
# Largest key of the database.
LARGEST = 2**63 - 1

Number = Annotated[int, Field(ge=1, le=LARGEST)]
After = Annotated[int, Field(ge=0, le=LARGEST, description="The `next` of the page before; 0 for the first page.")]
Limit = Annotated[int, Field(ge=1, le=MOST, description="How many at most.")]


class Page(Schema, Generic[Item]):
    items: list[Item]
    next: int | None = Field(description="Give it as `after` for the next page; null on the last one.")


def page(rows: Any, key: str, after: int, limit: int, shown: Callable[[Any], Item]) -> dict[str, Any]:
    """The next `limit` of a query set by `key` (a field), and where to go on. One query; nothing is counted."""
    found: Sequence[Any] = list(rows.filter(**{f"{key}__gt": after}).order_by(key)[: limit + 1])
    return {
        "items": [shown(row) for row in found[:limit]],
        "next": getattr(found[limit - 1], key) if len(found) > limit else None,
    }
