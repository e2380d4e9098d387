"""The interface put together, and its addresses."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, re_path
from django.views.decorators.csrf import csrf_exempt

from annotator.api import (
    comparisons,
    datasets,
    exports,
    imports,
    jobs,
    judgments,
    labelers,
    labels,
    ledger,
    once,
    performance_models,
    plans,
    problems,
    projects,
    runs,
    webhooks,
)
from annotator.api.bodies import CheckedParser
from annotator.api.document import Document
from annotator.api.writing import Answers

RESOURCES = (
    *(projects, comparisons, judgments, imports, jobs, labels, exports, datasets, plans),
    *(performance_models, labelers, runs, ledger, webhooks),
)

api = Document(
    title="Switchyard",
    version="1",
    description="Preference data in and out, plans and budgets of Switchyard. docs/api.md has examples.",
    docs_url=None,
    urls_namespace="api",
    parser=CheckedParser(),
    renderer=Answers(),
)
problems.install(api)
api.add_decorator(once.within)
for resource in RESOURCES:
    api.add_router("", resource.router)


def _uniform(view: Callable[..., Any]) -> Callable[..., Any]:
    """The view with a refused method told as any other refusal."""

    @functools.wraps(view)
    def answer(request: HttpRequest, *args: Any, **values: Any) -> HttpResponseBase:
        given: HttpResponseBase = view(request, *args, **values)
        if given.status_code == 405:
            refused = problems.Refused(405, f"This address takes {given['Allow']}.", Allow=given["Allow"])
            return problems.answer(refused)
        given.setdefault("Cache-Control", "no-store")
        return given

    return answer


@csrf_exempt
def unknown(request: HttpRequest) -> HttpResponse:
    return problems.answer(problems.Refused(404, "There is no such address; /api/v1/openapi.json lists them."))


def _patterns() -> tuple[list[Any], str, str]:
    patterns, app, namespace = api.urls
    named = [pattern for pattern in patterns if isinstance(pattern, URLPattern) and pattern.name != "api-root"]
    for pattern in named:
        pattern.callback = csrf_exempt(_uniform(pattern.callback))
    root = path("", unknown, name="api-root")
    # Not the dot: an address may hold a line's end.
    return [*named, root, re_path(r"^[\s\S]*\Z", unknown, name="unknown")], app, namespace


urls = _patterns()
