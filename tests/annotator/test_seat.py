"""The annotator's seat over HTTP: what the page gets, what it sends, who is refused."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from annotator import rendering
from annotator.models import Assignment, Candidate, Flag, Judgment, Project, Response, User
from tests.builders import make_comparison, make_member, make_project, make_user

pytestmark = pytest.mark.django_db


class Seat:
    """An annotator at a browser."""

    def __init__(self, project: Project, user: User | None = None) -> None:
        self.project = project
        self.user = user or make_member(project, "annotator")
        self.client = Client()
        self.client.force_login(self.user)

    def open(self, **headers):
        return self.client.get(reverse("annotate", args=[self.project.pk]), headers=headers)

    def lease(self) -> Assignment:
        return Assignment.objects.get(pk=self.open().headers["Seat-Assignment"])

    def post(self, name: str, assignment: Assignment, **fields):
        return self.client.post(reverse(name, args=[assignment.pk]), fields)

    def judge(self, assignment: Assignment, level: int = 1, **fields):
        return self.post("judgment", assignment, **{"client_id": uuid4(), "active_ms": 900, "level": level, **fields})


def project_with(count: int, preset: str = "plain", votes: int = 1, **fields) -> Project:
    project = make_project(preset, **fields)
    for number in range(count):
        make_comparison(project, votes_wanted=votes, places_open=votes, queue_order=number)
    return project


def test_the_page_shows_both_responses_and_no_model():
    project = project_with(1)
    reply = Seat(project).open()
    comparison = project.comparisons.get()
    page = reply.content.decode()
    assert reply.status_code == 200 and reply.headers["Seat-Fragment"] == "current"
    assert comparison.response_a.text in page and comparison.response_b.text in page
    assert "model-a" not in page and "model-b" not in page
    assert reply.headers["Cache-Control"] == "no-store"


def test_htmx_gets_the_fragment_alone():
    seat = Seat(project_with(1))
    assert b"<html" in seat.open().content
    assert b"<html" not in seat.open(**{"HX-Request": "true"}).content


@pytest.mark.parametrize("a_first", [True, False])
def test_left_is_what_was_drawn_and_an_answer_is_stored_in_the_comparisons_own_order(a_first):
    project = project_with(1)
    seat = Seat(project)
    lease = seat.lease()
    Assignment.objects.update(a_first=a_first)
    context = seat.open().context
    first, second = (lease.comparison.response_a, lease.comparison.response_b)[:: 1 if a_first else -1]
    assert (context["left"].text, context["right"].text) == (first.text, second.text)
    seat.judge(lease, -1)
    stored = Judgment.objects.get()
    assert (stored.level, stored.a_first) == ((-1, True) if a_first else (1, False))


def test_a_judgment_brings_the_next_comparison_and_the_last_one_says_why_there_is_none():
    seat = Seat(project_with(2))
    first = seat.lease()
    reply = seat.judge(first)
    assert reply.status_code == 200 and reply.headers["Seat-Fragment"] == "current"
    assert reply.context["undo"].assignment_id == first.pk
    second = Assignment.objects.get(pk=reply.headers["Seat-Assignment"])
    assert second != first
    last = seat.judge(second)
    assert last.headers["Seat-Fragment"] == "empty"
    assert "All comparisons of this plan are judged" in last.content.decode()


def test_the_same_submission_sent_again_is_stored_once_and_answered_the_same_way():
    seat = Seat(project_with(2))
    lease, sent = seat.lease(), uuid4()
    replies = [seat.judge(lease, client_id=sent) for _each in range(3)]
    assert len({reply.headers["Seat-Assignment"] for reply in replies}) == 1
    assert Judgment.objects.count() == 1


def test_a_second_devices_answer_is_told_that_the_first_stands():
    seat = Seat(project_with(2))
    lease, second = seat.lease(), uuid4()
    first = seat.judge(lease, -1)
    replies = [seat.judge(lease, 0, client_id=second) for _each in range(2)]
    assert "Seat-Note" not in first.headers
    assert [reply.headers["Seat-Note"] for reply in replies] == ["first-answer-stands"] * 2, "sent again as well"
    assert seat.judge(lease, 0, client_id=uuid4(), alone="true").headers["Seat-Note"] == "first-answer-stands"
    assert Judgment.objects.get(is_current=True).client_id != second


def test_an_answer_may_come_as_json():
    seat = Seat(project_with(1, "multipref"))
    lease = seat.lease()
    Assignment.objects.update(a_first=False)
    answer = {
        "client_id": str(uuid4()), "active_ms": 4000, "outcome": "level", "level": 2, "confidence": 3,
        "aspects": {"truthful": {"level": -1, "confidence": 2, "reasons": ["correct"]}},
    }  # fmt: skip
    url = reverse("judgment", args=[lease.pk])
    assert seat.client.post(url, answer, content_type="application/json").status_code == 200
    stored = Judgment.objects.get()
    assert (stored.level, stored.preference, stored.confidence, stored.active_ms) == (-2, -1.0, 3.0, 4000)
    assert stored.aspects == {"truthful": {"level": 1, "confidence": 2.0, "reasons": ["correct"]}}


def test_an_answer_may_come_from_a_form():
    seat = Seat(project_with(1, "helpsteer2"))
    lease = seat.lease()
    Assignment.objects.update(a_first=False)
    keys = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
    ratings = {f"attribute.{key}.{side}": number for key in keys for side, number in (("a", 3), ("b", 1))}
    assert seat.judge(lease, -3, **ratings).status_code == 200
    stored = Judgment.objects.get()
    assert stored.level == 3 and stored.attributes["helpfulness"] == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"level": ""}, "level"),
        ({"level": "9"}, "level"),
        ({"level": "many"}, "level"),
        ({"client_id": ""}, "client_id"),
        ({"client_id": "one"}, "client_id"),
        ({"outcome": "cannot_judge"}, "justification"),
        ({"outcome": "whatever"}, "outcome"),
        ({"reasons": "unheard"}, "reasons"),
        ({"aspect.none.level": "1"}, "aspects"),
        ({"justification": "nul \x00"}, "justification"),
    ],
)
def test_an_answer_that_does_not_fit_comes_back_with_what_is_wrong_and_what_was_given(fields, field):
    seat = Seat(project_with(1))
    lease = seat.lease()
    reply = seat.judge(lease, **fields)
    assert reply.status_code == 422 and reply.context["error"].field == field
    assert reply.context["error"].reason in reply.content.decode().replace("&#x27;", "'")
    assert reply.headers["Seat-Assignment"] == str(lease.pk)
    assert not Judgment.objects.exists()


@pytest.mark.parametrize(
    "body", ["[]", "{", '{"aspects": []}', '{"level": [1]}', '{"attributes": {"x": 1}}', "[" * 9999]
)
def test_hostile_json_is_refused(body):
    seat = Seat(project_with(1))
    url = reverse("judgment", args=[seat.lease().pk])
    assert seat.client.post(url, body, content_type="application/json").status_code == 422


def test_a_draft_survives_a_reload():
    seat = Seat(project_with(1, "multipref"))
    lease = seat.lease()
    reply = seat.post("draft", lease, level=-2, justification="The second one", active_ms=1200)
    assert reply.status_code == 200 and reply.json()["saved_at"]
    given = seat.open().context["given"]
    assert given["level"] == -2 and given["justification"] == "The second one"
    assert Assignment.objects.get().active_ms == 1200


def test_a_draft_of_a_judged_comparison_is_refused():
    seat = Seat(project_with(1))
    lease = seat.lease()
    seat.judge(lease)
    assert seat.post("draft", lease, level=1).status_code == 409


@pytest.mark.slow
def test_undo_brings_the_comparison_back_with_the_answer_as_given():
    seat = Seat(project_with(2))
    lease = seat.lease()
    Assignment.objects.update(a_first=False)
    seat.judge(lease, -1, justification="Shorter")
    assert seat.open().context["undo"].assignment_id == lease.pk
    reply = seat.post("undo", lease)
    assert reply.status_code == 200 and reply.headers["Seat-Assignment"] == str(lease.pk)
    assert reply.context["given"]["level"] == -1 and reply.context["given"]["justification"] == "Shorter"
    assert seat.open().headers["Seat-Assignment"] == str(lease.pk)


def test_undo_is_refused_after_its_time():
    seat = Seat(project_with(1))
    lease = seat.lease()
    seat.judge(lease)
    Judgment.objects.update(effective_at=now() - timedelta(seconds=1))
    assert seat.post("undo", lease).status_code == 409
    assert Judgment.objects.get().is_current


def test_one_request_stores_a_judgment_opens_what_is_shown_and_fetches_the_one_after():
    seat = Seat(project_with(3))
    first = seat.lease()
    fetched = seat.client.get(reverse("prefetch", args=[first.pk]))
    assert fetched.headers["Seat-Fragment"] == "ahead"
    second = Assignment.objects.get(pk=fetched.headers["Seat-Assignment"])
    assert second.opened_at is None
    reply = seat.judge(first, showing=second.pk)
    assert reply.headers["Seat-Fragment"] == "ahead"
    second.refresh_from_db()
    third = Assignment.objects.get(pk=reply.headers["Seat-Assignment"])
    assert second.opened_at and third.opened_at is None and third not in (first, second)
    assert seat.judge(second, showing=third.pk).status_code == 204
    assert Judgment.objects.count() == 2


def test_what_was_fetched_ahead_and_taken_over_is_replaced():
    project = project_with(3)
    seat, other = Seat(project), Seat(project)
    first = seat.lease()
    ahead = Assignment.objects.get(pk=seat.client.get(reverse("prefetch", args=[first.pk])).headers["Seat-Assignment"])
    Assignment.objects.filter(pk=ahead.pk).update(state="expired")
    reply = seat.judge(first, showing=ahead.pk)
    assert reply.headers["Seat-Fragment"] == "current" and reply.headers["Seat-Assignment"] != str(ahead.pk)
    assert other.open().status_code == 200


def test_opening_tells_whether_the_comparison_is_still_mine():
    seat = Seat(project_with(2))
    first = seat.lease()
    ahead = Assignment.objects.get(pk=seat.client.get(reverse("prefetch", args=[first.pk])).headers["Seat-Assignment"])
    assert seat.post("open", ahead).status_code == 204
    Assignment.objects.filter(pk=ahead.pk).update(state="expired")
    assert seat.post("open", ahead).status_code == 409


def test_skip_and_flag_say_why():
    seat = Seat(project_with(3))
    lease = seat.lease()
    assert seat.post("flag", lease, reason=" ").status_code == 422
    assert seat.post("flag", lease, reason="A real address in it").status_code == 204
    reply = seat.post("skip", lease, reason="I wrote one of them")
    assert reply.status_code == 200
    second = Assignment.objects.get(pk=reply.headers["Seat-Assignment"])
    assert seat.post("flag", second, reason="Another address", **{"and": "skip"}).headers["Seat-Fragment"] == "current"
    assert set(Assignment.objects.filter(state="skipped")) == {lease, second}
    assert Flag.objects.count() == 2


@pytest.mark.parametrize("name", ["judgment", "draft", "skip", "flag", "undo", "open", "prefetch"])
def test_other_peoples_assignments_do_not_exist(name):
    project = project_with(1)
    lease = Seat(project).lease()
    colleague = Seat(project)
    former = Seat(project, User.objects.get(raters=lease.rater))
    former.user.memberships.all().delete()
    for stranger in (colleague, former, Seat(make_project(), make_user())):
        url = reverse(name, args=[lease.pk])
        reply = stranger.client.get(url) if name == "prefetch" else stranger.client.post(url, {"level": 1})
        assert reply.status_code == 404
    assert Assignment.objects.get() == lease and not Judgment.objects.exists()


def test_somebody_without_a_session_is_sent_to_the_login_page():
    lease = Seat(project_with(1)).lease()
    reply = Client().post(reverse("judgment", args=[lease.pk]), {"level": 1})
    assert reply.status_code == 302 and "login" in reply.headers["Location"]


def test_an_answer_keeps_the_protocol_that_was_on_screen():
    project = project_with(1)
    seat = Seat(project)
    lease = seat.lease()
    shown = project.protocol
    newer = make_project("helpsteer2").protocol
    newer.project, newer.version = project, 2
    newer.save()
    assert seat.judge(lease, 1, protocol=shown.pk).status_code == 200
    assert Judgment.objects.get().protocol == shown


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 60])
def test_a_judgment_and_the_next_comparison_take_the_same_few_queries_however_many_there_are(
    count, django_assert_max_num_queries
):
    """Two for session and user, one to find, five to store, three to lease, one to read; the rest are savepoints."""
    project = project_with(count)
    assert sum(rendering.render_missing(project.pk)) == 3 * count
    seat = Seat(project)
    lease = seat.lease()
    with django_assert_max_num_queries(15):
        seat.judge(lease)


def test_a_draft_keeps_only_what_the_protocol_asks():
    seat = Seat(project_with(1, "multipref"))
    lease = seat.lease()
    unknown = {f"aspect.made-up-{number}.level": 1 for number in range(50)}
    reply = seat.post(
        "draft", lease, **{"aspect.helpful.level": 1, "attribute.made-up.a": 1, "reasons": "x", **unknown}
    )
    assert reply.status_code == 200
    lease.refresh_from_db()
    assert list(lease.draft["aspects"]) == ["helpful"] and lease.draft["aspects"]["helpful"]["level"] == 1
    assert not lease.draft["attributes"] and not lease.draft["reasons"]


def ranked(order: list[int] | None, a_first: bool = True) -> tuple[Seat, Assignment]:
    """A lease of a comparison of four responses, shown in this order."""
    project = project_with(1, "ranking")
    comparison = project.comparisons.get()
    for place in (2, 3):
        response = Response.objects.create(
            prompt=comparison.prompt, external_id=str(place), text=f"Candidate {place}", model="model-x"
        )
        Candidate.objects.create(comparison=comparison, response=response, place=place)
    project.comparisons.update(candidates_count=2)
    seat = Seat(project)
    lease = seat.lease()
    Assignment.objects.update(shown_order=order, a_first=a_first)
    return seat, lease


def test_more_than_two_responses_are_shown_in_the_order_drawn():
    seat, lease = ranked([3, 1, 0, 2])
    page = seat.open()
    own = [lease.comparison.response_a.text, lease.comparison.response_b.text, "Candidate 2", "Candidate 3"]
    assert [side.letter for side in page.context["sides"]] == ["A", "B", "C", "D"]
    assert [side.text for side in page.context["sides"]] == [own[3], own[1], own[0], own[2]]
    assert page.context["left"].text == "Candidate 3" and b"model-x" not in page.content


def test_a_response_that_came_after_the_order_was_drawn_is_shown_too():
    seat, _lease = ranked([1, 0, 2], a_first=False)
    shown = [side.text for side in seat.open().context["sides"]]
    assert len(set(shown)) == 4 and shown[2:] == ["Candidate 2", "Candidate 3"]


def test_the_criterion_and_the_kinds_of_harm_are_told():
    project = project_with(1)
    project.comparisons.update(criterion="The one a nurse can use", harms=["medical", "self_harm"])
    context = Seat(project).open().context
    assert context["criterion"] == "The one a nurse can use"
    assert context["warning"] == ("illness and medical detail", "self-harm and suicide")


def test_a_pair_costs_no_look_for_other_responses(django_assert_max_num_queries):
    project = project_with(2)
    rendering.render_missing(project.pk)
    seat = Seat(project)
    lease = seat.lease()
    with django_assert_max_num_queries(40) as queries:
        seat.judge(lease)
    assert not any("candidate" in query["sql"].replace("candidates_count", "") for query in queries)


def test_several_are_fetched_ahead_each_once():
    seat = Seat(project_with(6))
    first = seat.lease()
    url, got = reverse("prefetch", args=[first.pk]), []
    for _each in range(3):
        reply = seat.client.get(url, {"having": ",".join(got)})
        got.append(reply.headers["Seat-Assignment"])
    assert len({str(first.pk), *got}) == 4
    body = {"client_id": str(uuid4()), "level": 1, "showing": int(got[0]), "having": [int(each) for each in got[1:]]}
    reply = seat.client.post(reverse("judgment", args=[first.pk]), body, content_type="application/json")
    assert reply.headers["Seat-Fragment"] == "ahead"
    assert reply.headers["Seat-Assignment"] not in {str(first.pk), *got}


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ({"keys": 40, "pasted": 0, "ms": 9000}, {"typed": {"keys": 40, "pasted": 0, "ms": 9000}}),
        ({"keys": True, "pasted": -1, "ms": "9", "x": 1}, {}),
        ({"keys": 10**30}, {"typed": {"keys": 86_400_000}}),
        ("a lot", {}),
    ],
)
def test_how_the_words_came_to_be_is_kept_beside_the_answer(typed, kept):
    seat = Seat(project_with(1))
    body = {"client_id": str(uuid4()), "level": 1, "justification": "Shorter", "typed": typed}
    url = reverse("judgment", args=[seat.lease().pk])
    assert seat.client.post(url, body, content_type="application/json").status_code == 200
    assert Judgment.objects.get().provenance == kept
