"""Features: what they are made with, what each means, and computing them anew."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotator import access
from annotator.forms.features import ComputeForm, FeaturesForm, TaggerForm
from annotator.models import Labeler, Loop, Project
from annotator.pipeline import disclosures, feature_sets, featurise, keys, ledger, tag, taggers
from annotator.readings import features as reading
from annotator.views import endpoints, spending


def _loop(project: Project) -> Loop:
    return Loop.objects.filter(project=project).select_related("tagger__project").first() or Loop(project=project)


@login_required
@require_safe
def features(request: HttpRequest, project_id: int) -> HttpResponse:
    return _page(request, access.project_or_404(request, project_id, access.READERS))


def _page(request: HttpRequest, project: Project, status: int = 200, **more: Any) -> HttpResponse:
    loop = _loop(project)
    recipe, numbers = feature_sets.recipe(project), reading.numbers(project)
    outdated = numbers.newest is not None and not recipe.is_of(numbers.newest)
    todo = numbers.comparisons if outdated or not numbers.newest else max(numbers.comparisons - numbers.rows, 0)
    whole = {
        "project": project,
        "tab": "settings",
        "loop": loop,
        "numbers": numbers,
        "outdated": outdated,
        "todo": todo,
        "seconds": reading.seconds(project, todo, recipe.embedding),
        "jobs": reading.jobs(project),
        "sets": reading.sets(project),
        "meanings": reading.meanings(recipe.names),
        "dimensions": reading.dimensions(),
        "form": FeaturesForm(project=project, loop=loop),
        "compute": ComputeForm(),
        **_tagging(project, loop.tagger),
    }
    return render(request, "features/features.html", {**whole, **more}, status=status)


def _tagging(project: Project, tagger: Labeler | None) -> dict[str, Any]:
    """What a tagger would be sent, and what that can cost."""
    if tagger is None:
        return {"tagger": None}
    version, first = taggers.current_version(tagger), project.prompts.order_by("pk").first()
    return {
        "tagger": tagger,
        "version": version,
        "place": keys.places(version)[0],
        "parts": [(part, disclosures.PARTS[part]) for part in disclosures.parts_of(version)],
        "missing": disclosures.missing(tagger, version),
        "whole": tag.estimate(tagger),
        "free": ledger.available(project),
        "sample": taggers.sample_request(version, first) if first else "",
    }


@login_required
@require_POST
def features_settings(request: HttpRequest, project_id: int) -> HttpResponse:
    """Which embedding and which tagger; nothing is computed yet."""
    project = access.project_or_404(request, project_id, access.LEADS)
    form = FeaturesForm(request.POST, project=project, loop=_loop(project))
    if not form.is_valid():
        return _page(request, project, 422, form=form)
    chosen = {"embedding": form.chosen(), "tagger": form.cleaned_data["tagger"]}
    Loop.objects.update_or_create(project=project, defaults=chosen)
    messages.success(request, _("Saved. Features stay as they are until they are computed anew, or texts come in."))
    return redirect("features", project.pk)


@login_required
@require_POST
def features_run(request: HttpRequest, project_id: int) -> HttpResponse:
    """Tags first where a tagger has something left to say, then the features; else the features at once."""
    project = access.project_or_404(request, project_id, access.LEADS)
    form, tagger = ComputeForm(request.POST), _loop(project).tagger
    if not project.comparisons.exists():
        messages.error(request, _("There is nothing to featurise yet: import comparisons first."))
        return redirect("features", project.pk)
    whole = tag.estimate(tagger) if tagger and tagger.enabled else None
    if not tagger or not whole or not whole.calls or request.POST.get("only") == "features":
        job = featurise.request(project, request.user)  # type: ignore[arg-type]
        return redirect("job", project.pk, job.pk)
    if not form.is_valid() or disclosures.missing(tagger, taggers.current_version(tagger)):
        messages.error(request, _("Confirm what leaves before it tags."))
        return redirect("features", project.pk)
    if not spending.may_cost(form, whole.most, project):
        return _page(request, project, 422, compute=form)
    job = tag.request(tagger, reserve=None if tagger.is_free else whole.most, by=request.user)  # type: ignore[arg-type]
    return redirect("job", project.pk, job.pk)


@login_required
@require_POST
def features_disclosure(request: HttpRequest, project_id: int) -> HttpResponse:
    """A lead's word that prompts may leave for the tagger's endpoint, given or taken back."""
    project = access.project_or_404(request, project_id, access.LEADS)
    tagger = _loop(project).tagger
    version = taggers.current_version(tagger) if tagger else None
    endpoints.answer(request, project, version, _("Confirmed. Nothing is sent before you compute."))
    return redirect("features", project.pk)


@sensitive_post_parameters("api_key")
@sensitive_variables()
@login_required
@require_http_methods(["GET", "POST"])
def tagger_add(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    form = TaggerForm(request.POST if request.method == "POST" else None, project=project, kind=Labeler.TAGGER)
    if made := endpoints.added(request, project, form, taggers.add):
        Loop.objects.update_or_create(project=project, defaults={"tagger": made})
        messages.success(request, _("Added and chosen. Confirm what leaves, then compute."))
        return redirect("features", project.pk)
    context = {"project": project, "tab": "settings", "form": form}
    return render(request, "features/tagger.html", context, status=422 if request.method == "POST" else 200)
