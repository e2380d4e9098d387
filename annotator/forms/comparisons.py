from __future__ import annotations

from collections.abc import Sequence

from django import forms
from django.utils.translation import gettext_lazy as _


class ComparisonFilter(forms.Form):
    """Which comparisons to list. Every field may be empty; nonsense in the address is left out, not an error page."""

    q = forms.CharField(label=_("Words of the prompt, or an id"), required=False, max_length=200)
    source = forms.ChoiceField(label=_("Goes to"), required=False)
    judged = forms.ChoiceField(
        label=_("Label"),
        required=False,
        choices=[("", _("any")), ("yes", _("has one")), ("no", _("has none")), ("stuck", _("judged, but has none"))],
    )
    votes = forms.ChoiceField(
        label=_("Votes"),
        required=False,
        choices=[("", _("any")), ("disagree", _("people disagree")), ("waiting", _("waits for people"))],
    )
    people = forms.ChoiceField(
        label=_("People"),
        required=False,
        choices=[("", _("any")), ("yes", _("have judged it")), ("no", _("have not judged it"))],
    )
    not_judged_by = forms.TypedChoiceField(label=_("Not judged by"), required=False, coerce=int, empty_value=None)
    flagged = forms.BooleanField(label=_("flagged"), required=False)
    control = forms.BooleanField(label=_("random control"), required=False)
    # The plan whose routes are meant, by number; the approved one when empty.
    plan = forms.IntegerField(required=False, min_value=1, widget=forms.HiddenInput)
    # Comparisons that this rater judged, by the rater's number.
    rater = forms.IntegerField(required=False, min_value=1, widget=forms.HiddenInput)
    after = forms.IntegerField(required=False, min_value=0, widget=forms.HiddenInput)

    def __init__(self, data: object, sources: Sequence[str], labelers: Sequence[tuple[int, str]] = ()) -> None:
        """`labelers`: (id, name) of those that may be asked for."""
        super().__init__(data)  # type: ignore[arg-type]
        words = {"people": _("people")}
        self.fields["source"].choices = [  # type: ignore[attr-defined]
            ("", _("any")),
            *((name, words.get(name, name)) for name in sources),
        ]
        self.fields["not_judged_by"].choices = [("", _("any")), *labelers]  # type: ignore[attr-defined]
