from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from annotator.forms.comparisons import ComparisonFilter
from labelers.domains import DOMAINS

# Fields of the comparisons page that make no sense for a run.
NOT_HERE = ("after", "rater")


class RunFilter(ComparisonFilter):
    """On what a labeler is to run: a named choice, or any filter of the comparisons page, with the texts' own kind."""

    on = forms.ChoiceField(
        label=_("Comparisons"),
        choices=[
            ("trial", _("a few, to try it")),
            ("people", _("all that people have judged")),
            ("filter", _("those that fit the filter below")),
            ("everything", _("everything")),
        ],
    )
    domain = forms.ChoiceField(
        label=_("Domain, by its words"),
        required=False,
        choices=[("", _("any")), *((domain, domain) for domain in DOMAINS)],
    )
    language = forms.ChoiceField(
        label=_("Language of the prompt"),
        required=False,
        choices=[("", _("any")), ("english", _("English")), ("other", _("another language"))],
    )
    most = forms.DecimalField(min_value=0, max_digits=14, decimal_places=6, required=False, widget=forms.HiddenInput)

    def __init__(
        self, data: object, sources: Sequence[str], labelers: Sequence[tuple[int, str]], *, has_languages: bool
    ) -> None:
        super().__init__(data, sources, labelers)
        for name in NOT_HERE:
            del self.fields[name]
        if not has_languages:
            del self.fields["language"]

    def filter(self) -> dict[str, Any]:
        """What `scope.of_filter` takes, as JSON; empty unless the filter was chosen."""
        given = self.cleaned_data
        if given.get("on") != "filter":
            return {}
        return {name: value for name, value in given.items() if value and name not in ("on", "most")}

    @property
    def filters(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name not in ("on", "most", "plan")]
