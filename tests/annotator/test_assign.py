"""Who judges what next: leases, overlap, drafts, skipping, and why a queue is empty."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from annotator.models import Assignment, Comparison, Gold, Project, Rater, Review, Standing
from annotator.pipeline import assign, judge, places
from tests.builders import make_comparison, make_judgment, make_labeler, make_person, make_plan, make_project, make_user

pytestmark = pytest.mark.django_db


def wanted(project: Project, count: int, votes: int = 1) -> list[Comparison]:
    made = [
        make_comparison(project, votes_wanted=votes, places_open=votes, queue_order=number) for number in range(count)
    ]
    return made


def person(project: Project) -> Rater:
    return make_person(project, make_user())


def places_left(comparison: Comparison) -> int:
    return Comparison.objects.get(pk=comparison.pk).places_open


def answered(project: Project, rater: Rater) -> Comparison | None:
    assignment = assign.next_assignment(project, rater)
    if assignment is None:
        return None
    judge.submit_judgment(assignment, {"level": 1}, client_id=uuid4())
    return assignment.comparison


def run_out(assignment: Assignment) -> None:
    Assignment.objects.filter(pk=assignment.pk).update(leased_until=now() - timedelta(seconds=1))


def test_a_lease_takes_a_place_and_asking_again_gives_the_same_comparison_in_the_same_order():
    project = make_project()
    first, second = wanted(project, 2)
    rater = person(project)
    lease = assign.next_assignment(project, rater)
    again = assign.next_assignment(project, rater)
    assert lease.comparison == first and again == lease and again.a_first == lease.a_first
    assert places_left(first) == 0 and places_left(second) == 1


@pytest.mark.slow
def test_the_order_on_screen_is_drawn_for_each_annotator_and_comparison():
    project = make_project()
    wanted(project, 40)
    rater = person(project)
    shown = set()
    for _each in range(40):
        lease = assign.next_assignment(project, rater)
        shown.add(lease.a_first)
        assign.skip(lease)
    assert shown == {True, False}


def test_three_votes_come_from_three_people_and_a_fourth_is_told_so():
    project = make_project()
    (comparison,) = wanted(project, 1, votes=3)
    for left in (2, 1, 0):
        assert answered(project, person(project)) == comparison
        assert places_left(comparison) == left
    fourth = person(project)
    assert assign.next_assignment(project, fourth) is None
    assert assign.queue_state(project, fourth) == "All comparisons of this plan are judged."


def test_nobody_judges_a_comparison_twice():
    project = make_project()
    wanted(project, 3, votes=2)
    rater = person(project)
    assert len({answered(project, rater) for _each in range(3)}) == 3
    assert assign.next_assignment(project, rater) is None
    assert assign.queue_state(project, rater) == "You have judged or skipped everything that is left."


def test_what_was_passed_before_is_found_again_before_nothing_is_left():
    project = make_project()
    first, second, third = wanted(project, 3)
    slow, quick = person(project), person(project)
    held = assign.next_assignment(project, slow)
    assert [answered(project, quick), answered(project, quick)] == [second, third]
    assign.skip(held)
    assert answered(project, quick) == first


def test_a_skipped_comparison_goes_to_somebody_else_and_not_to_the_same_person():
    project = make_project()
    (comparison,) = wanted(project, 1)
    rater = person(project)
    assert assign.skip(assign.next_assignment(project, rater), "I know one of the authors")
    assert places_left(comparison) == 1
    assert Assignment.objects.get().skip_reason == "I know one of the authors"
    assert assign.next_assignment(project, rater) is None
    assert answered(project, person(project)) == comparison


def test_a_judged_comparison_cannot_be_skipped():
    project = make_project()
    (comparison,) = wanted(project, 1)
    rater = person(project)
    assert answered(project, rater) == comparison
    assert not assign.skip(Assignment.objects.get())
    assert places_left(comparison) == 0


def test_a_flag_reaches_the_lead_and_a_second_one_replaces_it():
    project = make_project()
    (comparison,) = wanted(project, 1)
    lease = assign.next_assignment(project, person(project))
    assign.flag(lease, "a name in it")
    assign.flag(lease, "a telephone number in it")
    assert [flag.reason for flag in comparison.flags.all()] == ["a telephone number in it"]
    assert Assignment.objects.get().state == "leased"


def test_a_lease_that_ran_out_gives_its_place_back_and_keeps_its_draft():
    project = make_project()
    (comparison,) = wanted(project, 1)
    rater = person(project)
    lease = assign.next_assignment(project, rater)
    assert assign.save_draft(lease, {"level": -1}, 700)
    run_out(lease)
    assert places.expire_leases() == 1 and places.expire_leases() == 0
    assert places_left(comparison) == 1
    assert assign.save_draft(lease, {"level": 1}, 900) is None
    back = assign.next_assignment(project, rater, resume=True)
    assert back == lease and back.draft == {"level": -1} and back.a_first == lease.a_first
    assert places_left(comparison) == 0


def test_a_draft_comes_back_before_anything_new():
    project = make_project()
    first, _second = wanted(project, 2)
    rater = person(project)
    lease = assign.next_assignment(project, rater)
    assign.save_draft(lease, {"level": -1}, 700)
    run_out(lease)
    places.expire_leases()
    assert assign.next_assignment(project, rater, resume=True).comparison == first


def test_nobody_is_told_that_nothing_is_left_while_a_lease_has_run_out():
    project = make_project()
    (comparison,) = wanted(project, 1)
    run_out(assign.next_assignment(project, person(project)))
    assert assign.next_assignment(project, person(project)).comparison == comparison


def test_a_comparison_fetched_ahead_is_taken_over_when_nothing_else_is_left_and_one_being_read_is_not():
    project = make_project()
    first, second = wanted(project, 2)
    reader, other, third = person(project), person(project), person(project)
    reading = assign.next_assignment(project, reader)
    ahead = assign.next_assignment(project, reader, prefetch=True)
    assert (reading.comparison, ahead.comparison) == (first, second)
    assert assign.next_assignment(project, reader, prefetch=True) == ahead
    assert assign.next_assignment(project, other).comparison == second
    assert not assign.open_now(ahead, project)
    assert assign.next_assignment(project, third) is None
    assert assign.queue_state(project, third).startswith("Everything left is being judged by others")
    assert places_left(first) == places_left(second) == 0


def test_fetching_ahead_takes_nothing_over():
    project = make_project()
    wanted(project, 3)
    first, second = person(project), person(project)
    assign.next_assignment(project, first)
    ahead = assign.next_assignment(project, first, prefetch=True)
    assign.next_assignment(project, second)
    assert assign.next_assignment(project, second, prefetch=True) is None
    assert assign.open_now(ahead, project)


def test_what_was_fetched_ahead_comes_next():
    project = make_project()
    _first, second, _third = wanted(project, 3)
    rater = person(project)
    reading = assign.next_assignment(project, rater)
    ahead = assign.next_assignment(project, rater, prefetch=True)
    judge.submit_judgment(reading, {"level": 1}, client_id=uuid4())
    following = assign.next_assignment(project, rater)
    assert following == ahead and following.comparison == second and following.opened_at


def test_places_follow_what_is_wanted_and_what_people_have_said_already():
    project = make_project()
    fresh, judged, done = wanted(project, 3)
    make_judgment(judged, make_person(project), 1)
    make_judgment(judged, make_labeler(project), p_b=0.3)
    for _each in range(4):
        make_judgment(done, make_person(project), -1)
    Comparison.objects.update(votes_wanted=3)
    places.open_places(project.pk, [fresh.pk, judged.pk, done.pk])
    assert [places_left(each) for each in (fresh, judged, done)] == [3, 2, 0]


def test_places_of_another_project_are_left_alone():
    (theirs,) = wanted(make_project(), 1)
    Comparison.objects.update(votes_wanted=3)
    places.open_places(make_project().pk, [theirs.pk])
    assert places_left(theirs) == 1


def test_an_empty_queue_says_why():
    project = make_project()
    rater = person(project)
    assert assign.queue_state(project, rater) == "The lead has not approved a plan yet."
    comparison = make_comparison(project)
    make_plan(project, {comparison: make_labeler(project)})
    assert assign.queue_state(project, rater) == "All comparisons of this plan are judged."
    project.status = "paused"
    assert "paused" in assign.queue_state(project, rater)
    project.status = "closed"
    assert "closed" in assign.queue_state(project, rater)


def test_a_paused_project_hands_out_nothing():
    project = make_project(status="paused")
    wanted(project, 1)
    assert assign.next_assignment(project, person(project)) is None
    assert not Assignment.objects.exists()


def explained(query: str, parameters: dict) -> str:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE annotator_comparison")
        for table in ("assignment", "gold", "review"):
            cursor.execute(f"ANALYZE annotator_{table}")
        cursor.execute("EXPLAIN (ANALYZE, BUFFERS) " + query, parameters)
        return "\n".join(line for (line,) in cursor.fetchall())


@pytest.mark.slow
def test_the_search_starts_behind_my_own_last_comparison():
    """Two thousand of mine still want a second vote: the search must not walk over them."""
    project = make_project()
    rater = person(project)
    template = make_comparison(project)
    Comparison.objects.bulk_create(
        Comparison(
            project=project, external_id=f"many{number}", prompt=template.prompt, response_a=template.response_a,
            response_b=template.response_b, votes_wanted=2, places_open=1, queue_order=number,
        )
        for number in range(3000)
    )  # fmt: skip
    mine = list(project.comparisons.filter(places_open=1).order_by("queue_order")[:2000])
    Assignment.objects.bulk_create(
        Assignment(
            project=project, comparison=each, rater=rater, state="judged", leased_until=now(), a_first=True
        )
        for each in mine
    )  # fmt: skip
    ahead = list(project.comparisons.filter(places_open=1).order_by("-queue_order")[:900])
    Gold.objects.bulk_create(Gold(project=project, comparison=each, use="tutorial", better=["a"]) for each in ahead)
    Review.objects.bulk_create(
        Review(project=project, comparison=each, reviewer=rater, state="settled", a_first=True) for each in ahead
    )
    plan = explained(
        assign._OPEN_FOR_ME + assign._BEHIND_MY_LAST + assign._FIRST + assign._UNLOCKED,
        {"project": project.pk, "rater": rater.pk, "opted_out": []},
    )
    assert "comparison_queue" in plan and "Seq Scan" not in plan
    touched = int(re.search(r"shared hit=(\d+)", plan)[1])
    assert touched < 60, plan
    assert assign.next_assignment(project, rater).comparison.external_id == "many2000"


@pytest.mark.slow
def test_whoever_has_been_through_the_queue_does_not_walk_it_again():
    """Near the end all that is open wants somebody else: the cost of asking again must not grow with it."""
    touched = []
    for count in (50, 1500):
        project = make_project()
        rater = person(project)
        template = make_comparison(project)
        Comparison.objects.bulk_create(
            Comparison(
                project=project, external_id=f"many{number}", prompt=template.prompt, response_a=template.response_a,
                response_b=template.response_b, votes_wanted=2, places_open=1, queue_order=number,
            )
            for number in range(count)
        )  # fmt: skip
        Assignment.objects.bulk_create(
            Assignment(project=project, comparison=each, rater=rater, state="judged", leased_until=now(), a_first=True)
            for each in project.comparisons.filter(places_open=1)
        )
        assert assign.next_assignment(project, rater) is None
        asked = {
            "project": project.pk, "rater": rater.pk, "opted_out": [],
            "nothing_left_at": Standing.objects.get(rater=rater).nothing_left_at,
        }  # fmt: skip
        plan = explained(assign._OPEN_FOR_ME + assign._REOPENED + assign._UNLOCKED, asked)
        touched.append(int(re.search(r"shared hit=(\d+)", plan)[1]))
        with CaptureQueriesContext(connection) as queries:
            assert assign.next_assignment(project, rater) is None
        searches = [query["sql"] for query in queries if "places_open > 0" in query["sql"]]
        assert searches and all("reopened_at" in sql for sql in searches)
    assert "comparison_reopened" in plan
    assert touched[1] <= touched[0] + 5


def test_what_opens_after_they_went_through_the_queue_is_found():
    project = make_project()
    first, second = wanted(project, 2)
    rater, other = person(project), person(project)
    held = assign.next_assignment(project, other)
    assert answered(project, rater) == second
    assert assign.next_assignment(project, rater) is None
    assert Standing.objects.get(rater=rater).nothing_left_at
    assign.skip(held)
    assert answered(project, rater) == first
    assert Standing.objects.get(rater=rater).nothing_left_at is None
    third, fourth = (make_comparison(project, votes_wanted=1, queue_order=number) for number in (5, 6))
    assert assign.next_assignment(project, rater) is None
    places.open_places(project.pk, [third.pk, fourth.pk])
    assert [answered(project, rater), answered(project, rater)] == [third, fourth]


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 200])
def test_the_next_lease_takes_the_same_few_queries_however_long_the_queue(count):
    project = make_project()
    wanted(project, count)
    rater = person(project)
    with CaptureQueriesContext(connection) as queries:
        assert assign.next_assignment(project, rater)
    # admitted?, held?, savepoint, search, lease with recount, release
    assert len(queries) == 6


def test_opening_what_was_fetched_ahead_again_and_again_does_not_hoard_places():
    project = make_project()
    wanted(project, assign.HELD_AT_MOST + 3)
    rater = person(project)
    assign.next_assignment(project, rater)
    for _each in range(assign.HELD_AT_MOST + 3):
        if ahead := assign.next_assignment(project, rater, prefetch=True):
            assert assign.open_now(ahead, project)
    assert project.assignments.filter(state="leased").count() == assign.HELD_AT_MOST
    assert assign.next_assignment(project, rater).opened_at, "what they hold is still given"
    assert assign.next_assignment(project, person(project))


def test_a_draft_of_what_somebody_opted_out_of_is_not_taken_up_again():
    project = make_project()
    comparison = make_comparison(project, votes_wanted=1, places_open=1, harms=["violence"])
    rater = make_person(project)
    assignment = assign.next_assignment(project, rater)
    assign.save_draft(assignment, {"level": 1}, 5)
    Assignment.objects.update(leased_until=now() - timedelta(minutes=1))
    places.expire_leases(project.pk)
    assign.set_opt_outs(rater, ["violence"])
    assert assign.next_assignment(project, rater, resume=True) is None
    assign.set_opt_outs(rater, [])
    assert assign.next_assignment(project, rater, resume=True).comparison == comparison


def test_two_windows_that_opt_out_of_two_kinds_opt_out_of_both():
    project = make_project()
    rater = make_person(project)
    other = Rater.objects.get(pk=rater.pk)
    assign.opt_out(rater, ["violence"])
    assign.opt_out(other, ["hate"])
    assert Rater.objects.get(pk=rater.pk).opted_out == ["hate", "violence"]
