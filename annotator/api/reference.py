"""The document as a page for people: every address with its scope, nothing loaded from elsewhere."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotator.api.site import api


@login_required
@require_safe
def reference(request: HttpRequest) -> HttpResponse:
    paths = api.get_openapi_schema()["paths"]
    scopes = api.scopes()
    groups: dict[str, list[dict[str, Any]]] = {}
    for address, methods in paths.items():
        for method, operation in methods.items():
            row = {
                "method": method.upper(),
                "address": address,
                "scopes": scopes[operation["operationId"]],
                **operation,
            }
            groups.setdefault(operation["tags"][0], []).append(row)
    return render(request, "api/reference.html", {"groups": groups.items()})
