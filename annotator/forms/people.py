from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from annotator.models import Membership, Role


class AddForm(forms.Form):
    """Somebody who has an account, by user name or e-mail address."""

    name = forms.CharField(label=_("User name or e-mail"), max_length=254)
    role = forms.ChoiceField(label=_("Role"), choices=Role.choices, initial=Role.ANNOTATOR)


class InviteForm(forms.Form):
    """Somebody new. An e-mail address may serve as the user name."""

    name = forms.CharField(label=_("User name or e-mail of the new person"), max_length=150)
    display_name = forms.CharField(label=_("Name shown to others"), max_length=150, required=False)
    role = forms.ChoiceField(label=_("Role"), choices=Role.choices, initial=Role.ANNOTATOR)


class RoleForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Membership
        fields = ["role"]
