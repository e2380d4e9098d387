"""The form of an LLM judge: where it is, what it is asked, how it answers, how fast it may be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from annotator.forms.labelers import LabelerForm
from annotator.models import Labeler, Project
from annotator.pipeline import configure

# Ways to begin, each with what it sets; a lead changes the rest.
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {},
    "critique": {"variant": "critique"},
    "attributes": {"structured": "json"},
}
PRESET_WORDS = {
    "quick": _("Quick verdict: one letter, with its probability. The cheapest."),
    "critique": _("Critique first: it writes what is wrong with each response, then decides."),
    "attributes": _("Attributes: it also rates each response, on scales such as helpfulness 0 to 4."),
}
# What a critique, a reference or questions need to be more than a stump.
ROOM = 64


class JudgeForm(LabelerForm):
    base_url = forms.URLField(
        label=_("Endpoint"),
        max_length=300,
        assume_scheme="https",
        help_text=_("An OpenAI-compatible address, mostly ending in /v1. Texts of comparisons are sent there."),
    )
    model = forms.CharField(label=_("Model"), max_length=200, help_text=_("As the endpoint calls it."))
    variant = forms.ChoiceField(
        label=_("Before it decides"),
        choices=[
            ("plain", _("nothing: it decides at once")),
            ("critique", _("it criticises both responses")),
            ("reference", _("it writes an answer of its own")),
            ("questions", _("it writes questions that a good answer has to pass")),
        ],
        initial="plain",
    )
    attributes = forms.MultipleChoiceField(
        label=_("Also rate each response on"), required=False, widget=forms.CheckboxSelectMultiple
    )
    attribute_calls = forms.ChoiceField(
        label=_("Ratings are asked for"),
        choices=[("both", _("both responses in one call, in both orders")), ("each", _("each response alone"))],
        initial="both",
    )
    ratings_only = forms.BooleanField(label=_("Decide by the ratings alone, without a verdict"), required=False)
    by_criterion = forms.BooleanField(
        label=_("Judge by each comparison's own criterion, where it has one"), required=False
    )
    exemplar_pool = forms.IntegerField(
        label=_("Known answers it may be shown"),
        min_value=0,
        max_value=500,
        initial=0,
        help_text=_("They are kept with the version and leave for the endpoint. 0: none."),
    )
    exemplar_count = forms.IntegerField(
        label=_("Of these, with each comparison"), min_value=1, max_value=8, initial=2, help_text=_("The most alike.")
    )
    tools = forms.MultipleChoiceField(
        label=_("Checked for it beforehand"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        choices=[("calculator", _("sums in the responses")), ("code", _("code in the responses is run, sealed off"))],
    )
    samples = forms.IntegerField(
        label=_("Answers in each order"), min_value=1, max_value=16, initial=1, help_text=_("Each costs as much again.")
    )
    disagreement = forms.ChoiceField(
        label=_("When the two orders name different sides"),
        choices=[
            ("mean", _("the mean of both probabilities decides")),
            ("tie", _("it is a tie")),
            ("abstain", _("it says nothing")),
        ],
        initial="mean",
    )
    temperature = forms.FloatField(label=_("Temperature"), min_value=0, max_value=2, initial=0)
    max_tokens = forms.IntegerField(
        label=_("Most tokens of an answer"),
        min_value=1,
        max_value=32_768,
        required=False,
        help_text=_("Empty: 8 for a letter, 1024 where it writes first. They bound the price."),
    )
    logprobs = forms.BooleanField(
        label=_("Ask for log-probabilities"),
        required=False,
        initial=True,
        help_text=_("Better verdicts; leave it out where the server refuses."),
    )
    structured = forms.ChoiceField(
        label=_("Structured output"),
        choices=[
            ("off", _("off: the answer is read as text")),
            ("choice", _("only a verdict (vLLM and servers that know structured_outputs)")),
            ("json", _("JSON by a schema (response_format)")),
        ],
        initial="off",
    )
    concurrency = forms.IntegerField(
        label=_("Calls at once, at most"), min_value=1, max_value=64, initial=4, help_text=_("Fewer when it refuses.")
    )
    calls_per_minute = forms.IntegerField(
        label=_("Calls a minute, at most"), min_value=1, max_value=100_000, required=False
    )
    tokens_per_minute = forms.IntegerField(
        label=_("Tokens a minute, at most"),
        min_value=1000,
        max_value=100_000_000,
        required=False,
        help_text=_("Empty: no limit but the server's own."),
    )
    timeout = forms.FloatField(label=_("Seconds to wait for an answer"), min_value=1, max_value=600, initial=60)

    SECTIONS = (
        (_("Who judges"), "", ("name", "base_url", "model"), False),
        (_("Key"), _("Leave it out where the endpoint asks for none."), LabelerForm.KEYS, False),
        (
            _("What it is asked"),
            _("The question of this project's protocol and the guidelines, as they are now. Both orders are asked."),
            ("variant", "attributes", "attribute_calls", "ratings_only", "by_criterion"),
            False,
        ),
        (
            _("Examples and checks"),
            "",
            ("exemplar_pool", "exemplar_count", "tools"),
            True,
        ),
        (
            _("How it answers"),
            "",
            ("structured", "logprobs", "samples", "temperature", "max_tokens", "disagreement"),
            False,
        ),
        (_("Pace"), "", ("concurrency", "calls_per_minute", "tokens_per_minute", "timeout"), True),
    )
    # Left out of the parameters at these values, so that a judge without them keeps its version.
    _DEFAULTS: Mapping[str, Any] = {
        "variant": "plain",
        "attributes": [],
        "attribute_calls": "both",
        "by_criterion": False,
        "exemplar_pool": 0,
        "tools": [],
        "samples": 1,
        "disagreement": "mean",
        "structured": "off",
        "max_tokens": None,
        "calls_per_minute": None,
        "tokens_per_minute": None,
        "timeout": 60.0,
    }
    _ALWAYS = ("base_url", "model", "api_key_env", "temperature", "concurrency", "logprobs")

    def __init__(
        self,
        data: object = None,
        *,
        project: Project,
        kind: str,
        labeler: Labeler | None = None,
        initial: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(data, project=project, kind=kind, labeler=labeler, initial=_shown(initial or {}))
        self.offered = {each["key"]: each for each in configure.attributes(project)}
        self.fields["attributes"].choices = [  # type: ignore[attr-defined]
            (key, f"{each['label']} ({each['levels'][0][0]}–{each['levels'][-1][0]})")
            for key, each in self.offered.items()
        ]

    def clean_base_url(self) -> str:
        return str(self.cleaned_data["base_url"]).rstrip("/")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("variant", "plain") != "plain" and (cleaned.get("max_tokens") or ROOM) < ROOM:
            words = _("An answer that does more than decide needs room: give at least %(n)s tokens.")
            self.add_error("max_tokens", words % {"n": ROOM})
        if cleaned.get("samples", 1) > 1 and not cleaned.get("temperature", 1):
            self.add_error("temperature", _("At temperature 0 every answer is the same: give more, or ask once."))
        if cleaned.get("ratings_only") and not cleaned.get("attributes"):
            self.add_error("ratings_only", _("Choose above what it is to rate."))
        return cleaned

    def chosen(self) -> dict[str, Any]:
        given = self.cleaned_data
        kept = {name: given[name] for name in self._ALWAYS}
        kept |= {name: given[name] for name, usual in self._DEFAULTS.items() if given[name] != usual}
        if "attributes" in kept:
            kept["attributes"] = [self.offered[key] for key in kept["attributes"]]
        if given["ratings_only"]:
            kept["pairwise"] = False
        if "exemplar_pool" in kept:
            kept["exemplar_count"] = given["exemplar_count"]
        return kept


def preset(name: str, project: Project) -> dict[str, Any]:
    """What a preset sets; empty for one there is not."""
    chosen = dict(PRESETS.get(name, {}))
    if name == "attributes":
        chosen["attributes"] = configure.attributes(project)
    return chosen


def _shown(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A version's parameters as the form's fields show them."""
    shown = dict(parameters)
    if "attributes" in shown:
        shown["attributes"] = [each["key"] for each in shown["attributes"]]
    if "exemplars" in shown:
        shown["exemplar_pool"] = len(shown["exemplars"])
    shown["ratings_only"] = not shown.get("pairwise", True)
    if shown.pop("constrain", False):
        shown["structured"] = "choice"
    return shown
