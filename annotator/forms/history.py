from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

ANSWERS = [
    ("", _("Any")),
    ("a", _("A was better")),
    ("b", _("B was better")),
    ("tie", _("Tie")),
    ("neither_valid", _("Neither valid")),
    ("cannot_judge", _("Cannot judge")),
]


class HistoryForm(forms.Form):
    """Which own judgments are listed; A and B are those that were on screen."""

    since = forms.DateField(label=_("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label=_("To"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
    answer = forms.ChoiceField(label=_("Answer"), required=False, choices=ANSWERS)
    flagged = forms.BooleanField(label=_("Reported"), required=False)
    returned = forms.BooleanField(label=_("Sent back"), required=False)
    comments = forms.BooleanField(label=_("With comments"), required=False)
