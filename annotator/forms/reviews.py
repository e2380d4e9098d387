from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _


class Words(forms.Form):
    """One remark: a comment, what its author should look at again, why an answer is contested."""

    words = forms.CharField(max_length=5000, widget=forms.Textarea(attrs={"rows": 3}), label=_("Comment"))


class Decision(forms.Form):
    decision = forms.ChoiceField(choices=[("upheld", _("Uphold")), ("rejected", _("Reject"))])
    reply = forms.CharField(max_length=5000, required=False, widget=forms.Textarea(attrs={"rows": 2}), label=_("Reply"))
