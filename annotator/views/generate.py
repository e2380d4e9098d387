"""Responses from models: prompts and what they have, generators, their runs, and comparisons made of the responses."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotator import access, rendering
from annotator.forms.generate import CompareForm, GeneratorForm, WriteForm
from annotator.forms.labelers import PricesForm
from annotator.models import Labeler, Project
from annotator.pipeline import compare, disclosures, generate, keys, ledger, operations
from annotator.pipeline.work import StepRefused
from annotator.readings import generate as reading
from annotator.readings.runs import failed
from annotator.views import endpoints, spending
from annotator.views.labelers import save_prices

PAGE = 50


def _generator_or_404(project: Project, labeler_id: int) -> Labeler:
    found = project.labelers.filter(kind=Labeler.GENERATOR).select_related("project")
    return get_object_or_404(found, pk=labeler_id)


@login_required
@require_safe
def responses(request: HttpRequest, project_id: int) -> HttpResponse:
    """Prompts with how many responses they have, and who writes some."""
    project = access.project_or_404(request, project_id, access.READERS)
    return _responses(request, project, CompareForm())


def _responses(request: HttpRequest, project: Project, form: CompareForm, status: int = 200) -> HttpResponse:
    after = request.GET.get("after", "")
    only_waiting = request.GET.get("only") == "waiting"
    number = int(after[:18]) if after.isdecimal() else 0
    rows = reading.prompts(project, only_waiting=only_waiting, after=number, most=PAGE)
    context = {
        "project": project,
        "tab": "labelers",
        "numbers": reading.numbers(project),
        "generators": reading.generators(project),
        "jobs": reading.jobs(project),
        "rows": rows[:PAGE],
        "after": rows[PAGE - 1]["prompt"].pk if len(rows) > PAGE else None,
        "only_waiting": only_waiting,
        "form": form,
    }
    return render(request, "generate/responses.html", context, status=status)


@login_required
@require_POST
def responses_compare(request: HttpRequest, project_id: int) -> HttpResponse:
    """Comparisons of the responses that are there."""
    project = access.project_or_404(request, project_id, access.LEADS)
    form = CompareForm(request.POST)
    if not form.is_valid():
        return _responses(request, project, form, 422)
    job = compare.request(project, form.cleaned_data["rule"], form.cleaned_data["seed"], by=request.user)  # type: ignore[arg-type]
    return redirect("job", project.pk, job.pk)


@login_required
@require_safe
def prompt(request: HttpRequest, project_id: int, prompt_id: int) -> HttpResponse:
    """One prompt with its responses and where they come from."""
    project = access.project_or_404(request, project_id, access.READERS)
    found = get_object_or_404(project.prompts, pk=prompt_id)
    context = {
        "project": project,
        "tab": "labelers",
        "prompt": found,
        "prompt_html": rendering.rendered_prompt(found),
        "responses": reading.responses(found),
        "comparisons": found.comparisons.order_by("id")[:PAGE],
        "following": project.prompts.filter(pk__gt=found.pk).order_by("id").values_list("pk", flat=True).first(),
        "before": project.prompts.filter(pk__lt=found.pk).order_by("-id").values_list("pk", flat=True).first(),
    }
    return render(request, "generate/prompt.html", context)


@sensitive_post_parameters("api_key")
@sensitive_variables()
@login_required
@require_http_methods(["GET", "POST"])
def generator_add(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    form = GeneratorForm(request.POST if request.method == "POST" else None, project=project, kind=Labeler.GENERATOR)
    if made := endpoints.added(request, project, form, generate.add_generator):
        messages.success(request, _("Added. Confirm what leaves, then let it write a few responses."))
        return redirect("generator", project.pk, made.pk)
    context = {"project": project, "tab": "labelers", "form": form}
    return render(request, "generate/add.html", context, status=422 if request.method == "POST" else 200)


@login_required
@require_safe
def generator(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.READERS)
    return _generator(request, project, _generator_or_404(project, labeler_id))


def _generator(request: HttpRequest, project: Project, chosen: Labeler, status: int = 200, **more: Any) -> HttpResponse:
    version = chosen.version
    parts = disclosures.parts_of(version)
    first = project.prompts.order_by("pk").first()
    runs = reading.jobs(project, chosen)
    whole = {
        "project": project,
        "tab": "labelers",
        "generator": chosen,
        "version": version,
        "parameters": version.parameters,
        "place": keys.places(version)[0],
        "parts": [(part, disclosures.PARTS[part]) for part in parts],
        "missing": disclosures.missing(chosen, version),
        "sample": generate.sample_request(version, first) if first else "",
        "row": next(row for row in reading.generators(project) if row.generator.pk == chosen.pk),
        "jobs": runs,
        "failures": failed(runs[0]) if runs else [],
        "calls": reading.calls(chosen),
        "form": WriteForm(initial={"scope": "trial", "number": 2}),
        "prices": PricesForm(instance=chosen),
    }
    return render(request, "generate/generator.html", {**whole, **more}, status=status)


@login_required
@require_POST
def generator_disclosure(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    """A lead's word that prompts may leave for its endpoint, given or taken back."""
    project = access.project_or_404(request, project_id, access.LEADS)
    chosen = _generator_or_404(project, labeler_id)
    confirmed = _("Confirmed. Next: let it write a few responses; you see the price first.")
    endpoints.answer(request, project, chosen.version, confirmed)
    return redirect("generator", project.pk, chosen.pk)


@login_required
@require_http_methods(["GET", "POST"])
def generator_run(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    """First what it would write and what that can cost at most, then, confirmed, the run."""
    project = access.project_or_404(request, project_id, access.LEADS)
    chosen = _generator_or_404(project, labeler_id)
    form = WriteForm(request.POST if request.method == "POST" else request.GET)
    if not form.is_valid():
        if request.method == "GET" and not request.GET:
            return redirect("generator", project.pk, chosen.pk)
        return _generator(request, project, chosen, 422, form=form)
    version = chosen.version
    if not chosen.enabled or disclosures.missing(chosen, version):
        messages.error(request, _("Switch it on and confirm what leaves before it writes."))
        return redirect("generator", project.pk, chosen.pk)
    scope, number = form.cleaned_data["scope"], form.cleaned_data["number"]
    trial = generate.trial_prompts(chosen) if scope == "trial" else []
    try:
        whole = generate.estimate(chosen, generate.prompts_of(project, scope, trial), number)
    except StepRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("generator", project.pk, chosen.pk)
    if request.method == "POST" and whole.calls and spending.may_cost(form, whole.most, project):
        reserve = None if chosen.is_free else whole.most
        job = generate.request_run(chosen, scope, number, prompts=trial, reserve=reserve, by=request.user)  # type: ignore[arg-type]
        return redirect("job", project.pk, job.pk)
    context = {"project": project, "tab": "labelers", "generator": chosen, "form": form, "whole": whole}
    more = {"scope": scope, "number": number, "place": keys.places(version)[0], "free": ledger.available(project)}
    status = 422 if request.method == "POST" else 200
    return render(request, "generate/run.html", {**context, **more}, status=status)


@login_required
@require_POST
def generator_prices(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    chosen = _generator_or_404(project, labeler_id)

    def again(form: PricesForm) -> HttpResponse:
        return _generator(request, project, _generator_or_404(project, labeler_id), 422, prices=form)

    return save_prices(request, chosen, again, "generator", _("Saved. The prices hold for new calls."))


@login_required
@require_POST
def generator_toggle(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    """Switch it off or on. What it has written stays; a run that is under way stops at its next beat."""
    project = access.project_or_404(request, project_id, access.LEADS)
    chosen = _generator_or_404(project, labeler_id)
    operations.set_enabled(chosen, not chosen.enabled)
    return redirect("generator", project.pk, chosen.pk)
