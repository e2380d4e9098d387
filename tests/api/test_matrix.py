"""Every operation of the document × scopes × roles. One that is not in the matrix fails the first test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from django.db import transaction

from annotator.api.site import api
from annotator.models import Dataset, Membership, Token
from annotator.pipeline import work
from tests.annotator.test_access import World
from tests.api.program import Program, assert_problem, row
from tests.builders import make_comparison, make_project, make_user

pytestmark = pytest.mark.django_db

READ, INGEST, EXPORT, ROUTE, LABEL, WEBHOOKS = Token.Scope.values
READERS, LEADS = {"lead", "reviewer", "viewer"}, {"lead"}
FOLLOWED = {READ, INGEST, EXPORT, ROUTE, LABEL}


@dataclass(frozen=True)
class Operation:
    """`path` below the project; what it answers to those who may, when all is well or the project is not ready."""

    path: str
    scopes: frozenset[str]
    roles: frozenset[str]
    body: Any = None
    answers: tuple[int, ...] = (200,)


def read(path: str, scopes: set[str] | None = None, answers: tuple[int, ...] = (200,)) -> Operation:
    return Operation(path, frozenset(scopes or {READ}), frozenset(READERS), answers=answers)


def act(path: str, scopes: set[str], body: Any = None, *answers: int) -> Operation:
    return Operation(path, frozenset(scopes), frozenset(LEADS), body, answers)


JUDGED = {"comparison": "api", "kind": "person", "level": 1}
MATRIX = {
    "get_project": read(""),
    "list_comparisons": read("/comparisons"),
    "get_comparison": read("/comparisons/{comparison.pk}"),
    "create_comparisons": act("/comparisons", {INGEST}, [row(1, id="api")], 201),
    "list_judgments": read("/judgments"),
    "create_judgments": act("/judgments", {INGEST}, [JUDGED], 201),
    "list_imports": read("/imports"),
    "create_import": act("/imports", {INGEST}, b"{}", 202),
    "list_jobs": read("/jobs", FOLLOWED),
    "get_job": read("/jobs/{job.pk}", FOLLOWED),
    # A job of the kind "route": the other scopes of work may cancel those of their own kinds.
    "cancel_job": act("/jobs/{job.pk}/cancel", {ROUTE}, None, 200, 409),
    "list_labels": read("/labels"),
    "list_exports": read("/exports"),
    "create_export": act("/exports", {EXPORT}, {"format": "judgments"}, 202),
    "get_export": read("/exports/{export.number}"),
    "get_export_file": read("/exports/{export.number}/files/none.jsonl", answers=(404,)),
    "create_export_link": act("/exports/{export.number}/links", {EXPORT}, {}, 201, 404),
    # Whoever made a link may be no lead.
    "list_export_links": read("/exports/{export.number}/links", {EXPORT}),
    "delete_export_link": read("/exports/{export.number}/links/{link.pk}", {EXPORT}, (204,)),
    "create_dataset": act("/datasets", {EXPORT}, {"name": "api", "format": "judgments"}, 202),
    "list_datasets": read("/datasets"),
    "get_dataset": read("/datasets/{set.pk}"),
    "list_versions": read("/datasets/{set.pk}/versions"),
    "get_version": read("/datasets/{set.pk}/versions/1", answers=(404,)),
    "create_version": act("/datasets/{set.pk}/versions", {EXPORT}, None, 202),
    "list_plans": read("/plans"),
    "get_plan": read("/plans/{plan.number}"),
    "create_plan": act("/plans", {ROUTE}, {"budget": "1.00"}, 202),
    "approve_plan": act("/plans/{plan.number}/approve", {ROUTE}, None, 200, 409),
    "list_performance_models": read("/performance-models"),
    "get_performance_model": read("/performance-models/2"),
    "create_performance_model": act("/performance-models", {ROUTE}, None, 202),
    "list_labelers": read("/labelers"),
    "get_labeler": read("/labelers/{judge.pk}"),
    "list_runs": read("/runs", FOLLOWED),
    "get_run": read("/runs/{run.pk}", FOLLOWED),
    # No lead has allowed that its texts leave.
    "create_run": act("/labelers/{judge.pk}/runs", {LABEL}, {"on": "everything"}, 409),
    "cancel_run": act("/runs/{run.pk}/cancel", {LABEL, ROUTE}, None, 200, 409),
    "get_budget": read("/budget"),
    "list_entries": read("/ledger"),
    # An address may hold what only leads know, so nobody else reads it.
    "list_webhooks": act("/webhooks", {WEBHOOKS}, None, 200),
    "create_webhook": act("/webhooks", {WEBHOOKS}, {"url": "https://hooks.example/", "events": ["plan.made"]}, 201),
    "update_webhook": act("/webhooks/{webhook.pk}", {WEBHOOKS}, {"is_active": False}, 200),
    "delete_webhook": act("/webhooks/{webhook.pk}", {WEBHOOKS}, None, 204),
    "test_webhook": act("/webhooks/{webhook.pk}/test", {WEBHOOKS}, None, 202),
    "list_deliveries": act("/webhooks/{webhook.pk}/deliveries", {WEBHOOKS}, None, 200),
    "replay_delivery": act("/webhooks/{webhook.pk}/deliveries/{delivery.pk}/replay", {WEBHOOKS}, None, 202),
}


class Inhabited:
    """A world, and a program for each role with each scope: made once, for every test sees it anew."""

    def __init__(self) -> None:
        self.world = World()
        self.world.set = Dataset.objects.create(
            project=self.world.project, name="set", format="judgments", recipe=self.world.recipe
        )
        people = {**self.world.users, "stranger": make_user()}
        Membership.objects.create(user=people["stranger"], project=make_project(name="Foreign"), role="lead")
        self.programs = {
            (role, scope): Program(user, scope) for role, user in people.items() for scope in Token.Scope.values
        }

    def ask(self, role: str, scope: str, operation: Operation, method: str) -> Any:
        path = f"/projects/{self.world.project.pk}{operation.path.format_map(vars(self.world))}"
        program = self.programs[role, scope]
        if method in ("post", "patch"):
            return getattr(program, method)(path, operation.body)
        return getattr(program, method)(path)


@pytest.fixture(scope="module")
def inhabited(django_db_setup, django_db_blocker) -> Iterator[Inhabited]:
    """In a transaction around those of the tests, each of which ends where this began."""
    with django_db_blocker.unblock():
        around = transaction.atomic()
        around.__enter__()
        made = Inhabited()
    yield made
    with django_db_blocker.unblock():
        transaction.set_rollback(True)
        around.__exit__(None, None, None)


@pytest.fixture(autouse=True)
def quiet_broker(monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)


@cache
def operations() -> dict[str, tuple[str, dict[str, Any]]]:
    """{name: (method, what the document says of it)}."""
    paths = api.get_openapi_schema()["paths"]
    return {
        operation["operationId"]: (method, operation)
        for methods in paths.values()
        for method, operation in methods.items()
    }


def test_every_operation_is_in_the_matrix():
    assert set(operations()) == set(MATRIX) | {"list_projects"}


@pytest.mark.slow
@pytest.mark.parametrize("name", MATRIX)
def test_a_token_opens_what_its_scopes_say(inhabited, name):
    method, documented = operations()[name]
    asked = MATRIX[name]
    if name == "create_judgments":
        inhabited.ask("lead", INGEST, MATRIX["create_comparisons"], "post")
    said = {scope for entry in documented["security"] for scope in entry["token"]}
    assert said == asked.scopes or name == "cancel_job"
    for scope in Token.Scope.values:
        response = inhabited.ask("lead", scope, asked, method)
        if scope in asked.scopes:
            assert response.status_code in asked.answers, response.content
            assert str(response.status_code) in documented["responses"] or response.status_code < 300
        else:
            assert_problem(response, 403)


@pytest.mark.parametrize("name", MATRIX)
def test_a_token_never_grants_more_than_its_persons_role(inhabited, name):
    method, _documented = operations()[name]
    asked = MATRIX[name]
    scope = sorted(asked.scopes)[0]
    for role in ("lead", "reviewer", "viewer", "annotator", "stranger"):
        if role in asked.roles:
            continue
        response = inhabited.ask(role, scope, asked, method)
        assert_problem(response, 404 if role == "stranger" else 403)


@pytest.mark.slow
def test_readers_that_are_no_leads_read(inhabited):
    for name, asked in MATRIX.items():
        if operations()[name][0] == "get" and READ in asked.scopes:
            assert inhabited.ask("viewer", READ, asked, "get").status_code in asked.answers


def test_a_comparison_of_another_project_is_not_found_through_ones_own(inhabited):
    theirs = make_comparison(make_project())
    program = inhabited.programs["lead", READ]
    assert_problem(program.get(f"/projects/{inhabited.world.project.pk}/comparisons/{theirs.pk}"), 404)
