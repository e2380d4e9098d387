"""Adding a labeler of any kind and editing one: first its kind, then its own form."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_safe

from annotator import access
from annotator.forms import judges
from annotator.forms.judges import JudgeForm
from annotator.forms.labelers import LabelerForm, OwnForm
from annotator.forms.model_labelers import ModelLabelerForm
from annotator.models import Labeler
from annotator.models.labelers import KIND_WORDS
from annotator.pipeline import configure, disclosures, label, versions
from annotator.pipeline.model_fields import FIELDS
from annotator.pipeline.work import StepRefused

# Kinds a lead can add here, each in one sentence; their names are `KIND_WORDS`.
KINDS = {
    versions.JUDGE: gettext_lazy(
        "A language model behind an address reads both responses in both orders and decides."
    ),
    "density_ratio": gettext_lazy(
        "A better and a worse language model: how much more the better one likes a response."
    ),
    "implicit_reward": gettext_lazy(
        "A model after preference tuning beside what it was before: what it learnt to prefer."
    ),
    "contrastive_prompts": gettext_lazy(
        "One model, told once to answer well and once badly: which response fits “well” more."
    ),
    "follow_up": gettext_lazy("How likely a satisfied user's next words are after each response."),
    "reward_model": gettext_lazy("A trained classifier gives each response a number, or several that you weigh."),
}  # fmt: skip
# Kinds that are added by their name alone, and then judge everything by themselves.
OWN_KINDS = {
    "null_relevance": gettext_lazy(
        "Words shared with the prompt, length, little repeated: what every labeler has to beat. Free."
    ),
}


def _form_of(kind: str) -> type[LabelerForm]:
    if kind == versions.JUDGE:
        return JudgeForm
    if kind in OWN_KINDS:
        return OwnForm
    if kind in KINDS and kind in FIELDS:
        return ModelLabelerForm
    raise Http404(kind)


@login_required
@require_safe
def labeler_add(request: HttpRequest, project_id: int) -> HttpResponse:
    """Which kind."""
    project = access.project_or_404(request, project_id, access.LEADS)
    there = set(project.labelers.values_list("kind", flat=True))
    offered = KINDS | {kind: words for kind, words in OWN_KINDS.items() if kind not in there}
    cards = [(kind, KIND_WORDS[kind], words, kind in FIELDS and not settings.MODELS) for kind, words in offered.items()]
    return render(request, "labelers/add.html", {"project": project, "tab": "labelers", "cards": cards})


@sensitive_post_parameters("api_key")
@sensitive_variables()
@login_required
@require_http_methods(["GET", "POST"])
def labeler_new(request: HttpRequest, project_id: int, kind: str) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    make = _form_of(kind)
    preset = request.GET.get("preset", "")
    initial = judges.preset(preset, project) if kind == versions.JUDGE else {"preset": preset} if preset else {}
    form = make(request.POST if request.method == "POST" else None, project=project, kind=kind, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            name, price = form.cleaned_data["name"], form.price()
            made = configure.add(project, kind, name, price, form.chosen(), form.key(), by=request.user)  # type: ignore[arg-type]
        except StepRefused as refusal:
            form.add_error(_blamed(form), str(refusal))
        else:
            if kind in OWN_KINDS:
                return redirect("run", project.pk, label.request_run(made, scope="everything", by=request.user).pk)  # type: ignore[arg-type]
            messages.success(request, _("Added. Try it on a few comparisons before you trust it."))
            return _next_step(made)
    context = {
        "project": project,
        "tab": "labelers",
        "form": form,
        "title": KIND_WORDS[kind],
        "words": (KINDS | OWN_KINDS)[kind],
        "is_own": kind in OWN_KINDS,
        "presets": _presets(kind, preset),
    }
    status = 422 if request.method == "POST" else 200
    return render(request, "labelers/new.html", context, status=status)


def _presets(kind: str, chosen: str) -> list[dict[str, Any]]:
    """Ways to begin with this kind: what a link sets, in words."""
    words: dict[str, Any] = dict(judges.PRESET_WORDS) if kind == versions.JUDGE else {}
    if kind in FIELDS:
        offered = next((field.choices for field in FIELDS[kind] if field.name == "preset"), ())
        words = {key: f"{key}: {label}" for key, label in offered}
    return [{"key": key, "words": said, "is_here": key == chosen} for key, said in words.items()]


@sensitive_post_parameters("api_key")
@sensitive_variables()
@login_required
@require_http_methods(["GET", "POST"])
def labeler_edit(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    """The same form with what is in use now, or with the candidate that waits."""
    project = access.project_or_404(request, project_id, access.LEADS)
    chosen = get_object_or_404(project.labelers.judging().select_related("project"), pk=labeler_id)
    if chosen.kind not in KINDS:
        messages.error(request, _("There is nothing to edit in a labeler of this kind."))
        return redirect("labeler", project.pk, chosen.pk)
    version = versions.candidate(chosen) or versions.in_use(chosen)
    form = _form_of(chosen.kind)(
        request.POST if request.method == "POST" else None,
        project=project,
        kind=chosen.kind,
        labeler=chosen,
        initial=version.parameters if version else {},
    )
    if request.method == "POST" and form.is_valid():
        try:
            made = configure.edit(chosen, form.chosen(), form.key(), by=request.user)  # type: ignore[arg-type]
        except StepRefused as refusal:
            form.add_error(_blamed(form), str(refusal))
        else:
            messages.success(request, _edited(made.accepted_at is None))
            return _next_step(chosen)
    context = {
        "project": project,
        "tab": "labelers",
        "form": form,
        "labeler": chosen,
        "title": chosen.kind_words,
        "has_judged": chosen.versions.filter(rater__judgments__isnull=False).exists(),
    }
    status = 422 if request.method == "POST" else 200
    return render(request, "labelers/edit.html", context, status=status)


def _edited(is_candidate: bool) -> str:
    if is_candidate:
        return _("A new version waits: let it judge what people have judged, compare, then accept or discard it.")
    return _("Saved. This version is in use from now on.")


def _blamed(form: LabelerForm) -> str | None:
    """Where to say what was refused: mostly the address."""
    return "base_url" if "base_url" in form.fields else None


def _next_step(labeler: Labeler) -> HttpResponse:
    """What leaves has to be confirmed before anything else can be done."""
    step = "labeler_disclosure" if disclosures.missing(labeler, _newest(labeler)) else "labeler"
    return redirect(step, labeler.project_id, labeler.pk)


def _newest(labeler: Labeler) -> Any:
    return versions.candidate(labeler) or versions.in_use(labeler)
