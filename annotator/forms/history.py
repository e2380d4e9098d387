from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

ANSWERS = [
    ("", _("any")),
    ("a", _("A was better")),
    ("b", _("B was better")),
    ("tie", _("tie")),
    ("neither_valid", _("neither valid")),
    ("cannot_judge", _("cannot judge")),
]


class HistoryForm(forms.Form):
    """Which own judgments are listed; A and B are those that were on screen."""

    since = forms.DateField(label=_("from"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label=_("to"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
    answer = forms.ChoiceField(label=_("answer"), required=False, choices=ANSWERS)
    flagged = forms.BooleanField(label=_("reported"), required=False)
    returned = forms.BooleanField(label=_("sent back"), required=False)
    comments = forms.BooleanField(label=_("with comments"), required=False)
