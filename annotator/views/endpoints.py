"""Endpoints that are asked about prompts (`pipeline.operations`): adding one, and whether texts may leave for it."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from annotator.forms.labelers import LabelerForm
from annotator.models import Labeler, LabelerVersion, Project
from annotator.pipeline import disclosures, keys
from annotator.pipeline.work import StepRefused


@sensitive_variables()
def added(request: HttpRequest, project: Project, form: LabelerForm, add: Callable[..., Labeler]) -> Labeler | None:
    """What the posted form describes, made by `add`; None when it cannot be made, which the form then says."""
    if request.method != "POST" or not form.is_valid():
        return None
    try:
        return add(project, form.cleaned_data["name"], form.price(), form.chosen(), form.key(), by=request.user)
    except StepRefused as refusal:
        form.add_error("base_url", str(refusal))
        return None


def answer(request: HttpRequest, project: Project, version: LabelerVersion | None, confirmed: str) -> None:
    """A lead's word that prompts may leave for the version's endpoint, given or taken back; `confirmed` says what next.

    Nothing is stored when what would leave is no longer what the page showed.
    """
    place = keys.places(version)[0] if version else ""
    if version and request.POST.get("place") == place:
        parts = disclosures.parts_of(version)
        if request.POST.get("answer") == "withdraw":
            disclosures.withdraw(project, place)
            withdrawn = _("Withdrawn. Runs stop at their next call; what was sent cannot be called back.")
            messages.success(request, withdrawn)
            return
        if request.POST.getlist("parts") == parts:
            disclosures.confirm(project, place, parts, request.user)  # type: ignore[arg-type]
            messages.success(request, confirmed)
            return
    messages.error(request, _("What would leave has changed meanwhile. Look again."))
