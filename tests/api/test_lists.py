"""Lists by key: pages neither shift nor repeat, whatever comes meanwhile, and one page is a few queries."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from annotator.models import Judgment
from annotator.pipeline import aggregate
from tests.api.program import assert_problem, lead_program
from tests.builders import make_comparison, make_judgment, make_labeler, make_person, make_plan, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project()


@pytest.fixture
def program(project):
    return lead_program(project)


def test_pages_follow_each_other_while_rows_come(project, program):
    made = [make_comparison(project).pk for _ in range(5)]
    seen, after = [], 0
    while after is not None:
        answer = program.get(f"/projects/{project.pk}/comparisons", after=after, limit=2).json()
        seen += [item["id"] for item in answer["items"]]
        after = answer["next"]
        if len(made) < 8:
            made.append(make_comparison(project).pk)
    assert seen == made


def test_a_page_costs_the_same_however_long_the_list(project, program):
    def queries() -> list[str]:
        with CaptureQueriesContext(
            connection,
        ) as caught:
            assert program.get(f"/projects/{project.pk}/comparisons", limit=3).status_code == 200
        return [query["sql"] for query in caught.captured_queries]

    make_comparison(project)
    queries()
    few = queries()
    for _ in range(10):
        make_comparison(project)
    many = queries()
    assert len(many) == len(few) <= 10
    assert not [sql for sql in many if "count(" in sql.lower()]


def test_filters_of_comparisons(project, program):
    routed, judged, waiting = (make_comparison(project) for _ in range(3))
    waiting.places_open = 1
    waiting.save()
    make_judgment(judged, make_person(project), 1)
    aggregate.default_recipe(project)
    aggregate.aggregate()
    rater = make_labeler(project, "judge")
    make_plan(project, {routed: rater, judged: None})

    def ids(**asked):
        return [item["id"] for item in program.get(f"/projects/{project.pk}/comparisons", **asked).json()["items"]]

    assert ids(external_id=judged.external_id) == [judged.pk]
    assert ids(status="labelled") == [judged.pk]
    assert ids(status="unlabelled") == [routed.pk, waiting.pk]
    assert ids(status="waiting") == [waiting.pk]
    assert ids(source="judge") == [routed.pk]
    assert ids(source="nobody") == []


def test_one_comparison_has_its_texts_label_and_judgments_by_pseudonym(project, program):
    comparison = make_comparison(project, a="Wasser", b="水")
    person = make_person(project)
    make_judgment(comparison, person, 1)
    make_judgment(comparison, make_labeler(project, "judge"), p_b=0.25)
    make_judgment(comparison, make_person(project), -1, provenance={"undone": True})
    aggregate.default_recipe(project)
    aggregate.aggregate()
    whole = program.get(f"/projects/{project.pk}/comparisons/{comparison.pk}").json()
    assert [response["text"] for response in whole["responses"]] == ["Wasser", "水"]
    assert [label["recipe"] for label in whole["labels"]] == ["routed"]
    raters = [judgment["rater"] for judgment in whole["judgments"]]
    assert raters[0] == person.pseudonym and raters[1].startswith("judge@") and len(raters) == 2
    assert person.external_id not in str(whole)


def test_labels_go_by_comparison(project, program):
    made = [make_comparison(project) for _ in range(3)]
    for comparison in reversed(made):
        make_judgment(comparison, make_person(project), 1)
    aggregate.default_recipe(project)
    aggregate.aggregate()
    first = program.get(f"/projects/{project.pk}/labels", limit=2).json()
    rest = program.get(f"/projects/{project.pk}/labels", after=first["next"]).json()
    assert [each["comparison_id"] for each in first["items"] + rest["items"]] == [each.pk for each in made]
    assert rest["next"] is None
    assert program.get(f"/projects/{project.pk}/labels", recipe="people").json()["items"] == []


def test_what_can_still_be_undone_is_not_complete(project, program):
    """An earlier id that becomes final later is not passed over."""
    comparison = make_comparison(project)
    soon = make_judgment(comparison, make_person(project), 1, effective_at=now() + timedelta(minutes=1))
    done = make_judgment(comparison, make_person(project), -1)
    address = f"/projects/{project.pk}/judgments"
    seen = program.get(address).json()
    assert [item["id"] for item in seen["items"]] == [done.pk]
    assert seen["complete_until"] == soon.pk - 1
    Judgment.objects.filter(pk=soon.pk).update(effective_at=now())
    seen = program.get(address, after=seen["complete_until"]).json()
    assert [item["id"] for item in seen["items"]] == [soon.pk, done.pk]
    assert seen["complete_until"] == done.pk


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_who_follows_judgments_misses_none_that_is_stored_later_with_a_smaller_id(project, program):
    """The rows of another connection, not committed yet, have drawn their ids."""
    first, second = make_comparison(project), make_comparison(project)
    person, other = make_person(project), make_person(project)
    address = f"/projects/{project.pk}/judgments"
    drawn, go_on, seen = threading.Event(), threading.Event(), []

    def slow():
        with transaction.atomic():
            seen.append(make_judgment(first, person, 1).pk)
            drawn.set()
            go_on.wait(10)
        connection.close()

    thread = threading.Thread(target=slow)
    thread.start()
    assert drawn.wait(10)
    late = make_judgment(second, other, -1).pk
    meanwhile = program.get(address).json()
    go_on.set()
    thread.join(10)
    assert late > seen[0]
    assert [item["id"] for item in meanwhile["items"]] == [late] and meanwhile["complete_until"] is None
    after = program.get(address).json()
    assert [item["id"] for item in after["items"]] == [seen[0], late] and after["complete_until"] == late


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 1001},
        {"after": -1},
        {"after": 2**63},
        {"after": "x"},
        {"status": "odd"},
        {"external_id": "a\0b"},
    ],
)
def test_what_no_list_can_mean_is_refused_in_words(project, program, query):
    problem = assert_problem(program.get(f"/projects/{project.pk}/comparisons", **query), 422)
    assert problem["errors"][0]["field"] == next(iter(query))


def test_addresses_and_methods_that_do_not_exist_are_problems_too(project, program):
    for path in ("/", "/nothing", f"/projects/{project.pk}/nothing", "/projects/0/x/y"):
        assert_problem(program.get(path), 404)
    for path in ("/projects/0", "/projects/x", "/projects/9999999999999999999999"):
        assert_problem(program.get(path), 422)
    assert_problem(program.get(f"/projects/{2**62}"), 404)
    refused = program.post(f"/projects/{project.pk}/labels", {})
    assert_problem(refused, 405)
    assert refused.headers["Allow"] == "GET"
