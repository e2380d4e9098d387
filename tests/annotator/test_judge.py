"""A person's answer: stored once, late answers kept, undone within ten seconds, paid."""

from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from django.utils.timezone import now

from annotator import protocols
from annotator.models import Assignment, Comparison, Judgment, LedgerEntry, Plan, Project, Rater, Standing
from annotator.models.judgments import UNDO_MARGIN
from annotator.pipeline import assign, judge, ledger, places, route
from tests.builders import make_comparison, make_person, make_plan, make_project, make_user

pytestmark = pytest.mark.django_db


def leased(project: Project, comparison: Comparison | None = None, votes: int = 1) -> Assignment:
    comparison = comparison or make_comparison(project, votes_wanted=votes, places_open=votes)
    assignment = assign.next_assignment(project, make_person(project, make_user()))
    assert assignment and assignment.comparison == comparison
    return assignment


def submit(assignment: Assignment, level: int = 1, client_id: UUID | None = None, **answer) -> Judgment:
    """As the view does it: the assignment is read anew for each request."""
    fresh = Assignment.objects.get(pk=assignment.pk)
    return judge.submit_judgment(fresh, {"level": level, **answer}, client_id=client_id or uuid4(), active_ms=1500)


def expire(assignment: Assignment) -> None:
    Assignment.objects.filter(pk=assignment.pk).update(leased_until=now() - timedelta(seconds=1))
    places.expire_leases()


def places_left(comparison: Comparison) -> int:
    return Comparison.objects.get(pk=comparison.pk).places_open


def paid_project(price: str = "0.25", cap: str = "10") -> tuple[Project, Comparison, Plan]:
    project = make_project(price_per_judgment=Decimal(price))
    comparison = make_comparison(project, votes_wanted=1, places_open=1)
    plan = make_plan(project, {comparison: None})
    ledger.set_cap(project, Decimal(cap))
    ledger.reserve(project, ledger.plan_key(plan.pk, "people"), Decimal(1), source="people", plan=plan)
    return project, comparison, plan


def test_a_judgment_says_everything_that_decided_it():
    project, comparison, plan = paid_project()
    assignment = leased(project, comparison)
    Assignment.objects.update(a_first=False)
    stored = submit(assignment, 1, reasons=["clear"], justification=" Shorter. ")
    assert (stored.level, stored.preference, stored.outcome, stored.a_first) == (-1, -1.0, "level", False)
    assert (stored.plan, stored.protocol, stored.assignment) == (plan, project.protocol, assignment)
    assert (stored.reasons, stored.justification, stored.active_ms) == (["clear"], "Shorter.", 1500)
    assert stored.effective_at - stored.created_at == timedelta(seconds=10)
    assert not Judgment.objects.effective().exists()
    assignment.refresh_from_db()
    assert assignment.state == "judged" and places_left(comparison) == 0


@pytest.mark.parametrize("outcome", ["neither_valid", "cannot_judge"])
def test_other_outcomes_are_answers_too(outcome):
    stored = submit(leased(make_project()), outcome=outcome, level=None, justification="Both are empty")
    assert (stored.outcome, stored.level, stored.preference) == (outcome, None, None)


def test_an_answer_the_protocol_does_not_allow_changes_nothing():
    assignment = leased(make_project("multipref"))
    with pytest.raises(protocols.AnswerInvalid):
        submit(assignment, 3)
    assert Assignment.objects.get().state == "leased" and not Judgment.objects.exists()


def test_the_same_client_id_gives_the_first_answer():
    assignment, sent = leased(make_project()), uuid4()
    first = submit(assignment, 1, sent)
    assert submit(assignment, -1, sent) == first
    assert Judgment.objects.get().level == first.level


def test_a_second_answer_from_another_window_is_kept_and_does_not_count():
    assignment, sent = leased(make_project()), uuid4()
    first = submit(assignment, 1)
    assert submit(assignment, -1, sent) == first
    assert submit(assignment, -1, sent) == first
    assert list(Judgment.objects.order_by("revision").values_list("revision", "is_current")) == [(1, True), (2, False)]


def test_a_late_answer_takes_its_place_when_that_is_still_free():
    project = make_project()
    assignment = leased(project)
    expire(assignment)
    assert not submit(assignment).is_surplus
    assert places_left(assignment.comparison) == 0 and Assignment.objects.get().state == "judged"


@pytest.mark.parametrize("judged", [True, False])
def test_a_late_answer_whose_place_was_taken_is_kept_as_surplus(judged):
    project = make_project()
    late = leased(project)
    expire(late)
    other = leased(project, late.comparison)
    if judged:
        submit(other)
    assert submit(late).is_surplus
    assert not submit(other).is_surplus
    assert Judgment.objects.filter(is_surplus=False, is_current=True).count() == 1 and places_left(late.comparison) == 0


def test_an_answer_to_a_comparison_that_was_skipped_in_another_window_is_kept():
    assignment = leased(make_project())
    assign.skip(assignment, "too long")
    assert not submit(assignment).is_surplus
    assert places_left(assignment.comparison) == 0


def test_undo_opens_the_comparison_again_and_keeps_the_revision():
    assignment = leased(make_project("multipref"))
    Assignment.objects.update(a_first=False)
    answer = {"confidence": 2, "aspects": {"helpful": {"level": -2, "confidence": 1, "reasons": ["concise"]}}}
    sent = uuid4()
    submit(assignment, -1, sent, **answer)
    reopened = judge.undo(Assignment.objects.get())
    assert reopened.state == "leased" and reopened.draft["level"] == -1 and reopened.draft["confidence"] == 2
    assert reopened.draft["aspects"] == answer["aspects"]
    assert places_left(assignment.comparison) == 0
    # The first one arriving once more, from a bad network, is not a new answer.
    assert not submit(assignment, -1, sent, **answer).is_current
    again = submit(assignment, 2, **answer)
    assert (again.revision, again.level, again.is_current) == (2, -2, True)
    assert Judgment.objects.filter(is_current=True).count() == 1


def test_nothing_is_undone_once_it_counts():
    assignment = leased(make_project())
    submit(assignment)
    Judgment.objects.update(effective_at=now())
    with pytest.raises(judge.UndoTooLate):
        judge.undo(Assignment.objects.get())
    assert Judgment.objects.get().is_current


def test_a_judgment_is_paid_from_what_its_plan_reserved_and_an_undo_takes_the_pay_back():
    project, comparison, plan = paid_project()
    assignment = leased(project, comparison)
    stored = submit(assignment)
    entry = LedgerEntry.objects.get()
    assert (entry.judgment, entry.amount, entry.reservation.plan) == (stored, Decimal("0.25"), plan)
    assert ledger.settle() == 0
    judge.undo(Assignment.objects.get())
    assert not LedgerEntry.objects.exists()
    submit(assignment)
    Judgment.objects.update(effective_at=now())
    assert ledger.settle() == 0, "an undo of the last moment may still be under way"
    Judgment.objects.update(effective_at=now() - UNDO_MARGIN)
    assert ledger.settle() == 1 and ledger.account_of(project).spent == Decimal("0.25")


def test_what_is_settled_is_not_undone():
    project, comparison, _plan = paid_project()
    assignment = leased(project, comparison)
    submit(assignment)
    LedgerEntry.objects.update(settled=True)
    with pytest.raises(judge.UndoTooLate):
        judge.undo(Assignment.objects.get())
    assert Judgment.objects.get().is_current and LedgerEntry.objects.exists()


def test_an_undone_judgment_is_counted_anew():
    assignment = leased(make_project())
    submit(assignment)
    Judgment.objects.update(aggregated=True)  # as if its label had been stored at the last moment
    judge.undo(Assignment.objects.get())
    assert not Judgment.objects.get().aggregated


def test_an_approved_plan_keeps_its_price():
    project, comparison, _plan = paid_project()
    assignment = leased(project, comparison)
    Project.objects.update(price_per_judgment=Decimal(5))
    assert submit(assignment).cost == LedgerEntry.objects.get().amount == Decimal("0.25")


def test_two_who_hold_one_place_are_paid_from_it_once():
    """A later plan may want fewer votes than people hold leases: the second is paid from what is free, or not."""
    project, comparison, plan = paid_project()
    Comparison.objects.update(votes_wanted=2, places_open=2)
    held = [leased(project, comparison) for _each in range(2)]
    ledger.set_cap(project, Decimal(1))
    first, second = submit(held[0]), submit(held[1])
    assert (first.is_surplus, first.cost) == (False, Decimal("0.25"))
    assert (second.is_surplus, second.cost, second.entry.amount) == (True, 0, 0)
    assert first.entry.reservation.plan == plan


def test_surplus_is_paid_from_what_is_free():
    project, comparison, _plan = paid_project()
    late = leased(project, comparison)
    expire(late)
    submit(leased(project, comparison))
    surplus = submit(late)
    assert surplus.is_surplus and LedgerEntry.objects.get(judgment=surplus).amount == Decimal("0.25")


def test_work_that_nobody_has_money_for_is_kept_and_the_debt_is_visible():
    project = make_project(price_per_judgment=Decimal("0.25"))
    stored = submit(leased(project))
    entry = LedgerEntry.objects.get(judgment=stored)
    assert entry.amount == 0 and "unpaid" in entry.note


def test_work_without_a_price_needs_no_ledger():
    submit(leased(make_project()))
    assert not LedgerEntry.objects.exists()


def test_a_failure_midway_leaves_the_lease_as_it_was(monkeypatch):
    """What was not acknowledged did not happen, so the page may send it again."""
    project, comparison, _plan = paid_project()
    assignment, sent = leased(project, comparison), uuid4()

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "pay_from", killed)
        with pytest.raises(KeyboardInterrupt):
            submit(assignment, 1, sent)
    assert Assignment.objects.get().state == "leased" and not Judgment.objects.exists()
    assert submit(assignment, 1, sent).client_id == sent
    assert Rater.objects.count() == 1


def test_a_client_id_names_one_answer_only():
    project, sent = make_project(), uuid4()
    rater = make_person(project, make_user())
    for _each in range(2):
        make_comparison(project, votes_wanted=1, places_open=1)
    submit(assign.next_assignment(project, rater), 1, sent)
    with pytest.raises(protocols.AnswerInvalid, match="another comparison"):
        submit(assign.next_assignment(project, rater), 1, sent)
    assert Assignment.objects.filter(state="leased").count() == 1


def six_of_one_each() -> tuple[Project, Assignment]:
    """A cap of 6 and a plan of six judgments at 1 each; one of them was given just now."""
    project = make_project(price_per_judgment=Decimal(1), votes=1)
    comparisons = [make_comparison(project) for _each in range(6)]
    ledger.set_cap(project, Decimal(6))
    for _plan in range(2):
        make_plan(project, dict.fromkeys(comparisons), status="draft")
    route.approve(project.plans.order_by("pk")[0], None)
    assignment = assign.next_assignment(project, make_person(project, make_user()))
    submit(assignment)
    return project, assignment


@pytest.mark.slow
def test_a_plan_is_replaced_while_people_work_and_what_is_undone_then_is_paid_by_the_new_one():
    project, judged = six_of_one_each()
    second = route.approve(project.plans.order_by("pk")[1], None)
    kept = second.reservations.get()
    assert (kept.amount, ledger.available(project)) == (5, 0)
    judge.undo(Assignment.objects.get(pk=judged.pk))
    kept.refresh_from_db()
    assert (kept.amount, ledger.available(project)) == (6, 0)
    other = make_person(project, make_user())
    submit(judged)
    while assignment := assign.next_assignment(project, other):
        submit(assignment)
    assert {entry.amount for entry in LedgerEntry.objects.all()} == {1} and LedgerEntry.objects.count() == 6
    Judgment.objects.update(effective_at=now() - UNDO_MARGIN)
    ledger.settle()
    account = ledger.account_of(project)
    assert (account.spent, account.reserved) == (6, 0)


def test_skipping_is_no_way_around_a_pause():
    assignment = leased(make_project())
    assign.skip(assignment)
    Standing.objects.create(rater=assignment.rater, paused_at=now())
    kept = submit(assignment)
    assert not kept.is_current and kept.cost == 0 and kept.provenance["after_skip"]
    assert places_left(assignment.comparison) == 1


def test_what_checks_people_pays_what_the_plan_pays_for_the_others():
    project = make_project(price_per_judgment=Decimal("1.00"))
    routed, known = make_comparison(project, votes_wanted=1, places_open=1), make_comparison(project)
    make_plan(project, {routed: None})
    Project.objects.filter(pk=project.pk).update(price_per_judgment=Decimal("1.50"))
    project.refresh_from_db()
    ledger.set_cap(project, Decimal(10))
    assignment = Assignment.objects.create(
        project=project, comparison=known, rater=make_person(project), purpose="gold", leased_until=now(), a_first=True
    )
    assert submit(assignment).cost == Decimal("1.00")
