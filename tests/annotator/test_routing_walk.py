"""From judged comparisons to an approved plan, as plain functions on real PostgreSQL."""

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import numpy as np
import pytest
from django.db.models import Sum
from django.utils.timezone import now

from annotator.models import Comparison, Features, Job, PerformanceModel, Plan, Project, Route
from annotator.pipeline import aggregate, assign, featurise, handout, judge, ledger, retrain, route, start, work
from routing import performance
from tests.builders import make_comparison, make_judgment, make_labeler, make_person, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture
def project():
    """150 comparisons of 50 prompts: people judged 120, a recorded judge all and is wrong where code is asked for."""
    made = start.create_project(
        "Walk", lead=make_user("walker"), preset="plain", price_per_judgment=Decimal("0.5"), votes=1
    )
    ledger.set_cap(made, Decimal(100))
    person, judge = make_person(made), make_labeler(made, "judge", price_per_call=Decimal("0.01"))
    rng = np.random.default_rng(7)
    for number in range(150):
        is_code = number % 3 == 0
        good, bad = "Yes, this is right and short.", "Well, it depends on many things, perhaps, one might say so."
        b_is_good = bool(rng.integers(2))
        a, b = (bad, good) if b_is_good else (good, bad)
        comparison = make_comparison(made, f"Write code `x{number}`" if is_code else f"What is {number}?", a=a, b=b)
        if number < 120:
            make_judgment(comparison, person, level=1 if b_is_good else -1)
        right = rng.random() < (0.3 if is_code else 0.95)
        make_judgment(comparison, judge, p_b=0.8 if b_is_good == right else 0.2)
    featurise.featurise(made)
    aggregate.aggregate()
    return made


def test_features_are_made_once_and_a_second_run_changes_nothing(project):
    assert Features.objects.filter(comparison__project=project).count() == 150
    before = list(Features.objects.order_by("pk").values_list("pk", flat=True))
    assert featurise.featurise(project) == 0
    assert list(Features.objects.order_by("pk").values_list("pk", flat=True)) == before


def test_the_performance_model_says_how_it_was_chosen_and_loads_again(project, monkeypatch):
    # Seconds instead of a minute; the long run on llmfao takes all mixtures and trees.
    monkeypatch.setattr(retrain, "MIXTURES", 40)
    monkeypatch.setitem(performance.KINDS, "lightgbm", lambda column, seed: performance.LightGBM(trees=20, seed=seed))
    model = retrain.retrain(project)
    assert model.kind in performance.KINDS
    assert set(model.metrics["scores"]) == set(performance.KINDS)
    assert 0 < model.metrics["sampling_error"] < 0.1
    learnt = retrain.load(model)
    assert learnt.chosen.kind_ == model.kind and learnt.bins.names


def test_without_people_it_says_what_is_missing(project):
    project.judgments.filter(rater__kind="person").delete()
    with pytest.raises(work.StepRefused, match="People have judged 0 comparisons"):
        retrain.retrain(project)


@pytest.mark.parametrize("strategy", ["all_people", "all_ai", "random", "disagreement", "auto"])
@pytest.mark.parametrize("budget", ["10.00", "37.33"])
def test_no_plan_costs_more_than_its_budget_and_every_route_has_a_reason(project, strategy, budget):
    plan = route.make_plan(project, Decimal(budget), strategy=strategy)
    assert plan.cost <= Decimal(budget)
    assert plan.cost == plan.routes.aggregate(total=Sum("price"))["total"]
    assert all(plan.routes.values_list("reason", flat=True))
    assert sum(Decimal(share["cost"]) for share in plan.summary["shares"]) == plan.cost


def test_too_small_a_budget_is_refused_with_the_smallest_that_works(project):
    with pytest.raises(work.StepRefused, match="1.5"):
        route.make_plan(project, Decimal("1.00"), strategy="random")
    assert not Plan.objects.exists()


def test_disagreement_sends_people_where_the_judge_is_wrong(project):
    plan = route.make_plan(project, Decimal("20.00"), strategy="disagreement")
    routes = plan.routes.filter(source=Route.PEOPLE, is_control=False)
    code = routes.filter(comparison__prompt__turns__0__content__startswith="Write code").count()
    assert code / routes.count() > 0.6  # a third of all comparisons


def test_approval_reserves_only_what_is_missing_and_opens_the_places(project):
    plan = route.make_plan(project, Decimal("60.00"), strategy="all_people")
    assert plan.routes.count() == 120
    approved = route.approve(plan, None)
    route.run_routes()
    missing = plan.routes.exclude(comparison__judgments__rater__kind="person").count()
    account = ledger.account_of(project)
    assert approved.cost_to_pay == account.reserved == missing * Decimal("0.5")
    assert Comparison.objects.filter(project=project, places_open=1).count() == missing
    assert Comparison.objects.filter(project=project, votes_wanted=1).count() == 120
    assert Job.objects.filter(project=project, kind=Job.Kind.ROUTE, key=f"relabel:{plan.pk}").exists()


def test_approving_twice_changes_nothing_and_a_later_plan_gives_the_rest_back(project):
    first = route.approve(route.make_plan(project, Decimal("60.00"), strategy="all_people"), None)
    reserved = ledger.account_of(project).reserved
    assert route.approve(first, None).status == Plan.Status.APPROVED
    assert ledger.account_of(project).reserved == reserved
    later = route.approve(route.make_plan(project, Decimal("1.50"), strategy="all_ai"), None)
    first.refresh_from_db()
    assert first.status == Plan.Status.SUPERSEDED
    assert ledger.account_of(project).reserved == 0
    assert not Comparison.objects.filter(project=project, places_open__gt=0).exists()
    assert "pays people for 0 of the 8 comparisons of the random control share" in later.summary["skill_text"]


def test_ai_for_everything_keeps_a_random_control_that_people_judge(project):
    for strategy in ("all_ai", "auto"):
        plan = route.make_plan(project, Decimal("10.00"), strategy=strategy)
        control = plan.routes.filter(is_control=True)
        assert plan.strategy == "all_ai" and plan.summary["control"] == control.count() == 8
        assert set(control.values_list("source", "propensity")) == {(Route.PEOPLE, 8 / 150)}
        assert set(plan.routes.exclude(is_control=True).values_list("source", "propensity")) == {("judge", 142 / 150)}
        assert plan.cost == Decimal("0.01") * 142 + Decimal("0.5") * 8


def test_an_approved_plan_keeps_its_prices_and_votes(project):
    plan = route.make_plan(project, Decimal("75.00"), strategy="all_people")
    Project.objects.filter(pk=project.pk).update(price_per_judgment=Decimal(9), votes=3)
    approved = route.approve(Plan.objects.get(pk=plan.pk), None)
    assert approved.cost_to_pay == ledger.account_of(project).reserved == 30 * Decimal("0.5")
    assert set(Comparison.objects.filter(project=project).values_list("votes_wanted", flat=True)) == {1}
    late = assign.next_assignment(project, make_person(project))
    said = judge.submit_judgment(late, {"level": 1}, client_id=uuid4())
    assert said.cost == said.entry.amount == Decimal("0.5")


def test_a_large_plan_is_handed_out_in_batches_and_a_run_that_died_is_finished(project, monkeypatch):
    monkeypatch.setattr(handout, "BATCH", 40)
    plan = route.approve(route.make_plan(project, Decimal("75.00"), strategy="all_people"), None)
    wanted = Comparison.objects.filter(project=project, votes_wanted=1)
    assert wanted.count() == 40, "annotators can start"
    relabel = aggregate.relabel

    def dies(*args, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(aggregate, "relabel", dies)
    with pytest.raises(KeyboardInterrupt):
        route.run_routes()
    assert wanted.count() == 150 and Comparison.objects.filter(project=project, places_open=1).count() == 30
    monkeypatch.setattr(aggregate, "relabel", relabel)
    Job.objects.filter(kind=Job.Kind.ROUTE).update(lease_until=now() - timedelta(seconds=1))
    assert route.run_routes() == 1
    assert Job.objects.get(kind=Job.Kind.ROUTE).state == Job.State.DONE
    # What an older plan still had to open stays closed once a later one is approved.
    route.approve(route.make_plan(project, Decimal("1.50"), strategy="all_ai"), None)
    handout.finish(plan)
    route.run_routes()
    assert not wanted.exists()


def test_labels_are_recounted_before_labelers_begin(project):
    longest = project.labelers.get(kind="null_longest")
    plan = route.make_plan(project, Decimal("5.00"), strategy="all_ai")
    plan.routes.filter(source="judge").update(source=longest.name, labeler=longest)
    route.approve(plan, None)
    kinds = Job.objects.filter(project=project, kind__in=(Job.Kind.ROUTE, Job.Kind.LABEL)).order_by("id")
    assert list(kinds.values_list("kind", flat=True))[-2:] == [Job.Kind.ROUTE, Job.Kind.LABEL]


def test_a_plan_leaves_nothing_out_silently(project):
    make_comparison(project, "What is new?")
    with pytest.raises(work.StepRefused, match="1 comparison has no features yet: wait for the features job"):
        route.make_plan(project, Decimal("10.00"), strategy="all_ai")


def test_the_embedding_is_fitted_again_once_the_project_has_doubled(project):
    first = project.feature_sets.get()
    assert first.fitted_on == 150
    for turn, expected in ((150, 1), (1, 2)):
        for number in range(turn):
            make_comparison(project, f"Why {turn} {number}?")
        featurise.featurise(project)
        assert project.feature_sets.count() == expected
    newest = project.feature_sets.latest("version")
    assert (newest.fitted_on, newest.rows.count(), newest.state) == (301, 301, "ready")
    assert newest.digest != first.digest and newest.same_features(first.names, first.digest)


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"names": ["other"]}, "the features are computed in another way"), ({"digest": "0" * 64}, "another way since")],
)
def test_a_performance_model_of_other_features_is_not_used_and_the_plan_says_so(project, changed, words):
    older = project.feature_sets.get()
    older.pk, older.version = None, 0
    for name, value in changed.items():
        setattr(older, name, value)
    older.save()
    PerformanceModel.objects.create(
        project=project, version=3, kind="ridge", metrics={"sources": ["people", "judge"]}, feature_set=older
    )
    plan = route.make_plan(project, Decimal("10.00"))
    assert plan.performance_model is None and plan.predicted is None
    assert words in plan.summary["skill_text"] and "train it anew" in plan.summary["skill_text"]


def test_approval_beyond_the_cap_is_refused_and_changes_nothing(project):
    ledger.set_cap(project, Decimal("1.00"))
    plan = route.make_plan(project, Decimal("75.00"), strategy="all_people")
    with pytest.raises(ledger.OverBudget, match="missing"):
        route.approve(plan, None)
    plan.refresh_from_db()
    assert plan.status == Plan.Status.DRAFT
    assert not Comparison.objects.filter(project=project, places_open__gt=0).exists()
