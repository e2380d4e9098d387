"""A small Parquet file may stand for gigabytes: they are never held, and ordinary files are read as they are."""

from __future__ import annotations

import mmap
import os
import random
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotator.formats import footer, pages, parquet
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def number(value):
    """A number as Thrift's compact protocol writes it."""
    written, value = b"", (value << 1) ^ (value >> 63)
    while value > 127:
        written, value = written + bytes([value & 127 | 128]), value >> 7
    return written + bytes([value])


def header(size, packed, values, kind=0):
    """Of a page of plain values, or (2) of a dictionary."""
    about = b"\x15" + number(values) + b"\x15" + number(0)
    about += b"\x15" + number(3) + b"\x15" + number(3) if kind == 0 else b""
    fields = b"".join(b"\x15" + number(each) for each in (kind, size, packed))
    return fields + (b"\x2c" if kind == 0 else b"\x4c") + about + b"\0\0"


def text(length):
    """A page of one text, as zstd packs it."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(struct.pack("<IBBI", 2, 2, 1, length))
        for _part in range(0, length, MB):
            packed.write(b"x" * min(MB, length))
    return sink.getvalue().to_pybytes()


def lying(tmp_path, head, payload=b"", kind=0):
    """A file of one text whose first page is replaced; its footer stays."""
    path = written(tmp_path, {"prompt": [os.urandom(60_000).hex()]}, use_dictionary=kind == 2, write_statistics=False)
    facts = pq.ParquetFile(path).metadata.row_group(0).column(0)
    assert len(head + payload) <= facts.total_compressed_size
    with path.open("r+b") as file:
        file.seek(facts.dictionary_page_offset if kind == 2 else facts.data_page_offset)
        file.write(head + payload)
    return path


@pytest.mark.slow
def test_a_page_that_unpacks_to_far_more_than_the_footer_says_is_never_unpacked(tmp_path):
    """120 kB that would be 300 MB, and twice that as a row."""
    packed = text(300 * MB)
    path = lying(tmp_path, header(300 * MB + 10, len(packed), 1), packed)
    done = subprocess.run(
        [sys.executable, "-c", READ, path], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    why, rows, grown = done.stdout.split()
    assert (why, int(rows)) == ("FileInvalid", 0) and int(grown) < 100


@pytest.mark.parametrize(
    ("head", "kind", "words"),
    [
        (header(2**31 - 1, 20, 1), 0, "row group 1 cannot be read: a page claims more than 256 MB; send"),
        (header(7, 20, 2**31 - 1, kind=2), 2, "a dictionary claims more values than it has bytes"),
        (header(-5, 20, 1), 0, "a page header says nothing of its size"),
        (header(20, 2**30, 1), 0, "a page goes on behind its column"),
        (b"\x15\x00" * 40, 0, "what should be a page header is none|says nothing of its size"),
        (b"\x19" * 40, 0, "what should be a page header is none"),
        (b"\xff" * 40, 0, "what should be a page header is none"),
        (b"\x18" + b"\xff" * 8 + b"\x7f", 0, "the file ends within a page header"),
        (header(10, 17, 2**31 - 1) + text(0), 0, "cannot be read"),
        (header(999, 17, 1) + text(0), 0, "cannot be read"),
    ],
)
def test_headers_that_lie_are_refused_in_words(tmp_path, head, kind, words):
    with pytest.raises(FileInvalid, match=words):
        list(RowFile(lying(tmp_path, head, kind=kind)))


def ignore(_size):
    pass


def many_pages(tmp_path, columns=1, groups=1):
    """A hundred pages of five numbers in each chunk."""
    table = pa.table({f"n{column}": list(range(500)) for column in range(columns)})
    path = tmp_path / "rows.parquet"
    with pq.ParquetWriter(path, table.schema, use_dictionary=False, data_page_size=8, write_batch_size=5) as writer:
        for _group in range(groups):
            writer.write_table(table)
    return path


@pytest.mark.parametrize(("columns", "groups"), [(3, 1), (1, 3)])
def test_pages_are_limited_over_all_columns_and_row_groups(tmp_path, monkeypatch, columns, groups):
    path = many_pages(tmp_path, columns, groups)
    steps = columns * groups * (100 * pages.PAGE_STEPS + parquet.CHUNK_STEPS) + groups * parquet.GROUP_STEPS
    monkeypatch.setattr(pages, "BYTES_A_STEP", 2**40)
    monkeypatch.setattr(parquet, "UNPACKED_A_STEP", 2**40)
    # Headers count as well, in less than a step for every two bytes.
    monkeypatch.setattr(pages, "FEWEST_STEPS", steps + columns * groups * 100 * 10)
    assert len(list(RowFile(path))) == 500 * groups
    monkeypatch.setattr(pages, "FEWEST_STEPS", steps - 1)
    with pytest.raises(FileInvalid, match=f"row group {groups} cannot be read: the file takes too long"):
        list(RowFile(path))


@pytest.mark.parametrize("budget", [None, 50])
def test_the_walk_ends_when_nobody_waits_for_it_or_the_budget_is_spent(tmp_path, monkeypatch, budget):
    """No row is read yet."""

    class Cancelled(Exception):
        pass

    def beat(_line):
        if budget is None:
            raise Cancelled

    monkeypatch.setattr(pages, "TELL_STEPS", 100)
    with pytest.raises(BudgetSpent if budget else Cancelled):
        next(iter(RowFile(many_pages(tmp_path), budget=budget, on_line=beat)))


def test_what_is_unpacked_counts_for_the_whole_file(tmp_path, monkeypatch):
    """Each row group alone may be unpacked."""
    table = pa.table({"prompt": ["x" * MB]})
    path = tmp_path / "rows.parquet"
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _group in range(5):
            writer.write_table(table)
    monkeypatch.setattr(pages, "FEWEST_STEPS", 4 * MB // parquet.UNPACKED_A_STEP)
    with pytest.raises(FileInvalid, match="row group 3 cannot be read: the file takes too long"):
        list(RowFile(path))


def test_runs_of_list_levels_are_limited_and_told(monkeypatch):
    monkeypatch.setattr(pages, "TELL_STEPS", 5000)
    told = []
    walk = pages.Walk(0, told.append)
    walk.left = 15_000
    with pytest.raises(pages.PagesBroken, match="takes too long"):
        pages._zeros(memoryview(b"\x02\x00" * 16_000), 1, 10**9, walk)
    assert told == [pages.TELL_STEPS * pages.STEP_SIZE] * 3


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_packed_run_is_counted_in_slices_and_no_farther_than_there_are_values(width):
    levels = [number % (2**width) for number in range(200_000)]
    spread = (np.array(levels, np.uint8)[:, None] >> np.arange(width, dtype=np.uint8)) & 1
    packed = np.packbits(spread.reshape(-1), bitorder="little").tobytes()
    size = len(levels) // 8
    head = bytes([size << 1 & 127 | 129, size >> 6 & 127 | 128, size >> 13])
    for count in (1, 7, 65_537, 131_072, 199_999, 200_000):
        zeros = pages._zeros(memoryview(head + packed), width, count, pages.Walk(0, ignore))
        assert zeros == levels[:count].count(0), count


def test_a_long_packed_run_takes_little_memory():
    """64 MB of levels: a byte for each bit would be 512 MB."""
    size = 64 * MB
    runs = memoryview(bytes([size << 1 & 127 | 129, *(size << 1 >> by & 127 | 128 for by in (7, 14, 21)), size >> 27]))
    runs = memoryview(bytes(runs) + bytes(size))
    tracemalloc.start()
    try:
        zeros = [pages._zeros(runs, 1, count, pages.Walk(0, ignore)) for count in (1000, 4 * MB)]
        assert zeros == [1000, 4 * MB] and tracemalloc.get_traced_memory()[1] < MB
    finally:
        tracemalloc.stop()


def footed(tmp_path, groups):
    """A file of nothing but a footer, with these row groups."""
    schema = b"\x2c\x48\x01a\x15\x02\x00\x15\x02\x25\x00\x18\x01b\x00"
    said = b"\x15\x02\x19" + schema + b"\x16\x00\x19" + groups + b"\x00"
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1" + said + len(said).to_bytes(4, "little") + b"PAR1")
    return path


def listed(count):
    """The head of a list of so many structs."""
    return b"\xfc" + bytes([count & 127 | 128, count >> 7 & 127 | 128, count >> 14])


@pytest.mark.slow
def test_a_footer_of_columns_that_say_nothing_is_not_opened(tmp_path):
    """Three bytes each, and 640 in memory."""
    groups = b"\xdc" + (b"\x19" + listed(90_000) + b"\x26\x00\x00" * 90_000 + b"\x16\x00\x16\x00\x00") * 13
    with pytest.raises(FileInvalid, match="its footer of 3 MB cannot be read; write fewer row groups, or send"):
        next(iter(RowFile(footed(tmp_path, groups))))


@pytest.mark.slow
def test_a_long_footer_of_rows_is_read(tmp_path):
    """Minima and maxima stand in it, 4 kB each at most."""
    path = tmp_path / "rows.parquet"
    table = pa.table({"prompt": [os.urandom(1000).hex()], "response": [os.urandom(1000).hex()]})
    with pq.ParquetWriter(path, table.schema) as writer:
        for _group in range(150):
            writer.write_table(table)
    assert int.from_bytes(path.read_bytes()[-8:-4], "little") > footer.SHORT
    assert len(list(RowFile(path))) == 150


def test_lists_in_the_footer_are_no_longer_than_files_have(tmp_path):
    """33 bytes that pyarrow made room of 600 MB for."""
    groups = b"\x1c\x19" + listed(900_000) + b"\x16\x00\x16\x00\x00"
    with pytest.raises(FileInvalid, match="Exceeded size limit"):
        next(iter(RowFile(footed(tmp_path, groups))))


def test_more_columns_than_rows_of_text_have_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "MOST_COLUMNS", 3)
    assert list(RowFile(written(tmp_path, {name: [1] for name in "abc"})))
    with pytest.raises(FileInvalid, match="the file has more than 3 columns"):
        list(RowFile(written(tmp_path, {name: [1] for name in "abcd"})))


def test_a_header_of_very_many_fields_is_refused(tmp_path):
    with pytest.raises(FileInvalid, match="what should be a page header is none"):
        list(RowFile(lying(tmp_path, b"\x11" * 50_000)))


@pytest.mark.parametrize("made", [str, lambda text: [{"content": text}]], ids=["text", "turns"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_long_rows_after_many_short_ones_are_read_few_at_once(tmp_path, monkeypatch, made, version):
    """The mean of the row group would have 200 of them in a batch."""
    monkeypatch.setattr(parquet, "LARGEST_PAGES", MB)
    monkeypatch.setattr(parquet, "LONGEST_ROW", MB)
    monkeypatch.setattr(parquet, "BATCH_SIZE", MB)
    given = [made(os.urandom(10).hex()) for _row in range(5000)] + [
        made(os.urandom(50_000).hex()) for _row in range(30)
    ]
    path = written(
        tmp_path,
        {"prompt": given},
        use_dictionary=False,
        data_page_size=20_000,
        write_batch_size=1,
        data_page_version=version,
    )
    file = pq.ParquetFile(path)
    assert file.metadata.num_row_groups == 1 and parquet._way(path, file, 0, pages.Walk(0, ignore)).rows == 6
    assert [row["prompt"] for _line, row in RowFile(path)] == given


def test_a_row_that_lies_across_too_large_pages_is_refused():
    def column(*rows):
        return pages.Column([pages.Page(0, 200 * MB, 1, begun, 0, 0) for begun in rows], is_list=True)

    with pytest.raises(parquet.ParquetRefused, match="row group 1 holds a row across pages of more than 256 MB"):
        parquet._rows_within([column(1, 0)], 200, 0)
    assert parquet._rows_within([column(1)], 200, 0) == 200


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "brotli", "lz4", "zstd"])
def test_rows_of_lists_are_counted_from_their_pages(tmp_path, codec):
    lists = [["x"] * (number % 7) for number in range(4000)] + [["x"]] * 900 + [["x"] * 300]
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"turns": lists}), path, compression=codec, data_page_size=100, write_batch_size=50)
    facts = pq.ParquetFile(path).metadata.row_group(0).column(0)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = pages.column(data, facts, 1, pages.Walk(0, ignore), to_count=0, most=MB)
    assert len(found.pages) > 20 and sum(page.rows for page in found.pages) == 4901


@pytest.mark.parametrize("is_list", [True, False])
def test_what_rows_reach_into_is_the_most_of_any_place(is_list):
    """Against trying every place."""
    chance = random.Random(is_list)
    for _try in range(300):
        begun = [chance.choice([0, 0, 1, 2, 5] if is_list else [1, 2, 5]) for _page in range(chance.randint(1, 7))]
        begun[0] = begun[0] or 1
        sizes = [chance.randint(1, 9) for _page in begun]
        column = pages.Column([pages.Page(0, *both, 0, 0) for both in zip(sizes, begun, begun, strict=True)], is_list)
        rows = [page for page, count in enumerate(begun) for _row in range(count)]
        ends = [
            (page if not is_list or following == page else following)
            for page, following in zip(rows, [*rows[1:], len(begun) - 1], strict=True)
        ]
        for many in (1, 2, 3, 7):
            last = [max(ends[at : at + many]) for at in range(len(rows))]
            most = max(sum(sizes[page : end + 1]) for page, end in zip(rows, last, strict=True))
            assert column.touched(many) == most
