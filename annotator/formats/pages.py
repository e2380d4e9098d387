"""The page headers of a Parquet file, read before a page is unpacked.

The footer says how large a column is, and pyarrow believes the pages: it makes room for what each claims and unpacks
it, whatever the footer said. So the headers are walked first (parquet.thrift, in Thrift's compact protocol).
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

# What looking at a file may take, in steps of one to three microseconds: so many whatever its size, and one for every
# so many bytes of it. Pages are of a kilobyte to a megabyte and runs of eight values or more, so files of rows take a
# hundredth of that.
FEWEST_STEPS, BYTES_A_STEP = 4_000_000, 8
# Steps of a page, and of a slice of packed levels; bytes of a header, bytes that are unpacked and levels that are one,
# as a run is.
PAGE_STEPS, PACKED_STEPS = 8, 8
HEADER_A_STEP, UNPACKED_A_STEP, LEVELS_A_STEP = 16, 4096, 1024
# So often it is told that the walk goes on, in steps; each is told as so many bytes of text read.
TELL_STEPS, STEP_SIZE = 50_000, 16
# Fields of a struct of a header; the format has eight.
MOST_FIELDS = 32
# Groups of eight numbers whose bits are spread out at once.
GROUPS = 8192
DATA, DICTIONARY, DATA_V2 = 0, 2, 3
# Fields of a page header, and of the header of each kind of page within it.
KIND, UNPACKED, PACKED = 1, 2, 3
WITHIN = {DATA: 5, DICTIONARY: 7, DATA_V2: 8}
VALUES, V2_ROWS = 1, 3
# As pyarrow calls what Parquet calls LZ4_RAW; the older LZ4 it calls unknown.
CODECS = {"ZSTD": "zstd", "SNAPPY": "snappy", "GZIP": "gzip", "BROTLI": "brotli", "LZ4": "lz4_raw"}


class PagesBroken(ValueError):
    """The headers are no headers, or say what cannot be; the message says what."""


class Walk:
    """What is left of the steps that a file may take, over all its row groups and columns: chunks may share bytes.

    `spend` is told of the steps in bytes, and may raise to end the walk.
    """

    def __init__(self, size: int, spend: Callable[[int], None]) -> None:
        self.most = self.left = max(FEWEST_STEPS, size // BYTES_A_STEP)
        self._spend = spend
        self._untold = 0

    def take(self, steps: int) -> None:
        """Raises PagesBroken when the file has had all it may take, and what `spend` raises."""
        self.left -= steps
        self._untold += steps
        if self.left < 0:
            raise PagesBroken(
                "the file takes too long: it has more columns, pages and runs, or unpacks to more, than its size"
                " explains; send its rows as JSON Lines"
            )
        if self._untold >= TELL_STEPS:
            told, self._untold = self._untold * STEP_SIZE, 0
            self._spend(told)


class Page(NamedTuple):
    """`rows`: how many begin in it; of a list whose pages do not say so, as many as are counted on demand (-1)."""

    kind: int
    size: int
    values: int
    rows: int
    # Where its content lies.
    begin: int
    end: int


@dataclass(frozen=True)
class Column:
    """The pages of one column in a row group."""

    pages: list[Page]
    is_list: bool = False

    @property
    def size(self) -> int:
        return sum(page.size for page in self.pages)

    @property
    def largest(self) -> int:
        """Bytes of pages that are held at once: a dictionary, and the largest page of values."""
        shared = sum(page.size for page in self.pages if page.kind == DICTIONARY)
        return shared + max((page.size for page in self.pages if page.kind != DICTIONARY), default=0)

    def touched(self, rows: int) -> int:
        """Bytes of the pages that so many rows in a row reach into at most, wherever they begin."""
        pages = [page for page in self.pages if page.kind != DICTIONARY]
        # A list begins in one page and may go on into the next, other values lie in one.
        fewest = rows if self.is_list else rows - 1
        most = first = size = between = 0
        for last, page in enumerate(pages):
            size += page.size
            while first < last and between >= fewest:
                size, first = size - pages[first].size, first + 1
                between -= pages[first].rows if first < last else 0
            most = max(most, size)
            between += page.rows if first < last else 0
        return most


def column(data: mmap.mmap, facts: Any, levels: int, walk: Walk, *, to_count: int, most: int) -> Column:
    """The pages of a column chunk. `facts`: its metadata; `levels`: how many lists its values lie in.

    Rows of lists are counted where the pages hold more than `to_count` bytes; no page may claim more than `most`.
    Raises PagesBroken.
    """
    pages = list(_walked(data, facts, levels, walk))
    if any(page.size > most for page in pages):
        raise PagesBroken(f"a page claims more than {most // 2**20} MB; send its rows as JSON Lines")
    if levels and sum(page.size for page in pages) > to_count:
        pages = [page._replace(rows=_begun(data, page, facts.compression, levels, walk)) for page in pages]
    return Column([page._replace(rows=max(page.rows, 0)) for page in pages], bool(levels))


def _walked(data: mmap.mmap, facts: Any, levels: int, walk: Walk) -> Iterator[Page]:
    at = facts.data_page_offset
    if facts.has_dictionary_page and 0 < (facts.dictionary_page_offset or 0) < at:
        at = facts.dictionary_page_offset
    end, seen = min(at + facts.total_compressed_size, len(data)), 0
    while at < end and seen < facts.num_values:
        page = _page_at(data, at, levels)
        walk.take(PAGE_STEPS + (page.begin - at) // HEADER_A_STEP)
        if page.end > end:
            raise PagesBroken("a page goes on behind its column")
        if page.kind == DICTIONARY and page.values > page.size:
            raise PagesBroken("a dictionary claims more values than it has bytes")
        seen, at = seen + (page.values if page.kind != DICTIONARY else 0), page.end
        yield page


def _page_at(data: mmap.mmap, at: int, levels: int) -> Page:
    try:
        header, begin = _struct(data, at)
    except IndexError:
        raise PagesBroken("the file ends within a page header") from None
    kind, size, packed = (header.get(name, -1) for name in (KIND, UNPACKED, PACKED))
    about = header.get(WITHIN.get(kind, -1), {})
    values = about.get(VALUES, 0) if isinstance(about, dict) else -1
    own_rows = about.get(V2_ROWS, 0) if kind == DATA_V2 and isinstance(about, dict) else -1
    if (
        any(type(number) is not int or number < 0 for number in (kind, size, packed, values))
        or type(own_rows) is not int
    ):
        raise PagesBroken("a page header says nothing of its size")
    rows = own_rows if levels else values
    return Page(kind, size, values, rows if kind in (DATA, DATA_V2) else 0, begin, begin + packed)


def _struct(data: mmap.mmap, at: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """Field -> value, and where the struct ends. Texts are passed over; page headers hold no lists."""
    found: dict[int, Any] = {}
    field = 0
    for _field in range(MOST_FIELDS):
        head, at = data[at], at + 1
        if not head:
            return found, at
        field, at = (field + (head >> 4), at) if head >> 4 else _number(data, at)
        kind = head & 15
        if kind in (1, 2):
            found[field] = kind == 1
        elif kind == 3:
            at += 1
        elif kind in (4, 5, 6):
            found[field], at = _number(data, at)
        elif kind == 7:
            at += 8
        elif kind == 8:
            length, at = _varint(data, at)
            at += length
        elif kind == 12 and depth < 3:
            found[field], at = _struct(data, at, depth + 1)
        else:
            raise PagesBroken("what should be a page header is none")
    raise PagesBroken("what should be a page header is none")


def _number(data: mmap.mmap, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: Any, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        value |= (data[at + place] & 127) << (7 * place)
        if data[at + place] < 128:
            return value, at + place + 1
    raise PagesBroken("what should be a page header is none")


def _begun(data: mmap.mmap, page: Page, compression: str, levels: int, walk: Walk) -> int:
    """How many rows begin in a page: of its values those that continue no list. 0 where that cannot be told."""
    if page.kind != DATA or page.rows >= 0:
        return page.rows
    if compression != "UNCOMPRESSED" and compression not in CODECS:
        return 0
    walk.take(page.size // UNPACKED_A_STEP)
    packed = data[page.begin : page.end]
    try:
        unpacked = pa.Codec(CODECS[compression]).decompress(packed, page.size) if compression in CODECS else packed
    except (pa.ArrowException, OSError, ValueError) as error:
        raise PagesBroken(f"a page cannot be unpacked: {error}") from error
    view = memoryview(unpacked).cast("B")
    length = int.from_bytes(view[:4], "little")
    return _zeros(view[4 : 4 + length], levels.bit_length(), page.values, walk)


def _zeros(packed: memoryview, width: int, count: int, walk: Walk) -> int:
    """Of the first `count` numbers of `width` bits, in Parquet's runs, how many are 0."""
    at = zeros = 0
    while count > 0 and at < len(packed):
        walk.take(1)
        try:
            head, at = _varint(packed, at)
            size = (head >> 1) * 8 if head & 1 else head >> 1
            taken = min(size, count)
            if head & 1:
                # A run may say that it goes on for far longer than there are values.
                zeros += _zeros_packed(packed[at : at + -(-taken // 8) * width], width, taken, walk)
                at += size // 8 * width
            else:
                zeros, at = zeros + (taken if packed[at] == 0 else 0), at + 1
        except IndexError:
            raise PagesBroken("a page ends within its list levels") from None
        count -= taken
        if not size:
            raise PagesBroken("a page has runs of nothing")
    return zeros


def _zeros_packed(packed: memoryview, width: int, count: int, walk: Walk) -> int:
    """Of `count` numbers of `width` bits side by side, how many are 0; slice by slice, as bits take a byte each."""
    zeros = 0
    for begin in range(0, len(packed), GROUPS * width):
        part = np.frombuffer(packed[begin : begin + GROUPS * width], np.uint8)
        numbers = np.unpackbits(part, bitorder="little")
        numbers = numbers[: len(numbers) // width * width].reshape(-1, width)[:count]
        zeros += len(numbers) - int(np.count_nonzero(numbers.any(axis=1)))
        count -= len(numbers)
        walk.take(PACKED_STEPS + len(numbers) // LEVELS_A_STEP)
    return zeros
