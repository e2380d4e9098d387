"""The form of the page “Public sets”: which set, which part of it, how much."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from annotator.pipeline import fetch


class FetchForm(forms.Form):
    name = forms.RegexField(
        fetch.NAME.pattern + r"\Z",
        label=_("Name"),
        max_length=200,
        help_text=_("As on the hub: owner/name, for example allenai/multipref. Capitals count."),
        error_messages={"invalid": _("A set is named owner/name, as on the hub, for example allenai/multipref.")},
    )
    config = forms.CharField(
        label=_("Configuration"),
        required=False,
        max_length=100,
        help_text=_("Where the set has several: one of them, or a folder of the set."),
    )
    split = forms.CharField(
        label=_("Split"),
        required=False,
        max_length=100,
        help_text=_("Empty: the training split."),
    )
    revision = forms.CharField(
        label=_("Revision"),
        required=False,
        max_length=100,
        help_text=_("A branch, tag or commit. Empty: the newest; its commit is written down."),
    )
    limit = forms.IntegerField(
        label=_("Rows at most"),
        required=False,
        min_value=1,
        max_value=100_000_000,
        help_text=_("Empty: all. A few hundred are enough to look at."),
    )

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        for part in ("config", "split", "revision"):
            if given.get(part) and (not fetch.PART.fullmatch(given[part]) or ".." in given[part]):
                self.add_error(part, _("Letters, digits, dots, hyphens and slashes only."))
        if ".." in given.get("name", ""):
            self.add_error("name", _("A set is named owner/name, as on the hub, for example allenai/multipref."))
        return given

    def asked(self) -> fetch.Asked:
        given = {name: value for name, value in self.cleaned_data.items() if value}
        return fetch.Asked(**given)
