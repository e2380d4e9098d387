from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from annotator.models import Labeler, Project
from annotator.pipeline import combine, versions
from annotator.pipeline.work import StepRefused

DOMAIN_WORDS = {"safety": _("Safety"), "reasoning": _("Reasoning"), "chat": _("Everything else")}


class EnsembleForm(forms.Form):
    """Which labelers judge as one, and how. `clean` leaves what `combine.setup` makes of it in `chosen`."""

    name = forms.CharField(label=_("Name"), max_length=100, help_text=_("As it appears in plans and exports."))
    method = forms.ChoiceField(
        label=_("How they are combined"),
        choices=[
            (combine.WEIGHTED, _("weights learnt from what people judged")),
            (combine.BY_DOMAIN, _("one of them for each domain")),
            (combine.EQUAL, _("equal weights")),
        ],
        widget=forms.RadioSelect,
        initial=combine.WEIGHTED,
        help_text=_("Equal weights need no people, but one weak member spoils them: prefer learnt weights."),
    )
    members = forms.ModelMultipleChoiceField(
        label=_("Members"),
        queryset=Labeler.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Labelers that read nothing add nothing; two that are much alike hardly more than one."),
    )

    def __init__(self, data: object = None, *, project: Project, labeler: Labeler | None = None, **more: Any) -> None:
        super().__init__(data, **more)  # type: ignore[arg-type]
        self.project = project
        self.chosen: dict[str, Any] = {}
        able = project.labelers.judging().filter(enabled=True).exclude(kind=versions.ENSEMBLE).order_by("id")
        self.fields["members"].queryset = able  # type: ignore[attr-defined]
        for domain, words in DOMAIN_WORDS.items():
            self.fields[domain] = forms.ModelChoiceField(
                queryset=able, required=False, label=_("Judges: %(domain)s") % {"domain": words}
            )
        if labeler:
            del self.fields["name"]

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        domains = {domain: given[domain] for domain in DOMAIN_WORDS if given.get(domain)}
        by_domain = given.get("method") == combine.BY_DOMAIN
        try:
            self.chosen = combine.setup(
                self.project,
                [] if by_domain else list(given.get("members") or ()),
                given.get("method", ""),
                domains if by_domain else {},
            )
        except StepRefused as refusal:
            self.add_error(None, str(refusal))
        return given


class FillForm(forms.Form):
    """What the members should judge first, confirmed with the most each may cost."""

    on = forms.ChoiceField(choices=[("people", _("people")), ("everything", _("everything"))])
    most = forms.DecimalField(min_value=0, max_digits=14, decimal_places=6, required=False)
