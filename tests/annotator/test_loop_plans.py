"""Plans for what is not yet judged: what is kept, what is lost, what is restored, never over the budget."""

from __future__ import annotations

from decimal import Decimal

import pytest

from annotator.models import Loop, Plan
from annotator.pipeline import aggregate, basis, ledger, loop, route, seed_set, work
from tests.annotator.loop_samples import paid_project, with_features
from tests.builders import make_judgment, make_person


@pytest.fixture
def project(db):
    return paid_project()


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
def test_restoring_counts_what_was_spent_once(project):
    made = with_features(project)
    first = route.approve(route.make_plan(project, Decimal("30.00"), strategy="random"), None)
    person, level = make_person(project), {comparison.pk: level for comparison, level in made}
    for sent in first.routes.filter(source="people"):
        for who in (person, make_person(project)):
            said = make_judgment(sent.comparison, who, level[sent.comparison_id], plan=first)
            ledger.pay(said, Decimal("0.5"), plan_id=first.pk)
    spent = basis.spent(first)
    again = loop.restore(first)
    assert spent > 20 and again.cost_to_pay == 0 and again.cost <= again.budget == 30
    assert not again.routes.filter(source="people", is_kept=False).exists()
    assert set(first.routes.values_list("is_kept", flat=True)) == {False}


@pytest.mark.slow
def test_a_plan_by_people_alone_keeps_a_judged_seed_set_within_its_budget(project):
    made = with_features(project)
    seed = route.approve(seed_set.draw(project, 20), None)
    person, level = make_person(project), {comparison.pk: level for comparison, level in made}
    for sent in seed.routes.all():
        make_judgment(sent.comparison, person, level[sent.comparison_id], plan=seed)
    plan = route.make_plan(project, Decimal(30), strategy="all_people")
    assert plan.cost == 30 and plan.routes.filter(is_kept=True).count() == seed.routes.count()


@pytest.mark.slow
def test_a_cap_of_what_cannot_be_used_hinders_no_plan_and_is_told(project):
    with_features(project)
    Loop.objects.create(project=project, caps={"gone": 0.2, "people": 0.1})
    for strategy in ("auto", "value", "random"):
        plan = route.make_plan(project, Decimal(30), strategy=strategy)
        assert "their caps do not count: gone." in plan.summary["skill_text"]
        assert plan.routes.filter(source="people").count() <= 6


@pytest.mark.slow
def test_the_cautious_strategy_is_stored_by_its_own_name(project):
    made = with_features(project)
    person = make_person(project)
    for comparison, level in made[:40]:
        make_judgment(comparison, person, level)
    plan = route.make_plan(project, Decimal(30), strategy="value_lower")
    assert plan.strategy == plan.summary["asked"] == "value_lower"
    assert plan.routes.exclude(values={}).exists()


@pytest.mark.slow
def test_all_judged_leaves_nothing_to_revise(project):
    with_features(project, 10)
    plan = route.approve(route.make_plan(project, Decimal(5), strategy="all_ai"), None)
    plan.routes.filter(source="people").delete()
    with pytest.raises(work.StepRefused, match="nothing to revise"):
        loop.replan(plan, "a test")
