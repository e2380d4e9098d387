"""Batches are written by a thread while rows are read: in order, a few ahead at most, and what goes wrong is raised."""

import json
import os
import resource
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotator.formats import tables
from annotator.formats.source import Config, Row
from annotator.formats.tables import AHEAD, CONTAINERS, Tables

CONFIG = Config("default", pa.schema([("number", pa.int64()), ("text", pa.string())]), "numbers")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(tables, "BATCH_ROWS", 5)


def rows(count, *, odd=None, split=lambda number: "train"):
    for number in range(count):
        values = {"number": "none" if number == odd else number, "text": f"text {number}"}
        yield Row("default", split(number), values)


def writing(monkeypatch, before):
    """Call `before` with the number of rows each time a batch is written."""
    write = tables._JsonLinesFile.write
    monkeypatch.setattr(
        tables._JsonLinesFile, "write", lambda self, table: (before(table.num_rows), write(self, table))[1]
    )


@pytest.mark.parametrize("container", CONTAINERS)
def test_rows_of_several_files_are_written_in_order_and_give_the_same_bytes_again(tmp_path, container):
    def written(folder):
        made = Tables(folder, container, [CONFIG])
        for part in range(2):
            assert made.write_part(part, rows(42, split=lambda number: "test" if number % 3 else "train")) == 42
        return made.finish()

    first, again = (written(tmp_path / name) for name in ("first", "again"))
    assert first == again and sum(file.rows for file in first) == 84
    if container == "parquet":
        names = [file.name for file in first if file.split == "test"]
        numbers = [
            number for name in names for number in pq.read_table(tmp_path / "first" / name)["number"].to_pylist()
        ]
        assert numbers == 2 * [number for number in range(42) if number % 3]


def test_no_more_than_a_few_batches_wait_for_a_slow_disk(tmp_path, monkeypatch):
    read, waiting = [], []

    def count():
        for row in rows(100):
            read.append(row)
            yield row

    done = []
    writing(monkeypatch, lambda number: (waiting.append(len(read) - sum(done)), done.append(number)))
    assert Tables(tmp_path, "jsonl", [CONFIG]).write_part(0, count()) == 100
    # Those that are under way or wait, and the one that is being read.
    assert max(waiting) <= (AHEAD + 1) * tables.BATCH_ROWS


@pytest.mark.parametrize("odd", [0, 20, 29])
@pytest.mark.parametrize("container", CONTAINERS)
def test_what_fails_in_the_thread_is_raised_and_the_part_can_be_written_again(tmp_path, container, odd):
    made = Tables(tmp_path, container, [CONFIG])
    made.write_part(0, rows(7))
    with pytest.raises(pa.ArrowInvalid):
        made.write_part(1, rows(30, odd=odd))
    assert [file.rows for file in made.written] == [7]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("writing")]
    made.write_part(1, rows(7))
    assert sum(file.rows for file in made.finish()) == 14


def test_who_cancels_waits_for_the_batch_under_way_and_for_no_other(tmp_path, monkeypatch):
    class Cancelled(Exception):
        pass

    written, go_on = [], threading.Event()
    writing(monkeypatch, lambda number: (go_on.wait(10), written.append(number)))

    class Pool(ThreadPoolExecutor):
        def shutdown(self, **how):
            super().shutdown(wait=False, **how)
            go_on.set()
            super().shutdown(**how)

    def cancelled():
        yield from rows(2 * tables.BATCH_ROWS)
        raise Cancelled

    monkeypatch.setattr(tables, "ThreadPoolExecutor", Pool)
    made = Tables(tmp_path, "jsonl", [CONFIG])
    with pytest.raises(Cancelled):
        made.write_part(0, cancelled())
    assert written == [tables.BATCH_ROWS] and made.written == []
    made.write_part(0, rows(6))
    lines = (tmp_path / "default/train.jsonl").read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(6))


@pytest.fixture
def small_disk():
    """Files end after a few bytes, as on a full disk."""
    before, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("container", CONTAINERS)
def test_on_a_full_disk_every_file_is_closed(tmp_path, container, small_disk):
    """What stays open with something in its buffer would write it later, into the file of the next attempt."""
    made = Tables(tmp_path, container, [CONFIG])
    with pytest.raises(OSError, match="File too large"):
        made.write_part(0, rows(42, split=lambda number: ("train", "validation", "test")[number % 3]))
    still_open = {os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.exists()}
    assert not [name for name in still_open if name.startswith(str(tmp_path))]
