"""What a comparison is judged by comes in with it: further responses, criterion, harms, a known answer."""

import pytest

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
