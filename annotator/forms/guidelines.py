from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from annotator.models import Guidelines

# As long as a long book chapter; beyond it nobody reads them and the differences become slow to find.
LONGEST = 100_000


class GuidelinesForm(forms.ModelForm):  # type: ignore[type-arg]
    """A new version of the guidelines, written from version `base`."""

    base = forms.IntegerField(widget=forms.HiddenInput)

    class Meta:
        model = Guidelines
        fields = ["text", "change_note", "must_acknowledge"]
        labels = {"text": _("Guidelines, in Markdown"), "change_note": _("What changed, for annotators")}
        help_texts = {
            "change_note": _("They see it with the words that changed."),
            "must_acknowledge": _("Then nobody gets another comparison before they have read it."),
        }
        widgets = {"text": forms.Textarea(attrs={"rows": 22}), "change_note": forms.Textarea(attrs={"rows": 2})}

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["text"].strip = False  # type: ignore[attr-defined]  # the text of a version is kept as it is

    def clean_text(self) -> str:
        """With the line ends that texts from files have: a browser sends others, which would be a change everywhere."""
        text = str(self.cleaned_data["text"]).replace("\r\n", "\n").replace("\x00", "")
        if len(text) > LONGEST:
            raise forms.ValidationError(_("at most %(n)d characters") % {"n": LONGEST})
        return text


class ReadForm(forms.Form):
    """Which version somebody says they have read."""

    version = forms.IntegerField(min_value=1, max_value=2**31 - 1)


class VersionsForm(forms.Form):
    """Which version to show, or which two to compare."""

    version = forms.IntegerField(required=False, min_value=1, max_value=2**31 - 1)
    old = forms.IntegerField(required=False, min_value=1, max_value=2**31 - 1)
    new = forms.IntegerField(required=False, min_value=1, max_value=2**31 - 1)
