"""The document as a page for people: every address with its scope, nothing loaded from elsewhere."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.defaultfilters import linebreaksbr
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_safe

from annotator.api.site import api


def _marked_up(text: str) -> SafeString:
    """What stands between backticks as code; lines as lines."""
    return mark_safe(re.sub(r"`([^`]+)`", r"<code>\1</code>", linebreaksbr(text)))  # noqa: S308 - escaped by linebreaksbr


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
                "about": _marked_up(operation["description"]),
            }
            groups.setdefault(operation["tags"][0], []).append(row)
    return render(request, "api/reference.html", {"groups": groups.items()})
