from __future__ import annotations

from decimal import Decimal

from django import forms
from django.utils.translation import gettext_lazy as _


class DecisionForm(forms.Form):
    """What becomes of a candidate. `confirmed`: all the same, whatever speaks against it."""

    version = forms.IntegerField(min_value=1, max_value=2**63 - 1)
    decision = forms.ChoiceField(choices=[("accept", _("Use it")), ("discard", _("Put it aside"))])
    confirmed = forms.BooleanField(required=False)


class MeasureForm(forms.Form):
    """A confirmed measuring: of what, and the most it may cost."""

    WHAT = [("candidate", _("candidate")), ("checks", _("checks")), ("candidate_checks", _("the candidate's checks"))]

    what = forms.ChoiceField(choices=WHAT, widget=forms.HiddenInput)
    most = forms.DecimalField(
        label=_("The most it may cost"), min_value=Decimal(0), max_digits=14, decimal_places=6, required=False
    )
