"""What routing measures rests on comparisons that chance sent to people, and a plan on its own sources' shares."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from annotator.models import Label, Plan, Route
from annotator.pipeline import aggregate, basis, forecast, grounds, realised, signals, work
from tests.annotator.loop_samples import with_features
from tests.builders import make_judgment, make_person, make_plan, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project(price_per_judgment=Decimal("0.5"), votes=1)


def ranked(project, comparisons, *, control=(), revises=None, strategy="value"):
    """An approved plan that ranked: people get `comparisons`, and by chance those of `control`."""
    project.plans.update(status="superseded")
    plan = make_plan(project, dict.fromkeys([*comparisons, *control]))
    approved = {"strategy": strategy, "approved_at": project.created_at, "revises": revises}
    Plan.objects.filter(pk=plan.pk).update(**approved)
    plan.routes.filter(comparison__in=control).update(is_control=True)
    return Plan.objects.get(pk=plan.pk)


def judged(made, plan=None):
    people = [make_person(made[0][0].project)]
    for comparison, level in made:
        make_judgment(comparison, people[0], level, plan=plan)


@pytest.mark.slow
def test_what_a_ranking_sent_to_people_is_not_measured_on(project):
    made = with_features(project, 60)
    judged(made[:20])
    plan = ranked(project, [each for each, _level in made[20:30]], control=[each for each, _level in made[30:35]])
    judged(made[20:35], plan)
    judged(made[:5], plan)  # chance sent them first; a vote more changes nothing
    known = signals.load(project)
    np.testing.assert_array_equal(np.flatnonzero(known.drawn), [*range(20), *range(30, 35)])
    assert known.judged.sum() == 35


@pytest.mark.slow
def test_a_ranked_comparison_stays_one_in_the_plan_that_keeps_it(project):
    made = with_features(project, 20)
    first = ranked(project, [each for each, _level in made[:6]])
    second = ranked(project, [each for each, _level in made[:12]], revises=first)
    second.routes.filter(comparison__in=[each for each, _level in made[:6]]).update(is_kept=True)
    judged(made[:6], second)
    assert not signals.load(project).by_chance[:6].any()
    by_chance = ranked(project, [each for each, _level in made[12:16]], strategy="random")
    third = ranked(project, [each for each, _level in made[12:16]], revises=by_chance)
    third.routes.update(is_kept=True)
    judged(made[12:16], third)
    assert signals.load(project).by_chance[12:16].all(), "a ranking that kept a random draw did not rank it"


@pytest.mark.slow
def test_a_labeler_is_promised_at_what_chance_says_of_it_and_not_where_it_is_wrong(project):
    made = with_features(project, 120, 60, judge_right=0.8)
    judged(made[:60])
    known = signals.load(project)
    wrong = [pair for pair, said in zip(made, known.p_b[:, 0], strict=True) if (pair[1] > 0) != (said > 0.5)][-20:]
    wrong = [pair for pair in wrong if pair not in made[:60]]
    before = basis.load(project).problem.accuracy(1)
    judged(wrong, ranked(project, [each for each, _level in wrong]))
    after = basis.load(project)
    assert len(wrong) > 5 and after.problem.accuracy(1) == pytest.approx(before)
    (row,) = forecast._promised(after)
    assert row["accuracy"] == pytest.approx(before) and row["comparisons"] == 60


@pytest.mark.slow
def test_too_few_by_chance_are_told_apart_from_too_few(project, monkeypatch):
    monkeypatch.setattr(grounds, "ENOUGH_JUDGED", 30)
    made = with_features(project, 60)
    judged(made[:10])
    judged(made[10:40], ranked(project, [each for each, _level in made[10:40]]))
    with pytest.raises(work.StepRefused, match="10 comparisons of 10 prompts by chance, and 30 because a plan ranked"):
        grounds.gather(project, signals.load(project))
    judged(made[40:])
    evidence = grounds.gather(project, signals.load(project))
    assert len(evidence.votes) == 30 and evidence.names == ["people", "judge"]


def labelled(project, plan, routes):
    recipe = aggregate.default_recipe(project)
    Label.objects.bulk_create(
        Label(comparison_id=each.comparison_id, recipe=recipe, p_b=0.8, votes=1, source=each.source) for each in routes
    )


@pytest.mark.slow
def test_no_figure_before_every_source_has_its_share_and_then_each_at_its_share(project):
    made = with_features(project, 120, 40, judge_right=1.0)
    judged(made[:60])
    judge = made[0][0].judgments.exclude(p_b=None).get().rater
    plan = make_plan(project, {each: None if number % 2 else judge for number, (each, _level) in enumerate(made)})
    people, labelers = plan.routes.filter(labeler=None), plan.routes.filter(labeler__isnull=False)
    labelled(project, plan, [*labelers, *people[:10]])
    early = realised.measure(plan)
    assert early.labels == 70 and early.accuracy is None
    assert early.detail["sources"] == [
        {"source": "judge", "wanted": 30, "there": 60},
        {"source": "people", "wanted": 30, "there": 10},
    ]
    assert "judge: 30 of 30; people: 10 of 30" in early.detail["text"]
    labelled(project, plan, people[10:28])
    late = realised.measure(plan)
    assert late.accuracy is not None and late.detail["size"] == 58 and late.detail["draws"] == realised.DRAWS


def test_what_the_plan_kept_is_not_its_own_however_little_of_it_was_judged_before(project):
    made = with_features(project, 10)
    plan = ranked(project, [each for each, _level in made])
    plan.routes.filter(comparison__in=[each for each, _level in made[:4]]).update(is_kept=True)
    assert [position for position, _chance in realised._own_routes(plan, signals.load(project).ids)] == [*range(4, 10)]
    judge = made[0][0].judgments.exclude(p_b=None).get().rater.labeler_version.labeler
    plan.routes.update(source="judge", labeler=judge, price=Decimal("0.02"))
    project.labelers.update(kind="llm_judge")
    assert realised._spending(plan)["planned"] == "0.12000000"


def test_one_vote_is_no_majority(project):
    project.votes = 3
    project.save()
    made = with_features(project, 10)
    plan = ranked(project, [each for each, _level in made])
    plan.routes.filter(comparison__in=[each for each, _level in made[:4]]).update(votes=1)
    assert len(realised._own_routes(plan, signals.load(project).ids)) == 6
    plan.summary = {"shares": [{"source": Route.PEOPLE, "votes": 1}]}
    assert len(realised._own_routes(plan, signals.load(project).ids)) == 4
