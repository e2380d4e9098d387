"""Forms of the page Responses: a generator, what it is to write, and which comparisons are made of it."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from annotator.forms.labelers import LabelerForm
from annotator.pipeline import compare, generate

MOST_MODELS = 20
MOST_TEMPERATURES = 10
MOST_SAMPLES = 32


class GeneratorForm(LabelerForm):
    """Models behind one endpoint that write responses. All of them cost the same: for other prices add another."""

    base_url = forms.URLField(
        label=_("Endpoint"),
        max_length=300,
        assume_scheme="https",
        help_text=_("An OpenAI-compatible address, mostly ending in /v1. Prompts are sent there."),
    )
    models = forms.CharField(
        label=_("Models"),
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text=_("As the endpoint calls them, one a line. Each of them answers each prompt."),
    )
    temperatures = forms.CharField(
        label=_("Temperatures"),
        max_length=100,
        initial="0.7",
        help_text=_(
            "From 0 to 2, with spaces between: 0 0.7 1. At 0 a model is asked once, it would say the same again."
        ),
    )
    max_tokens = forms.IntegerField(label=_("Most tokens of a response"), min_value=1, max_value=32_768, initial=1024)
    system = forms.CharField(
        label=_("System prompt"),
        required=False,
        max_length=20_000,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=_("Goes in front of every prompt, before what its own system turn says. It is not shown to people."),
    )
    seed = forms.IntegerField(
        label=_("Seed"),
        required=False,
        min_value=0,
        max_value=2**31 - 1,
        help_text=_("Counts up with each response. Leave it out where the server does not know seeds."),
    )
    concurrency = forms.IntegerField(label=_("Calls at once, at most"), min_value=1, max_value=64, initial=4)
    calls_per_minute = forms.IntegerField(
        label=_("Calls a minute, at most"), min_value=1, max_value=100_000, required=False
    )
    tokens_per_minute = forms.IntegerField(
        label=_("Tokens a minute, at most"), min_value=1000, max_value=100_000_000, required=False
    )
    timeout = forms.FloatField(label=_("Seconds to wait for an answer"), min_value=1, max_value=600, initial=120)

    SECTIONS = (
        (_("Generator"), "", ("name", "base_url", "models"), False),
        (_("Key"), _("Leave it out where the endpoint asks for none."), LabelerForm.KEYS, False),
        (_("How it writes"), "", ("temperatures", "max_tokens", "system", "seed"), False),
        (_("Pace"), "", ("concurrency", "calls_per_minute", "tokens_per_minute", "timeout"), True),
    )
    CHOSEN = ("base_url", "models", "temperatures", "max_tokens", "system", "seed", "concurrency", "timeout")
    IF_GIVEN = ("api_key_env", "calls_per_minute", "tokens_per_minute")

    def clean_base_url(self) -> str:
        return str(self.cleaned_data["base_url"]).rstrip("/")

    def clean_models(self) -> list[str]:
        names = list(dict.fromkeys(line.strip() for line in self.cleaned_data["models"].splitlines() if line.strip()))
        if len(names) > MOST_MODELS or any(len(name) > 200 for name in names):
            raise forms.ValidationError(_("At most 20 models, their names at most 200 characters."))
        return names

    def clean_temperatures(self) -> list[int | float]:
        try:
            given = [float(part) for part in re.split(r"[\s;]+", self.cleaned_data["temperatures"].strip()) if part]
        except ValueError:
            raise forms.ValidationError(_("Numbers from 0 to 2 with spaces between, such as 0 0.7.")) from None
        chosen = sorted({round(value, 3) for value in given if 0 <= value <= 2})
        if not chosen or len(chosen) > MOST_TEMPERATURES or len(chosen) < len(set(given)):
            raise forms.ValidationError(_("Numbers from 0 to 2 with spaces between, such as 0 0.7."))
        return [int(value) if value.is_integer() else value for value in chosen]

    def chosen(self) -> dict[str, Any]:
        given = self.cleaned_data
        named = {name: given[name] for name in self.IF_GIVEN if given.get(name)}
        return {name: given[name] for name in self.CHOSEN} | named


class WriteForm(forms.Form):
    """What a generator is to write now; `most` is what the lead has seen and confirms."""

    scope = forms.ChoiceField(
        label=_("For which prompts"),
        choices=[
            ("trial", _("a few, to see what it writes")),
            ("waiting", _("all that stand in no comparison yet")),
            ("everything", _("all of the project")),
        ],
    )
    number = forms.IntegerField(
        label=_("Responses of each model and temperature"),
        min_value=1,
        max_value=MOST_SAMPLES,
        help_text=_("Those that are there already count, and are not bought again."),
    )
    most = forms.DecimalField(min_value=0, max_digits=14, decimal_places=6, required=False, widget=forms.HiddenInput)

    assert {"trial", "waiting", "everything"} == set(generate.SCOPES)


class CompareForm(forms.Form):
    """Which pairs of a prompt's responses are compared."""

    rule = forms.ChoiceField(label=_("Of each prompt, compare"), choices=list(compare.RULES.items()))
    seed = forms.IntegerField(
        label=_("Seed"),
        min_value=0,
        max_value=2**31 - 1,
        initial=0,
        help_text=_("Draws the pair, and which response is A. The same seed draws the same."),
    )
