"""Tables as CSV files: the numbers of a page for a spreadsheet, one table a file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from django.http import HttpResponse

from annotator import money

# What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection").
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def sheet(name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> HttpResponse:
    """A download `name`.csv of `header` and `rows`; a text that a spreadsheet would run is a text again.

    `name` is ours (ASCII, no quotes). Numbers stay numbers, None is an empty cell.
    """
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    writer = csv.writer(response)
    writer.writerow(header)
    for row in rows:
        writer.writerow([_harmless(cell) for cell in row])
    return response


def _harmless(cell: Any) -> Any:
    if isinstance(cell, Decimal):
        return money.plain(cell)
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
