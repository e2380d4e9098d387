"""A large file is read by a process of its own: what it reads, refuses and says is the same, and it ends with us."""

import gzip
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator import protocols
from annotator.formats.entries import ShapeUnknown, Way
from annotator.formats.files import FileInvalid
from annotator.formats.rows import RowInvalid
from annotator.models import Comparison, Job, JobCancelled, Judgment, Prompt, Response
from annotator.pipeline import ingest, ingest_known, ingest_reading, ingest_tables
from annotator.pipeline.ingest_reading import Reading
from tests.annotator.test_ingest import refusal, write
from tests.annotator.test_ingest_storing import row, rows
from tests.builders import make_project

DEFINITION = protocols.PRESETS["plain"]
ODD = {**row(1), "id": "odd", "prompt": "Tab\t, \\N and é 😀?", "response_a": "a\nb", "response_b": "\\.\n"}


def asleep(_taken, _share):
    """Nobody wants to know."""


def read(path, way=None, **given):
    reading = Reading(path, way or Way(), "", given.pop("definition", DEFINITION))
    with ingest_reading.parts(reading, given.pop("alive", asleep)) as parts:
        return list(parts)


def apart(monkeypatch):
    monkeypatch.setattr(ingest_reading, "APART", -1)


def said(parts):
    return [{**vars(part), "batch": vars(part.batch)} for part in parts]


def refused():
    return {**row(2), "judgments": [{"rater": "ann", "kind": "person", "level": 99}]}


def zipped(folder):
    with zipfile.ZipFile(folder / "set.zip", "w") as file:
        for name, given in (("a.jsonl", rows(3)), ("b.jsonl", [*rows(2, start=3), {"id": "bad", "prompt": ""}])):
            file.writestr(name, "".join(json.dumps(each) + "\n" for each in given))
    return folder / "set.zip"


def packed(folder):
    path = folder / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(write(folder, [ODD, *rows(4)]).read_bytes()))
    return path


def parquet(folder):
    plain = [{name: value for name, value in each.items() if name != "judgments"} for each in rows(5)]
    pq.write_table(pa.Table.from_pylist(plain), folder / "rows.parquet")
    return folder / "rows.parquet"


FILES = {
    "lines": lambda folder: write(folder, [ODD, *rows(1203)]),
    "nothing": lambda folder: write(folder, ["\n"]),
    "an answer that the protocol refuses": lambda folder: write(folder, [row(1), refused()]),
    "wrong rows": lambda folder: write(folder, [*rows(1001), "{\n", {**row(1), "response_b": ""}, *rows(1100)]),
    "gzip": packed,
    "Parquet": parquet,
    "a zip": zipped,
}


@pytest.mark.slow
@pytest.mark.parametrize("make", FILES.values(), ids=FILES)
def test_a_process_of_its_own_reads_what_would_be_read_here(tmp_path, monkeypatch, make):
    path = make(tmp_path)
    here = read(path)
    apart(monkeypatch)
    there = read(path)
    for one, other in zip(here, there, strict=True):  # judgments without a time get that of the reading
        for mine, theirs in zip(one.batch.rows, other.batch.rows, strict=True):
            assert mine._replace(judged=[]) == theirs._replace(judged=[])
            assert [each.said[: each.said.rindex("\t")] for each in mine.judged] == [
                each.said[: each.said.rindex("\t")] for each in theirs.judged
            ]
        one.batch.rows = other.batch.rows = []
    assert said(here) == said(there)


def test_from_the_first_wrong_row_on_nothing_is_handed_on_to_be_stored(tmp_path, monkeypatch):
    monkeypatch.setattr(ingest_reading, "BATCH", 2)
    parts = read(write(tmp_path, [*rows(3), "{\n", *rows(3), "{\n"]))
    assert [len(part.batch.rows) for part in parts] == [2, 0, 0, 0, 0]
    assert [part.taken for part in parts] == [2, 4, 6, 8, 8]
    assert [[line for line, _field, _reason in part.problems] for part in parts] == [[], [4], [], [8], []]


@pytest.mark.slow
def test_what_is_raised_there_is_raised_here(tmp_path, monkeypatch):
    apart(monkeypatch)
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(write(tmp_path, rows(3000)).read_bytes())[:-9])
    with pytest.raises(FileInvalid, match="the gzip file is damaged or cut off"):
        read(cut)
    with pytest.raises(ShapeUnknown, match="in no known shape"):
        read(write(tmp_path, [{"x": 1}]))
    with pytest.raises(KeyError) as raised:
        read(write(tmp_path, rows(1)), definition={"levels": []})
    assert "Traceback" in raised.value.__notes__[0]  # whoever runs the site finds where


@pytest.mark.slow
def test_errors_are_told_in_the_language_of_who_asked(tmp_path, monkeypatch):
    apart(monkeypatch)
    path = write(tmp_path, [refused()])
    told = {}
    for language in ("en", "ar"):
        with ingest_reading.parts(Reading(path, Way(), "", DEFINITION, language=language), asleep) as parts:
            [(_line, _field, told[language])] = next(parts).problems
    assert told["en"] == "99 is not on the scale" and "99" in told["ar"] != told["en"]


@pytest.mark.slow
def test_what_is_unpacked_goes_with_a_reading_that_is_given_up(tmp_path, monkeypatch):
    apart(monkeypatch)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        file.writestr("a.jsonl", "".join(json.dumps(each) + "\n" for each in rows(30_000)))
    reading = Reading(tmp_path / "set.zip", Way(), "", DEFINITION, str(scratch))
    with ingest_reading.parts(reading, asleep) as parts:
        next(parts)
        assert list(scratch.rglob("unpacked.jsonl"))
    assert not list(scratch.iterdir())


def test_what_a_killed_worker_had_unpacked_is_swept_up(settings, tmp_path):
    settings.MEDIA_ROOT = str(tmp_path)
    arriving = tmp_path / "uploads" / "arriving"
    for name, age in (("unpacked-old", 2), ("unpacked-new", 0)):
        (arriving / name).mkdir(parents=True)
        os.utime(arriving / name, (time.time() - age * 86_400,) * 2)
    ingest._sweep_unpacked()
    assert [each.name for each in arriving.iterdir()] == ["unpacked-new"]


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_what_stops_a_group_of_processes_does_not_end_a_reading(tmp_path, monkeypatch, sent):
    apart(monkeypatch)
    processes = started(monkeypatch)
    with ingest_reading.parts(Reading(write(tmp_path, rows(5000)), Way(), "", DEFINITION), asleep) as parts:
        read = len(next(parts).batch.rows)
        os.kill(processes[0].pid, sent)
        assert read + sum(len(part.batch.rows) for part in parts) == 5000


@pytest.mark.parametrize("error", [RowInvalid("here", "is odd"), FileInvalid("is odd"), KeyError("odd")])
def test_errors_come_back_from_the_other_process_with_what_they_say(error):
    back = pickle.loads(pickle.dumps(ingest_reading._sendable(error)))
    assert "odd" in str(back) and (type(back) is type(error) or type(back) is RuntimeError)


def test_metadata_and_judgments_count_for_the_size_of_a_part(tmp_path, monkeypatch):
    monkeypatch.setattr(ingest_reading, "BATCH_SIZE", 100_000)
    long = [{**each, "metadata": {"why": "x" * 60_000}} for each in rows(4)]
    assert [len(part.batch.rows) for part in read(write(tmp_path, long))] == [1, 1, 1, 1, 0]


def started(monkeypatch):
    """The processes that are started from now on."""
    processes, popen = [], subprocess.Popen

    def begun(*given, **options):
        processes.append(popen(*given, **options))
        return processes[-1]

    monkeypatch.setattr(ingest_reading.subprocess, "Popen", begun)
    return processes


@pytest.mark.slow
@pytest.mark.django_db
def test_of_an_import_whose_reading_is_killed_nothing_is_left(tmp_path, monkeypatch):
    apart(monkeypatch)
    processes, take = started(monkeypatch), ingest_tables.Staging.take

    def kills(self, batch):
        take(self, batch)
        if processes[0].poll() is None:
            os.kill(processes[0].pid, signal.SIGKILL)

    monkeypatch.setattr(ingest_tables.Staging, "take", kills)
    with pytest.raises(MemoryError, match="ended with status -9"):
        ingest.ingest_file(make_project(), write(tmp_path, rows(30_000)))
    assert not Prompt.objects.exists() and processes[0].poll() == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_of_a_cancelled_import_the_reading_ends_too(tmp_path, monkeypatch):
    apart(monkeypatch)
    monkeypatch.setattr(ingest_tables, "PULSE", 0)
    processes, project = started(monkeypatch), make_project()
    Job.objects.request(project, Job.Kind.INGEST)
    job = Job.objects.claim(Job.Kind.INGEST)
    job.cancel()
    with pytest.raises(JobCancelled):
        ingest.ingest_file(project, write(tmp_path, rows(30_000)), job=job)
    assert processes[0].poll() is not None and not Prompt.objects.exists()


@pytest.mark.slow
def test_the_reading_ends_with_who_started_it(tmp_path):
    path = write(tmp_path, rows(30_000))
    code = f"""
        import subprocess, sys, time
        from pathlib import Path
        from annotator import protocols
        from annotator.formats.entries import Way
        from annotator.pipeline import ingest_reading
        begun = subprocess.Popen
        def popen(*given, **options):
            process = begun(*given, **options)
            print(process.pid, flush=True)
            return process
        subprocess.Popen, ingest_reading.APART = popen, -1
        reading = ingest_reading.Reading(Path({str(path)!r}), Way(), "", protocols.PRESETS["plain"])
        with ingest_reading.parts(reading, lambda taken, share: None) as parts:
            next(parts)
            print("reads", flush=True)
            time.sleep(600)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True) as parent:
        try:
            reader = int(parent.stdout.readline())
            assert parent.stdout.readline() == "reads\n" and runs(reader)
        finally:
            parent.kill()
    deadline = time.monotonic() + 60
    while runs(reader) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runs(reader)


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.django_db
def test_a_file_comes_in_through_a_process_of_its_own(tmp_path, monkeypatch):
    apart(monkeypatch)
    project, path = make_project(), write(tmp_path, [ODD, *rows(2500)])
    checked = ingest.check_file(project, ingest.Coming(path))
    assert checked.report.comparisons == 2501 and not Prompt.objects.exists()
    report = ingest.ingest_file(project, path)
    assert report == checked.report and (report.prompts, report.judgments, report.rows) == (2501, 5002, 2501)
    odd = Comparison.objects.get(external_id="odd")
    assert odd.prompt.turns[0]["content"] == ODD["prompt"]
    assert (odd.response_a.text, odd.response_b.text) == (ODD["response_a"], ODD["response_b"])
    assert ingest.ingest_file(project, path).skipped_existing == 2501
    wrong = [{**row(0), "id": "again", "prompt_id": odd.prompt.external_id}, {"id": "bad"}]
    found = refusal(project, write(tmp_path, [*wrong[:1], *rows(1200, start=5000), *wrong[1:]]))
    assert [error["line"] for error in found["errors"]] == [1, 1202] and Judgment.objects.count() == 5002
    assert [error["file"] for error in refusal(project, zipped(tmp_path))["errors"]] == ["b.jsonl, 3"]


@given(st.lists(st.lists(st.text(max_size=3), unique=True, max_size=8), max_size=6), st.sampled_from([8, 64, 2**26]))
def test_no_id_that_came_before_is_missed(batches, bits):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ingest_known, "BITS", bits)
        seen, before = ingest_known.Seen(), set()
        for batch in batches:
            assert set(batch) & before <= set(seen.again(batch)) <= set(batch)
            before |= set(batch)


@pytest.mark.django_db
@pytest.mark.parametrize("bits", [8, 2**20])
def test_what_a_file_itself_brought_is_found_in_an_empty_project(tmp_path, monkeypatch, bits):
    """Whatever the filter takes for seen."""
    monkeypatch.setattr(ingest_known, "BITS", bits)
    monkeypatch.setattr(ingest_reading, "BATCH", 2)
    one = {"prompt_id": "p", "prompt": "Why?", "responses": [{"id": "x", "text": "X"}, {"id": "y", "text": "Y"}]}
    more = {**one, "responses": [{"id": "z", "text": "Z"}, {"id": "x", "text": "X"}]}
    given = [{**one, "id": "1"}, *rows(3), {**more, "id": "2"}, *rows(3, start=3)]
    report = ingest.ingest_file(make_project(), write(tmp_path, given))
    assert (report.prompts, report.responses, report.comparisons) == (7, 15, 8)
    assert Response.objects.filter(prompt__external_id="p").count() == 3
    found = refusal(make_project(), write(tmp_path, [*given, row(0)]))
    assert [(error["line"], error["reason"]) for error in found["errors"]] == [(9, "the id q0 is already on line 2")]
