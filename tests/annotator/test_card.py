"""What travels with an export beside its data: the card for people, the Croissant file for machines."""

import gzip
import hashlib
import json
import re
from types import SimpleNamespace

import pandas
import pyarrow as pa
import pytest
import yaml
from django.core.files.storage import default_storage
from django.utils.module_loading import import_string
from pyarrow import parquet

from annotator.formats import WRITERS, croissant, header
from annotator.formats.source import Config
from annotator.models import Import, Job
from annotator.pipeline import aggregate, export, work
from annotator.readings import manifest
from tests.annotator.judged_project import project_for
from tests.builders import make_comparison, make_judgment, make_labeler, make_person, make_plan, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def quiet_broker(monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)


def judged(project, level=1, **texts):
    comparison = make_comparison(project, **texts)
    make_judgment(comparison, make_person(project), level)
    return comparison


def write(project, format="trl_reward", container="jsonl", **options):
    made, _job = export.request_export(project, format, container, aggregate.recipe(project, "routed"), options, None)
    done = export.write_export(made)
    Job.objects.update(state=Job.State.DONE)
    return done


def text(done, name):
    address = next(file["address"] for file in done.files if file["name"] == name)
    with default_storage.open(address) as file:
        return file.read().decode()


def parts(done):
    """The card's header as YAML reads it, and the rest."""
    _nothing, head, body = text(done, "README.md").split("---\n", 2)
    return yaml.safe_load(head), body


def folder_of(done, path):
    """The export as it lies on the disk of somebody who downloaded it."""
    for file in done.files:
        target = path / file["name"]
        target.parent.mkdir(parents=True, exist_ok=True)
        with default_storage.open(file["address"]) as stored:
            target.write_bytes(stored.read())
    return path


def licensed(project, prompt="cc-by-4.0", response="CC BY 4.0", language="en"):
    comparison = judged(project)
    comparison.prompt.metadata = {"license": prompt, "language": language}
    comparison.prompt.save()
    for each in (comparison.response_a, comparison.response_b):
        each.metadata = {"licence": response}
        each.save()


@pytest.mark.slow
def test_licences_and_languages_of_texts_are_carried_through():
    project = make_project()
    licensed(project)
    head, body = parts(write(project))
    assert (head["license"], head["language"]) == ("cc-by-4.0", ["en"])
    assert "| prompts | cc-by-4.0 | 1 |" in body
    assert "| responses | CC BY 4.0 | 2 |" in body
    licensed(project, prompt="odc-by", language="pt-BR")
    head, body = parts(write(project))
    assert head["license"] == ["cc-by-4.0", "odc-by"]
    assert head["language"] == ["en", "pt"]
    licensed(project, response="ask Ana")
    assert parts(write(project))[0]["license"] == "other"
    judged(project)
    head, body = parts(write(project))
    assert head["license"] == "unknown"
    assert "| prompts | not stated | 1 |" in body
    assert "replace `unknown` above" in body


def test_a_licence_said_of_the_whole_comparison_counts_for_its_texts():
    project = make_project()
    comparison = judged(project)
    comparison.metadata = {"license": "mit"}
    comparison.save()
    assert parts(write(project))[0]["license"] == "mit"


def test_the_card_says_what_was_asked_who_was_sent_where_and_by_what_chance():
    project = make_project("helpsteer2")
    judge = make_labeler(project, "gpt")
    people, machine = judged(project), make_comparison(project)
    make_judgment(machine, judge, p_b=0.9)
    plan = make_plan(project, {people: None, machine: judge})
    plan.routes.filter(comparison=people).update(is_control=True, propensity=0.25)
    _head, body = parts(write(project))
    assert "Of its 2 routes 1 were drawn at random as a control" in body
    assert "the least chance with which a route was drawn is 0.25" in body
    assert "ratings: Helpfulness, Correctness" in body
    assert "| gpt | 1 | 50.0% |" in body


def test_hostile_words_break_neither_header_nor_card_nor_croissant():
    evil = "x\n---\nlicense: mit\n# <b>|`\u2028\u0085 'q' \"q\" : {a} @x &y *z !!python/object"
    project = make_project(name=evil, provenance=evil)
    licensed(project, prompt=evil)
    done = write(project)
    head, body = parts(done)
    assert head["pretty_name"] == evil
    assert head["license"] == "other"
    assert [line for line in body.splitlines() if line.startswith("#")][1:] == [
        *("## Tables", "## Collection", "## Protocol and guidelines", "## Annotators and agreement"),
        *("## Who judged what, and what it cost", "## Labels", "## Licences", "## Limits and notes"),
        "## Repeating it",
    ]
    assert "<b>" not in body
    assert json.loads(text(done, "croissant.json"))["name"] == evil


def test_no_name_turns_the_direction_of_what_a_reader_of_card_or_croissant_sees():
    """The manifest is data and keeps names as they are; what people read does not."""
    turning = "".join(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]))
    evil = f"Ana{turning}gpj.exe"
    project = make_project(name=evil, provenance=evil)
    licensed(project, prompt=evil, language="he")
    routed = make_comparison(project)
    judge = make_labeler(project, evil)
    judge.labeler_version.parameters = {"model": evil}
    judge.labeler_version.save()
    make_judgment(routed, judge, p_b=0.9)
    make_plan(project, {routed: judge})
    Import.objects.create(project=project, filename=evil, format="native", sha256="0" * 64, bytes=1, rows=1)
    Import.objects.create(project=project, origin={"name": evil}, format="native", sha256="1" * 64, bytes=1, rows=1)
    done = write(project, ai="keep")
    said = (
        done.manifest["inputs"][0]["filename"],
        done.manifest["project"]["name"],
        done.manifest["labelers"][0]["name"],
    )
    assert said == (evil, evil, evil)
    for name in ("README.md", "croissant.json"):
        shown = text(done, name)
        shown = shown if name == "README.md" else json.dumps(json.loads(shown), ensure_ascii=False)
        assert "Anagpj.exe" in shown
        assert not set(turning) & set(shown) and "\\u202" not in shown and "\\u206" not in shown
    assert json.loads(text(done, "croissant.json"))["name"] == "Anagpj.exe"
    assert not set(turning) & set("".join(file["name"] for file in done.files))


def test_no_secret_no_worker_and_no_mail_address_travels():
    project = make_project()
    judge = make_labeler(project, "gpt")
    judge.labeler_version.parameters = {"model": "m", "base_url": "http://10.0.0.7", "api_key": "sk-1"}
    judge.labeler_version.save()
    comparison = judged(project)
    person = make_person(project)
    person.external_id = "ines@example.org"
    person.save()
    make_judgment(comparison, person, 1)
    routed = make_comparison(project)
    make_judgment(routed, judge, p_b=0.9)
    make_plan(project, {routed: judge})
    done = write(project)
    told = "".join(text(done, name) for name in ("README.md", "croissant.json", "manifest.json"))
    assert "model m" in told
    for secret in ("10.0.0.7", "sk-1", "ines@", person.external_id):
        assert secret not in told


def test_a_table_in_several_parts_is_one_split_of_the_card_and_a_record_set_each_in_croissant():
    facts = {
        "project": {"name": "P", "provenance": ""},
        "configs": ["default"],
        "counted": {"judgments_by_source": {"people": 5}},
        "files": [
            {"name": f"default/train-{n}.parquet", "config": "default", "split": "train", "rows": 5, "bytes": 9,
             "sha256": "0" * 64}
            for n in range(2)
        ],
    }  # fmt: skip
    schema = pa.schema([("deep", pa.list_(pa.list_(pa.string()))), ("n", pa.int64())])
    config = Config("default", schema, "about")
    head = yaml.safe_load(header.header(facts, SimpleNamespace(configs=(config,))))
    assert head["configs"][0]["data_files"] == [
        {"split": "train", "path": ["default/train-0.parquet", "default/train-1.parquet"]}
    ]
    assert head["dataset_info"][0]["splits"] == [{"name": "train", "num_bytes": 18, "num_examples": 10}]
    assert head["dataset_info"][0]["features"][0] == {"name": "deep", "list": {"list": "string"}}
    records = list(croissant._records(config, facts["files"]))
    assert [each["@id"] for each in records] == ["default/train/0", "default/train/1"]
    assert records[0]["field"][0]["arrayShape"] == "-1,-1"


def test_every_config_has_its_record_sets_with_every_column():
    project = make_project("helpsteer2")
    judged(project)
    done = write(project, "judgments", "parquet")
    said = json.loads(text(done, "croissant.json"))
    assert said["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    files = {each["@id"]: each for each in said["distribution"]}
    assert {name: each["sha256"] for name, each in files.items()} == {
        each["name"]: each["sha256"] for each in done.manifest["files"]
    }
    assert {each["@id"].split("/")[0] for each in said["recordSet"]} == {
        each["config"] for each in done.manifest["files"]
    }
    turns = next(each for each in said["recordSet"] if each["@id"] == "prompts/train")["field"][1]
    assert [part["name"] for part in turns["subField"]] == ["role", "content"]
    for name in ("dataCollection", "dataAnnotationProtocol", "dataAnnotationPlatform", "annotationsPerItem"):
        assert said[f"rai:{name}"]


def test_of_a_lossless_store_card_and_croissant_tell_what_the_tables_hold_whatever_its_labels_count():
    project = make_project()
    judge, person = make_labeler(project, "judge"), make_person(project)
    comparisons = [make_comparison(project) for _ in range(3)]
    for comparison in comparisons:
        make_judgment(comparison, judge, p_b=0.8)
    make_judgment(comparisons[0], person, 1)
    make_plan(project, {comparisons[0]: make_labeler(project, "other")})
    done = write(project, "judgments", "parquet")
    counted = done.manifest["counted"]
    assert (counted["judgments_by_source"], counted["held_by_source"]) == ({}, {"judge": 3, "people": 1})
    card = text(done, "README.md")
    assert "3 comparisons of two responses, 4 judgments, exported" in card
    assert "does not count: 4 (corrected" in card
    assert "Judgments of people here: 1. The recipe of the labels counts none of them." in card
    assert f"| judge | 3 | 0 | 0 {project.currency} |" in card and f"| people | 1 | 0 | 0 {project.currency} |" in card
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["annotations_creators"] == ["crowdsourced", "machine-generated"] and "human-feedback" in head["tags"]
    said = json.loads(text(done, "croissant.json"))
    assert said["rai:annotationsPerItem"] == "1.33 on average"
    assert said["rai:dataCollectionType"] == ["Crowdsourcing", "Machine generated"]
    assert "does not count: 4 (corrected" in said["rai:dataCollection"]


def validated(path):
    import mlcroissant

    data = mlcroissant.Dataset(jsonld=str(path / "croissant.json"))
    assert data.metadata.ctx.issues.errors == set()
    assert data.metadata.ctx.issues.warnings == set()
    return data


def values(record):
    """A record with its fields by their own names; text, which mlcroissant gives as bytes, as text."""
    return {
        name.rsplit("/", 1)[-1]: value.decode() if isinstance(value, bytes) else value for name, value in record.items()
    }


ODD = "naïve Ω𝄞 “x” e\u0301 שלום"


@pytest.mark.slow
def test_mlcroissant_accepts_the_file_and_streams_its_records(tmp_path):
    project = make_project(name="Rain & sun", provenance="generated")
    judged(project, prompt=ODD)
    data = validated(folder_of(write(project), tmp_path))
    assert str(data.metadata.version) == "1.0.0"
    record = values(next(iter(data.records(record_set="default/train"))))
    assert [values(turn)["content"] for turn in record["chosen"]][0] == ODD
    assert [values(turn)["role"] for turn in record["chosen"]] == ["user", "assistant"]
    assert record["meta_votes"] == 1


def every_form():
    """Every format in every file type that its readers read."""
    return [(format, container) for format, path in WRITERS.items() for container in import_string(path).containers]


@pytest.mark.slow
@pytest.mark.parametrize(("format", "container"), every_form())
def test_every_kind_of_file_streams_through_mlcroissant(tmp_path, format, container):
    done = write(project_for(format), format, container)
    data = validated(folder_of(done, tmp_path))
    assert done.manifest["files"]
    for file in done.manifest["files"]:
        record_set = f"{file['config']}/{file['split']}"
        records, rows = list(data.records(record_set=record_set)), stored(tmp_path / file["name"])
        assert len(records) == len(rows) == file["rows"] > 0
        for record, row in zip(records, rows, strict=True):
            for field, value in fields_of(record).items():
                assert same(value, lying(row, field.removeprefix(f"{record_set}/").split("/"))), field


def stored(path):
    """The rows as the file itself holds them."""
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as lines:
        return [json.loads(each) for each in lines]


def fields_of(record):
    """Each field's value by its identifier; of a list of records a list, one value an element."""
    found = {}
    for name, value in record.items():
        if isinstance(value, dict):
            found |= value
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            found |= {part: [each[part] for each in value] for part in value[0]}
        else:
            found[name] = value
    return found


def lying(value, path):
    """What lies on a path of names, of a list in each element; identifiers have underscores for spaces."""
    if value is None or not path:
        return value
    if isinstance(value, list):
        return [lying(each, path) for each in value]
    return lying(next((inner for name, inner in value.items() if name.replace(" ", "_") == path[0]), None), path[1:])


# Its reader of JSON Lines, pandas, makes numbers of a column whose texts all are numbers.
DIGITS = re.compile(r"\d+(\.\d+)?")


def same(streamed, kept):
    """Whether a field gives what the file holds; mlcroissant gives text as bytes and a missing list as [None]."""
    if kept is None:
        return streamed in (None, [None])
    if isinstance(kept, list):
        return len(streamed) == len(kept) and all(map(same, streamed, kept))
    if isinstance(streamed, pandas.Timestamp):
        return streamed == pandas.Timestamp(kept)
    told = streamed.decode() if isinstance(streamed, bytes) else streamed
    return told == kept or isinstance(kept, str) and bool(DIGITS.fullmatch(kept)) and float(told) == float(kept)


@pytest.mark.slow
def test_nested_parts_stream_and_what_cannot_is_told(tmp_path):
    done = write(project_for("nemo_rl"), "nemo_rl")
    records = {each["@id"]: each for each in json.loads(text(done, "croissant.json"))["recordSet"]}
    ranked = records["preference/train"]
    assert "not among the fields here, for it nests deeper: “completions.completion”." in ranked["description"]
    completions = next(each for each in ranked["field"] if each["name"] == "completions")
    assert [part["name"] for part in completions["subField"]] == ["rank"]
    data = validated(folder_of(write(project_for("fine_grained"), "fine_grained"), tmp_path))
    told = [fields_of(each) for each in data.records(record_set="default/train")]
    for part in ("feedback/errors/error_type", "feedback/missing-info/sentence_id", "feedback/corrected-prediction"):
        assert any(each[f"default/train/{part}"] for each in told if f"default/train/{part}" in each), part


def test_what_came_in_stands_in_card_and_croissant(monkeypatch):
    monkeypatch.setattr(manifest, "LISTED", 2)
    project = make_project()
    judged(project)
    for number in range(3):
        Import.objects.create(project=project, filename=f"rain_{number}.jsonl", sha256=f"{number}" * 64, rows=10)
    Import.objects.create(project=project, origin={"name": "rain/fell"}, sha256="e" * 64, rows=10)
    Import.objects.create(project=project, filename=Import.PROGRAM, sha256="f" * 64, rows=1)
    done = write(project)
    body, said = text(done, "README.md"), json.loads(text(done, "croissant.json"))
    assert [each["filename"] for each in done.manifest["inputs"]] == ["rain_0.jsonl", "rain_1.jsonl"]
    for number in range(2):
        assert f"- imported: rain\\_{number}.jsonl (sha256 `{f'{number}' * 64}`)" in body
        assert said["rai:dataCollectionRawData"][number] == f"rain_{number}.jsonl, sha256 {f'{number}' * 64}"
    rest = hashlib.sha256("".join(f"{each * 64}\n" for each in "2ef").encode()).hexdigest()
    further = {"number": 3, "rows": 21, "bytes": 0, "sha256_of_sha256": rest}
    assert done.manifest["further_inputs"] == further
    assert f"21 rows in 3 files and batches (sha256 over theirs `{rest}`)" in body


@pytest.mark.slow
def test_batches_of_the_program_interface_are_counted_and_not_listed():
    project = make_project()
    judged(project)
    assert write(project).manifest["further_inputs"] is None
    Import.objects.create(project=project, filename=Import.PROGRAM, sha256="f" * 64, rows=7, bytes=9)
    facts = write(project).manifest
    assert facts["inputs"] == []
    assert (facts["further_inputs"]["number"], facts["further_inputs"]["rows"]) == (1, 7)


def test_a_public_set_is_called_by_its_name():
    project = make_project()
    judged(project)
    Import.objects.create(project=project, origin={"name": "rain/fell"}, sha256="e" * 64)
    assert "- imported: rain/fell (sha256" in text(write(project), "README.md")
