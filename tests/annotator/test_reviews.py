"""Reviewers settle disputes: blind first, one settlement counts, everything can be taken back and contested."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils.timezone import now

from annotator import protocols
from annotator.models import (
    Assignment,
    Candidate,
    Comment,
    Contest,
    Gold,
    Judgment,
    Label,
    Response,
    Return,
    Review,
    Standards,
    Standing,
)
from annotator.pipeline import aggregate, judge, quality, review
from annotator.readings import reviews as reading
from tests.builders import make_comparison, make_judgment, make_labeler, make_member, make_person, make_project

pytestmark = pytest.mark.django_db


class Case:
    """Two people disagree on a comparison; a reviewer is there."""

    def __init__(self, preset="multipref", levels=(-2, 2)):
        self.project = make_project(preset)
        aggregate.default_recipe(self.project)
        self.comparison = make_comparison(self.project, votes_wanted=2)
        self.users = {name: make_member(self.project, role) for name, role in ROLES.items()}
        self.raters = {name: make_person(self.project, user) for name, user in self.users.items()}
        self.votes = [
            make_judgment(self.comparison, self.raters[n], v) for n, v in zip(("ann", "bob"), levels, strict=True)
        ]
        aggregate.aggregate()

    @property
    def reviewer(self):
        return self.raters["rui"]

    def label(self):
        aggregate.aggregate()
        return Label.objects.get(comparison=self.comparison, recipe__is_default=True)

    def seat(self, name, **fields):
        about = {"project": self.project, "comparison": self.comparison, "rater": self.raters[name]}
        return Assignment.objects.create(leased_until=now(), a_first=True, state="judged", **about, **fields)

    def open(self):
        return review.open_review(self.project, self.reviewer, self.comparison)

    def settled(self, level=1):
        opened = self.open()
        review.answer_blind(opened, shown(opened, level))
        review.settle(opened, shown(opened, level))
        opened.refresh_from_db()
        return opened


ROLES = {"ann": "annotator", "bob": "annotator", "cem": "annotator", "rui": "reviewer", "lea": "lead"}


def shown(opened, level):
    """The answer as the reviewer's screen has it."""
    return {"outcome": "level", "level": level if opened.a_first else -level}


def test_disputes_come_least_agreed_first_and_settled_ones_leave():
    case = Case()
    milder = make_comparison(case.project)
    for name, level in (("ann", 1), ("bob", 1), ("cem", -1)):
        make_judgment(milder, case.raters[name], level)
    agreed = make_comparison(case.project)
    for name in ("ann", "bob"):
        make_judgment(agreed, case.raters[name], 1)
    aggregate.aggregate()
    assert [line.comparison for line in reading.disputed(case.project)] == [case.comparison, milder]
    assert reading.waiting(case.project) == 2
    after = reading.disputed(case.project)[0]
    assert [line.comparison for line in reading.disputed(case.project, (after.agreed, after.comparison.pk))] == [milder]
    case.settled()
    assert [line.comparison for line in reading.disputed(case.project)] == [milder]


@pytest.mark.parametrize("level", [-2, 0, 1])
def test_a_settlement_is_the_label_whatever_the_votes_and_the_order_on_screen(level):
    case = Case()
    assert case.label().p_b == 0.5
    for _again in range(2):
        opened = case.settled(level)
        assert opened.judgment.level == level and opened.judgment.purpose == "review"
        label = case.label()
        assert (label.p_b, label.source, label.votes) == ((1 + (level > 0) - (level < 0)) / 2, "review", 1)
        review.reopen(opened)
        assert case.label().p_b == 0.5
    assert Judgment.objects.filter(purpose="review", is_current=True).count() == 0
    assert Judgment.objects.filter(purpose="review").count() == 2


def test_routing_and_the_proxy_learn_from_the_settlement_alone_as_labels_do():
    case = Case()
    before = Judgment.objects.latest("pk").pk

    def learnt(last=None):
        return list(Judgment.objects.effective().levels_of_people(last).votes_by_comparison())

    assert learnt() == [(case.comparison.pk, 0.5, 2)]
    opened = case.settled(1)
    assert learnt() == [(case.comparison.pk, 1.0, 1)]
    assert learnt(before) == [(case.comparison.pk, 0.5, 2)]
    again = make_judgment(case.comparison, case.raters["lea"], -1, purpose="review")
    assert learnt() == [(case.comparison.pk, 0.0, 1)]
    Judgment.objects.filter(pk=again.pk).update(outcome="neither_valid", level=None, preference=None)
    assert learnt() == [], "settled as neither: no vote of anybody says which is better"
    Judgment.objects.filter(pk=again.pk).update(is_current=False)
    review.reopen(opened)
    assert learnt() == [(case.comparison.pk, 0.5, 2)]


def test_a_settlement_wins_over_ai_in_every_recipe():
    case = Case()
    judge = make_labeler(case.project)
    make_judgment(case.comparison, judge, p_b=0.9)
    pooled = aggregate.recipe(case.project, "pooled")
    aggregate.relabel(case.project)
    assert 0.5 < Label.objects.get(recipe=pooled).p_b < 0.9
    case.settled(-1)
    aggregate.aggregate()
    assert {label.p_b for label in Label.objects.all()} == {0.0}


def test_votes_are_in_nobodys_view_before_the_reviewer_has_answered(client):
    case = Case()
    Judgment.objects.filter(pk=case.votes[0].pk).update(justification="because-of-ann")
    client.force_login(case.users["rui"])
    page = client.post(f"/projects/{case.project.pk}/reviews/next", follow=True)
    address = page.redirect_chain[-1][0]
    assert b"because-of-ann" not in page.content and str(case.users["ann"]).encode() not in page.content
    opened = Review.objects.get()
    answer = {"level": shown(opened, 1)["level"], "outcome": "level", "stage": "blind"}
    refused = client.post(address + "answer", {"outcome": "level", "stage": "blind"})
    assert refused.status_code == 422 and b"because-of-ann" not in refused.content
    for _twice in range(2):
        page = client.post(address + "answer", answer, follow=True)
        assert b"because-of-ann" in page.content
    opened.refresh_from_db()
    assert opened.state == "open", "a second Enter settles nothing that was not seen"
    client.post(address + "answer", {**answer, "level": -answer["level"], "stage": "settle"})
    opened.refresh_from_db()
    assert (opened.state, opened.judgment.level) == ("settled", -1)
    assert opened.blind["level"] == answer["level"], "what was answered blind is kept"


def test_the_reviewers_words_about_votes_follow_their_screen():
    case = Case()
    opened = case.open()
    null = make_labeler(case.project, kind="null_longest")
    make_judgment(case.comparison, null, p_b=1.0)
    for a_first in (True, False):
        Review.objects.filter(pk=opened.pk).update(a_first=a_first)
        opened.refresh_from_db()
        said = {each.said.judgment.rater: each.said.words for each in reading.votes(opened)}
        assert null not in said, "what reads nothing has nothing to say to a reviewer"
        assert said[case.raters["ann"]] == ("A is clearly better" if a_first else "B is clearly better")


def test_a_settlement_needs_a_blind_answer_and_an_answer():
    case = Case()
    opened = case.open()
    with pytest.raises(review.ReviewRefused):
        review.settle(opened, shown(opened, 1))
    review.answer_blind(opened, {"outcome": "cannot_judge", "justification": "no idea"})
    with pytest.raises(protocols.AnswerInvalid):
        review.settle(opened, {"outcome": "cannot_judge", "justification": "no idea"})
    with pytest.raises(protocols.AnswerInvalid):
        review.settle(opened, {"outcome": "level", "level": 9})
    first = review.settle(opened, shown(opened, 1))
    assert review.settle(opened, shown(opened, -1)) == first, "sent twice, it is settled once"


def test_one_reviewer_at_a_time_until_they_leave_it():
    case = Case()
    opened = case.open()
    review.answer_blind(opened, shown(opened, 1))
    with pytest.raises(review.ReviewRefused):
        review.open_review(case.project, case.raters["lea"], case.comparison)
    assert reading.disputed(case.project)[0].reviewer == case.reviewer
    assert reading.first(case.project, case.raters["lea"]) is None
    Review.objects.update(touched_at=now() - 2 * review.IDLE)
    assert reading.disputed(case.project)[0].reviewer is None
    assert reading.first(case.project, case.raters["lea"]) == case.comparison
    taken = review.open_review(case.project, case.raters["lea"], case.comparison)
    assert (taken.pk, taken.reviewer, taken.blind, taken.revealed_at) == (opened.pk, case.raters["lea"], {}, None)
    assert reading.first(case.project, case.reviewer) is None


def test_sent_back_it_waits_for_its_author_and_returns_when_they_stand_to_it(client):
    case = Case()
    opened = case.open()
    with pytest.raises(review.ReviewRefused):
        review.send_back(opened, case.votes[0], "Look at the sum.")
    review.answer_blind(opened, shown(opened, 1))
    sent = review.send_back(opened, case.votes[0], "Look at the sum.")
    assert review.send_back(opened, case.votes[0], "Again.") == sent
    opened.refresh_from_db()
    assert opened.state == "sent_back" and not reading.disputed(case.project)
    client.force_login(case.users["bob"])
    assert client.post(f"/projects/{case.project.pk}/returns/{sent.pk}/stand").status_code == 404
    client.force_login(case.users["ann"])
    client.post(f"/projects/{case.project.pk}/returns/{sent.pk}/stand")
    assert Return.objects.get().answered_at and reading.disputed(case.project)


def test_annotators_read_the_thread_of_what_they_judged_and_of_nothing_else(client):
    case = Case()
    case.settled(1)
    address = f"/projects/{case.project.pk}/comparisons/{case.comparison.pk}/thread"
    client.force_login(case.users["cem"])
    assert client.get(address).status_code == 404
    assert client.post(address, {"words": "May I?"}).status_code == 404
    client.force_login(case.users["ann"])
    for _twice in range(2):
        client.post(address, {"words": "The <b>second</b> step is wrong."})
    page = client.get(address).content.decode()
    assert "A is clearly better" in page and "B is slightly better" in page
    assert page.count("The &lt;b&gt;second&lt;/b&gt; step is wrong.") == 1 and Comment.objects.count() == 1
    assert str(case.users["bob"]) not in page


def test_a_contested_settlement_is_opened_again_when_upheld():
    case = Case()
    settled = case.settled(1)
    with pytest.raises(review.ReviewRefused):
        review.contest(case.raters["cem"], "I never saw it.", review=settled)
    contested = review.contest(case.raters["ann"], "The sum is wrong.", review=settled)
    assert review.contest(case.raters["ann"], "The sum is 12.", review=settled) == contested
    assert [line.comparison for line in reading.disputed(case.project)] == [case.comparison]
    decided = review.decide(contested, case.users["lea"], upheld=True, reply="You are right.")
    assert decided.state == "upheld" and Contest.objects.get().reason == "The sum is 12."
    assert case.label().p_b == 0.5 and Review.objects.get().state == "open"
    with pytest.raises(review.ReviewRefused):
        review.contest(case.raters["ann"], "Once more.", review=settled)
    assert review.decide(contested, case.users["lea"], upheld=False, reply="No.").state == "upheld"


@pytest.mark.parametrize("upheld", [True, False])
def test_a_contested_gold_answer_is_retired_only_when_upheld(upheld):
    case = Case()
    gold = Gold.objects.create(project=case.project, comparison=case.comparison, better=["a"])
    seat = case.seat("bob")
    Judgment.objects.filter(pk=case.votes[1].pk).update(assignment=seat, effective_at=now() - timedelta(minutes=1))
    # The answer was known when it was given.
    Gold.objects.update(created_at=now() - timedelta(hours=1))
    quality.regrade_gold(gold)
    assert Standing.objects.get(rater=case.raters["bob"]).gold_seen == 1
    contested = review.contest(case.raters["bob"], "B is right.", gold=gold)
    review.decide(contested, case.users["rui"], upheld=upheld, reply="")
    gold.refresh_from_db()
    assert bool(gold.retired_at) == upheld
    assert Standing.objects.get(rater=case.raters["bob"]).gold_seen == (0 if upheld else 1)


def test_a_known_answer_is_contested_where_it_was_explained_and_nowhere_else(client):
    case = Case()
    gold = Gold.objects.create(project=case.project, comparison=case.comparison, better=["a"], explanation="It *is*.")
    address = f"/projects/{case.project.pk}/golds/{gold.pk}/contest"
    client.force_login(case.users["cem"])
    assert client.get(address).status_code == client.post(address, {"words": "No."}).status_code == 404
    client.force_login(case.users["bob"])
    Standards.objects.create(project=case.project, gold_feedback=False)
    assert client.get(address).status_code == client.post(address, {"words": "No."}).status_code == 404
    Standards.objects.update(gold_feedback=True)
    assert b"It <em>is</em>." in client.get(address).content
    page = client.post(address, {"words": "B is right."}, follow=True)
    assert b"B is right." in page.content and Contest.objects.get().gold == gold


def test_an_answer_that_can_be_taken_back_opens_no_thread(client):
    case = Case()
    settled = case.settled(1)
    gold = Gold.objects.create(project=case.project, comparison=case.comparison, better=["a"])
    lease = {"leased_until": now(), "a_first": True, "state": "judged"}
    seat = Assignment.objects.create(
        project=case.project, comparison=case.comparison, rater=case.raters["cem"], **lease
    )
    fresh = {"assignment": seat, "effective_at": now() + judge.UNDO}
    judgment = make_judgment(case.comparison, case.raters["cem"], 1, **fresh)
    client.force_login(case.users["cem"])
    pages = [
        f"/projects/{case.project.pk}/comparisons/{case.comparison.pk}/thread",
        f"/projects/{case.project.pk}/golds/{gold.pk}/contest",
    ]
    assert {client.get(page).status_code for page in pages} == {404}
    with pytest.raises(review.ReviewRefused):
        review.contest(case.raters["cem"], "No.", review=settled)
    Judgment.objects.filter(pk=judgment.pk).update(effective_at=now() - timedelta(minutes=1))
    assert {client.get(page).status_code for page in pages} == {200}
    judge_undone = Judgment.objects.filter(pk=judgment.pk)
    judge_undone.update(is_current=False)
    assert {client.get(page).status_code for page in pages} == {404}


def test_a_rankings_thread_has_the_letters_that_were_on_screen():
    case = Case("ranking", (-1, 1))
    for letter in "cde":
        response = Response.objects.create(
            prompt=case.comparison.prompt, external_id=letter, text=letter, text_hash=letter
        )
        Candidate.objects.create(comparison=case.comparison, response=response, place="abcde".index(letter))
    case.comparison.candidates_count = 3
    case.comparison.save()
    order = [2, 4, 0, 1, 3]
    lease = {"leased_until": now(), "a_first": True, "state": "judged", "shown_order": order}
    seat = Assignment.objects.create(
        project=case.project, comparison=case.comparison, rater=case.raters["cem"], **lease
    )
    # On screen A > B > C > D > E.
    own = [order.index(place) + 1 for place in range(5)]
    make_judgment(case.comparison, case.raters["cem"], -1, assignment=seat, a_first=True, ranking={"ranks": own})
    assert reading.thread(case.comparison, case.raters["cem"]).mine.words == "A > B > C > D > E"


def test_whoever_settled_a_comparison_may_still_answer_what_they_had_in_the_seat():
    case = Case()
    held = Assignment.objects.create(
        project=case.project, comparison=case.comparison, rater=case.reviewer, leased_until=now(), a_first=True
    )
    case.settled(1)
    stored = judge.submit_judgment(held, {"outcome": "level", "level": -1}, client_id=uuid4())
    assert stored.is_current and stored.round == 1
    settlement = Judgment.objects.get(purpose="review")
    assert settlement.is_current and settlement.round > 10_000


def test_a_settlement_is_withdrawn_not_sent_back_and_a_closed_project_stays_as_it_is():
    case = Case()
    settled = case.settled(1)
    case.project.status = "closed"
    case.project.save()
    with pytest.raises(review.ReviewRefused):
        review.reopen(settled)
    case.project.status = "active"
    case.project.save()
    again = review.open_review(case.project, case.raters["lea"], case.comparison)
    review.answer_blind(again, shown(again, 1))
    with pytest.raises(review.ReviewRefused):
        review.send_back(again, settled.judgment, "Look again.")
