"""Asking for a batch file, and bringing back its results."""

from __future__ import annotations

from decimal import Decimal

from django import forms
from django.utils.translation import gettext_lazy as _

# OpenAI takes 50,000 requests in a file, and every comparison is at least two.
MOST_COMPARISONS = 25_000
MOST_BYTES = 2**30


class FileForm(forms.Form):
    on = forms.ChoiceField(
        label=_("What"),
        choices=[("people", _("what people have judged")), ("everything", _("everything"))],
        help_text=_("Of that, what it has not judged yet."),
    )
    number = forms.IntegerField(
        label=_("Comparisons, at most"), min_value=1, max_value=MOST_COMPARISONS, initial=MOST_COMPARISONS
    )
    factor = forms.DecimalField(
        label=_("Price, as a share of the usual one"),
        min_value=Decimal(0),
        max_value=Decimal(1),
        max_digits=4,
        decimal_places=3,
        initial=Decimal("0.5"),
        help_text=_("Batch interfaces mostly cost half."),
    )
    most = forms.DecimalField(
        label=_("The most it may cost"), min_value=Decimal("0.01"), max_digits=14, decimal_places=6
    )

    def __init__(self, data: object = None, *, is_free: bool) -> None:
        super().__init__(data)  # type: ignore[arg-type]
        self.is_free = is_free
        if is_free:
            del self.fields["factor"], self.fields["most"]

    def clean(self) -> dict[str, object]:
        cleaned = {**(super().clean() or {}), **self.cleaned_data}
        return {**cleaned, "factor": Decimal(1), "most": Decimal(0)} if self.is_free else cleaned


class ResultsForm(forms.Form):
    file = forms.FileField(label=_("Results"), widget=forms.FileInput(attrs={"accept": ".jsonl"}))

    def clean_file(self) -> object:
        file = self.cleaned_data["file"]
        if file.size > MOST_BYTES:
            raise forms.ValidationError(_("The file is larger than 1 GiB: cut it in two."))
        return file
