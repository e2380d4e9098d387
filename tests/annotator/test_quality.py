"""How well people judge: gold pauses below the mark, all else only tells the lead, and fair people are left be."""

import random
from datetime import timedelta
from math import log

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from annotator.models import Assignment, Concern, Gold, Judgment, Project, Rater, Standards, Standing
from annotator.pipeline import aggregate, prose, quality
from tests.builders import make_comparison, make_judgment, make_person, make_project, make_user

AGO = timedelta(hours=1)


@pytest.fixture
def project(db) -> Project:
    return make_project()


@pytest.fixture
def rater(project) -> Rater:
    return make_person(project, make_user())


def said(rater: Rater, level: int | None = 1, *, comparison=None, a_first=True, minutes=60, **fields) -> Judgment:
    """A final answer given in the seat that many minutes ago, in the comparison's own order."""
    comparison = comparison or make_comparison(rater.project)
    purpose, round_ = fields.pop("purpose", "judge"), fields.pop("round", 1)
    given = now() - timedelta(minutes=minutes)
    assignment = Assignment.objects.create(
        project=rater.project, comparison=comparison, rater=rater, state="judged", round=round_, purpose=purpose,
        leased_until=given, a_first=a_first,
    )  # fmt: skip
    return make_judgment(
        comparison, rater, level, assignment=assignment, purpose=purpose, round=round_, a_first=a_first,
        created_at=given, effective_at=given, **fields,
    )  # fmt: skip


def gold(project: Project, better: str = "b", **fields) -> Gold:
    made = Gold.objects.create(project=project, comparison=make_comparison(project), better=[better], **fields)
    Gold.objects.filter(pk=made.pk).update(created_at=now() - timedelta(days=1))
    return made


def on_gold(rater: Rater, right: bool, **fields) -> Judgment:
    known = gold(rater.project)
    return said(rater, 1 if right else -1, comparison=known.comparison, purpose="gold", **fields)


def concerns(rater: Rater) -> list[str]:
    return sorted(Concern.objects.filter(rater=rater, resolved_at=None).values_list("kind", flat=True))


def test_nobody_is_paused_for_one_miss_and_everybody_below_the_mark_once_there_are_enough(project, rater):
    Standards.objects.create(project=project, accuracy_least=4, pause_below=0.6)
    for right, paused in ((False, False), (True, False), (True, False), (False, True)):
        on_gold(rater, right)
        aggregate.aggregate()
        standing = Standing.objects.get(rater=rater)
        assert bool(standing.paused_at) == paused
    assert (standing.gold_seen, standing.gold_right) == (4, 2)
    (concern,) = Concern.objects.filter(rater=rater)
    assert concern.kind == "gold" and concern.evidence["right"] == 2 and len(concern.evidence["judgments"]) == 2


def test_the_last_answers_count_and_only_those_since_they_were_let_back_in(project, rater):
    Standards.objects.create(project=project, accuracy_window=3, accuracy_least=3, pause_below=0.6)
    for minutes, right in enumerate((True, True, True, False, False), start=1):
        on_gold(rater, right, minutes=minutes)
    aggregate.aggregate()
    standing = Standing.objects.get(rater=rater)
    assert (standing.gold_right, standing.gold_seen, standing.paused_at) == (3, 3, None)
    Standing.objects.update(resumed_at=now() - timedelta(minutes=2.5))
    again = quality.regrade(rater.pk, Standards.of(project))
    assert (again.gold_right, again.gold_seen) == (2, 2)


def test_gold_that_came_through_the_queue_counts_when_its_answer_was_known_then(project, rater):
    early, late = gold(project), gold(project)
    Gold.objects.filter(pk=late.pk).update(created_at=now())
    for known in (early, late):
        said(rater, 1, comparison=known.comparison)
    aggregate.aggregate()
    assert Standing.objects.get(rater=rater).gold_seen == 1


def test_a_tutorial_comparison_is_no_gold_answer(project, rater):
    known = gold(project, use="tutorial")
    said(rater, -1, comparison=known.comparison)
    aggregate.aggregate()
    assert not Standing.objects.filter(rater=rater).exists()


def test_retiring_a_wrong_gold_lets_those_go_on_whom_it_paused_and_not_whom_the_lead_paused(project):
    Standards.objects.create(project=project, accuracy_least=2, pause_below=0.9)
    by_gold, by_lead = (make_person(project, make_user()) for _each in range(2))
    known = gold(project)
    for each in (by_gold, by_lead):
        on_gold(each, True)
        said(each, -1, comparison=known.comparison, purpose="gold")
    aggregate.aggregate()
    Standing.objects.filter(rater=by_lead).update(pause_reason="We talk tomorrow.")
    assert Standing.objects.filter(paused_at=None).count() == 0
    known.retired_at = now()
    known.save()
    quality.regrade_gold(known)
    assert list(Standing.objects.filter(paused_at=None)) == [Standing.objects.get(rater=by_gold)]


@pytest.mark.slow
def test_always_the_left_side_is_seen_within_sixty_comparisons(project, rater):
    for number in range(60):
        a_first = bool(number % 3)
        said(rater, -1 if a_first else 1, a_first=a_first, minutes=90 - number)
    aggregate.aggregate()
    assert "first_side" in concerns(rater)
    evidence = Concern.objects.get(rater=rater, kind="first_side").evidence
    assert evidence == {"first": 60, "of": 60}


@pytest.mark.slow
def test_fair_people_are_not_said_to_prefer_a_side_however_often_they_are_looked_at():
    """1,000 people with 500 judgments each, looked at after every one: at most one in a hundred is ever reported."""
    draws, reported = random.Random(7), 0
    for _person in range(1_000):
        sides: list[int] = []
        first = 0
        for number in range(500):
            sides.append(draws.getrandbits(1))
            first += sides[-1] - (sides[number - quality.LOOKED_AT] if number >= quality.LOOKED_AT else 0)
            if quality.surprise(first, min(number + 1, quality.LOOKED_AT), 0.5) > quality.SURPRISING:
                reported += 1
                break
    assert reported <= 10


@pytest.mark.parametrize(("share", "judgments"), [(1.0, 20), (0.8, 120), (0.7, 200)])
def test_people_who_prefer_a_side_are_reported(share, judgments):
    assert quality.surprise(round(share * judgments), judgments, 0.5) > log(1000)


@pytest.mark.slow
def test_one_answer_again_and_again_is_reported_and_the_usual_one_of_everybody_is_not(project, rater):
    others = [make_person(project, make_user()) for _each in range(2)]
    for number in range(20):
        said(rater, 1 if number % 2 else -1, a_first=not number % 2, minutes=90 - number)
    aggregate.aggregate()
    assert "straight_line" in concerns(rater)
    assert Concern.objects.get(rater=rater, kind="straight_line").evidence["times"] == 20
    Concern.objects.all().delete()
    for other in others:
        for number in range(20):
            said(other, 1 if number % 2 else -1, a_first=not number % 2)
    aggregate.aggregate()
    assert "straight_line" not in concerns(others[0])


def test_what_the_lead_has_settled_is_not_reported_again_for_the_same_judgments(project, rater):
    for number in range(20):
        said(rater, -1, minutes=90 - number)
    aggregate.aggregate()
    assert concerns(rater) == ["first_side", "straight_line"]
    Concern.objects.update(resolved_at=now())
    said(rater, -1, minutes=1)
    aggregate.aggregate()
    assert concerns(rater) == []


@pytest.mark.slow
def test_repeats_answered_differently_beyond_chance_are_reported(project):
    steady, wavering = (make_person(project, make_user()) for _each in range(2))
    for person, again in ((steady, 1), (wavering, -1)):
        for number in range(16):
            comparison = make_comparison(project)
            said(person, 1, comparison=comparison, minutes=90 - number)
            level = again if number % 8 else 1
            said(person, level, comparison=comparison, round=2, purpose="repeat", a_first=False, minutes=30 - number)
    aggregate.aggregate()
    assert "inconsistent" in concerns(wavering) and "inconsistent" not in concerns(steady)
    evidence = Concern.objects.get(rater=wavering, kind="inconsistent").evidence
    assert (evidence["different"], evidence["of"], len(evidence["judgments"])) == (14, 16, 14)


def test_sooner_than_the_responses_can_be_read_is_reported_once_for_each_judgment(project, rater):
    long = make_comparison(project, a="word " * 600, b="text " * 600)
    fast = said(rater, 1, comparison=long, active_ms=5_000)
    said(rater, 1, comparison=make_comparison(project, a="word " * 600, b="x" * 9), active_ms=90_000)
    said(rater, 1, active_ms=400)  # two short answers
    said(rater, 1, comparison=long, round=2, purpose="repeat", active_ms=2_000)
    aggregate.aggregate()
    quality.take_in(Judgment.objects.values_list("pk", flat=True))
    (concern,) = Concern.objects.all()
    assert (concern.kind, concern.judgment) == ("fast", fast)
    assert concern.evidence == {"ms": 5_000, "words": 1_000, "least_ms": 60_000}


def test_a_pasted_justification_is_reported_and_changes_nothing(project, rater):
    words = "Response A names the river and gives the year, and response B invents a source for its claim."
    said(rater, 1, justification=words, provenance={"typed": {"keys": 3, "pasted": 90, "ms": 1500}})
    said(rater, 1, justification=words, provenance={"typed": {"keys": 95, "pasted": 0, "ms": 30_000}})
    aggregate.aggregate()
    assert concerns(rater) == ["pasted"]
    assert not Standing.objects.exists()


MACHINE = """Overall, Response A delves into the topic with a comprehensive and nuanced answer.

- **Accuracy**: it names each step and its cause.
- **Clarity**: furthermore, its structure helps the reader follow along."""


def test_several_signs_make_a_justification_look_machine_written_and_one_does_not():
    assert set(prose.machine_written(MACHINE, {})) == {"phrases", "markup"}
    by_hand = MACHINE.replace("- **", "").replace("**", "").replace("comprehensive and nuanced", "good")
    assert prose.machine_written(by_hand, {"ms": 120_000}) == {}
    assert prose.machine_written("Furthermore, moreover.", {}) == {}


@pytest.mark.parametrize("typed", [{}, {"pasted": "many"}, {"pasted": True, "ms": -4}, {"pasted": 10**9}])
def test_what_a_page_says_about_typing_is_read_with_care(typed):
    assert prose.pasted("short", typed) == {}
    assert isinstance(prose.machine_written(MACHINE, typed), dict)


@pytest.mark.slow
def test_looking_again_changes_nothing(project, rater):
    Standards.objects.create(project=project, accuracy_least=2)
    for number in range(20):
        on_gold(rater, False, minutes=90 - number)
    aggregate.aggregate()
    before = list(Concern.objects.order_by("pk").values("pk", "kind", "evidence"))
    standing = Standing.objects.values().get()
    quality.take_in(Judgment.objects.values_list("pk", flat=True))
    assert list(Concern.objects.order_by("pk").values("pk", "kind", "evidence")) == before
    assert Standing.objects.values().get() == standing


@pytest.mark.slow
def test_imported_judgments_and_those_still_to_be_undone_are_not_looked_at(project, rater):
    imported = make_person(project)
    for _each in range(30):
        make_judgment(make_comparison(project), imported, -1, a_first=True)
        said(rater, -1, minutes=-1)
    aggregate.aggregate()
    assert not Concern.objects.exists()


@pytest.mark.slow
def test_a_batch_costs_the_same_queries_however_many_people_and_judgments(project):
    def cost(people: int, each: int) -> int:
        raters = [make_person(project, make_user()) for _person in range(people)]
        for person in raters:
            for number in range(each):
                said(person, 1 if number % 2 else -1, active_ms=40_000)
        with CaptureQueriesContext(connection) as queries:
            quality.take_in(Judgment.objects.filter(rater__in=raters).values_list("pk", flat=True))
        return len(queries)

    assert cost(1, 2) == cost(6, 10) <= 12
