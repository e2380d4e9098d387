from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from annotator.models import Labeler, Project
from annotator.pipeline import pairs


class PairsForm(forms.Form):
    """Which labeler scores the responses, and which two of a prompt are then compared."""

    labeler: forms.ModelChoiceField[Labeler] = forms.ModelChoiceField(
        label=_("Scored by"),
        queryset=None,
        empty_label=_("Choose a labeler"),
        help_text=_("Labelers that score a response by itself: models of your own, and the longest or shortest."),
    )
    rule = forms.ChoiceField(label=_("Compare"), choices=list(pairs.RULES.items()), widget=forms.RadioSelect)
    seed = forms.IntegerField(
        label=_("Seed"),
        min_value=0,
        max_value=2**31 - 1,
        initial=0,
        help_text=_("The same seed draws the same responses, and puts the same one on side A."),
    )

    def __init__(self, data: object = None, *, project: Project) -> None:
        super().__init__(data, initial={"rule": "best_worst"})  # type: ignore[arg-type]
        self.fields["labeler"].queryset = pairs.scorers(project)  # type: ignore[attr-defined]
