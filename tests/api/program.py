"""A program with a token, as the tests of the interface need it."""

from __future__ import annotations

import json
from typing import Any

from django.test import Client

from annotator.models import Project, Token, User
from annotator.pipeline import tokens
from tests.builders import make_member

ALL = list(Token.Scope.values)
NDJSON = "application/x-ndjson"


class Program:
    """Asks at /api/v1 with one token and without cookies."""

    def __init__(self, user: User, *scopes: str, **fields: Any) -> None:
        self.token, self.text = tokens.make(user, "a program", scopes or ALL, **fields)
        self.client = Client(enforce_csrf_checks=True)

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/api/v1{path}", query, headers=self.headers())

    def post(self, path: str, body: Any = None, *, key: str = "", media_type: str = "application/json") -> Any:
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self.client.post(f"/api/v1{path}", content, content_type=media_type, headers=self.headers(key))

    def patch(self, path: str, body: Any = None) -> Any:
        return self.client.patch(
            f"/api/v1{path}", json.dumps(body), content_type="application/json", headers=self.headers()
        )

    def delete(self, path: str) -> Any:
        return self.client.delete(f"/api/v1{path}", headers=self.headers())

    def headers(self, key: str = "") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.text}", **({"Idempotency-Key": key} if key else {})}


def lead_program(project: Project, *scopes: str, **fields: Any) -> Program:
    return Program(make_member(project, "lead"), *scopes, **fields)


def row(number: int, **fields: Any) -> dict[str, Any]:
    """A comparison in Switchyard's own shape."""
    return {
        "id": f"q{number}",
        "prompt": f"What is rain number {number}?",
        "response_a": f"Water {number}.",
        "response_b": f"Drops {number}.",
        **fields,
    }


def assert_problem(response: Any, status: int) -> dict[str, Any]:
    """The one form of every refusal."""
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert set(problem) == {"type", "title", "status", "detail", "errors"}
    assert problem["status"] == status and problem["detail"]
    assert all(set(fault) == {"row", "field", "reason"} for fault in problem["errors"])
    return problem
