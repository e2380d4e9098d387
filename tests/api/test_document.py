"""The OpenAPI document, tried: schemathesis asks every operation for what it promises, and for what it does not."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from django.test import Client
from schemathesis import engine
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig

from annotator.pipeline import work
from tests.annotator.test_access import World
from tests.api.program import Program

ADDRESS = "/api/v1/openapi.json"
SECONDS = 60
# What a row must hold is said by docs/formats.md and checked by the import: more than a JSON schema can say. So is what
# an address of a webhook must be, and how many there may be.
BEYOND_A_SCHEMA = {
    ("positive_data_acceptance", f"POST /api/v1/projects/{{project_id}}/{name}")
    for name in ("comparisons", "judgments", "imports", "webhooks")
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


def parameters(world: World) -> dict[str, Any]:
    """What is there, so that requests reach what lies behind the first look."""
    return {
        "path.project_id": world.project.pk,
        "path.comparison_id": world.comparison.pk,
        "path.job_id": world.job.pk,
        "path.labeler_id": world.judge.pk,
        "path.dataset_id": world.dataset.pk,
        "path.webhook_id": world.webhook.pk,
        "path.delivery_id": world.delivery.pk,
        "path.version": 1,
        "path.number": 1,
    }


def found(schema: Any) -> list[str]:
    """What the engine's checks complain of, each with how to repeat it."""
    complaints = []
    for event in engine.from_schema(schema).execute():
        recorder = getattr(event, "recorder", None)
        for checks in (recorder.checks if recorder else {}).values():
            complaints += [
                f"{check.name}: {check.failure_info}"
                for check in checks
                if check.failure_info and (check.name, check.failure_info.failure.operation) not in BEYOND_A_SCHEMA
            ]
        if type(event).__name__ in ("NonFatalError", "FatalError"):
            complaints.append(str(event.info if hasattr(event, "info") else event.exception))
    return complaints


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_schemathesis_finds_nothing(monkeypatch, live_server):
    monkeypatch.setattr(work, "nudge", lambda task: None)
    world = World()
    program = Program(world.users["lead"])
    asked = ProjectConfig(
        headers=program.headers(),
        parameters=parameters(world),
        generation=GenerationConfig(max_examples=4, deterministic=True, no_shrink=True, allow_x00=False),
    )
    config = SchemathesisConfig(projects=ProjectsConfig(default=asked), seed=7, max_time=SECONDS)
    complaints = found(schemathesis.openapi.from_url(live_server.url + ADDRESS, config=config))
    assert complaints == [], "\n\n".join(complaints)
