from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from annotator.models import Credential, Project
from annotator.pipeline import push
from annotator.pipeline.keys import Key


class PushForm(forms.Form):
    """Where an export is published, with which token, and the word of the person who publishes it."""

    hub = forms.CharField(label=_("Address of the hub"), max_length=300, initial=push.HUB)
    repository = forms.CharField(
        label=_("Repository"), max_length=200, help_text=_("owner/name; it is made if it is not there yet.")
    )
    token = forms.CharField(
        label=_("A new token"),
        required=False,
        max_length=500,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "spellcheck": "false"}),
        help_text=_("With the right to write. Stored encrypted, never shown again, sent to this hub only."),
    )
    credential = forms.ModelChoiceField(
        queryset=Credential.objects.none(), label=_("A token entered before"), required=False, empty_label=_("none")
    )
    is_public = forms.BooleanField(label=_("Everybody may read it"), required=False)
    confirmed = forms.BooleanField(
        label=_("I may publish this there: the licences and the people named above allow it."),
        error_messages={"required": _("Say that you may publish it, or leave it here.")},
    )

    def __init__(self, data: Any, project: Project) -> None:
        super().__init__(data)
        self.fields["credential"].queryset = project.credentials.order_by("place", "id")  # type: ignore[attr-defined]
        if not project.credentials.exists():
            del self.fields["credential"]

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        typed, stored = cleaned.get("token", ""), cleaned.get("credential")
        if not typed and not stored:
            self.add_error("token", _("Enter a token of the hub."))
        return {**cleaned, "key": Key(typed=typed, stored=None if typed else stored)}
