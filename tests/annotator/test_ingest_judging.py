"""What a comparison is judged by comes in with it: further responses, criterion, harms, a known answer."""

import pytest

from annotator import protocols
from annotator.formats import rows
from annotator.models import Gold, Harm
from annotator.pipeline import ingest
from tests.annotator.test_ingest import refusal, write
from tests.builders import make_project

pytestmark = pytest.mark.django_db


RANKING = {
    "id": "q1",
    "prompt": "Name a bird.",
    "rank": True,
    "responses": [{"id": letter, "text": f"Bird {letter}."} for letter in "vwxyz"],
    "criterion": "The rarer bird is better.",
    "harms": ["crime", "violence"],
    "gold": {"use": "tutorial", "better": ["b", "tie"], "explanation": "It is *rarer*."},
}


def test_a_ranking_comes_in_as_one_comparison_with_all_it_is_judged_by(tmp_path):
    project = make_project()
    for _again in range(2):
        ingest.ingest_file(project, write(tmp_path, [RANKING]))
    comparison = project.comparisons.get()
    order = [candidate.response.external_id for candidate in comparison.candidates.order_by("place")]
    assert (comparison.external_id, comparison.response_a.external_id, comparison.candidates_count) == ("q1", "v", 3)
    assert order == ["x", "y", "z"]
    assert list(comparison.candidates.order_by("place").values_list("place", flat=True)) == [2, 3, 4]
    assert comparison.criterion == "The rarer bird is better." and comparison.harms == ["violence", "crime"]
    gold = comparison.gold
    assert (gold.use, gold.better, gold.explanation) == ("tutorial", ["tie", "b"], "It is *rarer*.")
    assert gold.accepts("level", 2, {}) and gold.accepts("level", 0, {}) and not gold.accepts("level", -1, {})


def test_a_gold_answer_may_come_later_but_not_contradict(tmp_path):
    project = make_project()
    without = {key: value for key, value in RANKING.items() if key != "gold"}
    ingest.ingest_file(project, write(tmp_path, [without]))
    ingest.ingest_file(project, write(tmp_path, [RANKING]))
    assert project.golds.get().better == ["tie", "b"]
    for change, field in (
        ({"gold": {"use": "hidden", "better": "a"}}, "gold"),
        ({"criterion": "The nicer one."}, "criterion"),
        ({"responses": RANKING["responses"][:4]}, "responses"),
    ):
        assert refusal(project, write(tmp_path, [{**RANKING, **change}]))["errors"][0]["field"] == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"responses": RANKING["responses"][:2]}, "responses"),
        ({"responses": [f"bird {n}" for n in range(9)]}, "responses"),
        ({"rank": "yes"}, "rank"),
        ({"rank": False}, "gold"),
        ({"harms": ["boredom"]}, "harms"),
        ({"harms": "violence"}, "harms"),
        ({"gold": {"better": []}}, "gold.better"),
        ({"gold": {"better": ["c"]}}, "gold.better"),
        ({"gold": {"better": "a", "use": "decoration"}}, "gold.use"),
        ({"gold": {"better": "a", "ratings": {"helpfulness": {"a": [3, 1]}}}}, "gold.ratings.helpfulness.a"),
        ({"criterion": 7}, "criterion"),
        ({"comparisons": [{"id": "c", "a": "v", "b": "w", "others": ["v"]}]}, "comparisons[0]"),
        ({"comparisons": [{"id": "c", "a": "v", "b": "w", "others": ["nobody"]}]}, "comparisons[0].others[0]"),
    ],
)
def test_what_a_comparison_is_judged_by_must_make_sense(tmp_path, change, field):
    project = make_project()
    assert refusal(project, write(tmp_path, [{**RANKING, **change}]))["errors"][0]["field"] == field
    assert not project.comparisons.exists()


@pytest.mark.parametrize(
    ("preset", "said", "stored"),
    [
        ("ranking", {"ranking": {"ranks": [2, 1, 1, 3, 3]}}, {"level": 1, "ranking": {"ranks": [2, 1, 1, 3, 3]}}),
        ("best-worst", {"ranking": {"best": 4, "worst": 2}}, {"level": None, "outcome": "ranked"}),
        ("helpsteer3", {"level": -2, "feedback": {"a": "Short."}}, {"feedback": {"a": "Short."}, "level": -2}),
    ],
)
def test_recorded_judgments_bring_all_that_a_protocol_asks_for(tmp_path, preset, said, stored):
    project = make_project(preset)
    row = RANKING if "ranking" in said else {**RANKING, "rank": False, "responses": RANKING["responses"][:2]}
    judgments = [{"rater": "ann", "kind": "person", **said}, {"rater": "j", "kind": "ai", "p_b": 0.7, "flags": ["odd"]}]
    ingest.ingest_file(project, write(tmp_path, [{**row, "judgments": judgments}]))
    person = project.judgments.get(rater__kind="person")
    assert {name: getattr(person, name) for name in stored} == stored
    assert project.judgments.get(rater__kind="labeler").flags == ["odd"]


def test_passages_are_found_in_the_stored_text(tmp_path):
    project = make_project("fine-grained")
    kinds = protocols.read(project.protocol.definition).spans
    span = {"side": "b", "start": 5, "end": 7, "type": kinds.types[0].key, "severity": kinds.severities[0].key}
    row = {"id": 1, "prompt": "Bird?", "response_a": "A 🐦.", "response_b": "A 🐦 w bird."}
    said = {"rater": "ann", "kind": "person", "level": -1, "spans": [{**span, "start": 2, "end": 3}]}
    ingest.ingest_file(project, write(tmp_path, [{**row, "judgments": [said]}]))
    assert project.judgments.get().spans[0]["text"] == "🐦"
    beyond = {**said, "spans": [{**span, "start": 2, "end": 300}]}
    refused = refusal(project, write(tmp_path, [{**row, "id": 2, "judgments": [beyond]}]))
    assert refused["errors"][0]["field"].startswith("judgments[0].spans")


def test_the_importer_knows_the_words_of_the_models():
    assert list(rows.HARMS) == Harm.values
    assert list(rows.USES) == Gold.Use.values
    assert list(rows.BETTER) == Gold.Better.values
