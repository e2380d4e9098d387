"""The lead's pages about quality, and an annotator's own statistics."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from annotator.models import (
    Assignment,
    Attempt,
    Comparison,
    Concern,
    Gold,
    Judgment,
    Project,
    Rater,
    Review,
    Standards,
    Standing,
    User,
)
from annotator.pipeline import admission, aggregate, handout
from annotator.readings import board, own
from annotator.readings import quality as readings
from annotator.readings.shares import Share
from tests.annotator.test_quality import gold, on_gold, said
from tests.builders import make_comparison, make_judgment, make_member, make_person, make_plan, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    return make_project()


@pytest.fixture
def rater(project) -> Rater:
    return make_person(project, make_member(project, "annotator", "ann"))


@pytest.fixture
def lead(project) -> Client:
    return logged_in(make_member(project, "lead"))


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def page(client: Client, name: str, *args) -> str:
    response = client.get(reverse(name, args=args))
    assert response.status_code == 200
    return response.content.decode()


def acts(client: Client, name: str, *args, **data) -> None:
    assert client.post(reverse(name, args=args), data).status_code == 302


def test_everybody_is_measured_on_what_they_said(project, rater):
    other = make_person(project, make_member(project, "annotator"))
    shared = [make_comparison(project) for _each in range(4)]
    for number, comparison in enumerate(shared):
        said(rater, 1, comparison=comparison, a_first=bool(number % 2), active_ms=10_000 * (number + 1))
        said(other, 1 if number else -1, comparison=comparison)
    said(rater, -1, comparison=shared[0], round=2, purpose="repeat", minutes=5)
    on_gold(rater, True)
    on_gold(rater, False)
    aggregate.aggregate()
    row = next(each for each in readings.people(project)[0] if each.rater == rater)
    assert (row.judgments, row.gold, row.repeats) == (7, Share(1, 2), Share(0, 1))
    assert row.agreement == Share(3, 4)
    # Of four for B, two had B on the left; the repeat chose A on the left, one gold A and one gold B of A first.
    assert row.first_side == Share(4, 7)
    assert row.median_ms == 25_000


def test_whom_to_look_at_comes_first_and_two_clicks_lead_to_the_comparisons(project, rater, lead):
    said(make_person(project, make_member(project, "annotator", "aaron")), 1)
    long = make_comparison(project, a="word " * 600, b="text " * 600)
    said(rater, 1, comparison=long, active_ms=900)
    aggregate.aggregate()
    first = page(lead, "quality", project.pk)
    assert first.index(">ann<") < first.index(">aaron<")
    assert "faster than the texts can be read" in first
    assert reverse("quality_person", args=[project.pk, rater.pk]) in first
    second = page(lead, "quality_person", project.pk, rater.pk)
    assert reverse("comparison", args=[project.pk, long.pk]) in second


def test_a_pause_tells_its_reason_and_is_taken_back(project, rater, lead):
    acts(lead, "quality_pause", project.pk, rater.pk, reason="Please write in full sentences.")
    assert "Please write in full sentences." in page(logged_in(rater.user), "my_statistics", project.pk)
    assert admission.hindrance(project, rater).kind == "paused"
    acts(lead, "quality_resume", project.pk, rater.pk)
    assert admission.hindrance(project, rater) is None


def test_a_pause_needs_a_reason(project, rater, lead):
    response = lead.post(reverse("quality_pause", args=[project.pk, rater.pk]), {"reason": " "})
    assert response.status_code == 422 and not Standing.objects.filter(paused_at__isnull=False).exists()


def test_letting_somebody_go_on_begins_the_count_anew(project, rater, lead):
    Standards.objects.create(project=project, accuracy_least=3)
    for _each in range(3):
        on_gold(rater, False)
    aggregate.aggregate()
    assert admission.hindrance(project, rater).kind == "paused"
    acts(lead, "quality_resume", project.pk, rater.pk)
    on_gold(rater, False, minutes=-0.01)
    aggregate.aggregate()
    assert admission.hindrance(project, rater) is None


def test_qualification_is_required_again_and_given_back(project, rater, lead):
    Standards.objects.create(project=project, qualification_required=True)
    acts(lead, "quality_certify", project.pk, rater.pk)
    assert admission.hindrance(project, rater) is None
    acts(lead, "quality_requalify", project.pk, rater.pk)
    assert admission.hindrance(project, rater).kind == "qualification"


def test_a_settled_concern_is_gone_and_can_be_opened_again(project, rater, lead):
    for level in (1, -1):
        Concern.objects.create(project=project, rater=rater, kind="pasted", judgment=said(rater, level))
    acts(lead, "concern_settle", project.pk, rater.pk, "pasted")
    assert not readings.worries(project, rater)
    (click,) = readings.settled(project, rater)
    assert click["n"] == 2
    acts(lead, "concern_reopen", project.pk, click["id"])
    assert len(readings.worries(project, rater)[0].concerns) == 2


def test_everything_in_the_standards_is_set_on_one_page(project, lead):
    address = reverse("quality_standards", args=[project.pk])
    sent = {
        "qualification_required": "on", "pass_mark": "75", "attempts_allowed": "2", "gold_share": "7",
        "repeat_share": "3", "repeat_after": "30", "accuracy_window": "15", "accuracy_least": "5", "pause_below": "65",
        "reading_rate": "900", "daily_cap": "", "break_after_minutes": "45",
    }  # fmt: skip
    assert lead.post(address, sent).status_code == 302
    kept = Standards.objects.get(project=project)
    assert (kept.gold_share, kept.repeat_share, kept.pass_mark, kept.pause_below) == (0.07, 0.03, 0.75, 0.65)
    assert kept.qualification_required and not kept.tutorial_required and kept.daily_cap is None
    again = page(lead, "quality_standards", project.pk)
    assert 'value="7"' in again and "nobody can begin" in again
    for wrong in ({"accuracy_least": "1"}, {"gold_share": "60"}, {"accuracy_window": "4"}, {"gold_share": "101"}):
        assert lead.post(address, {**sent, **wrong}).status_code == 422


def test_a_comparison_is_made_gold_corrected_retired_and_used_again(project, rater, lead):
    comparison = make_comparison(project)
    address = reverse("gold", args=[project.pk, comparison.pk])
    assert reverse("gold", args=[project.pk, comparison.pk]) in page(lead, "comparison", project.pk, comparison.pk)
    assert lead.post(address, {"use": "hidden", "better": []}).status_code == 422
    acts(lead, "gold", project.pk, comparison.pk, use="hidden", better=["a"], explanation="B invents the year.")
    made = Gold.objects.get()
    assert (made.better, made.comparison, made.created_by.username) == (["a"], comparison, lead_name(project))
    Gold.objects.update(created_at=now() - timedelta(days=1))
    said(rater, 1, comparison=comparison, purpose="gold")
    aggregate.aggregate()
    assert Standing.objects.get(rater=rater).gold_right == 0
    acts(lead, "gold", project.pk, comparison.pk, use="hidden", better=["b", "tie"])
    assert Standing.objects.get(rater=rater).gold_right == 1
    acts(lead, "gold_retire", project.pk, made.pk)
    assert Standing.objects.get(rater=rater).gold_seen == 0
    acts(lead, "gold_retire", project.pk, made.pk)
    assert Standing.objects.get(rater=rater).gold_seen == 1


@pytest.mark.django_db(transaction=True)
def test_an_answer_is_corrected_and_retired_outside_of_a_tests_transaction(project, rater, lead):
    known = gold(project)
    said(rater, 1, comparison=known.comparison, purpose="gold")
    aggregate.aggregate()
    acts(lead, "gold", project.pk, known.comparison_id, use="hidden", better=["a"])
    assert Standing.objects.get(rater=rater).gold_right == 0
    acts(lead, "gold_retire", project.pk, known.pk)
    assert Standing.objects.get(rater=rater).gold_seen == 0


def test_what_becomes_a_tutorial_leaves_the_queue_and_comes_back(project, rater, lead):
    comparison = make_comparison(project, votes_wanted=2, places_open=2)
    make_plan(project, {comparison: None})

    def places() -> tuple[int, int]:
        comparison.refresh_from_db()
        return comparison.votes_wanted, comparison.places_open

    acts(lead, "gold", project.pk, comparison.pk, use="tutorial", better=["a"])
    known = Gold.objects.get()
    assert places() == (0, 0)
    handout.finish(project.plans.get())
    assert places() == (0, 0), "the approved plan does not open it again"
    acts(lead, "gold_retire", project.pk, known.pk)
    assert places() == (2, 2)
    acts(lead, "gold_retire", project.pk, known.pk)
    assert places() == (0, 0)
    Attempt.objects.create(
        rater=rater, use="tutorial", number=1, protocol=project.protocol, guidelines_version=1,
        answers=[{"gold": known.pk, "a_first": True, "given": {"level": 1}, "right": False}],
    )  # fmt: skip
    acts(lead, "gold", project.pk, comparison.pk, use="hidden", better=["a"])
    assert places() == (0, 0), "somebody has learned its answer"


def lead_name(project: Project) -> str:
    return project.memberships.get(role="lead").user.username


def test_a_gold_that_most_people_miss_is_said_to_be_in_doubt(project, lead):
    known, fine = gold(project), gold(project)
    for _person in range(5):
        person = make_person(project, make_member(project, "annotator"))
        said(person, -1, comparison=known.comparison, purpose="gold")
        said(person, 1, comparison=fine.comparison, purpose="gold")
    aggregate.aggregate()
    first, second = readings.golds(project)
    assert (first.gold, first.is_suspect, first.right) == (known, True, Share(0, 5))
    assert (second.is_suspect, second.right) == (False, Share(5, 5))
    assert page(lead, "golds", project.pk).count("most people miss it") == 1


def test_what_reviewers_settled_is_offered_as_gold_with_its_answer(project, lead):
    reviewer = make_person(project, make_member(project, "reviewer"))
    settled = said(reviewer, 1, purpose="review")
    Review.objects.create(
        project=project, comparison=settled.comparison, reviewer=reviewer, state="settled", a_first=True,
        judgment=settled,
    )  # fmt: skip
    address = reverse("gold", args=[project.pk, settled.comparison_id]) + "?better=b"
    assert address in page(lead, "golds", project.pk)
    assert 'value="b" id="id_better_2" checked' in lead.get(address).content.decode()


def test_own_statistics_tell_what_was_missed_and_why_where_the_project_shows_it(project, rater):
    missed = on_gold(rater, False)
    Gold.objects.update(explanation="The *second* one invents a source.")
    on_gold(rater, True)
    client = logged_in(rater.user)
    mine = page(client, "my_statistics", project.pk)
    assert "on your screen: B is better" in mine
    assert "1 of 2" in mine and "<em>second</em> one invents a source" in mine
    assert reverse("contest_gold", args=[project.pk, missed.comparison.gold.pk]) in mine
    Standards.objects.create(project=project, gold_feedback=False)
    mine = page(client, "my_statistics", project.pk)
    assert "1 of 2" not in mine and "invents a source" not in mine


def test_a_known_answer_is_told_in_the_letters_that_were_on_the_screen(rater):
    turned = on_gold(rater, False, a_first=False)
    assert own.known_answer(turned) == "A is better"


def test_a_gold_answer_is_not_told_while_it_can_be_taken_back(project, rater):
    on_gold(rater, False, minutes=0)
    assert own.numbers(rater, Standards.of(project)).gold == Share(0, 0)


def test_correcting_an_answer_after_its_gold_was_shown_earns_nothing(project, rater):
    first = on_gold(rater, False)
    type(first).objects.filter(pk=first.pk).update(is_current=False)
    fields = {"purpose": "gold", "assignment": first.assignment, "effective_at": first.effective_at}
    make_judgment(first.comparison, rater, 1, revision=2, created_at=first.created_at, **fields)
    assert own.numbers(rater, Standards.of(project)).gold == Share(0, 1)


def test_what_somebody_would_rather_not_see_is_set_on_their_page(project, rater):
    client = logged_in(rater.user)
    acts(client, "my_opt_outs", project.pk, kinds=["violence", "hate"])
    rater.refresh_from_db()
    assert rater.opted_out == ["hate", "violence"]
    assert page(client, "my_statistics", project.pk).count("checked") == 2
    acts(client, "my_opt_outs", project.pk)
    rater.refresh_from_db()
    assert rater.opted_out == []


def test_the_page_of_everybody_takes_the_same_queries_however_many_there_are(project, lead):
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            page(lead, "quality", project.pk)
        return len(queries)

    people = [make_person(project, make_member(project, "annotator")) for _each in range(6)]
    on_gold(people[0], True)
    before = cost()
    for person in people:
        on_gold(person, False)
    assert cost() == before


def test_a_share_of_few_is_not_sure():
    assert (Share(3, 3).low, Share(3, 3).high) == (pytest.approx(0.4385, abs=1e-3), 1.0)
    assert (Share(0, 0).low, Share(0, 0).high, Share(0, 0).mean) == (0.0, 1.0, None)


def test_thinking_again_is_no_further_work_and_costs_nobody_what_they_earned(project, rater):
    Standards.objects.create(project=project, daily_cap=2)
    first = said(rater, 1, minutes=0, cost=2)
    Judgment.objects.filter(pk=first.pk).update(is_current=False)
    seat = {"assignment": first.assignment, "a_first": True}
    make_judgment(first.comparison, rater, -1, revision=2, provenance={"revises": first.pk}, **seat)
    second = said(rater, 1, minutes=0, cost=0, is_current=False, provenance={"undone": True})
    make_judgment(second.comparison, rater, 1, revision=2, assignment=second.assignment, cost=2)
    numbers = own.numbers(rater, Standards.of(project))
    assert (numbers.today.judgments, numbers.total.judgments, numbers.cost) == (2, 2, 4)
    assert admission.ask(rater).left_today == 0
    (shown,), _more = board.people(project)
    assert shown.today == 2
    Judgment.objects.filter(pk=first.pk).update(created_at=now() - timedelta(days=3))
    assert (own.numbers(rater, Standards.of(project)).today.judgments, admission.ask(rater).left_today) == (1, 1)


def test_what_was_recorded_is_no_judgment_of_the_seat_anywhere(project, rater):
    other = make_person(project, make_member(project, "annotator"))
    comparison = make_comparison(project)
    for each in (rater, other):
        make_judgment(comparison, each, 1)
    assert own.numbers(rater, Standards.of(project)).total.judgments == 0
    assert readings.people(project) == ([], 0)
    Standing.objects.create(rater=rater)
    ((row,), _more) = readings.people(project)
    assert (row.judgments, row.agreement, row.median_ms) == (0, Share(0, 0), None)


def test_an_order_that_says_nothing_of_a_and_b_is_no_wrong_answer(project, rater):
    Standards.objects.create(project=project, accuracy_least=1, pause_below=1.0)
    known = gold(project)
    said(rater, None, comparison=known.comparison, purpose="gold", outcome="ranked")
    aggregate.aggregate()
    assert own.numbers(rater, Standards.of(project)).gold == Share(0, 0)
    assert admission.hindrance(project, rater) is None


def test_a_known_answer_of_several_is_told_in_the_letters_that_were_on_the_screen():
    project = make_project("ranking")
    rater = make_person(project, make_member(project, "annotator"))
    missed = on_gold(rater, False)
    Comparison.objects.update(candidates_count=2)
    Assignment.objects.update(shown_order=[2, 1, 3, 0])
    missed = own.numbers(rater, Standards.of(project)).missed[0]
    Gold.objects.update(better=["a", "tie"])
    missed.comparison.gold.better = ["a", "tie"]
    assert own.known_answer(missed) == "D is better, Tie"


def test_only_the_newest_are_looked_at_and_the_page_says_so(project, rater, monkeypatch):
    monkeypatch.setattr(own, "LOOKED_AT", 2)
    for minutes in (1, 2, 3):
        on_gold(rater, False, minutes=minutes)
    numbers = own.numbers(rater, Standards.of(project))
    assert numbers.gold == Share(0, 2) and numbers.is_cut
    assert "the newest 2 are looked at" in page(logged_in(rater.user), "my_statistics", project.pk)


def test_who_does_not_fit_in_the_table_is_counted_and_the_paused_are_in_it(project, lead, monkeypatch):
    monkeypatch.setattr(readings, "PEOPLE_SHOWN", 1)
    for _each in range(2):
        said(make_person(project, make_member(project, "annotator")), 1)
    paused = make_person(project, make_member(project, "annotator", "zoe"))
    Standing.objects.create(rater=paused, paused_at=now())
    (row,), more = readings.people(project)
    assert (row.rater, more) == (paused, 2)
    assert "2 more people are not in this table" in page(lead, "quality", project.pk)


def test_who_may_not_see_known_answers_is_not_sent_to_look_at_them(project, rater):
    Standing.objects.create(rater=rater, paused_at=now())
    assert "Look at those comparisons" in admission.hindrance(project, rater).words
    Standards.objects.create(project=project, gold_feedback=False)
    assert "Look at those comparisons" not in admission.hindrance(project, rater).words


def test_the_count_of_today_leaves_out_what_was_thought_over(client):
    project = make_project()
    rater = make_person(project, make_member(project, "annotator"))
    first = said(rater, 1, minutes=0, is_current=False)
    make_judgment(first.comparison, rater, -1, revision=2, assignment=first.assignment, provenance={"revises": 1})
    early = said(rater, 1, minutes=60 * 25, is_current=False)
    make_judgment(early.comparison, rater, -1, revision=2, assignment=early.assignment, provenance={"revises": 2})
    client.force_login(rater.user)
    assert client.get(reverse("annotate", args=[project.pk])).context["done_today"] == 1
