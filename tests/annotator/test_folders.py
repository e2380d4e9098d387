"""Folders of tables and zips of them are read as one file, in order; nothing of them reaches beyond its place."""

from __future__ import annotations

import json
import struct
import zipfile

import pytest
from django.core.management import call_command

from annotator.formats import folders, splits
from annotator.formats.entries import Way
from annotator.formats.files import BudgetSpent, FileInvalid
from annotator.formats.folders import Folder
from annotator.pipeline import ingest, preview, work
from tests.builders import make_project

README = """---
license: mit
configs:
- config_name: other
  data_files: other/*.jsonl
- config_name: pairs
  default: true
  data_files:
  - split: validation
    path: pairs/late-*.jsonl
  - split: train
    path: ["pairs/a.jsonl", "pairs/b.jsonl"]
---
# A set
"""


def row(name):
    prompt = f"What is {name}?"
    return json.dumps({"id": name, "prompt": prompt, "response_a": "Water.", "response_b": "Drops."}) + "\n"


FILES = {
    "README.md": README,
    "pairs/late-0.jsonl": row("late"),
    "pairs/a.jsonl": row("a1") + row("a2"),
    "pairs/b.jsonl": row("b"),
    "other/x.jsonl": row("x"),
    "croissant.json": "{}",
}


def folder_of(tmp_path, files):
    for name, content in files.items():
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path / "set"


def zip_of(tmp_path, files, prefix=""):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(prefix + name, content)
    return path


def ids(rows):
    return [found["id"] for _line, found in rows]


@pytest.mark.parametrize("make", [folder_of, zip_of, lambda *given: zip_of(*given, prefix="export-3/")])
def test_the_default_table_is_read_split_by_split_and_lines_name_their_file(tmp_path, make):
    folder = Folder(make(tmp_path, FILES), scratch=tmp_path)
    assert list(folder.tables) == ["pairs", "other"]
    found = list(folder)
    assert [line for line, _row in found] == [1, 2, 3, 4] and ids(found) == ["a1", "a2", "b", "late"]
    assert folders.where(folder.began, 3).endswith("pairs/b.jsonl, 1") and folder.share_read() == 1
    assert ids(Folder(make(tmp_path, FILES), "other", scratch=tmp_path)) == ["x"]
    with pytest.raises(FileInvalid, match="no table z; it has pairs, other"):
        Folder(make(tmp_path, FILES), "z")


def test_without_a_readme_top_files_stand_for_the_folder_and_folders_are_tables(tmp_path):
    files = {"validation.jsonl": row("v"), "train.jsonl": row("t"), "preference/p.jsonl": row("p"), ".git/x.json": "{}"}
    folder = Folder(zip_of(tmp_path, files), scratch=tmp_path)
    assert list(folder.tables) == ["default", "preference"] and ids(folder) == ["t", "v"]


def test_names_in_a_zip_are_never_paths(tmp_path):
    scratch = tmp_path / "in" / "scratch"
    scratch.mkdir(parents=True)
    files = {"../../out.jsonl": row("up"), "/etc/out.jsonl": row("root")}
    folder = Folder(zip_of(tmp_path, files), scratch=scratch)
    for table in folder.tables:
        assert ids(Folder(tmp_path / "set.zip", table, scratch=scratch))
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["in", "scratch", "set.zip"]


def test_of_a_local_folder_nothing_outside_is_read(tmp_path):
    (tmp_path / "secret.jsonl").write_text(row("secret"))
    folder = folder_of(tmp_path, {"a.jsonl": row("a")})
    (folder / "b.jsonl").symlink_to(tmp_path / "secret.jsonl")
    assert ids(Folder(folder)) == ["a"]


def test_a_zip_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "LEAST_UNPACKED", 1000)
    bomb = zip_of(tmp_path, {"a.jsonl": " " * 10_000_000})
    with pytest.raises(FileInvalid, match="far more than its size"):
        list(Folder(bomb, scratch=tmp_path))
    monkeypatch.setattr(folders, "MOST_FILES", 2)
    with pytest.raises(FileInvalid, match="more than 2 files"):
        Folder(zip_of(tmp_path, FILES))


@pytest.mark.parametrize("claimed", [1, folders.MOST_FILES + 1])
def test_a_zip_of_too_many_entries_is_refused_before_one_becomes_an_object(tmp_path, monkeypatch, claimed):
    """Whatever the end of the file claims: zipfile goes by the directory's size, not by its number of entries."""
    packed = zip_of(tmp_path, {"a.jsonl": row("a")})
    raw = packed.read_bytes()
    start, end = raw.find(b"PK\1\2"), raw.find(b"PK\5\6")
    directory = raw[start:end] * (folders.MOST_FILES + 1)
    ending = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, claimed, claimed, len(directory), start, 0)
    packed.write_bytes(raw[:start] + directory + ending)
    monkeypatch.setattr(zipfile, "ZipInfo", lambda *_args: pytest.fail("an entry became an object"))
    with pytest.raises(FileInvalid, match="more than 10,000 files and folders"):
        Folder(packed)
    monkeypatch.setattr(folders, "LONGEST_DIRECTORY", len(directory) - 1)
    with pytest.raises(FileInvalid, match="directory is longer than"):
        Folder(packed)


def test_a_look_unpacks_no_more_than_its_budget(tmp_path):
    packed = zip_of(tmp_path, {"a.jsonl": row("a") * 1000})
    with pytest.raises(BudgetSpent):
        list(Folder(packed, scratch=tmp_path, budget=500))


@pytest.mark.parametrize(
    ("files", "words"),
    [({"notes.txt": "x"}, "no files of rows"),
     ({"manifest.json": '{"format": "judgments"}', "a.jsonl": "{}"}, "restore"),
     ({"a.jsonl": ""}, "a.jsonl: the file is empty")],
)  # fmt: skip
def test_what_cannot_be_read_as_a_folder_is_refused_in_words(tmp_path, files, words):
    with pytest.raises(FileInvalid, match=words):
        list(Folder(zip_of(tmp_path, files), scratch=tmp_path))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("a: &a [p, p]\nconfigs: [{data_files: *a}]", "header of README.md cannot be read: it has aliases"),
        (f"configs: [{{data_files: [{', '.join(['p'] * 10_001)}]}}]", "10,001 patterns of files"),
        ("configs: " + "[" * 40 + "]" * 40, "nested 30 deep"),
    ],
)
def test_a_readme_that_stands_for_more_than_it_says_is_refused(tmp_path, header, words):
    files = {"README.md": f"---\n{header}\n---\n", "a.jsonl": row("a")}
    with pytest.raises(FileInvalid, match=words):
        Folder(zip_of(tmp_path, files))


def test_a_damaged_zip_is_refused(tmp_path):
    path = zip_of(tmp_path, FILES)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(FileInvalid, match="damaged"):
        Folder(path)


@pytest.mark.django_db
def test_a_zip_is_previewed_and_imported_with_errors_that_name_the_file(tmp_path, capsys):
    project = make_project()
    path = zip_of(tmp_path, FILES)
    seen = preview.preview(project, path)
    assert seen.can_import and seen.tables == ["pairs", "other"] and seen.rows_checked == 4
    call_command("ingest", str(project.pk), str(path), "--table", "pairs")
    assert project.comparisons.count() == 4 and project.imports.get().rows == 4
    call_command("ingest", str(project.pk), str(folder_of(tmp_path, FILES)), "--table", "other")
    assert project.comparisons.count() == 5
    with pytest.raises(work.StepRefused) as refused:
        ingest.ingest_file(project, zip_of(tmp_path, {**FILES, "pairs/b.jsonl": row("b") + "{"}))
    [error] = refused.value.result["errors"]
    assert (error["line"], error["file"]) == (4, "pairs/b.jsonl, 2")


OWN = {"prompt": "What?", "response_a": "Water.", "response_b": "Drops."}


@pytest.mark.django_db
def test_rows_keep_the_split_that_the_readme_or_their_file_names_unless_they_have_one(tmp_path):
    rows = [{**OWN, "id": "own", "metadata": {"split": "test"}}, {**OWN, "id": "kept", "metadata": {"x": "split"}},
            {**OWN, "id": "of-prompt", "prompt": "Why?", "prompt_metadata": {"split": "test"}},
            {"id": "alone", "prompt": "Who?"}]  # fmt: skip
    more = {"pairs/b.jsonl": "".join(json.dumps(one) + "\n" for one in rows)}
    project = make_project()
    ingest.ingest_file(project, zip_of(tmp_path, {**FILES, **more}))
    ingest.ingest_file(project, zip_of(tmp_path, {**FILES, **more}), way=Way(table="other"))
    found = dict(project.comparisons.values_list("external_id", "metadata"))
    assert {name: said.get("split") for name, said in found.items()} == {
        **{"a1": "train", "a2": "train", "kept": "train", "late": "validation"},
        **{"own": "test", "of-prompt": None, "x": None},
    }
    assert found["kept"] == {"x": "split", "split": "train"}
    assert project.prompts.get(external_id="alone").metadata == {"split": "train"}
    assert sorted(filter(None, project.prompts.values_list("metadata__split", flat=True))) == ["test", "train"]


@pytest.mark.parametrize(
    ("name", "split"),
    [("data/train-00000-of-00002.parquet", "train"), ("val.jsonl.gz", "val"), ("x/dev_2.json", "dev"),
     ("test/0.jsonl", "test"), ("latest.jsonl", ""), ("x/trainer.csv", ""), ("Test.CSV", "test")],
)  # fmt: skip
def test_a_file_is_of_the_split_that_its_name_or_folder_begins_with(name, split):
    assert splits.name_of("", name) == splits.name_of("two words", name) == split
    assert splits.name_of("late", name) == "late"


@pytest.mark.django_db
def test_rows_that_are_named_by_their_content_are_the_same_in_a_folder_and_alone(tmp_path):
    project = make_project()
    said = "\n\nHuman: Why?\n\nAssistant:"
    rows = json.dumps({"chosen": f"{said} Rain.", "rejected": f"{said} Sun."}) + "\n"
    path = folder_of(tmp_path, {"train.jsonl": rows})
    assert ingest.ingest_file(project, path / "train.jsonl").comparisons == 1
    # The folder says which split its rows are of, which the file alone does not.
    found = ingest.ingest_file(project, path)
    assert (found.skipped_existing, found.comparisons, found.prompts, found.supplemented) == (1, 0, 0, 1)
    assert project.comparisons.get().metadata["split"] == "train"
    assert not ingest.ingest_file(project, path).anything_new
