"""Gold and repeats among the ordinary work: how often, which, to whom; and what people do not want to see."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from annotator.models import (
    Assignment,
    Candidate,
    Comparison,
    Gold,
    Judgment,
    Membership,
    Project,
    Rater,
    Response,
    Review,
    Standards,
    Standing,
)
from annotator.pipeline import assign, extra, judge, places
from tests.annotator.test_assign_races import at_once
from tests.builders import make_comparison, make_person, make_project, make_user

pytestmark = pytest.mark.django_db


def project_of(comparisons: int, golds: int = 0, votes: int = 1, **standards) -> Project:
    project = make_project()
    for number in range(comparisons):
        make_comparison(project, votes_wanted=votes, places_open=votes, queue_order=number)
    for _each in range(golds):
        Gold.objects.create(project=project, comparison=make_comparison(project), better=["a"])
    Standards.objects.create(project=project, **{"gold_share": 0.0, **standards})
    return project


def person(project: Project, **fields) -> Rater:
    rater = make_person(project, make_user())
    for name, value in fields.items():
        setattr(rater, name, value)
    rater.save()
    return rater


def answer(assignment: Assignment, level: int = 1) -> Judgment:
    judgment = judge.submit_judgment(assignment, {"level": level}, client_id=uuid4())
    long_ago = now() - timedelta(minutes=5)
    Judgment.objects.filter(pk=judgment.pk).update(effective_at=long_ago)
    return judgment


def judge_all(project: Project, rater: Rater) -> list[Judgment]:
    done = []
    while assignment := assign.next_assignment(project, rater):
        done.append(answer(assignment))
    return done


def ordinary(project: Project) -> list[int]:
    return list(project.comparisons.filter(votes_wanted__gt=0).order_by("queue_order").values_list("pk", flat=True))


@pytest.mark.slow
def test_gold_is_mixed_in_at_its_share_and_each_reaches_a_person_once():
    project = project_of(200, golds=60, gold_share=0.2)
    done = judge_all(project, person(project))
    golds = [judgment for judgment in done if judgment.purpose == "gold"]
    # 50 are expected; 25 to 60 leave out one run in a million.
    assert 25 <= len(golds) <= 60
    assert len({judgment.comparison_id for judgment in done}) == len(done)
    assert [judgment.comparison_id for judgment in done if judgment.purpose == "judge"] == ordinary(project)


@pytest.mark.slow
def test_gold_takes_no_place_and_everybody_gets_it():
    project = project_of(30, golds=2, votes=2, gold_share=0.5)
    done = [judge_all(project, person(project)) for _each in range(2)]
    assert [sum(judgment.purpose == "gold" for judgment in each) for each in done] == [2, 2]
    assert set(Comparison.objects.values_list("places_open", flat=True)) == {0}
    assert not Judgment.objects.filter(is_surplus=True).exists()


@pytest.mark.slow
@pytest.mark.parametrize("use", ["tutorial", "qualification"])
def test_what_teaches_is_not_mixed_in(use):
    project = project_of(12, golds=3, gold_share=1.0)
    Gold.objects.update(use=use)
    assert {judgment.purpose for judgment in judge_all(project, person(project))} == {"judge"}


@pytest.mark.slow
def test_retired_gold_is_not_mixed_in():
    project = project_of(12, golds=3, gold_share=1.0)
    Gold.objects.update(retired_at=now())
    assert {judgment.purpose for judgment in judge_all(project, person(project))} == {"judge"}


@pytest.mark.slow
def test_gold_that_is_also_in_the_queue_reaches_a_person_once_whichever_way():
    project = project_of(20, gold_share=0.5)
    for comparison in project.comparisons.all():
        Gold.objects.create(project=project, comparison=comparison, better=["a"])
    rater = person(project)
    done = judge_all(project, rater)
    assert len(done) == len({judgment.comparison_id for judgment in done}) == 20
    gold = {judgment.comparison_id for judgment in done if judgment.purpose == "gold"}
    assert 0 < len(gold) < 20
    # A place was taken only where they judged it as everybody does; the others still wait for somebody.
    still_open = set(project.comparisons.filter(places_open=1).values_list("pk", flat=True))
    assert still_open == gold
    assert {judgment.comparison_id for judgment in judge_all(project, person(project))} >= still_open


def test_nothing_extra_comes_when_nothing_else_is_left():
    project = project_of(1, golds=5, gold_share=1.0, repeat_share=0.0)
    rater = person(project)
    Comparison.objects.update(places_open=0)
    assert assign.next_assignment(project, rater) is None
    assert assign.next_assignment(project, rater, prefetch=True) is None


@pytest.mark.slow
def test_a_repeat_is_an_own_judgment_of_some_time_ago_once_and_the_other_way_round():
    project = project_of(60, repeat_share=0.4, repeat_after=10)
    rater = person(project)
    done = judge_all(project, rater)
    repeats = [judgment for judgment in done if judgment.purpose == "repeat"]
    assert 8 <= len(repeats) <= 60
    order = {judgment.pk: number for number, judgment in enumerate(done)}
    for again in repeats:
        first = Judgment.objects.get(comparison=again.comparison_id, round=1)
        assert again.round == 2 and first.purpose == "judge"
        assert again.a_first is not first.a_first
        assert order[again.pk] - order[first.pk] > 10
    assert len({judgment.comparison_id for judgment in repeats}) == len(repeats)
    assert set(Comparison.objects.values_list("places_open", flat=True)) == {0}


@pytest.mark.slow
def test_an_answer_that_can_still_be_taken_back_is_not_repeated():
    project = project_of(30, repeat_share=1.0, repeat_after=1)
    rater = person(project)
    for _each in range(10):
        judge.submit_judgment(assign.next_assignment(project, rater), {"level": 1}, client_id=uuid4())
    assert set(Judgment.objects.values_list("purpose", flat=True)) == {"judge"}


def with_candidates(project: Project, more: int) -> Comparison:
    comparison = project.comparisons.get()
    for place in range(2, 2 + more):
        response = Response.objects.create(prompt=comparison.prompt, external_id=f"r{place}", text="…", text_hash="")
        Candidate.objects.create(comparison=comparison, response=response, place=place)
    Comparison.objects.filter(pk=comparison.pk).update(candidates_count=more)
    return comparison


@pytest.mark.slow
def test_more_than_two_responses_are_shuffled_once_and_the_order_of_a_and_b_fits():
    project = project_of(1, votes=40)
    with_candidates(project, 2)
    orders = []
    for _each in range(40):
        rater = person(project)
        lease = assign.next_assignment(project, rater)
        assert assign.next_assignment(project, rater).shown_order == lease.shown_order
        assert sorted(lease.shown_order) == [0, 1, 2, 3]
        assert lease.a_first == (lease.shown_order.index(0) < lease.shown_order.index(1))
        orders.append(tuple(lease.shown_order))
    assert len(set(orders)) > 8


def test_a_repeat_of_several_is_shown_turned_round():
    project = project_of(1)
    with_candidates(project, 1)
    rater = person(project)
    first = assign.next_assignment(project, rater)
    answer(first)
    offer = extra._repeat(rater, 0)
    assert offer.shown_order == first.shown_order[::-1] and offer.a_first is not first.a_first


def test_a_pair_has_no_order_beside_which_is_first():
    project = project_of(1)
    assert assign.next_assignment(project, person(project)).shown_order is None


def test_a_gold_lease_that_ran_out_may_become_an_ordinary_one_and_takes_its_place_then():
    project = project_of(1)
    comparison = project.comparisons.get()
    rater = person(project)
    Assignment.objects.create(
        project=project, comparison=comparison, rater=rater, purpose="gold", state="expired", leased_until=now(),
        a_first=True,
    )  # fmt: skip
    lease = assign.next_assignment(project, rater)
    assert (lease.purpose, lease.comparison) == ("judge", comparison)
    comparison.refresh_from_db()
    assert comparison.places_open == 0
    answer(lease)
    comparison.refresh_from_db()
    assert comparison.places_open == 0


def test_a_gold_lease_is_not_taken_over():
    project = project_of(1, golds=1, gold_share=1.0)
    rater, other = person(project), person(project)
    reading = assign.next_assignment(project, rater)
    assert reading.purpose == "gold"
    ahead = assign.next_assignment(project, rater, prefetch=True)
    assert ahead.purpose == "judge"
    Standards.objects.update(gold_share=0.0)
    assert assign.next_assignment(project, other).comparison == ahead.comparison
    assert Assignment.objects.get(pk=reading.pk).state == "leased"


def test_undoing_a_gold_answer_opens_no_place():
    project = project_of(1, golds=1, gold_share=1.0)
    rater = person(project)
    gold = assign.next_assignment(project, rater)
    judge.submit_judgment(gold, {"level": 1}, client_id=uuid4())
    judge.undo(Assignment.objects.get(pk=gold.pk))
    assert [each.places_open for each in Comparison.objects.order_by("pk")] == [1, 0]
    answer(Assignment.objects.get(pk=gold.pk), -1)
    assert Judgment.objects.get(is_current=True).purpose == "gold"


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_places_are_exact_with_gold_and_repeats_and_many_at_once():
    project = project_of(24, golds=6, votes=2, gold_share=0.2, repeat_share=0.3, repeat_after=1)
    people = [person(project) for _each in range(6)]
    at_once(*[lambda rater=rater: judge_all(project, rater) for rater in people])
    for comparison in project.comparisons.filter(votes_wanted=2):
        assert comparison.judgments.filter(purpose="judge").count() == 2
        assert comparison.places_open == 0
    for rater in people:
        said = Judgment.objects.filter(rater=rater).exclude(purpose="repeat").values_list("comparison", flat=True)
        assert len(said) == len(set(said))
    assert not Judgment.objects.filter(is_surplus=True).exists()


def seat(project: Project, rater: Rater) -> Client:
    Membership.objects.create(project=project, user=rater.user, role="annotator")
    client = Client()
    client.force_login(rater.user)
    return client


def test_nothing_on_the_page_or_in_its_headers_tells_gold_from_the_others():
    project = project_of(1)
    rater = person(project)
    client = seat(project, rater)
    pages = []
    for number, purpose in enumerate(("judge", "gold", "repeat")):
        lease = Assignment.objects.create(
            pk=900_001 + number,
            project=project, comparison=project.comparisons.get(), rater=rater, purpose=purpose, leased_until=now(),
            a_first=True, opened_at=now(),
        )  # fmt: skip
        response = client.get(reverse("annotate", args=[project.pk]), headers={"HX-Request": "true"})
        assert response.headers["Seat-Assignment"] == str(lease.pk)
        page = re.sub(r'(-until|(?:csrfmiddlewaretoken|client_id)" value)="[^"]+"', "", response.content.decode())
        pages.append((re.sub(rf"\b{lease.pk}\b", "ID", page), sorted(response.headers)))
        lease.delete()
    for page, headers in pages[1:]:
        assert [line for line in page.split("\n") if line not in pages[0][0].split("\n")] == []
        assert (page, headers) == pages[0]
    assert not any(word in pages[1][0].lower() for word in ("gold", "repeat", "purpose"))


def harmful(project: Project) -> list[int]:
    marked = project.comparisons.order_by("queue_order")[1:4]
    for comparison, harms in zip(marked, (["violence"], ["hate", "violence"], ["hate"]), strict=True):
        Comparison.objects.filter(pk=comparison.pk).update(harms=harms)
    return [comparison.pk for comparison in marked]


def test_kinds_of_harm_somebody_opted_out_of_are_never_offered_to_them():
    project = project_of(5, golds=1, gold_share=1.0)
    violent, both, hateful = harmful(project)
    Comparison.objects.filter(gold__isnull=False).update(harms=["violence"])
    rater = person(project, opted_out=["violence"])
    seen = {judgment.comparison_id for judgment in judge_all(project, rater)}
    assert hateful in seen and not seen & {violent, both}
    assert not Judgment.objects.filter(purpose="gold").exists()
    assert {violent, both} <= {judgment.comparison_id for judgment in judge_all(project, person(project))}


def test_opting_out_skips_what_is_on_screen_and_what_was_fetched_of_that_kind():
    project = project_of(5)
    Comparison.objects.filter(queue_order__in=(0, 1)).update(harms=["violence"])
    rater = person(project)
    client = seat(project, rater)
    reading = assign.next_assignment(project, rater)
    ahead = assign.next_assignment(project, rater, prefetch=True)
    response = client.post(reverse("opt_out", args=[reading.pk]), {"showing": ahead.pk})
    assert response.status_code == 200 and response.headers["Seat-Fragment"] == "current"
    rater.refresh_from_db()
    assert rater.opted_out == ["violence"]
    assert set(Assignment.objects.filter(state="skipped")) == {reading, ahead}
    shown = Assignment.objects.get(pk=response.headers["Seat-Assignment"])
    assert shown.comparison.queue_order == 2
    assert list(Comparison.objects.filter(queue_order__lt=2).values_list("places_open", flat=True)) == [1, 1]


def test_opting_in_again_brings_what_was_left():
    project = project_of(3)
    Comparison.objects.filter(queue_order=1).update(harms=["violence"])
    rater = person(project, opted_out=["violence"])
    assert len(judge_all(project, rater)) == 2
    assert Standing.objects.get(rater=rater).nothing_left_at
    assign.set_opt_outs(rater, [])
    assert len(judge_all(project, rater)) == 1


# What somebody knows the answer of


def test_what_teaches_is_nobodys_vote_any_more_not_even_taken_over():
    project = project_of(2)
    first, second = project.comparisons.order_by("queue_order")
    holder, other = person(project), person(project)
    assert assign.next_assignment(project, holder).comparison == first
    assert assign.next_assignment(project, holder, prefetch=True).comparison == second
    made = Gold.objects.create(project=project, comparison=second, better=["a"], use="qualification")
    assert assign.next_assignment(project, other) is None
    Gold.objects.filter(pk=made.pk).update(retired_at=now())
    assert assign.next_assignment(project, other).comparison == second


@pytest.mark.parametrize("use", ["tutorial", "qualification"])
def test_open_places_of_what_teaches_are_passed_over(use):
    project = project_of(2)
    first, second = project.comparisons.order_by("queue_order")
    Gold.objects.create(project=project, comparison=first, better=["a"], use=use)
    assert assign.next_assignment(project, person(project)).comparison == second


def reviewed(comparison: Comparison, rater: Rater) -> None:
    Review.objects.create(project=comparison.project, comparison=comparison, reviewer=rater, a_first=True)


def test_a_reviewer_does_not_vote_on_what_they_have_reviewed():
    project = project_of(2)
    first, second = project.comparisons.order_by("queue_order")
    rater, other = person(project), person(project)
    reviewed(first, rater)
    assert assign.next_assignment(project, rater).comparison == second
    assert assign.next_assignment(project, other).comparison == first


def test_a_reviewer_takes_over_nothing_they_have_reviewed():
    project = project_of(2)
    first, second = project.comparisons.order_by("queue_order")
    holder, rater = person(project), person(project)
    assign.next_assignment(project, holder)
    assign.next_assignment(project, holder, prefetch=True)
    reviewed(second, rater)
    assert assign.next_assignment(project, rater) is None


def test_a_draft_is_not_resumed_after_its_comparison_was_reviewed():
    project = project_of(2)
    rater = person(project)
    held = assign.next_assignment(project, rater)
    Assignment.objects.filter(pk=held.pk).update(draft={"level": 1}, leased_until=now() - timedelta(hours=1))
    places.expire_leases()
    reviewed(held.comparison, rater)
    assert assign.next_assignment(project, rater, resume=True).comparison != held.comparison


def test_neither_gold_nor_a_repeat_is_what_they_have_reviewed():
    project = project_of(3, golds=1, gold_share=1.0)
    rater = person(project)
    reviewed(Gold.objects.get().comparison, rater)
    assert extra._gold(rater) is None
    done = answer(assign.next_assignment(project, rater))
    assert extra._repeat(rater, 0)
    reviewed(done.comparison, rater)
    assert extra._repeat(rater, 0) is None
