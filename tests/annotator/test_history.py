"""Own judgments: listed newest first, each on its own page, where it can be revised."""

import json
from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from annotator import protocols
from annotator.models import Assignment, Comment, Flag, Judgment, Label, LedgerEntry, Project, Return, Review, User
from annotator.models.judgments import UNDO_MARGIN
from annotator.pipeline import aggregate, assign, judge, ledger, revise
from annotator.readings import history
from tests.builders import make_comparison, make_member, make_person, make_plan, make_project

pytestmark = pytest.mark.django_db


class Author:
    """An annotator with `count` judgments of pairs, oldest first in `done`."""

    def __init__(self, count: int = 1, project: Project | None = None, level: int = 1, **fields) -> None:
        self.project = project or make_project(**fields)
        self.user: User = make_member(self.project, "annotator")
        self.client = Client()
        self.client.force_login(self.user)
        self.rater = make_person(self.project, self.user)
        self.done = [self.judge(level) for _each in range(count)]

    def judge(self, level: int = 1, **fields) -> Judgment:
        make_comparison(self.project, votes_wanted=1, places_open=1)
        assignment = assign.next_assignment(self.project, self.rater)
        assert assignment
        Assignment.objects.filter(pk=assignment.pk).update(**fields)
        assignment.refresh_from_db()
        return judge.submit_judgment(assignment, {"level": level}, client_id=uuid4(), active_ms=900)

    def settle(self) -> None:
        """The time for undoing is over."""
        past = now() - UNDO_MARGIN - timedelta(seconds=1)
        Judgment.objects.filter(rater=self.rater, effective_at__gt=now()).update(effective_at=past)
        aggregate.aggregate()

    def list(self, **query):
        return self.client.get(reverse("history", args=[self.project.pk]), query)

    def open(self, judgment: Judgment):
        return self.client.get(reverse("revise", args=[self.project.pk, judgment.pk]))

    def send(self, judgment: Judgment, level: int, client_id: UUID | None = None, **fields):
        body = {"client_id": str(client_id or uuid4()), "level": level, "active_ms": 700, **fields}
        url = reverse("revise", args=[self.project.pk, judgment.pk])
        return self.client.post(url, json.dumps(body), content_type="application/json")


def shown(reply) -> list[int]:
    return [own.judgment.pk for own in reply.context["page"].rows]


def test_own_judgments_are_listed_newest_first_and_nobody_elses():
    author = Author(3)
    other = Author(1, project=author.project)
    assert shown(author.list()) == [judgment.pk for judgment in reversed(author.done)]
    assert shown(other.list()) == [other.done[0].pk]


def test_the_list_goes_on_behind_its_last_row_and_shows_each_once(monkeypatch):
    monkeypatch.setattr(history, "PAGE", 2)
    author = Author(5)
    Judgment.objects.update(created_at=now())  # the same moment: the id decides
    seen, reply = [], author.list()
    while True:
        seen += shown(reply)
        if not reply.context["next_query"]:
            break
        reply = author.list(after=reply.context["page"].following)
    assert seen == [judgment.pk for judgment in reversed(author.done)]


@pytest.mark.parametrize(
    "after", ["x", "2026-13-40_1", "_", "2026-01-01T00:00:00_5", "2026-01-01T00:00:00+00:00_" + "9" * 30]
)
def test_a_place_that_makes_no_sense_is_the_first_page(after):
    author = Author(1)
    assert shown(author.list(after=after)) == [author.done[0].pk]


def test_the_answer_is_told_and_filtered_in_the_order_that_was_on_screen():
    author = Author(0)
    left = author.judge(-1, a_first=False)
    right = author.judge(1, a_first=False)
    tie = author.judge(0)
    page = author.list()
    assert [(own.side, own.words) for own in page.context["page"].rows] == [
        ("", "Tie"), ("b", "B is better"), ("a", "A is better"),
    ]  # fmt: skip
    assert (left.level, right.level) == (1, -1), "stored in the comparison's own order"
    assert shown(author.list(answer="a")) == [left.pk]
    assert shown(author.list(answer="b")) == [right.pk]
    assert shown(author.list(answer="tie")) == [tie.pk]


@pytest.mark.slow
def test_what_was_reported_sent_back_talked_about_or_given_on_a_day_can_be_found():
    author = Author(4)
    flagged, returned, talked, old = author.done
    Flag.objects.create(comparison=flagged.comparison, rater=author.rater, reason="an address")
    Return.objects.create(judgment=returned, rater=author.rater, comment="Look at the units.")
    Comment.objects.create(project=author.project, comparison=talked.comparison, author=author.user, text="Hm")
    Judgment.objects.filter(pk=old.pk).update(created_at=now() - timedelta(days=3))
    assert shown(author.list(flagged="on")) == [flagged.pk]
    assert shown(author.list(returned="on")) == [returned.pk]
    assert shown(author.list(comments="on")) == [talked.pk]
    day = (now() - timedelta(days=3)).date()
    assert shown(author.list(since=day, until=day)) == [old.pk]
    assert len(shown(author.list(since="nonsense"))) == 4


def test_a_list_costs_the_same_few_queries_however_long(django_assert_max_num_queries):
    author = Author(8)
    with django_assert_max_num_queries(8):
        author.list()


def test_nothing_in_list_or_page_tells_gold_and_repeats_from_other_work():
    author = Author(2)
    plain, gold = author.done

    def told(judgment: Judgment) -> list[str]:
        pages = [author.list().content.decode(), author.open(judgment).content.decode()]
        return [page.lower() for page in pages]

    Judgment.objects.filter(pk=gold.pk).update(purpose="gold")
    Assignment.objects.filter(pk=gold.assignment_id).update(purpose="gold")
    for page in told(gold):
        assert "gold" not in page and "known answer" not in page
    assert author.send(gold, -1).status_code == author.send(plain, -1).status_code == 200


def test_the_page_shows_the_screen_it_was_given_on_with_the_answer_as_given():
    author = Author(0)
    given = author.judge(-1, a_first=False)
    context = author.open(given).context
    assert context["left"].text == given.comparison.response_b.text
    assert context["given"]["level"] == -1 and context["refusal"] == ""
    assert b"model-a" not in author.open(given).content


def test_a_revision_counts_from_now_on_and_the_old_one_is_kept():
    author = Author(1, level=1)
    aggregate.default_recipe(author.project)
    first = author.done[0]
    author.settle()
    label = Label.objects.get()
    assert author.send(first, -1).status_code == 200
    second = Judgment.objects.get(is_current=True)
    first.refresh_from_db()
    shown_level = -1 if second.a_first else 1
    assert (second.revision, second.level, second.aggregated) == (2, shown_level, False)
    assert not first.is_current and second.provenance["revises"] == first.pk
    assert (second.purpose, second.assignment, second.a_first) == (first.purpose, first.assignment, first.a_first)
    author.settle()
    Judgment.objects.update(effective_at=now() - UNDO_MARGIN - timedelta(seconds=1))
    aggregate.aggregate()
    before = label.p_b
    label.refresh_from_db()
    assert {before, label.p_b} == {0.0, 1.0}


def test_a_revision_is_counted_at_once_without_a_gap():
    """Between two revisions no reader of labels or exports sees none."""
    author = Author(1)
    author.settle()
    author.send(author.done[0], -1)
    assert Judgment.objects.effective().count() == 1


def test_a_revision_holds_the_same_place_under_the_same_plan_and_is_not_paid_again():
    project = make_project(price_per_judgment=Decimal("0.25"))
    comparison = make_comparison(project, votes_wanted=1, places_open=1)
    plan = make_plan(project, {comparison: None})
    ledger.set_cap(project, Decimal(10))
    ledger.reserve(project, ledger.plan_key(plan.pk, "people"), Decimal(1), source="people", plan=plan)
    author = Author(0, project=project)
    assignment = assign.next_assignment(project, author.rater)
    first = judge.submit_judgment(assignment, {"level": 1}, client_id=uuid4())
    author.settle()
    ledger.settle()
    spent = ledger.account_of(project).spent
    assert author.send(first, -1).status_code == 200
    ledger.settle()
    second = Judgment.objects.get(is_current=True)
    assert second.plan == plan and second.cost == 0
    assert LedgerEntry.objects.get().judgment == first and ledger.account_of(project).spent == spent
    comparison.refresh_from_db()
    assert comparison.places_open == 0


def test_the_same_revision_sent_again_is_stored_once():
    author, sent = Author(1), uuid4()
    replies = [author.send(author.done[0], -1, sent) for _each in range(3)]
    assert len({reply.json()["revised"] for reply in replies}) == 1
    assert Judgment.objects.count() == 2


def test_a_client_id_of_another_comparison_is_refused():
    author = Author(2)
    first, second = author.done
    assert author.send(second, -1, first.client_id).status_code == 422
    assert Judgment.objects.count() == 2


def test_any_revisions_address_leads_to_the_one_that_stands():
    author = Author(1)
    first = author.done[0]
    author.send(first, -1)
    author.send(first, 0)
    assert list(Judgment.objects.order_by("revision").values_list("is_current", flat=True)) == [False, False, True]
    assert author.open(first).context["given"]["level"] == 0
    assert shown(author.list()) == [Judgment.objects.get(is_current=True).pk]


def test_an_answer_the_protocol_does_not_allow_changes_nothing():
    author = Author(1)
    reply = author.send(author.done[0], 7)
    assert reply.status_code == 422 and reply.json()["error"]["field"] == "level"
    assert Judgment.objects.get().is_current


def test_a_revision_is_given_under_the_protocol_of_the_first_answer():
    author = Author(1)
    first = author.done[0]
    newer = make_project("helpsteer2").protocol
    newer.project, newer.version = author.project, 2
    newer.save()
    assert author.open(first).context["protocol"] == first.protocol
    assert author.send(first, -1).status_code == 200
    assert Judgment.objects.get(is_current=True).protocol == first.protocol


def test_answers_may_be_put_right_while_the_project_is_paused_and_not_when_it_is_closed():
    author = Author(1)
    Project.objects.update(status="paused")
    assert author.send(author.done[0], -1).status_code == 200
    Project.objects.update(status="closed")
    refused = author.send(author.done[0], 0)
    assert refused.status_code == 409 and "closed" in refused.json()["error"]["reason"]
    page = author.open(author.done[0])
    assert "closed" in page.context["refusal"] and b'class="answer closed"' in page.content


def test_within_the_ten_seconds_a_revision_may_come_too_and_then_nothing_is_undone():
    author = Author(1)
    first = author.done[0]
    assert author.send(first, -1).status_code == 200
    with pytest.raises(judge.UndoTooLate):
        judge.undo(Assignment.objects.get(pk=first.assignment_id))
    assert Judgment.objects.get(is_current=True).revision == 2


def test_what_was_taken_back_is_judged_again_in_the_seat():
    author = Author(1)
    first = author.done[0]
    judge.undo(Assignment.objects.get(pk=first.assignment_id))
    refused = author.send(first, -1)
    assert refused.status_code == 409 and "took this answer back" in refused.json()["error"]["reason"]
    assert not Judgment.objects.filter(is_current=True).exists()


def test_a_revision_answers_what_was_sent_back():
    author = Author(1)
    waiting = Return.objects.create(judgment=author.done[0], rater=author.rater, comment="Look at the units.")
    assert "Look at the units." in author.open(author.done[0]).content.decode()
    author.send(author.done[0], -1)
    waiting.refresh_from_db()
    assert waiting.answered_at and author.open(author.done[0]).context["returned"] is None


def test_what_a_reviewer_settled_is_no_judgment_of_their_seat():
    author = Author(1)
    Judgment.objects.update(purpose="review")
    assert shown(author.list()) == [] and author.open(author.done[0]).status_code == 404
    assert not Review.objects.exists()


def test_the_last_one_is_one_address_away():
    author = Author(2)
    reply = author.list(last="1")
    assert reply.headers["Location"] == reverse("revise", args=[author.project.pk, author.done[1].pk])
    assert Author(0).list(last="1").status_code == 302


def test_without_a_script_the_form_revises_too():
    author = Author(1)
    url = reverse("revise", args=[author.project.pk, author.done[0].pk])
    refused = author.client.post(url, {"client_id": uuid4(), "level": 9})
    assert refused.status_code == 422 and refused.context["error"].field == "level"
    reply = author.client.post(url, {"client_id": uuid4(), "level": -1})
    assert reply.status_code == 302 and Judgment.objects.count() == 2


def test_nobody_revises_what_is_not_theirs():
    author = Author(1)
    other = Author(0, project=author.project)
    assert other.send(author.done[0], -1).status_code == 404
    author.user.memberships.all().delete()
    assert author.send(author.done[0], -1).status_code == 404
    assert Judgment.objects.count() == 1


def test_what_was_imported_is_not_revised():
    Author(1)
    Judgment.objects.update(assignment=None)
    assert revise.refusal(Judgment.objects.get())
    with pytest.raises(revise.NotRevisable):
        revise.revise(Judgment.objects.get(), {"level": 1}, client_id=uuid4())


def test_refusals_name_the_field():
    author = Author(1)
    with pytest.raises(protocols.AnswerInvalid):
        revise.revise(author.done[0], {"level": 5}, client_id=uuid4())
