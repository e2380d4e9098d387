"""The gate: `datasets` loads every format offline from the exported folder, with the declared types."""

import pytest

from annotator.formats import WRITERS
from annotator.models import Export
from annotator.pipeline import export, work
from tests.annotator.judged_project import ODD, answered_by_all, exported, load, plain, project_for, stay_offline
from tests.builders import make_project

pytestmark = pytest.mark.django_db

# Formats of each kind, tried each time; all of them in each of their containers take longer.
QUICK = ("trl_reward", "helpsteer2", "llamafactory")


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)
    stay_offline(tmp_path, monkeypatch)


def every_form():
    """Every format in every container that its readers read."""
    for format, path in WRITERS.items():
        readable = export.import_string(path).containers
        for number, container in enumerate(readable):
            is_quick = format in QUICK and not number
            yield pytest.param(format, container, marks=[] if is_quick else [pytest.mark.slow])


@pytest.mark.parametrize(("format", "container"), [*every_form()])
def test_datasets_loads_every_config_with_the_declared_types(format, container, tmp_path):
    from datasets import Features

    project = project_for(format)
    folder = exported(project, tmp_path / "set", format, container)
    made = project.exports.get()
    definition = export.protocols.read(project.protocol.definition)
    writer = export.import_string(WRITERS[format])(definition, export.read_options(made.options))
    assert {config.name for config in writer.configs} == {file["config"] for file in made.manifest["files"]}
    for config in writer.configs:
        loaded = load(folder, config.name)
        for rows in loaded.values():
            assert rows.features == Features.from_arrow_schema(config.schema)
        assert {split: rows.num_rows for split, rows in loaded.items()} == {
            file["split"]: file["rows"] for file in made.manifest["files"] if file["config"] == config.name
        }


def multipref():
    aspects = {
        key: {"level": level, "confidence": 2, "reasons": []}
        for key, level in (("helpful", 2), ("truthful", 0), ("harmless", -1))
    }
    aspects["helpful"]["reasons"] = ["complete"]
    answer = {"level": 2, "confidence": 3.0, "aspects": aspects, "justification": ODD}
    return answered_by_all(make_project("multipref", provenance="generated"), [answer])


def helpsteer2():
    ratings = dict(zip(("helpfulness", "correctness", "coherence", "complexity", "verbosity"), range(5), strict=True))
    attributes = {key: {"a": value, "b": 4 - value} for key, value in ratings.items()}
    answer = {"level": -2, "attributes": attributes, "justification": ODD}
    return answered_by_all(make_project("helpsteer2", provenance="generated"), [answer])


@pytest.mark.slow
def test_helpsteer2_of_a_protocol_without_ratings_is_the_preference_alone(tmp_path):
    folder = exported(plain(), tmp_path / "set", "helpsteer2", "jsonl")
    rows = load(folder, "preference")["train"]
    assert {row["preference_strength"] for row in rows} <= {-3, 3}
    assert {file["config"] for file in Export.objects.get().manifest["files"]} == {"preference"}


@pytest.mark.slow
def test_without_a_name_the_first_config_loads(tmp_path):
    folder = exported(plain(), tmp_path / "set", "judgments", "parquet")
    assert "judgment_id" in load(folder)["train"].column_names


@pytest.mark.slow
def test_helpsteer2_ratings_and_preference_say_what_people_said(tmp_path):
    folder = exported(helpsteer2(), tmp_path / "set", "helpsteer2", "jsonl", ai="keep")
    first, second = load(folder)["train"]
    assert first["response"] == f"{ODD} A0" and second["response"] == f"{ODD} B0"
    assert first["prompt"] == second["prompt"]
    assert first["prompt"] == (
        f"<extra_id_0>System\nBe brief.\n<extra_id_1>User\n{ODD} 0"
        "\n<extra_id_1>Assistant\nYes?\n<extra_id_1>User\nGo on."
    )
    assert [first[key] for key in ("helpfulness", "correctness", "verbosity")] == [0, 1, 4]
    people, judge = load(folder, "preference")["train"]
    assert (people["preference_strength"], people["preference_statement"]) == (-2, ODD)
    assert (judge["preference_strength"], judge["meta_source"]) == (1, "judge")
    assert load(folder, "disagreements")["train"][0]["helpfulness"] == [0, 0]


@pytest.mark.slow
def test_helpsteer2_loads_as_the_original_does(tmp_path):
    import datasets

    folder = exported(helpsteer2(), tmp_path / "set", "helpsteer2", "jsonl.gz")
    assert (tmp_path / "set" / "train.jsonl.gz").exists()
    assert "helpfulness" in datasets.load_dataset(folder)["train"].column_names
    for table, column in (("preference", "preference_strength"), ("disagreements", "helpfulness")):
        assert (tmp_path / "set" / table / f"{table}.jsonl.gz").exists()
        loaded = datasets.load_dataset(folder, data_dir=table)["train"]
        assert column in loaded.column_names and loaded.num_rows == load(folder, table)["train"].num_rows


@pytest.mark.slow
def test_multipref_keeps_every_answer(tmp_path):
    folder = exported(multipref(), tmp_path / "set", "multipref", "parquet", ai="keep")
    row, judge = load(folder)["train"]
    (normal,), (expert,) = row["normal_worker_annotations"], row["expert_worker_annotations"]
    assert normal["evaluator"] != expert["evaluator"]
    assert (normal["overall_pref"], normal["overall_confidence"]) == ("B-is-clearly-better", "absolutely-confident")
    assert (normal["helpful_pref"], normal["truthful_pref"]) == ("B-is-clearly-better", "Tie")
    assert normal["harmless_pref"] == "A-is-slightly-better"
    assert normal["helpful_checked_reasons"] == ["More complete"]
    assert (normal["time_spent"], normal["meta_justification"]) == (4, ODD)
    assert (row["completion_a"], row["completion_b"]) == (f"{ODD} A0", f"{ODD} B0")
    assert (judge["meta_source"], judge["meta_p_b"], judge["normal_worker_annotations"]) == ("judge", 0.8, [])


def test_ties_can_be_written_both_ways_round(tmp_path):
    folder = exported(plain(), tmp_path / "set", "trl_reward", "parquet", ties="both")
    rows = load(folder)["train"]
    ties = [row for row in rows if row["meta_p_chosen"] == 0.5]
    assert len(ties) == 2 and len(rows) == 8
    assert ties[0]["chosen"] == ties[1]["rejected"] and ties[0]["margin"] == ties[1]["margin"] == 0
