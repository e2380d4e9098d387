"""A file that is one JSON list comes in row by row, whatever stands between the rows and however it is cut."""

import gzip
import json
import tracemalloc

import pytest

from annotator.formats import files, json_lists
from annotator.formats.files import BudgetSpent, FileInvalid, RowFile
from annotator.formats.rows import RowInvalid

ROWS = [{"id": 1, "text": 'a "]" and a \\ 😀 "\u2028'}, {"id": 2, "deep": [{"a": [1, 2.5, None, True]}]}, {}]


def read(tmp_path, text, **options):
    path = tmp_path / "rows.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(RowFile(path, **options))


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_rows_are_the_same_wherever_the_file_is_cut(indent, size):
    text = " \n" + json.dumps(ROWS, ensure_ascii=False, indent=indent) + "\n"
    pieces = iter([text[at : at + size] for at in range(0, len(text), size)])
    assert list(json_lists.rows(pieces)) == list(enumerate(ROWS, 1))


def test_a_list_is_known_by_its_content_gzipped_or_with_a_byte_order_mark(tmp_path):
    for content in (gzip.compress(json.dumps(ROWS).encode()), b"\xef\xbb\xbf" + json.dumps(ROWS).encode()):
        (tmp_path / "rows.txt").write_bytes(content)
        file = RowFile(tmp_path / "rows.txt")
        assert file.container == "json list" and list(file) == list(enumerate(ROWS, 1))
        assert file.share_read() == 1
    assert read(tmp_path, "[]") == read(tmp_path, " [ \n ] ") == []


def test_an_element_that_is_no_row_is_named_and_the_others_come(tmp_path):
    found = read(tmp_path, '[{"a": 1}, 12345, "x", {"n": NaN}, [], {"b": 2}]')
    assert [line for line, row in found if isinstance(row, RowInvalid)] == [2, 3, 4, 5]
    assert "NaN is not JSON" in str(found[3][1]) and found[5] == (6, {"b": 2})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"a": 1},\n {"b": }]', r"row 2 is not valid JSON: Expecting value at line 2, column 8"),
        ('[{"a": 1}\n {"b": 2}]', r"after row 1 there is no comma: '\{' follows at line 2, column 2"),
        ('[{"a": 1}, {"b": "cut', "row 2 is not valid JSON: Unterminated string"),
        ('[{"a": 1}', "after row 1 there is no comma: the file ends"),
        ('[{"a": 1},]', "row 2 is not valid JSON"),
        ('[{"a": 1}]\n[{"b": 2}]', "behind the end of the list: line 2, column 1"),
        ("[" * 200_000, "row 1 is nested too deeply"),
        ("[", "row 1 is not valid JSON"),
    ],
)
def test_a_broken_list_says_where(tmp_path, text, words):
    with pytest.raises(FileInvalid, match=words):
        read(tmp_path, text)


def test_an_early_mistake_is_told_without_reading_the_rest():
    def pieces():
        yield '[{"a": oops}, ' + " " * 100
        raise AssertionError("the rest was read")

    with pytest.raises(json_lists.ListBroken, match="line 1, column 8"):
        list(json_lists.rows(pieces()))


def test_broken_utf8_is_refused_with_its_field_and_a_damaged_gzip_file_as_one(tmp_path):
    ((_line, row),) = read(tmp_path, b'[{"a": "caf\xe9"}]')
    assert row == {"a": "caf\udce9"}
    with pytest.raises(FileInvalid, match="damaged or cut off"):
        read(tmp_path, gzip.compress(json.dumps(ROWS * 5000).encode())[:-20])


def test_a_budget_ends_the_reading_and_a_long_list_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PIECE", 100)
    text = json.dumps([{"id": place} for place in range(2000)])
    seen, alive = [], []
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(BudgetSpent):
        for line, _row in RowFile(path, budget=1000):
            seen.append(line)
    assert 50 < len(seen) < 100
    assert len(read(tmp_path, text, budget=len(text))) == 2000
    read(tmp_path, text, on_line=alive.append)
    assert len(alive) == len(text) // 100 // files.PIECES_ALIVE


def test_memory_does_not_grow_with_the_list():
    row = json.dumps({"text": "x" * 4000})
    pieces = (("[" if place == 0 else ",") + row for place in range(5000))

    def closed():
        yield from pieces
        yield "]"

    tracemalloc.start()
    count = sum(1 for _row in json_lists.rows(closed()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 5000 and peak < 200_000


def test_a_row_of_many_pieces_is_read_and_an_endless_one_refused(monkeypatch):
    text = json.dumps([{"text": "y" * 300_000}])
    pieces = (text[at : at + 1000] for at in range(0, len(text), 1000))
    assert [len(row["text"]) for _line, row in json_lists.rows(pieces)] == [300_000]
    monkeypatch.setattr(json_lists, "LONGEST", 10_000)
    with pytest.raises(json_lists.ListBroken, match="row 1 is longer than"):
        list(json_lists.rows(text[at : at + 1000] for at in range(0, len(text), 1000)))
