from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from annotator.models import Dataset


class KeepForm(forms.Form):
    """The name under which an export is kept as the first version of a data set."""

    name = forms.CharField(label=_("Name of the data set"), max_length=100)


class Pair(forms.Form):
    """Two versions of one data set, the older one first."""

    before = forms.TypedChoiceField(label=_("From version"), coerce=int)
    after = forms.TypedChoiceField(label=_("to version"), coerce=int)

    def __init__(self, data: object, dataset: Dataset) -> None:
        super().__init__(data)  # type: ignore[arg-type]
        numbers = dataset.versions.filter(completed_at__isnull=False).order_by("version")
        self.numbers = list(numbers.values_list("version", flat=True))
        choices = [(number, str(number)) for number in self.numbers]
        for name in ("before", "after"):
            self.fields[name].choices = choices  # type: ignore[attr-defined]
        if len(self.numbers) > 1:
            self.initial = {"before": self.numbers[-2], "after": self.numbers[-1]}

    @property
    def is_offered(self) -> bool:
        """Whether there are two versions to compare."""
        return len(self.numbers) > 1
