"""Forms of the page Features: which embedding, which tagger; and a new tagger."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from annotator.forms.labelers import LabelerForm
from annotator.models import Labeler, Loop, Project
from annotator.pipeline import models
from annotator.pipeline.work import StepRefused


class FeaturesForm(forms.Form):
    """What features are made with from the next computation on."""

    TFIDF, SENTENCES = "tfidf", "sentences"

    embedding = forms.ChoiceField(
        label=_("Embedding of texts"),
        choices=[
            (TFIDF, _("TF-IDF with SVD: no model, any machine")),
            (SENTENCES, _("A model of sentences, on workers that may hold one")),
        ],
        widget=forms.RadioSelect,
    )
    name = forms.CharField(
        label=_("Model"),
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"spellcheck": "false"}),
        help_text=_(
            "A folder of the server that its operator allows, or a repository (owner/name) that sentence-transformers "
            "reads; safetensors only."
        ),
    )
    revision = forms.CharField(
        label=_("Commit"),
        required=False,
        max_length=40,
        widget=forms.TextInput(attrs={"spellcheck": "false"}),
        help_text=_("40 hexadecimal digits; needed for a repository, because a branch may change."),
    )
    tagger = forms.ModelChoiceField(
        queryset=Labeler.objects.none(),
        label=_("Tags of prompts"),
        required=False,
        empty_label=_("by the prompt's words, without a model"),
    )

    def __init__(self, data: object = None, *, project: Project, loop: Loop) -> None:
        initial = {
            "embedding": self.SENTENCES if loop.embedding else self.TFIDF,
            "name": loop.embedding.get("name", ""),
            "revision": loop.embedding.get("revision", ""),
            "tagger": loop.tagger_id,
        }
        super().__init__(data, initial=initial)  # type: ignore[arg-type]
        offered = project.labelers.filter(kind=Labeler.TAGGER, enabled=True)
        self.fields["tagger"].queryset = offered.order_by("id")  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        super().clean()
        cleaned = self.cleaned_data
        if cleaned.get("embedding") != self.SENTENCES:
            return cleaned
        try:
            cleaned["model"] = models.checked({"name": cleaned.get("name"), "revision": cleaned.get("revision")})
        except StepRefused as refusal:
            self.add_error("name", str(refusal))
        return cleaned

    def chosen(self) -> dict[str, str]:
        """As `Loop.embedding` holds it: {} for TF-IDF."""
        return dict(self.cleaned_data.get("model", {}))


class TaggerForm(LabelerForm):
    """A model behind an endpoint that says what prompts are like."""

    base_url = forms.URLField(
        label=_("Endpoint"),
        max_length=300,
        assume_scheme="https",
        help_text=_("An OpenAI-compatible address, mostly ending in /v1. Prompts are sent there."),
    )
    model = forms.CharField(label=_("Model"), max_length=200, help_text=_("As the endpoint calls it."))
    max_tokens = forms.IntegerField(
        label=_("Most tokens of an answer"),
        min_value=64,
        max_value=32_768,
        initial=512,
        help_text=_("One answer holds all eight tags; a model that thinks first needs more."),
    )
    structured = forms.BooleanField(
        label=_("Hold it to the form of the answer"),
        required=False,
        initial=True,
        help_text=_("By a JSON schema. An endpoint that knows none is asked without, at no cost."),
    )
    concurrency = forms.IntegerField(label=_("Calls at once, at most"), min_value=1, max_value=64, initial=4)
    calls_per_minute = forms.IntegerField(
        label=_("Calls a minute, at most"), min_value=1, max_value=100_000, required=False
    )
    tokens_per_minute = forms.IntegerField(
        label=_("Tokens a minute, at most"), min_value=1000, max_value=100_000_000, required=False
    )
    timeout = forms.FloatField(label=_("Seconds to wait for an answer"), min_value=1, max_value=600, initial=60)

    SECTIONS = (
        (_("Tagger"), "", ("name", "base_url", "model"), False),
        (_("Key"), _("Leave it out where the endpoint asks for none."), LabelerForm.KEYS, False),
        (_("How it answers"), "", ("max_tokens", "structured"), False),
        (_("Pace"), "", ("concurrency", "calls_per_minute", "tokens_per_minute", "timeout"), True),
    )
    CHOSEN = ("base_url", "model", "max_tokens", "structured", "concurrency", "timeout")
    IF_GIVEN = ("api_key_env", "calls_per_minute", "tokens_per_minute")

    def clean_base_url(self) -> str:
        return str(self.cleaned_data["base_url"]).rstrip("/")

    def chosen(self) -> dict[str, Any]:
        given = self.cleaned_data
        named = {name: given[name] for name in self.IF_GIVEN if given.get(name)}
        return {name: given[name] for name in self.CHOSEN} | named


class ComputeForm(forms.Form):
    """`most`: the price that the lead has seen and confirms."""

    most = forms.DecimalField(min_value=0, max_digits=14, decimal_places=6, required=False, widget=forms.HiddenInput)
