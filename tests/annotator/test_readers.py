"""Every format that comes in: its rows are known by the right reader, read whole, and nothing goes without a word.

`rows/NAME.jsonl` (or NAME-variant.jsonl) holds made-up rows in the documented layout of the reader NAME.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from annotator.formats import READERS
from annotator.formats.files import RowFile

SAMPLES = sorted((Path(__file__).parent / "rows").glob("*.jsonl"))


def reader_of(path):
    return path.stem.partition("-")[0]


def first_row(path):
    return next(row for _line, row in RowFile(path))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_file_is_known_by_its_own_reader_first(path):
    row = first_row(path)
    knowing = [name for name, dotted in READERS.items() if import_module(dotted).claims(row)]
    assert knowing[:1] == [reader_of(path)]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_row_is_read_and_every_column_has_a_place(path):
    reader = import_module(READERS[reader_of(path)])
    numbered = iter(RowFile(path))
    for _line, row in reader.joined(numbered) if hasattr(reader, "joined") else numbered:
        entry = reader.read(row)
        assert entry.comparisons or entry.prompt
    assert reader.TITLE
    assert set(reader.COLUMNS) & set(first_row(path)), "the preview would show nothing of this file"


@pytest.mark.parametrize("name", READERS)
def test_every_reader_has_a_sample(name):
    assert name in {reader_of(path) for path in SAMPLES}
