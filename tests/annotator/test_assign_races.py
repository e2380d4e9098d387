"""Many annotators at once, on real connections: every place is filled once, and nobody goes home too early."""

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, connections
from django.utils.timezone import now

from annotator.models import Assignment, Comparison, Gold, Judgment, LedgerEntry, Project, Standards
from annotator.pipeline import assign, judge, ledger, places, revise
from tests.builders import make_comparison, make_person, make_plan, make_project, make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def connections_for_all():
    """The pool of a web process is as large as its threads."""
    pool = connection.pool
    before = pool.max_size
    pool.resize(min_size=1, max_size=24)
    yield
    pool.resize(min_size=1, max_size=before)


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Each on a thread and a connection of its own; their answers in order. Errors are raised."""
    results: list[Any] = [None] * len(works)
    ready = threading.Barrier(len(works))

    def run(number: int) -> None:
        try:
            ready.wait(10)
            results[number] = works[number]()
        except BaseException as error:
            results[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def project_with(count: int, votes: int) -> Project:
    project = make_project()
    for number in range(count):
        make_comparison(project, votes_wanted=votes, places_open=votes, queue_order=number)
    return project


def judges_all(project: Project, rater, *, prefetch: bool = False) -> Callable[[], int]:
    def judge_until_empty() -> int:
        done = 0
        while assignment := assign.next_assignment(project, rater):
            if prefetch:
                assign.next_assignment(project, rater, prefetch=True)
            judge.submit_judgment(assignment, {"level": 1}, client_id=uuid4())
            done += 1
        return done

    return judge_until_empty


@pytest.mark.parametrize("prefetch", [False, True])
def test_annotators_at_once_fill_every_place_once_and_nobody_twice(prefetch):
    project = project_with(12, votes=3)
    people = [make_person(project, make_user()) for _each in range(8)]
    done = at_once(*(judges_all(project, rater, prefetch=prefetch) for rater in people))
    assert sum(done) == 36
    counted = Counter(Judgment.objects.values_list("comparison_id", flat=True))
    assert set(counted.values()) == {3}
    assert not Judgment.objects.filter(is_surplus=True).exists()
    assert not Comparison.objects.filter(places_open__gt=0).exists()
    assert not Assignment.objects.filter(state="leased").exists()


@pytest.mark.slow
def test_as_many_annotators_as_places_all_get_one():
    """With SKIP LOCKED alone some of them were told that nothing is left."""
    for _round in range(4):
        project = project_with(2, votes=5)
        people = [make_person(project, make_user()) for _each in range(5)]
        ask = [partial(assign.next_assignment, project, rater) for rater in people]
        asked = at_once(*ask)
        assert all(asked)
        at_once(*(partial(assign.skip, each) for each in asked))
        assert all(at_once(*ask))


@pytest.mark.slow
def test_nobody_is_told_nothing_is_left_because_a_row_is_locked():
    project = project_with(1, votes=2)
    other, rater = (make_person(project, make_user()) for _each in range(2))
    locked, release = threading.Event(), threading.Event()

    def holds_the_row() -> None:
        from django.db import transaction

        with transaction.atomic():
            places.lock([project.comparisons.get().pk])
            locked.set()
            release.wait(10)

    def asks() -> Assignment | None:
        locked.wait(10)
        threading.Timer(0.3, release.set).start()
        return assign.next_assignment(project, rater)

    assert at_once(holds_the_row, asks)[1] is not None
    assert assign.next_assignment(project, other) is not None


def test_eight_clicks_at_once_make_one_judgment():
    project = project_with(1, votes=1)
    assignment = assign.next_assignment(project, make_person(project, make_user()))
    sent = uuid4()
    stored = at_once(*[lambda: judge.submit_judgment(assignment, {"level": 1}, client_id=sent).pk] * 8)
    assert len(set(stored)) == 1 and Judgment.objects.count() == 1


@pytest.mark.slow
def test_windows_that_answer_differently_at_once_leave_one_answer_that_counts():
    project = project_with(1, votes=1)
    assignment = assign.next_assignment(project, make_person(project, make_user()))
    works = [
        lambda level=level: judge.submit_judgment(assignment, {"level": level}, client_id=uuid4()).pk
        for level in (-1, 0, 1)
    ]
    assert len(set(at_once(*works))) == 1
    assert Judgment.objects.filter(is_current=True).count() == 1 and Judgment.objects.count() == 3


@pytest.mark.slow
def test_a_submission_and_the_end_of_its_lease_at_once_leave_one_holder():
    for _round in range(5):
        project = project_with(1, votes=1)
        assignment = assign.next_assignment(project, make_person(project, make_user()))
        Assignment.objects.filter(pk=assignment.pk).update(leased_until=now() - timedelta(seconds=1))
        other = make_person(project, make_user())
        at_once(
            lambda a=assignment: judge.submit_judgment(a, {"level": 1}, client_id=uuid4()),
            places.expire_leases,
            lambda p=project, r=other: assign.next_assignment(p, r),
        )
        comparison = project.comparisons.get()
        counting = comparison.judgments.filter(is_surplus=False).count()
        assert counting + comparison.assignments.filter(state="leased").count() == 1
        assert comparison.judgments.count() == 1 and comparison.places_open == 0


@pytest.mark.slow
def test_opening_what_was_fetched_and_taking_it_over_at_once_gives_it_to_one():
    for _round in range(5):
        project = project_with(2, votes=1)
        first, second = (make_person(project, make_user()) for _each in range(2))
        assign.next_assignment(project, first)
        ahead = assign.next_assignment(project, first, prefetch=True)
        opened, taken = at_once(
            lambda a=ahead, p=project: assign.open_now(a, p),
            lambda p=project, r=second: assign.next_assignment(p, r),
        )
        assert opened == (taken is None)


@pytest.mark.slow
def test_undoing_and_answering_at_once_never_stand_in_each_others_way_and_pay_once():
    for _round in range(10):
        project = make_project(price_per_judgment=Decimal("0.25"))
        comparison = make_comparison(project, votes_wanted=1, places_open=1)
        plan = make_plan(project, {comparison: None})
        ledger.set_cap(project, Decimal("0.25"))
        ledger.reserve(project, ledger.plan_key(plan.pk, "people"), Decimal("0.25"), source="people", plan=plan)
        mine = assign.next_assignment(project, make_person(project, make_user())).pk
        at_once(*[partial(undoes, mine), partial(answers, mine)] * 3)
        answers(mine)
        (counting,) = Judgment.objects.filter(comparison=comparison, is_current=True)
        entries = LedgerEntry.objects.filter(account__project=project)
        assert [(each.judgment, each.amount) for each in entries] == [(counting, Decimal("0.25"))]
        comparison.refresh_from_db()
        assert (comparison.places_open, Assignment.objects.get(pk=mine).state) == (0, "judged")
        account = ledger.account_of(project)
        assert (account.spent, account.reserved) == (0, Decimal("0.25"))


def undoes(assignment_id: int) -> None:
    """Clicked again and again, so that it meets the answers at work."""
    for _click in range(6):
        with suppress(judge.UndoTooLate):
            judge.undo(Assignment.objects.get(pk=assignment_id))


def answers(assignment_id: int) -> None:
    """Read anew, as the view does it."""
    judge.submit_judgment(Assignment.objects.get(pk=assignment_id), {"level": 1}, client_id=uuid4())


@pytest.mark.slow
def test_many_fetches_ahead_at_once_never_pass_the_limit_and_lease_nothing_twice():
    project = project_with(40, 1)
    rater = make_person(project, make_user())
    assert assign.next_assignment(project, rater)

    def fetch() -> list[int]:
        got: list[int] = []
        for _each in range(3):
            ahead = assign.next_assignment(project, rater, prefetch=True, having=got)
            got += [ahead.pk] if ahead else []
        return got

    fetched = at_once(*[fetch] * 8)
    leases = Assignment.objects.filter(rater=rater, state="leased")
    assert leases.count() <= assign.HELD_AT_MOST
    assert leases.values("comparison").distinct().count() == leases.count()
    assert all(len(set(got)) == len(got) for got in fetched)
    assert project.comparisons.filter(places_open=0).count() == leases.count()


@pytest.mark.slow
def test_revisions_and_an_undo_at_once_leave_one_answer_standing_or_none():
    project = project_with(1, 1)
    rater = make_person(project, make_user())
    assignment = assign.next_assignment(project, rater)
    first = judge.submit_judgment(assignment, {"level": 1}, client_id=uuid4())
    sent = uuid4()

    def again(client_id) -> None:
        with suppress(revise.NotRevisable):
            revise.revise(
                Judgment.objects.select_related("project").get(pk=first.pk), {"level": -1}, client_id=client_id
            )

    def undo() -> None:
        with suppress(judge.UndoTooLate):
            judge.undo(Assignment.objects.select_related("project").get(pk=assignment.pk))

    at_once(*[partial(again, sent)] * 3, *[partial(again, uuid4()) for _each in range(3)], undo)
    stored = Judgment.objects.all()
    assert stored.filter(client_id=sent).count() <= 1
    standing = stored.filter(is_current=True).count()
    leased = Assignment.objects.filter(state="leased").count()
    assert standing + leased == 1 and Comparison.objects.get().places_open == 0


@pytest.mark.slow
@pytest.mark.parametrize("gold_share", [0.0, 1.0])
def test_windows_opened_at_once_do_not_pass_the_days_limit(gold_share):
    project = project_with(20, votes=1)
    for _each in range(8):
        Gold.objects.create(project=project, comparison=make_comparison(project), better=["a"])
    Standards.objects.create(project=project, daily_cap=2, gold_share=gold_share)
    rater = make_person(project)
    at_once(*[partial(assign.next_assignment, project, rater)] * 8)
    assert Assignment.objects.filter(rater=rater, state="leased").count() in (1, 2)
    assert assign.queue_state(project, make_person(project))
