from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from annotator.pipeline import external


class MeasureForm(forms.Form):
    """Which reward model is trained, on how many mixtures, and how."""

    model = forms.CharField(
        label=_("Model"),
        max_length=300,
        help_text=_(
            "An encoder or a small language model: a folder of the server that its operator allows, or a repository. "
            "Safetensors only; it gets one output."
        ),
    )
    revision = forms.CharField(
        label=_("Commit"),
        required=False,
        max_length=40,
        help_text=_("40 hexadecimal digits; needed for a repository, because a branch may change."),
    )
    mixtures = forms.IntegerField(
        label=_("Mixtures"),
        initial=12,
        min_value=1,
        max_value=200,
        help_text=_("Of the newest set, far from each other in budget and proxy score. Five are needed to learn from."),
    )
    seeds = forms.IntegerField(
        label=_("Seeds of each"),
        initial=1,
        min_value=1,
        max_value=20,
        help_text=_("Each seed is scored on another fifth of the prompts."),
    )
    epochs = forms.FloatField(label=_("Epochs"), initial=2, min_value=0.1, max_value=50)
    rate = forms.FloatField(
        label=_("Learning rate"),
        initial=2e-5,
        min_value=1e-8,
        max_value=1,
        widget=forms.NumberInput(attrs={"step": "any"}),
    )
    batch = forms.IntegerField(label=_("Rows of a batch"), initial=16, min_value=1, max_value=1024)
    longest = forms.IntegerField(label=_("Longest text in tokens"), initial=1024, min_value=16, max_value=32768)

    FIRST = ("model", "revision", "mixtures", "seeds")

    @property
    def first(self) -> list[forms.BoundField]:
        return [self[name] for name in self.FIRST]

    @property
    def more(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name not in self.FIRST]

    @property
    def has_errors_behind(self) -> bool:
        return any(field.errors for field in self.more)


class ScoresForm(forms.Form):
    """Scores of mixtures that were measured elsewhere."""

    file = forms.FileField(
        label=_("CSV file"),
        help_text=_("Columns mixture and score, if you like seed and name. Rows without a score are left out."),
    )
    name = forms.CharField(
        label=_("What was measured"),
        required=False,
        max_length=49,
        help_text=_("Such as RewardBench; for rows without a name of their own."),
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > external.LARGEST:
            raise forms.ValidationError(_("The file is larger than 5 MB; a row a mixture and seed is enough."))
        return file

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        if name and not external.NAME.fullmatch(name):
            raise forms.ValidationError(
                _("Letters, digits, spaces or . + - _, beginning with a letter or digit."),
            )
        return name
