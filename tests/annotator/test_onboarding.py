"""Tutorial and qualification: drawn once, answered once, explained, never a judgment."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotator import protocols
from annotator.models import (
    Attempt,
    Candidate,
    Comparison,
    Contest,
    Gold,
    Judgment,
    LedgerEntry,
    Response,
    Standards,
    Standing,
)
from annotator.pipeline import admission, guidelines, onboarding, review, standing
from annotator.pipeline.work import StepRefused
from annotator.readings import onboarding as reading
from tests.builders import make_comparison, make_member, make_person, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project("plain", guidelines="Be fair.")


@pytest.fixture
def user(project, client):
    user = make_member(project, "annotator")
    client.force_login(user)
    return user


@pytest.fixture
def rater(project, user):
    return make_person(project, user)


def standards(project, **fields):
    return Standards.objects.create(project=project, **fields)


def golds(project, use="qualification", count=3, **fields):
    fields = {"better": ["b"], "explanation": "Because B **answers**.", **fields}
    return [
        Gold.objects.create(project=project, comparison=make_comparison(project), use=use, **fields)
        for _number in range(count)
    ]


def start(project, rater, use="qualification", **options):
    return onboarding.start(project, rater, use, protocol=project.protocol, **options)


def on_screen(attempt, step, level):
    """The answer `level`, in the comparison's own order, as it is given on screen."""
    return {"level": level if attempt.answers[step]["a_first"] else -level}


def run(attempt, levels):
    """Answer all steps; `levels` in the comparisons' own order, positive is right."""
    for step, level in enumerate(levels):
        attempt = onboarding.answer(attempt, step, on_screen(attempt, step, level), client_id=uuid4())
    return attempt


# Drawing


def test_an_attempt_is_drawn_once_and_gone_on_with(project, rater):
    golds(project)
    first = start(project, rater)
    assert (start(project, rater).pk, first.number, first.guidelines_version) == (first.pk, 1, 1)
    assert onboarding.next_step(first) == 0


@pytest.mark.slow
def test_a_tutorial_keeps_its_order_and_a_retry_is_drawn_anew(project, rater):
    in_order = [gold.pk for gold in golds(project, "tutorial", 6)]
    assert [drawn["gold"] for drawn in start(project, rater, "tutorial").answers] == in_order
    standards(project, attempts_allowed=9)
    golds(project, count=6)
    drawn = [[(each["gold"], each["a_first"]) for each in run(start(project, rater), [-1] * 6).answers] for _ in "1234"]
    assert len({str(one) for one in drawn}) > 1
    assert len({a_first for one in drawn for _gold, a_first in one}) == 2


def test_retired_gold_is_not_asked_and_without_any_it_is_refused_in_words(project, rater):
    (only,) = golds(project, count=1)
    only.retired_at = only.created_at
    only.save()
    with pytest.raises(StepRefused, match="chosen"):
        start(project, rater)


@pytest.mark.django_db(transaction=True)
def test_two_windows_that_start_at_once_get_one_attempt():
    project = make_project()
    rater = make_person(project, make_member(project, "annotator"))
    golds(project)
    found = []

    def begin():
        try:
            found.append(start(project, rater).pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1


# Answering


def test_answers_are_right_in_the_comparisons_own_order_whatever_the_sides(project, rater):
    golds(project, count=8)
    attempt = run(start(project, rater), [1, -1, 1, 1, -1, 1, 1, 1])
    assert [drawn["right"] for drawn in attempt.answers] == [True, False, True, True, False, True, True, True]
    assert attempt.score == 0.75


def test_the_first_answer_counts_and_a_second_click_changes_nothing(project, rater):
    golds(project)
    attempt = start(project, rater)
    client_id = uuid4()
    for level in (1, 1, -1):
        attempt = onboarding.answer(attempt, 0, on_screen(attempt, 0, level), client_id=client_id)
    assert attempt.answers[0]["right"] is True and onboarding.next_step(attempt) == 1
    with pytest.raises(StepRefused):
        onboarding.answer(attempt, 2, on_screen(attempt, 2, 1))


def test_an_answer_the_protocol_does_not_allow_stores_nothing(project, rater):
    golds(project)
    attempt = start(project, rater)
    with pytest.raises(protocols.AnswerInvalid):
        onboarding.answer(attempt, 0, {"level": 9})
    attempt.refresh_from_db()
    assert attempt.answers[0]["given"] is None


def test_nothing_of_it_is_a_judgment_or_is_paid(project, rater):
    project.price_per_judgment = 1
    project.save()
    golds(project)
    run(start(project, rater), [1, 1, 1])
    assert (Judgment.objects.count(), LedgerEntry.objects.count()) == (0, 0)


def test_a_comparison_that_was_deleted_meanwhile_does_not_count(project, rater):
    golds(project)
    attempt = start(project, rater)
    Gold.objects.get(pk=attempt.answers[1]["gold"]).comparison.delete()
    attempt = onboarding.answer(attempt, 0, on_screen(attempt, 0, 1))
    attempt = onboarding.answer(attempt, 2, on_screen(attempt, 2, 1))
    assert (attempt.score, attempt.passed) == (1.0, True)
    assert [each.number for each in reading.explained(attempt)] == [1, 3]


# Passing


@pytest.mark.parametrize(("mark", "levels", "passed"), [(0.8, [1, 1, 1, 1, -1], True), (0.81, [1, 1, 1, 1, -1], False)])
def test_the_pass_mark_is_a_share_of_right_answers(project, rater, mark, levels, passed):
    standards(project, qualification_required=True, pass_mark=mark)
    golds(project, count=5)
    assert run(start(project, rater), levels).passed is passed
    assert Standing.objects.get(rater=rater).certified == (1 if passed else 0)
    assert (admission.hindrance(project, rater) is None) is passed


def test_attempts_are_counted_and_then_only_the_lead_helps(project, rater):
    standards(project, qualification_required=True, attempts_allowed=2)
    golds(project)
    for left in (1, 0):
        run(start(project, rater), [-1, -1, -1])
        assert onboarding.attempts_left(project, rater) == left
    with pytest.raises(StepRefused, match="all attempts"):
        start(project, rater)
    assert start(project, rater, unlimited=True).number == 3
    onboarding.admit(project, rater)
    assert admission.hindrance(project, rater) is None


def test_changed_guidelines_ask_for_a_new_qualification_with_new_attempts(project, rater):
    standards(project, qualification_required=True, attempts_allowed=1, recertify=True)
    golds(project)
    run(start(project, rater), [1, 1, 1])
    lead = make_member(project, "lead")
    guidelines.publish(project, "Be kind.", author=lead, base=1)
    assert admission.hindrance(project, rater) is None
    guidelines.publish(project, "Be strict.", author=lead, base=2, must_acknowledge=True)
    assert admission.hindrance(project, rater).kind == "guidelines"
    rater.refresh_from_db()
    guidelines.acknowledge(rater, 3)
    assert admission.hindrance(project, rater).kind == "qualification"
    assert onboarding.attempts_left(project, rater) == 1
    run(start(project, rater), [1, 1, 1])
    assert Standing.objects.get(rater=rater).certified == 3 and admission.hindrance(project, rater) is None


def test_the_tutorial_is_done_when_all_of_it_was_seen(project, rater):
    standards(project, tutorial_required=True)
    golds(project, "tutorial", 2)
    assert admission.hindrance(project, rater).kind == "tutorial"
    attempt = start(project, rater, "tutorial")
    run(attempt, [-1])
    assert admission.hindrance(project, rater).kind == "tutorial"
    attempt.refresh_from_db()
    assert onboarding.answer(attempt, 1, on_screen(attempt, 1, -1)).passed is True
    assert admission.hindrance(project, rater) is None


@pytest.mark.slow
def test_a_known_answer_that_was_contested_rightly_fails_nobody(project, user, rater, client):
    standards(project, qualification_required=True, attempts_allowed=1)
    wrong, *_rest = golds(project)
    attempt = start(project, rater)
    run(attempt, [-1 if drawn["gold"] == wrong.pk else 1 for drawn in attempt.answers])
    assert admission.hindrance(project, rater).kind == "qualification"
    result = reverse("onboarding_result", args=[project.pk, attempt.pk])
    contest = reverse("contest_gold", args=[project.pk, wrong.pk])
    assert client.get(result).content.decode().count("/contest") == 1
    assert client.get(contest).status_code == 200
    client.post(contest, {"words": "Both are equally wrong."})
    review.decide(Contest.objects.get(), make_member(project, "lead"), upheld=True, reply="Indeed.")
    attempt.refresh_from_db()
    assert (attempt.score, attempt.passed) == (1.0, True)
    assert admission.hindrance(project, rater) is None
    page = client.get(result).content.decode()
    assert "2 of 2" in page and "no longer counts" in page and contest not in page


def test_an_attempt_goes_on_without_what_was_retired_and_a_corrected_answer_counts(project, rater):
    standards(project, qualification_required=True, pass_mark=1.0)
    golds(project)
    attempt = run(start(project, rater), [1, -1])
    corrected = Gold.objects.get(pk=attempt.answers[1]["gold"])
    corrected.better = ["a"]
    standing.make_known(corrected)
    standing.retire(Gold.objects.get(pk=attempt.answers[2]["gold"]))
    attempt.refresh_from_db()
    assert (attempt.score, attempt.passed) == (1.0, True)
    assert admission.hindrance(project, rater) is None


def test_an_order_that_says_nothing_of_a_and_b_is_neither_right_nor_wrong():
    project = make_project("best-worst")
    rater = make_person(project, make_member(project, "annotator"))
    for gold in golds(project, count=2):
        for place in (2, 3):
            text = f"{place} of {gold.pk}"
            more = Response.objects.create(prompt=gold.comparison.prompt, external_id=text, text=text, text_hash=text)
            Candidate.objects.create(comparison=gold.comparison, response=more, place=place)
    Comparison.objects.update(candidates_count=2)
    attempt = start(project, rater)
    for drawn in attempt.answers:
        drawn |= {"shown_order": [0, 1, 2, 3], "a_first": True}
    attempt.save()
    attempt = onboarding.answer(attempt, 0, {"ranking": {"best": 2, "worst": 3}})
    attempt = onboarding.answer(attempt, 1, {"ranking": {"best": 1, "worst": 3}})
    assert [drawn["right"] for drawn in attempt.answers] == [None, True]
    assert (attempt.score, attempt.passed) == (1.0, True)
    assert [each.is_right for each in reading.explained(attempt)] == [None, True]


# Explaining


def test_what_was_said_and_what_is_right_stand_in_the_order_on_screen(project, rater):
    golds(project, count=8, better=["b", "tie"])
    attempt = run(start(project, rater), [-1] * 8)
    for each, drawn in zip(reading.explained(attempt), attempt.answers, strict=True):
        said, right = ("A is better", "B is better") if drawn["a_first"] else ("B is better", "A is better")
        assert (each.said, each.accepted, each.is_right) == (said, [right, "Tie"], False)
        assert "<strong>answers</strong>" in each.explanation


def test_ratings_are_explained_beside_what_was_given():
    project = make_project("helpsteer2")
    rater = make_person(project, make_member(project, "annotator"))
    golds(project, count=1, ratings={"helpfulness": {"a": [0, 1]}})
    attempt = start(project, rater)
    attempt.answers[0]["a_first"] = False
    attempt.save()
    ratings = {attribute.key: {"a": 3, "b": 2} for attribute in protocols.read(project.protocol.definition).attributes}
    attempt = onboarding.answer(attempt, 0, {"level": -1, "attributes": ratings})
    (each,) = reading.explained(attempt)
    assert [(one.words, one.lowest, one.highest, one.given) for one in each.ratings] == [("Helpfulness of B", 0, 1, 2)]
    assert each.is_right is False


# Pages


def test_the_way_from_the_seat_through_the_tutorial_back_to_the_seat(project, user, rater, client):
    standards(project, tutorial_required=True)
    golds(project, "tutorial", 2)
    make_comparison(project, votes_wanted=1, places_open=1)
    seat = reverse("annotate", args=[project.pk])
    onboarding_page = reverse("onboarding", args=[project.pk])
    assert client.get(seat).headers["Location"] == onboarding_page
    assert "tutorial of <b>2 comparisons</b>" in client.get(onboarding_page).content.decode()
    page = client.post(reverse("onboarding_start", args=[project.pk]), {"use": "tutorial"}, follow=True)
    for number in (1, 2):
        assert page.context["number"] == number and page.context["explained"] is None
        assert "model-a" not in page.content.decode() and "Because" not in page.content.decode()
        address = page.request["PATH_INFO"]
        sent = {"client_id": str(uuid4()), "level": "1"}
        page = client.post(address, sent, follow=True)
        assert "You said" in page.content.decode() and "Because B" in page.content.decode()
        again = client.post(address, {"client_id": str(uuid4()), "level": "-1"}, follow=True)
        assert again.context["explained"].said == "B is better"
        following = page.context["following"]
        step = [project.pk, page.context["attempt"].pk, following]
        page = client.get(reverse("onboarding_step", args=step) if following else onboarding_page)
    assert "You are ready to judge" in page.content.decode()
    assert client.get(seat).status_code == 200


def test_a_step_out_of_turn_leads_to_the_one_that_comes_next(project, rater, client):
    golds(project)
    attempt = start(project, rater)
    address = reverse("onboarding_step", args=[project.pk, attempt.pk, 3])
    assert client.get(address).headers["Location"].endswith(f"/{attempt.pk}/1/")
    assert client.post(address, {"level": "1"}).headers["Location"].endswith(f"/{attempt.pk}/1/")
    assert client.get(reverse("onboarding_step", args=[project.pk, attempt.pk, 4])).status_code == 404
    assert client.post(reverse("onboarding_step", args=[project.pk, attempt.pk, 1]), {}).status_code == 422


@pytest.mark.slow
def test_after_a_failure_the_last_answers_are_shown_before_the_next_attempt(project, rater, client):
    standards(project, qualification_required=True, attempts_allowed=2)
    golds(project)
    attempt = run(start(project, rater), [1, -1, -1])
    result = client.get(reverse("onboarding_result", args=[project.pk, attempt.pk])).content.decode()
    assert "Not qualified yet" in result and "1 of 3" in result and "1 attempt left" in result
    page = client.get(reverse("onboarding", args=[project.pk]))
    assert len(page.context["explained"]) == 3 and "Because B" in page.content.decode()
    run(start(project, rater), [-1, -1, -1])
    assert "used all attempts" in client.get(reverse("onboarding", args=[project.pk])).content.decode()


def test_leads_see_attempts_and_let_somebody_in(project, rater, user, client):
    standards(project, qualification_required=True, attempts_allowed=1)
    golds(project)
    attempt = run(start(project, rater), [1, -1, -1])
    client.force_login(make_member(project, "lead"))
    people = client.get(reverse("people", args=[project.pk])).content.decode()
    assert "33% failed" in people and "not yet" in people
    result = client.get(reverse("onboarding_result", args=[project.pk, attempt.pk])).content.decode()
    assert "Because B" in result and str(user) in result
    membership = project.memberships.get(user=user)
    client.post(reverse("onboarding_admit", args=[project.pk, membership.pk]))
    assert admission.hindrance(project, rater) is None
    assert "certified under version 1" in client.get(reverse("people", args=[project.pk])).content.decode()


@pytest.mark.slow
def test_the_people_page_costs_the_same_queries_however_many_there_are(project, client):
    golds(project)
    client.force_login(make_member(project, "lead"))

    def queries():
        with CaptureQueriesContext(connection) as seen:
            client.get(reverse("people", args=[project.pk]))
        return len(seen)

    run(start(project, make_person(project, make_member(project, "annotator"))), [1, 1, 1])
    few = queries()
    for _number in range(5):
        run(start(project, make_person(project, make_member(project, "annotator"))), [1, 1, -1])
    assert queries() == few


def test_a_project_without_onboarding_says_nothing_of_it(project, client):
    client.force_login(make_member(project, "lead"))
    assert "Onboarding" not in client.get(reverse("people", args=[project.pk])).content.decode()
    assert Attempt.objects.count() == 0


def test_the_texts_exactly_as_stored_come_in_the_order_on_screen(project, rater, client):
    golds(project, count=1)
    attempt = start(project, rater)
    attempt.answers[0]["a_first"] = False
    attempt.save()
    found = client.get(reverse("onboarding_raw", args=[project.pk, attempt.pk, 1])).json()
    comparison = Gold.objects.get().comparison
    assert found["sides"] == [comparison.response_b.text, comparison.response_a.text]


def test_several_responses_keep_their_letters_in_what_is_explained(client):
    project = make_project("ranking")
    user = make_member(project, "annotator")
    client.force_login(user)
    rater = make_person(project, user)
    (gold,) = golds(project, count=1, better=["a"])
    third = Response.objects.create(prompt=gold.comparison.prompt, external_id="c", text="Third.", text_hash="c")
    Candidate.objects.create(comparison=gold.comparison, response=third, place=2)
    Comparison.objects.filter(pk=gold.comparison_id).update(candidates_count=1)
    attempt = start(project, rater)
    attempt.answers[0] |= {"shown_order": [2, 1, 0], "a_first": False}
    attempt.save()
    page = client.get(reverse("onboarding_step", args=[project.pk, attempt.pk, 1]))
    assert [side.text for side in page.context["sides"]][0] == "Third."
    attempt = onboarding.answer(attempt, 0, {"ranking": {"ranks": [3, 2, 1]}})
    (each,) = reading.explained(attempt)
    assert (each.is_right, each.said, each.accepted) == (True, "C is better", ["C is better"])
