"""The loop: a seed set drawn by itself, refits asked for once, plans for what is not yet judged, never over the cap."""

from __future__ import annotations

import random
import threading
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from django.db import connection
from django.urls import reverse
from django.utils.timezone import now

from annotator.models import (
    Comparison,
    Features,
    FeatureSet,
    Job,
    Judgment,
    Labeler,
    Loop,
    PerformanceModel,
    Plan,
    Realised,
    Route,
)
from annotator.pipeline import aggregate, basis, grounds, ledger, loop, realised, route, seed_set, versions, work
from annotator.readings import loop as readings
from annotator.readings import power
from routing import features
from tests.builders import make_comparison, make_judgment, make_labeler, make_member, make_person, make_project


@pytest.fixture
def project(db):
    made = make_project(price_per_judgment=Decimal("0.5"), votes=2)
    ledger.set_cap(made, Decimal(100))
    return made


def with_features(project, count=60, prompts=30, judge_right=0.8):
    """`count` comparisons with features and a recorded judge's answers, on `prompts` texts."""
    rng = np.random.default_rng(3)
    width = 4
    stored = FeatureSet.objects.create(
        project=project, version=1, state="ready", names=list(features.NAMES), digest="0" * 64
    )
    judge = make_labeler(project, "judge", price_per_call=Decimal("0.01"))
    made, rows = [], []
    for number in range(count):
        comparison = make_comparison(project, f"Prompt {number % prompts}")
        comparison.prompt.text_hash = f"{number % prompts:064d}"
        comparison.prompt.save()
        b_better = bool(rng.integers(2))
        sign = 1.0 if b_better else -1.0
        embedding = rng.normal(size=3 * width).astype(np.float32)
        embedding[2 * width] += 2 * sign
        rows.append(
            Features(
                feature_set=stored,
                comparison=comparison,
                values=rng.normal(size=len(features.NAMES)).tolist(),
                embedding=embedding.tobytes(),
            )
        )
        right = rng.random() < judge_right
        make_judgment(comparison, judge, p_b=0.8 if b_better == right else 0.2)
        made.append((comparison, 1 if b_better else -1))
    Features.objects.bulk_create(rows)
    return made


# The seed set


def test_a_seed_set_is_whole_prompts_at_random_that_people_judge_in_full(project):
    for number in range(200):
        made = make_comparison(project, f"Prompt {number // 2}")
        made.prompt.text_hash = f"{number // 2:064d}"
        made.prompt.save()
    plan = seed_set.draw(project, 61, seed=1)
    told = plan.summary["seed_set"]
    assert plan.is_seed_set and plan.routes.count() == told["comparisons"] == 60 and told["whole_prompts"]
    assert set(plan.routes.values_list("source", "votes", "price", "propensity")) == {("people", 2, 1, 0.3)}
    texts = plan.routes.values_list("comparison__prompt__text_hash", flat=True)
    inside = Comparison.objects.filter(project=project, prompt__text_hash__in=texts)
    assert inside.count() == 60, "no text lies half inside"
    assert plan.cost == plan.budget == plan.cost_to_pay == 60
    other = seed_set.draw(project, 61, seed=2)
    assert set(other.routes.values_list("comparison", flat=True)) != set(
        plan.routes.values_list("comparison", flat=True)
    )


def test_few_large_prompts_are_drawn_comparison_by_comparison(project):
    for number in range(100):
        made = make_comparison(project, "x")
        made.prompt.text_hash = f"{number % 4:064d}"
        made.prompt.save()
    plan = seed_set.draw(project, 20)
    assert plan.routes.count() == 20 and not plan.summary["seed_set"]["whole_prompts"]


def test_approving_a_seed_set_sets_its_money_aside_and_asks_its_labelers(project):
    for number in range(40):
        make_comparison(project, f"{number}")
    plan = seed_set.draw(project, 10)
    judge = make_labeler(project, "asked", kind="llm_judge", price_per_call=Decimal("0.02")).labeler_version.labeler
    plan.summary["seed_set"]["labelers"] = [
        {"labeler": judge.pk, "name": "asked", "most": "0.5", "hindrance": ""},
    ]
    plan.save()
    route.approve(plan, None)
    route.run_routes()
    assert ledger.account_of(project).reserved == plan.cost == 10
    assert Comparison.objects.filter(project=project, places_open=2).count() == 10
    run = Job.objects.get(project=project, kind=Job.Kind.LABEL)
    assert run.parameters["reserve"] == "0.5" and run.parameters["filter"] == {"plan": plan.number, "source": "people"}


def test_a_seed_set_beyond_the_hard_budget_stays_a_draft(project):
    for number in range(40):
        make_comparison(project, f"{number}")
    ledger.set_cap(project, Decimal(5))
    plan = seed_set.draw(project, 10)
    with pytest.raises(ledger.OverBudget):
        route.approve(plan, None)
    plan.refresh_from_db()
    assert plan.status == Plan.Status.DRAFT and not ledger.account_of(project).reserved


def test_a_labeler_whose_texts_nobody_let_go_is_named_and_not_asked(project):
    for number in range(5):
        make_comparison(project, f"{number}")
    judge = Labeler.objects.create(project=project, name="far", kind="llm_judge", price_per_call=Decimal("0.02"))
    versions.new_version(judge, {"base_url": "http://127.0.0.1:9/v1", "model": "m"})
    plan = seed_set.draw(project, 5)
    (told,) = plan.summary["seed_set"]["labelers"]
    assert "confirmed" in told["hindrance"]
    assert seed_set.ask_labelers(plan, None) == []


@pytest.mark.parametrize(("n", "gain"), [(300, 0.0723), (1000, 0.0396)])
def test_the_power_is_that_of_a_paired_comparison(n, gain):
    """By simulation: a true gain of that size is found in about four of five."""
    assert power.detectable(n) == pytest.approx(gain, abs=1e-3)
    assert power.needed(power.detectable(n)) in (n, n + 1)
    rng = np.random.default_rng(0)
    up = (power.DIFFERING + gain) / 2
    draws = rng.multinomial(n, [up, power.DIFFERING - up, 1 - power.DIFFERING], size=4000)
    z = (draws[:, 0] - draws[:, 1]) / np.sqrt(np.maximum(1, draws[:, 0] + draws[:, 1]))
    assert (np.abs(z) > 1.96).mean() == pytest.approx(power.POWER, abs=0.05)


# What the tick asks for


def judged_now(project, count):
    person = make_person(project)
    for number in range(count):
        make_judgment(make_comparison(project, f"new {number}"), person, level=1)


def test_the_tick_knows_what_a_model_needs():
    assert loop.ENOUGH_JUDGED == grounds.ENOUGH_JUDGED


def test_a_refit_is_asked_for_once_after_enough_new_judgments(project, monkeypatch):
    monkeypatch.setattr(loop, "ENOUGH_JUDGED", 3)
    Loop.objects.create(project=project, refit_after_judgments=5)
    judged_now(project, 4)
    assert loop.request_due() == 0
    judged_now(project, 1)
    assert loop.request_due() == 1
    assert loop.request_due() == 0, "one waits"
    training = Job.objects.get(kind=Job.Kind.RETRAIN)
    Job.objects.filter(pk=training.pk).update(state="running", started_at=now(), lease_until=now() + timedelta(hours=1))
    assert loop.request_due() == 0, "one runs"
    Job.objects.filter(pk=training.pk).update(state="failed", ended_at=now())
    assert loop.request_due() == 0, "nothing is new since it began"
    judged_now(project, 5)
    assert loop.request_due() == 1


def test_a_refit_by_the_clock_needs_something_new(project, monkeypatch):
    monkeypatch.setattr(loop, "ENOUGH_JUDGED", 1)
    Loop.objects.create(project=project, refit_every_hours=2)
    judged_now(project, 1)
    Job.objects.create(project=project, kind="retrain", state="done", started_at=now(), ended_at=now())
    Judgment.objects.update(created_at=now() - timedelta(hours=3))
    Job.objects.update(started_at=now() - timedelta(hours=2, minutes=1))
    assert loop.request_due() == 0, "all is older than the last training"
    judged_now(project, 1)
    assert loop.request_due() == 1


def test_without_a_schedule_nothing_happens_by_itself(project):
    Loop.objects.create(project=project)
    judged_now(project, 3)
    assert loop.request_due() == 0 and not Job.objects.exists()


@pytest.mark.slow
def test_a_plan_at_work_is_measured_once_after_a_training(project):
    made = with_features(project, 10)
    plan = route.approve(route.make_plan(project, Decimal(5), strategy="all_ai"), None)
    Job.objects.all().delete()
    assert loop.request_due() == 0
    features_ = FeatureSet.objects.get(project=project)
    PerformanceModel.objects.create(project=project, version=1, kind="mean", feature_set=features_)
    assert loop.request_due() == 1 and loop.request_due() == 0
    assert Job.objects.get(kind="route").parameters == {"measure": plan.pk, "only": False}
    assert len(made) == 10


# Planning what is not yet judged


@pytest.mark.slow
def test_what_is_judged_keeps_its_source_and_its_money_counts(project):
    made = with_features(project)
    first = route.approve(route.make_plan(project, Decimal("30.00"), strategy="random"), None)
    route.run_routes()
    people = list(first.routes.filter(source="people").order_by("pk"))[:10]
    person, level = make_person(project), {comparison.pk: level for comparison, level in made}
    for sent in people:
        said = make_judgment(sent.comparison, person, level[sent.comparison_id], plan=first)
        ledger.pay(said, Decimal("0.5"), plan_id=first.pk)
    aggregate.aggregate()
    second = loop.replan(first, "a test")
    assert second.revises == first and second.occasion == "a test" and second.status == Plan.Status.DRAFT
    assert second.routes.count() == 60 and second.cost <= second.budget == first.budget
    kept = second.routes.filter(comparison__in=[sent.comparison_id for sent in people])
    assert set(kept.values_list("source", "votes", "price")) == {("people", 2, 1)}
    answered = first.routes.filter(source="judge").values("comparison")
    assert set(second.routes.filter(comparison__in=answered).values_list("source", flat=True)) == {"judge"}
    assert second.summary["kept"]["comparisons"] == 10 + first.routes.filter(source="judge").count()
    route.approve(second, None)
    account = ledger.account_of(project)
    assert account.spent + account.reserved <= second.budget


@pytest.mark.slow
def test_money_that_bought_nothing_is_gone_from_the_budget(project):
    made = with_features(project)
    first = route.approve(route.make_plan(project, Decimal("30.00"), strategy="random"), None)
    surplus = make_judgment(made[0][0], make_person(project), made[0][1], plan=first)
    first.routes.filter(comparison=made[0][0]).update(source="judge", labeler=first.project.labelers.get(name="judge"))
    ledger.pay(surplus, Decimal("3.00"), plan_id=first.pk)
    second = loop.replan(first, "a test")
    assert second.summary["kept"]["lost"] == "3.00000000"
    assert second.cost <= Decimal("27.00")


@pytest.mark.slow
def test_a_plan_made_before_more_was_spent_is_not_approved(project):
    made = with_features(project)
    first = route.approve(route.make_plan(project, Decimal("30.00"), strategy="random"), None)
    second = loop.replan(first, "a test")
    said = make_judgment(made[1][0], make_person(project), made[1][1], plan=first)
    ledger.pay(said, Decimal("12.00"), plan_id=first.pk)
    with pytest.raises(work.StepRefused, match="Make it again"):
        route.approve(second, None)


@pytest.mark.slow
def test_the_seed_set_is_kept_by_plans_that_come_after_it(project):
    made = with_features(project)
    seed = route.approve(seed_set.draw(project, 10), None)
    person = make_person(project)
    level = {comparison.pk: level for comparison, level in made}
    for sent in seed.routes.all():
        make_judgment(sent.comparison, person, level[sent.comparison_id], plan=seed)
    plan = route.make_plan(project, Decimal("20.00"), strategy="all_ai")
    kept = plan.routes.filter(comparison__in=seed.routes.values("comparison"))
    assert set(kept.values_list("source", flat=True)) == {"people"} and kept.count() == seed.routes.count()
    assert plan.cost <= Decimal("20.00")


@pytest.mark.slow
def test_a_plan_is_restored_as_a_copy_and_what_is_judged_since_stays(project):
    made = with_features(project)
    first = route.approve(route.make_plan(project, Decimal("30.00"), strategy="random"), None)
    second = route.approve(route.make_plan(project, Decimal("10.00"), strategy="all_ai", seed=2), None)
    judged = second.routes.filter(source="people").first() or second.routes.first()
    make_judgment(judged.comparison, make_person(project), 1, plan=second)
    again = loop.restore(first)
    assert again.summary["restores"] == first.number and again.revises == second
    assert again.routes.count() == len(made)
    assert again.routes.get(comparison=judged.comparison_id).source == judged.source
    assert route.approve(again, None).status == Plan.Status.APPROVED


@pytest.mark.slow
def test_all_judged_leaves_nothing_to_revise(project):
    with_features(project, 10)
    plan = route.approve(route.make_plan(project, Decimal(5), strategy="all_ai"), None)
    plan.routes.filter(source="people").delete()
    with pytest.raises(work.StepRefused, match="nothing to revise"):
        loop.replan(plan, "a test")


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_no_race_of_approvals_and_revisions_passes_the_cap():
    """Threads approve, revise and pay at once, in an order drawn anew; the ledger's sums are checked after each."""
    project = make_project(price_per_judgment=Decimal("0.5"), votes=2)
    ledger.set_cap(project, Decimal(40))
    made = with_features(project, 40, 20)
    plans = [route.make_plan(project, Decimal(b), strategy="random", seed=b) for b in (12, 25, 38)]
    faults: list[str] = []

    def act(number: int) -> None:
        chance = random.Random(number)
        try:
            for turn in range(4):
                plan = chance.choice(plans)
                try:
                    if chance.random() < 0.5:
                        route.approve(Plan.objects.get(pk=plan.pk), None)
                    else:
                        at_work = Plan.objects.filter(project=project, status="approved").first()
                        if at_work:
                            route.approve(loop.replan(at_work, f"{number}:{turn}"), None)
                except work.StepRefused:
                    pass
                comparison, level = made[(7 * number + turn) % len(made)]
                at_work = Plan.objects.filter(project=project, status="approved").first()
                said = make_judgment(comparison, make_person(project), level, plan=at_work)
                ledger.pay(said, Decimal("0.5"), plan_id=at_work.pk if at_work else None)
                account = ledger.account_of(project)
                if account.spent + account.reserved > account.cap:
                    faults.append(f"{account}")
        except Exception as error:  # a thread's failure must fail the test
            faults.append(repr(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=act, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.settle()
    account = ledger.account_of(project)
    assert faults == []
    assert account.spent + account.reserved <= account.cap == 40
    assert account.reserved == sum(each.amount - each.refunded - each.committed for each in account.reservations.all())
    assert Plan.objects.filter(project=project, status="approved").count() <= 1
    for plan in Plan.objects.filter(project=project):
        assert plan.routes.count() == plan.routes.values("comparison").distinct().count()


# Realised


@pytest.mark.slow
def test_what_is_realised_is_measured_on_what_chance_sent_to_people(project):
    made = with_features(project, 120, 40, judge_right=1.0)
    person = make_person(project)
    for comparison, level in made[:60]:
        make_judgment(comparison, person, level)
    aggregate.aggregate()
    plan = route.approve(route.make_plan(project, Decimal("60.00"), strategy="all_ai"), None)
    route.run_routes()
    found = realised.measure(plan)
    assert found.detail["tested"] == 60 and found.detail["prompts"] == 40
    assert found.accuracy > 0.75 and found.low < found.accuracy < found.high
    assert found.labels >= 110 and found.judgments == 60
    Route.objects.filter(plan=plan, comparison=made[0][0]).update(source="people", labeler=None, is_control=False)
    Plan.objects.filter(pk=plan.pk).update(strategy="value")
    Judgment.objects.filter(comparison=made[0][0], rater=person).update(plan=plan)
    assert realised.measure(plan).detail["tested"] == 59, "a ranking sent that one to people"


@pytest.mark.slow
def test_a_labeler_that_is_worse_than_promised_leaves_the_plan(project):
    made = with_features(project, 120, 60, judge_right=0.55)
    plan = route.make_plan(project, Decimal("80.00"), strategy="random")
    plan.summary["promised"] = [{"source": "judge", "accuracy": 0.9, "comparisons": 100}]
    plan.save()
    route.approve(plan, None)
    person, level = make_person(project), {comparison.pk: level for comparison, level in made}
    for sent in plan.routes.filter(source="people"):
        make_judgment(sent.comparison, person, level[sent.comparison_id], plan=plan)
    found = realised.measure(plan)
    (row,) = found.detail["labelers"]
    assert 0.4 < row["value"] < 0.7 and row["high"] < 0.9
    assert found.detail["departs"] == [f"judge is right in {row['value']:.0%} of cases, not in 90%"]


@pytest.mark.slow
def test_too_few_labels_give_no_figure_and_say_why(project):
    with_features(project, 20)
    plan = route.approve(route.make_plan(project, Decimal("30.00"), strategy="all_ai"), None)
    route.run_routes()
    found = realised.measure(plan)
    assert found.accuracy is None and "it takes 50" in found.detail["text"]


@pytest.mark.slow
def test_a_round_revises_the_plan_as_the_lead_wants_it(project, monkeypatch):
    with_features(project)
    plan = route.approve(route.make_plan(project, Decimal("30.00"), strategy="random"), None)
    told = {"departs": ["labelers cost 150%"], "labelers": [], "spending": {"planned": "1", "paid": "1.5"}}

    def measured(plan, **named):
        return Realised.objects.create(plan=plan, judgments=1, labels=1, spent=0, detail=told)

    monkeypatch.setattr(realised, "measure", measured)
    Loop.objects.create(project=project, replan=Loop.Replan.APPROVE)
    Job.objects.all().delete()
    loop.request_measure(plan)
    route.run_routes()
    made = project.plans.latest("number")
    assert made.revises == plan and made.status == Plan.Status.APPROVED and made.occasion == "labelers cost 150%"
    assert basis.spent(plan) + ledger.account_of(project).reserved <= plan.budget
    before = project.plans.count()
    loop.request_measure(plan)
    route.run_routes()
    assert project.plans.count() == before, "not again for the same reason"


def test_stopping_is_suggested_by_the_stored_curve():
    curve = [
        {"budget": "10", "predicted": 0.60, "low": 0.5, "high": 0.7},
        {"budget": "20", "predicted": 0.70, "low": 0.6, "high": 0.8},
        {"budget": "30", "predicted": 0.69, "low": 0.6, "high": 0.8},
        {"budget": "40", "predicted": 0.71, "low": 0.6, "high": 0.8},
    ]
    plan = Plan(summary={"curve": curve}, budget=Decimal(40))
    early = readings.worth(plan, Decimal(10), Loop(point_price=Decimal(5)))
    assert early.gain == pytest.approx(0.11) and not early.should_stop
    late = readings.worth(plan, Decimal(20), Loop(point_price=Decimal(5)))
    assert late.gain == pytest.approx(0.01) and late.point_cost == pytest.approx(Decimal(20)) and late.should_stop
    assert readings.worth(plan, Decimal(20), Loop()) is None


# The page


def test_the_page_tells_the_next_step_and_takes_a_policy(project, client):
    client.force_login(make_member(project, "lead"))
    for number in range(5):
        make_comparison(project, f"{number}")
    page = reverse("loop", args=[project.pk])
    assert b"Begin with a seed set" in client.get(page).content
    client.post(reverse("seed_set", args=[project.pk]), {"size": 3, "seed": 0})
    route.run_routes()
    assert b"<b>3</b> comparisons is drawn" in client.get(page).content
    sent = {"seed_percent": "20", "seed_at_least": 50, "refit_after_judgments": "", "replan": "draft"}
    sent |= {"votes_offered": "1, 2", "point_price": "4.5", "cap_0": "40"}
    assert client.post(reverse("loop_settings", args=[project.pk]), sent).status_code == 302
    stored = Loop.objects.get(project=project)
    assert (stored.votes, stored.caps, stored.replan) == ([1, 2], {"people": 0.4}, "draft")
    refused = client.post(reverse("loop_settings", args=[project.pk]), sent | {"votes_offered": "3"})
    assert refused.status_code == 422 and b"whole numbers from 1 to 2" in refused.content


def test_measurements_leave_as_a_table(project, client):
    client.force_login(make_member(project, "viewer"))
    plan = Plan.objects.create(project=project, number=1, strategy="value", budget=9, predicted=0.7, low=0.6, high=0.8)
    Realised.objects.create(plan=plan, judgments=9, labels=5, spent=2, accuracy=0.71, low=0.6, high=0.8)
    content = client.get(reverse("loop_sheet", args=[project.pk])).content.decode()
    assert content.splitlines()[1].startswith("1,") and ",0.7,0.6,0.8,0.71,0.6,0.8,9,5,2" in content
    assert b"0.71 [0.60, 0.80]" in client.get(reverse("loop", args=[project.pk])).content
