"""A small Parquet file may stand for gigabytes: they are never held, and ordinary files are read as they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotator.formats import parquet
from annotator.formats.files import BudgetSpent, FileInvalid, RowFile

MB = 2**20
READ = """
import resource, sys
from pathlib import Path
from annotator.formats.files import BudgetSpent, FileInvalid, RowFile
before, rows = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
try:
    for rows, _row in enumerate(RowFile(Path(sys.argv[1]), budget=16 * 2**20), 1):
        pass
except (BudgetSpent, FileInvalid) as error:
    print(type(error).__name__, rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def repeated(text, times):
    return pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), pa.array([text]))


def written(tmp_path, table, **options):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(table), path, compression="zstd", **options)
    return path


def in_one_list(times, values):
    return pa.ListArray.from_arrays(pa.array([0, times]), values)


@pytest.mark.parametrize("kept", [True, False])
def test_texts_written_once_for_many_rows_are_not_held_for_each(tmp_path, kept):
    """200 rows of three texts of 2 MB: 1.2 GB from a file of two kilobytes."""
    text = repeated("x" * (2 * MB), 200)
    path = written(tmp_path, {"prompt": text, "response_a": text, "response_b": text}, store_schema=kept)
    assert path.stat().st_size < 4000
    done = subprocess.run(
        [sys.executable, "-c", READ, path], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    why, rows, grown = done.stdout.split()
    assert (why, int(rows)) == ("BudgetSpent", 5) and int(grown) < 300


@pytest.mark.parametrize(
    "column",
    [
        lambda: pa.array(["x" * (9 * MB)]),
        lambda: in_one_list(200, repeated("x" * (MB // 16), 200)),
        lambda: in_one_list(200, pa.StructArray.from_arrays([repeated("x" * (MB // 16), 200)], ["content"])),
        lambda: in_one_list(2 * MB, pa.nulls(2 * MB)),
    ],
    ids=["text", "list", "turns", "nulls"],
)
def test_a_row_that_is_no_text_for_people_is_refused(tmp_path, monkeypatch, column):
    monkeypatch.setattr(parquet, "LONGEST_ROW", 8 * MB)
    monkeypatch.setattr(parquet, "BATCH_SIZE", 4 * MB)
    with pytest.raises(FileInvalid, match="row 1 is longer than 8 MB"):
        list(RowFile(written(tmp_path, {"prompt": column()}, store_schema=False)))


def test_a_row_group_that_claims_far_more_than_its_size_is_refused(tmp_path):
    path = written(tmp_path, {"n": in_one_list(40 * MB, pa.nulls(40 * MB))})
    with pytest.raises(FileInvalid, match="row group 1 unpacks to far more"):
        next(iter(RowFile(path)))


def test_a_budget_ends_the_reading_of_plain_texts_too(tmp_path):
    path = written(tmp_path, {"prompt": [f"{n} " + "x" * (4 * MB) for n in range(12)]}, use_dictionary=False)
    rows = RowFile(path, budget=2 * MB)
    with pytest.raises(BudgetSpent):
        list(rows)
    assert rows.share_read() < 1
    assert len(list(RowFile(path))) == 12


def test_ordinary_rows_come_as_they_were_written(tmp_path):
    turns = [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "a" * 3000}]
    rows = [{"id": f"r{n}", "turns": turns, "nothing": None, "n": n, "more": [["x"], []]} for n in range(1001)]
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=400)
    found = list(RowFile(path, budget=64 * MB))
    assert found == [(line, {k: v for k, v in row.items() if v is not None}) for line, row in enumerate(rows, 1)]


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (2**61, pa.timestamp("us"), r"column when \(timestamp\[us\]\) holds a value that cannot be read"),
        (2**30, pa.date32(), r"column when \(date32\[day\]\) holds a value"),
        (
            1,
            pa.timestamp("us", tz="Mars/Olympus"),
            "times of the column when cannot be read; is Mars/Olympus a time zone",
        ),
    ],
)
def test_dates_that_python_does_not_have_are_refused_with_their_column(tmp_path, number, kind, words):
    width = pa.int32() if kind == pa.date32() else pa.int64()
    path = written(tmp_path, {"prompt": ["Q?"], "when": pa.array([number], width).cast(kind)})
    with pytest.raises(FileInvalid, match=words):
        list(RowFile(path))
