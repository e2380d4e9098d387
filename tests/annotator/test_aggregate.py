"""Aggregating: recomputed labels, whose judgments count, and nothing lost between workers."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils.timezone import now

from annotator.models import Judgment, Label, Recipe
from annotator.pipeline import aggregate
from tests.builders import make_comparison, make_judgment, make_labeler, make_person, make_plan, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    project = make_project()
    aggregate.default_recipe(project)
    return project


def label_of(comparison, source="routed"):
    return Label.objects.get(comparison=comparison, recipe__source=source)


def test_asking_twice_for_the_default_recipe_gives_the_same_one(project):
    assert aggregate.default_recipe(project) == aggregate.default_recipe(project)
    assert Recipe.objects.get(project=project).is_default


def test_people_vote_and_ties_count_half(project):
    comparison = make_comparison(project)
    for level in (1, 1, 0, -1):
        make_judgment(comparison, make_person(project), level)
    assert aggregate.aggregate() == 4
    label = label_of(comparison)
    assert (label.p_b, label.p_tie, label.strength, label.agreement, label.votes) == (0.625, 0.25, 0.25, 0.5, 4)
    assert label.source == "people"


def test_what_is_no_rating_stops_nobodys_labels(project):
    odd, plain = make_comparison(project), make_comparison(project)
    given = {"x": {"a": "much", "b": 3}, "y": "none", "z": {"a": None}}
    make_judgment(odd, make_labeler(project), p_b=0.7, attributes=given)
    make_judgment(plain, make_person(project), 1)
    aggregate.recipe(project, "pooled")
    aggregate.aggregate()
    assert label_of(odd, "pooled").attributes == {"x": {"b": 3}}
    assert label_of(plain, "pooled").p_b == 1


def test_an_even_split_stays_even(project):
    for levels in ((1, -1), (-1, 1)):
        comparison = make_comparison(project)
        for level in levels:
            make_judgment(comparison, make_person(project), level)
        aggregate.aggregate()
        assert (label_of(comparison).p_b, label_of(comparison).agreement) == (0.5, 0.5)


def test_answers_that_are_no_answers_do_not_count(project):
    comparison = make_comparison(project)
    make_judgment(comparison, make_person(project), 1)
    for outcome in ("cannot_judge", "neither_valid"):
        make_judgment(comparison, make_person(project), outcome=outcome)
    aggregate.aggregate()
    assert (label_of(comparison).p_b, label_of(comparison).votes) == (1, 1)


def test_a_comparison_where_neither_is_valid_has_a_label_without_probability(project):
    comparison = make_comparison(project)
    make_judgment(comparison, make_person(project), outcome="neither_valid")
    aggregate.aggregate()
    assert (label_of(comparison).p_b, label_of(comparison).votes) == (None, 0)


def test_a_judgment_inside_its_undo_window_is_invisible_until_it_ends(project):
    comparison = make_comparison(project)
    fresh = make_judgment(comparison, make_person(project), 1, effective_at=now() + timedelta(seconds=10))
    assert aggregate.aggregate() == 0
    assert not Label.objects.exists()
    Judgment.objects.filter(pk=fresh.pk).update(effective_at=now())
    assert aggregate.aggregate() == 1
    assert label_of(comparison).p_b == 1


def test_a_corrected_answer_replaces_the_first(project):
    comparison, person = make_comparison(project), make_person(project)
    make_judgment(comparison, person, 1)
    aggregate.aggregate()
    Judgment.objects.update(is_current=False)
    make_judgment(comparison, person, -1, revision=2)
    aggregate.aggregate()
    assert (label_of(comparison).p_b, label_of(comparison).votes) == (0, 1)


def test_a_withdrawn_answer_takes_its_label_away(project):
    comparison = make_comparison(project)
    make_judgment(comparison, make_person(project), 1)
    aggregate.aggregate()
    Judgment.objects.update(is_current=False, aggregated=False)
    aggregate.aggregate()
    assert not Label.objects.exists()


def test_the_routed_recipe_takes_only_the_source_the_plan_chose(project):
    judge, other = make_labeler(project, "judge"), make_labeler(project, "other")
    to_people, to_judge, unrouted = (make_comparison(project) for _ in range(3))
    for comparison in (to_people, to_judge, unrouted):
        make_judgment(comparison, make_person(project), -1)
        make_judgment(comparison, judge, p_b=0.9)
        make_judgment(comparison, other, p_b=0.8)
    aggregate.aggregate()
    assert label_of(to_judge).p_b == 0  # before any plan, people
    make_plan(project, {to_people: None, to_judge: judge})
    assert aggregate.relabel(project) == 3
    assert (label_of(to_people).p_b, label_of(to_people).source) == (0, "people")
    assert (label_of(to_judge).p_b, label_of(to_judge).source) == (0.9, "judge")
    assert label_of(to_judge).strength is None
    assert label_of(unrouted).p_b == 0


def test_relabelling_removes_a_label_whose_chosen_source_has_not_judged(project):
    comparison, judge = make_comparison(project), make_labeler(project)
    make_judgment(comparison, make_person(project), 1)
    aggregate.aggregate()
    make_plan(project, {comparison: judge})
    aggregate.relabel(project)
    assert not Label.objects.exists()


def test_pooling_takes_people_and_labelers_but_no_nulls_and_no_proxies(project):
    aggregate.recipe(project, "pooled")
    comparison = make_comparison(project)
    make_judgment(comparison, make_person(project), 1)
    make_judgment(comparison, make_labeler(project), p_b=0.5)
    make_judgment(comparison, make_labeler(project, kind="null_longest"), p_b=0.0)
    make_judgment(comparison, make_labeler(project, kind="proxy"), p_b=0.0)
    aggregate.aggregate()
    assert (label_of(comparison, "pooled").p_b, label_of(comparison, "pooled").votes) == (0.75, 2)
    assert label_of(comparison).p_b == 1


def test_attributes_are_averaged_a_response():
    project = make_project("helpsteer2")
    aggregate.default_recipe(project)
    comparison = make_comparison(project)
    for a, b in ((4, 1), (3, 1), (3, 2)):
        make_judgment(comparison, make_person(project), -1, attributes={"helpfulness": {"a": a, "b": b}})
    aggregate.aggregate()
    means = label_of(comparison).attributes["helpfulness"]
    assert means == {"a": pytest.approx(10 / 3), "b": pytest.approx(4 / 3)}


def test_counting_again_changes_nothing(project):
    comparison = make_comparison(project)
    make_judgment(comparison, make_person(project), 1)
    aggregate.aggregate()
    before = label_of(comparison).updated_at
    aggregate.relabel(project)
    assert label_of(comparison).updated_at == before


def test_the_number_of_queries_does_not_grow_with_the_number_of_judgments(project, django_assert_max_num_queries):
    person = make_person(project)
    judgments = [
        Judgment(project=project, comparison=make_comparison(project), rater=person, level=1, preference=1)
        for _ in range(40)
    ]
    Judgment.objects.bulk_create(judgments)
    with django_assert_max_num_queries(10):
        assert aggregate.aggregate() == 40
    assert Label.objects.filter(p_b=1).count() == 40


@pytest.mark.django_db(transaction=True)
def test_workers_at_once_lose_no_judgment():
    project = make_project()
    aggregate.default_recipe(project)
    comparisons = [make_comparison(project) for _ in range(5)]
    people = [make_person(project) for _ in range(24)]

    def judge(some):
        for person in some:
            for comparison in comparisons:
                make_judgment(comparison, person, 1)
        connection.close()

    def work():
        for _ in range(12):
            aggregate.aggregate(limit=7)
        connection.close()

    threads = [threading.Thread(target=judge, args=(people[i::3],)) for i in range(3)]
    threads += [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while aggregate.aggregate():
        pass
    assert {label.votes for label in Label.objects.all()} == {24}
