"""What every order of something with a price is held against: what the lead confirmed, and what the budget has."""

from __future__ import annotations

from decimal import Decimal

from django import forms
from django.utils.translation import gettext as _

from annotator.models import Project
from annotator.pipeline import ledger


def may_cost(form: forms.Form, most: Decimal, project: Project) -> bool:
    """Whether it may cost `most` now; else the form says why not. Its field `most` is what the lead confirmed."""
    if (form.cleaned_data["most"] or Decimal(0)) < most:
        form.add_error(None, _("Meanwhile it can cost more than you confirmed; look again."))
    elif most > ledger.available(project):
        form.add_error(None, _("The budget does not cover it. Raise it in the settings, or order less."))
    return not form.errors
