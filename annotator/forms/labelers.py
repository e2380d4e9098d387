from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from django import forms
from django.conf import settings
from django.core.validators import MaxValueValidator
from django.utils.translation import gettext_lazy as _

from annotator.forms.prices import MOST_OF_A_LABELER
from annotator.models import Labeler, Project, Route
from labelers.base import Prices

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as StrPromise


def _price(label: StrPromise, help_text: StrPromise | str = "") -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        help_text=help_text,
        min_value=Decimal(0),
        max_value=MOST_OF_A_LABELER,
        max_digits=12,
        decimal_places=6,
        initial=Decimal(0),
    )


class JudgeForm(forms.Form):
    """A new LLM judge. Its key is named, never typed: it lies in the operator's environment."""

    name = forms.CharField(label=_("Name"), max_length=100, help_text=_("As it appears in plans and exports."))
    base_url = forms.URLField(
        label=_("Endpoint"),
        max_length=300,
        assume_scheme="https",
        help_text=_("An OpenAI-compatible address, mostly ending in /v1. Texts of comparisons are sent there."),
    )
    model = forms.CharField(label=_("Model"), max_length=200)
    api_key_env = forms.ChoiceField(
        label=_("Key"),
        required=False,
        help_text=_("Variables the operator has allowed (LABELER_KEYS). The key itself is never stored."),
    )
    price_per_million_input = _price(_("Price of a million input tokens"))
    price_per_million_output = _price(_("Price of a million output tokens"))
    price_per_call = _price(_("Price of a call"), _("Each comparison is asked twice, once in each order."))
    max_tokens = forms.IntegerField(label=_("Most tokens of an answer"), min_value=1, max_value=4096, initial=8)
    temperature = forms.FloatField(label=_("Temperature"), min_value=0, max_value=2, initial=0)
    concurrency = forms.IntegerField(label=_("Calls at once"), min_value=1, max_value=64, initial=4)
    logprobs = forms.BooleanField(
        label=_("Ask for log-probabilities"),
        required=False,
        initial=True,
        help_text=_("Better verdicts; leave it out where the server refuses."),
    )
    constrain = forms.BooleanField(
        label=_("Allow only a verdict as answer"),
        required=False,
        help_text=_("For vLLM and servers that know structured_outputs."),
    )

    CHOSEN = ("base_url", "model", "api_key_env", "max_tokens", "temperature", "concurrency", "logprobs", "constrain")

    def __init__(self, data: object = None, *, project: Project) -> None:
        super().__init__(data)  # type: ignore[arg-type]
        self.project = project
        keys = [(name, f"{name} → {host}") for name, host in sorted(settings.LABELER_KEYS.items())]
        self.fields["api_key_env"].choices = [("", _("no key")), *keys]  # type: ignore[attr-defined]

    def clean_name(self) -> str:
        name = self.cleaned_data["name"]
        if name.lower() == Route.PEOPLE:
            raise forms.ValidationError(_("“people” is the name of people in plans; choose another."))
        if self.project.labelers.filter(name=name).exists():
            raise forms.ValidationError(_("This project already has a labeler of that name."))
        return str(name)

    def clean_base_url(self) -> str:
        return str(self.cleaned_data["base_url"]).rstrip("/")

    def chosen(self) -> dict[str, object]:
        return {name: self.cleaned_data[name] for name in self.CHOSEN}

    def price(self) -> Prices:
        given = self.cleaned_data
        return Prices(given["price_per_call"], given["price_per_million_input"], given["price_per_million_output"])


class PricesForm(forms.ModelForm):  # type: ignore[type-arg]
    """What a labeler costs from now on; calls that were made keep their cost."""

    class Meta:
        model = Labeler
        fields = ["price_per_call", "price_per_million_input", "price_per_million_output"]

    def __init__(self, data: object = None, *, instance: Labeler) -> None:
        names = self._meta.fields or ()
        initial = {name: f"{getattr(instance, name).normalize():f}" for name in names}
        super().__init__(data, instance=instance, initial=initial)  # type: ignore[arg-type]
        if instance.kind == "recorded":
            self.fields["price_per_call"].label = _("Price of one comparison's verdict")
            del self.fields["price_per_million_input"], self.fields["price_per_million_output"]
        for field in self.fields.values():
            field.min_value = Decimal(0)  # type: ignore[attr-defined]
            field.validators += [_not_negative, MaxValueValidator(MOST_OF_A_LABELER)]


def _not_negative(value: Decimal) -> None:
    if value < 0:
        raise forms.ValidationError(_("A price cannot be negative."))


class RunForm(forms.Form):
    """A confirmed run: on what, and the most it may cost."""

    on = forms.ChoiceField(
        choices=[("trial", _("trial")), ("people", _("people")), ("everything", _("everything"))],
        widget=forms.HiddenInput,
    )
    most = forms.DecimalField(
        label=_("The most it may cost"), min_value=Decimal(0), max_digits=14, decimal_places=6, required=False
    )
