from __future__ import annotations

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotator.models import Webhook
from annotator.pipeline import webhooks
from labelers.endpoint import EndpointRefused


class WebhookForm(forms.Form):
    """Where to call, and when. The host is looked up at once, so that a slip of the pen is seen here."""

    url = forms.URLField(
        label=gettext_lazy("Address"),
        max_length=500,
        assume_scheme="https",
        widget=forms.URLInput(attrs={"autocomplete": "off", "placeholder": "https://"}),
        help_text=gettext_lazy("It gets a signed POST with JSON: ids, counts and links, no texts."),
    )
    events = forms.MultipleChoiceField(
        label=gettext_lazy("Tell it when"),
        choices=Webhook.Event.choices,
        initial=list(Webhook.Event.values),
        widget=forms.CheckboxSelectMultiple,
    )

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        try:
            webhooks.check(url)
        except EndpointRefused as refusal:
            raise forms.ValidationError(_("This address cannot be used: %(reason)s") % {"reason": refusal}) from None
        return url
