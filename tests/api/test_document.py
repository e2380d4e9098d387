"""The OpenAPI document, tried: schemathesis asks every operation for what it promises, and for what it does not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from annotator.models import Delivery, Job
from annotator.pipeline import work
from tests.annotator.test_access import World
from tests.api.program import Program
from tests.api.test_matrix import operations
from tests.builders import make_user

ADDRESS = "/api/v1/openapi.json"
# Made-up requests of each operation, beside those at the edges of what it takes. Without a limit of time: with one,
# what is tried, and so what is found, is a matter of the machine's pace.
EXAMPLES = 25
# Seconds to wait for an answer, where schemathesis waits 10: more than the site gives itself (`api.once`).
PATIENCE = 60
# Operations that no generated request can meet with success: a file that exists has a name that was not made up.
WITHOUT_ROWS = {"create_comparisons", "create_judgments", "get_export_file", "create_export_link", "get_version"}
# What a row must hold is said by docs/formats.md and checked by the import: more than a JSON schema can say. So is what
# an address of a webhook must be and how many there may be, and which file types and options a format takes.
BEYOND_A_SCHEMA = {
    ("positive_data_acceptance", f"POST /api/v1/projects/{{project_id}}/{name}")
    for name in ("comparisons", "judgments", "imports", "webhooks", "exports", "datasets")
}


@pytest.mark.django_db
def test_the_document_is_open_and_complete():
    document = Client().get(ADDRESS).json()
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["description"], path
            assert {"401", "403", "404", "422"} <= set(operation["responses"])
    text = str(document)
    for name in ("digest", "sealed", "password", "email"):
        assert name not in text


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "states"),
    [("jobs", Job.State), ("runs", Job.State), ("webhooks/{webhook_id}/deliveries", Delivery.State)],
)
def test_the_document_says_of_each_list_which_states_it_knows(path, states):
    """Enumerations of one name would be one in the document."""
    document = Client().get(ADDRESS).json()
    asked = document["paths"][f"/api/v1/projects/{{project_id}}/{path}"]["get"]["parameters"]
    (said,) = (each["schema"]["anyOf"][0] for each in asked if each["name"] == "state")
    named = said.get("$ref", "").rpartition("/")[2]
    assert (document["components"]["schemas"][named] if named else said)["enum"] == states.values


def parameters(world: World) -> dict[str, Any]:
    """What is there, so that requests reach what lies behind the first look."""
    return {
        "path.project_id": world.project.pk,
        "path.comparison_id": world.comparison.pk,
        "path.job_id": world.job.pk,
        "path.run_id": world.run.pk,
        "path.labeler_id": world.judge.pk,
        "path.dataset_id": world.dataset.pk,
        "path.webhook_id": world.webhook.pk,
        "path.delivery_id": world.delivery.pk,
        "path.link_id": world.link.pk,
        "path.version": 1,
        "path.number": 1,
    }


@dataclass
class Found:
    """What the engine's checks complain of, each with how to repeat it; and what each operation answered."""

    complaints: list[str] = field(default_factory=list)
    answered: dict[str, set[int]] = field(default_factory=dict)


def found(schema: Any) -> Found:
    from schemathesis import engine  # seconds to load, for two slow tests

    seen = Found()
    for event in engine.from_schema(schema).execute():
        recorder = getattr(event, "recorder", None)
        if recorder:
            _record(recorder, seen)
        if type(event).__name__ in ("NonFatalError", "FatalError"):
            seen.complaints.append(str(event.info if hasattr(event, "info") else event.exception))
    return seen


def _record(recorder: Any, seen: Found) -> None:
    for checks in recorder.checks.values():
        seen.complaints += [
            f"{check.name}: {check.failure_info}"
            for check in checks
            if check.failure_info and (check.name, check.failure_info.failure.operation) not in BEYOND_A_SCHEMA
        ]
    for key, interaction in recorder.interactions.items():
        if interaction.response is not None:
            name = recorder.cases[key].value.operation.definition.raw["operationId"]
            seen.answered.setdefault(name, set()).add(interaction.response.status_code)


def tried(world: World, address: str, program: Program, seed: int) -> Found:
    import schemathesis
    from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig

    asked = ProjectConfig(
        headers=program.headers(),
        parameters=parameters(world),
        request_timeout=PATIENCE,
        generation=GenerationConfig(max_examples=EXAMPLES, deterministic=True, no_shrink=True, allow_x00=True),
    )
    config = SchemathesisConfig(projects=ProjectsConfig(default=asked), seed=seed)
    return found(schemathesis.openapi.from_url(address + ADDRESS, config=config))


@pytest.fixture
def world(monkeypatch, db):
    monkeypatch.setattr(work, "nudge", lambda task: None)
    made = World()
    # Numbers count up within each test process; requests ask for the first.
    made.project.plans.filter(pk=made.plan.pk).update(number=1)
    return made


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_lead_reaches_every_operation_and_nothing_breaks(world, live_server):
    """Each was answered with success, or the project was not ready for it; never was a promise broken."""
    seen = tried(world, live_server.url, Program(world.users["lead"]), 7)
    assert seen.complaints == [], "\n\n".join(seen.complaints)
    assert set(seen.answered) == set(operations())
    unreached = {name: got for name, got in seen.answered.items() if not any(s < 300 or s == 409 for s in got)}
    assert set(unreached) <= WITHOUT_ROWS, unreached


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_viewer_who_may_read_does_that_and_no_more(world, live_server):
    seen = tried(world, live_server.url, Program(world.users["viewer"], "read"), 11)
    assert seen.complaints == [], "\n\n".join(seen.complaints)
    reads = {name for name, (method, operation) in operations().items() if {"token": ["read"]} in operation["security"]}
    assert set(seen.answered) == set(operations())
    for name, got in seen.answered.items():
        if name in reads:
            assert any(status < 300 for status in got) or name in WITHOUT_ROWS, (name, got)
        else:
            assert got <= {401, 403, 404, 405, 406, 411, 413, 415, 422} and 403 in got, (name, got)


@pytest.mark.django_db
def test_the_page_of_addresses_shows_code_and_no_backticks(client):
    client.force_login(make_user())
    page = client.get(reverse("api_reference")).content.decode()
    assert "which is less than <code>most</code> as a rule" in page
    assert "`" not in page.partition("<main")[2]
