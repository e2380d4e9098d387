"""Who gets work now: guidelines read, tutorial and qualification passed, not paused, the day not over its limit."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from annotator.models import Gold, Guidelines, Judgment, Project, Rater, Standards, Standing
from annotator.pipeline import admission, assign, judge
from tests.builders import make_comparison, make_person, make_project, make_user

pytestmark = pytest.mark.django_db


def wanting(count: int = 1, **standards) -> Project:
    project = make_project()
    for number in range(count):
        make_comparison(project, votes_wanted=3, places_open=3, queue_order=number)
    if standards:
        Standards.objects.create(project=project, **standards)
    return project


def person(project: Project, **standing) -> Rater:
    rater = make_person(project, make_user())
    if standing:
        Standing.objects.create(rater=rater, **standing)
    return rater


def kind(project: Project, rater: Rater) -> str:
    """The hindrance, and that it holds for what is handed out now and ahead of time."""
    found = admission.hindrance(project, rater)
    if found is None:
        assert assign.next_assignment(project, rater)
        return ""
    assert assign.next_assignment(project, rater) is None
    assert assign.next_assignment(project, rater, prefetch=True) is None
    assert assign.queue_state(project, rater) == found.words
    return found.kind


def gold(project: Project, use: str) -> Gold:
    return Gold.objects.create(project=project, comparison=make_comparison(project), use=use, better=["a"])


def guidelines(project: Project, version: int, must: bool = True) -> None:
    Guidelines.objects.create(project=project, version=version, text="…", must_acknowledge=must)


def test_a_project_without_standards_hinders_nobody():
    project = wanting()
    assert kind(project, person(project)) == ""


def test_new_guidelines_are_acknowledged_first_and_a_corrected_comma_is_not():
    project = wanting()
    new, read = person(project), person(project, acknowledged=2)
    guidelines(project, 1)
    guidelines(project, 2)
    guidelines(project, 3, must=False)
    assert [kind(project, new), kind(project, read)] == ["guidelines", ""]


def test_a_tutorial_comes_first_when_there_is_one():
    project = wanting(tutorial_required=True)
    assert kind(project, person(project)) == ""
    tutorial = gold(project, "tutorial")
    assert kind(project, person(project)) == "tutorial"
    assert kind(project, person(project, tutorial_done_at=now())) == ""
    tutorial.retired_at = now()
    tutorial.save()
    assert kind(project, person(project)) == ""


def test_who_must_qualify_gets_nothing_before():
    project = wanting(qualification_required=True)
    assert kind(project, person(project)) == "qualification"
    assert kind(project, person(project, certified=1)) == ""


@pytest.mark.parametrize(("recertify", "expected"), [(True, "qualification"), (False, "")])
def test_changed_guidelines_ask_for_a_new_qualification_where_the_project_says_so(recertify, expected):
    project = wanting(qualification_required=True, recertify=recertify)
    guidelines(project, 4)
    assert kind(project, person(project, acknowledged=4, certified=3)) == expected
    assert kind(project, person(project, acknowledged=4, certified=4)) == ""


def test_somebody_paused_reads_why_before_anything_else():
    project = wanting(qualification_required=True)
    guidelines(project, 1)
    rater = person(project, paused_at=now(), pause_reason="Let us talk about the long ones.")
    assert kind(project, rater) == "paused"
    found = admission.hindrance(project, rater)
    assert found.words == "Let us talk about the long ones."
    by_itself = person(project, paused_at=now())
    assert "is kept" in admission.hindrance(project, by_itself).words


def test_the_day_ends_at_its_limit_and_counts_what_is_held_already():
    project = wanting(5, daily_cap=3)
    rater = person(project)
    for done in range(3):
        reading = assign.next_assignment(project, rater)
        ahead = [assign.next_assignment(project, rater, prefetch=True) for _each in range(2)]
        assert (ahead[0] is None) == (done == 2)
        judge.submit_judgment(reading, {"level": 1}, client_id=uuid4())
    assert kind(project, rater) == "cap"
    assert "3" in admission.hindrance(project, rater).words
    Judgment.objects.update(created_at=now() - timedelta(days=2))
    assert kind(project, rater) == ""


def test_an_answer_to_what_is_on_screen_is_taken_whatever_has_come_between():
    project = wanting()
    rater = person(project)
    reading = assign.next_assignment(project, rater)
    Standing.objects.create(rater=rater, paused_at=now())
    assert judge.submit_judgment(reading, {"level": 1}, client_id=uuid4()).is_current
    assert kind(project, rater) == "paused"


def test_it_is_one_query_whatever_is_asked_of_them():
    project = wanting(daily_cap=5, qualification_required=True, tutorial_required=True)
    guidelines(project, 1)
    rater = person(project, acknowledged=1, certified=1, tutorial_done_at=now())
    with CaptureQueriesContext(connection) as queries:
        assert admission.hindrance(project, rater) is None
    assert len(queries) == 1
