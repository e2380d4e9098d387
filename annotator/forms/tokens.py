from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from annotator.models import Project, Token, User

LASTS = {
    "30": _("30 days"),
    "90": _("90 days"),
    "365": _("a year"),
    "": _("until it is revoked"),
}


class TokenForm(forms.Form):
    """What a program may do, where, and for how long. `lasts` of the cleaned data is a timedelta, or None."""

    name = forms.CharField(
        label=_("Name"),
        max_length=100,
        help_text=_("What uses it, so that you know later what stops when you revoke it."),
    )
    scopes = forms.MultipleChoiceField(
        label=_("It may"),
        choices=Token.Scope.choices,
        initial=[Token.Scope.READ],
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Never more than you may yourself in a project at that moment."),
    )
    project = forms.ModelChoiceField(
        label=_("In"), queryset=Project.objects.none(), required=False, empty_label=_("all projects of mine")
    )
    lasts = forms.ChoiceField(label=_("Valid for"), choices=list(LASTS.items()), required=False, initial="90")

    def __init__(self, data: Any, user: User) -> None:
        super().__init__(data)
        self.fields["project"].queryset = Project.objects.of(user).order_by("name")  # type: ignore[attr-defined]

    def clean_lasts(self) -> timedelta | None:
        days = self.cleaned_data["lasts"]
        return timedelta(days=int(days)) if days else None
