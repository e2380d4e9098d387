from __future__ import annotations

from typing import Any

from django import forms
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _

from annotator import protocols
from annotator.formats import WRITERS
from annotator.formats.source import FormatUnfit, Options, Writer
from annotator.formats.tables import CONTAINERS
from annotator.models import Project, Recipe

FILE_TYPES = {"parquet": _("Parquet"), "jsonl": _("JSON Lines"), "jsonl.gz": _("JSON Lines, gzip")}
# The names of `Options`; a format says in `heeds` which of them it reads.
OPTIONS = ("ties", "neither", "ai", "margin", "labels", "prompt", "validation", "seed")
# A format may fit with another choice than the default alone: KTO takes pairs where nobody rates, when it is asked to.
CHANCES = (Options(), Options(labels="pairs"))


def fitting(project: Project) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(name, title) of the formats that the project's protocol can fill, and (title, reason) of the others."""
    definition = protocols.read(project.protocol.definition)
    fit, unfit = [], []
    for name, path in WRITERS.items():
        writer = import_string(path)
        reasons = [reason for chance in CHANCES if (reason := _unfit(writer, definition, chance))]
        if len(reasons) < len(CHANCES):
            fit.append((name, writer.title))
        else:
            unfit.append((writer.title, reasons[0]))
    return fit, unfit


def _unfit(writer: type[Writer], definition: protocols.Definition, options: Options) -> str:
    """Why the protocol cannot fill the format under the options, or ""."""
    try:
        writer(definition, options)
    except FormatUnfit as reason:
        return str(reason)
    return ""


class ExportForm(forms.Form):
    """What to export and how. `options` of the cleaned data is what `request_export` takes."""

    format = forms.ChoiceField(label=_("Format"))
    container = forms.ChoiceField(
        label=_("File type"), choices=[(name, FILE_TYPES[name]) for name in CONTAINERS], initial="parquet"
    )
    source = forms.ChoiceField(
        label=_("Whose judgments count"),
        choices=Recipe.Source.choices,
        help_text=_(
            "Careful with people and AI together: an AI labeler's answer weighs as much as a person's, "
            "so several labelers outvote one person."
        ),
    )
    ties = forms.ChoiceField(
        label=_("Ties in HelpSteer2 and TRL reward"),
        choices=[
            ("drop", _("leave them out")),
            ("keep", _("HelpSteer2: as strength 0")),
            ("both", _("TRL reward: both ways round")),
        ],
    )
    neither = forms.ChoiceField(
        label=_("Where half or more found neither response valid"),
        choices=[("drop", _("leave the comparison out")), ("keep", _("use what the others said"))],
    )
    ai = forms.ChoiceField(
        label=_("Comparisons that only an AI labeler judged"),
        choices=[("leave_out", _("leave them out")), ("keep", _("keep its answer"))],
        help_text=_("HelpSteer2: as strength ±1; MultiPref: with empty lists. The others always keep it."),
    )
    margin = forms.ChoiceField(
        label=_("Margin"),
        choices=[
            ("strength", _("strength of people's preference")),
            ("llama2", _("the same, 0 to 3 as Llama 2 has it")),
            ("soft", _("how sure the label is")),
            ("none", _("no margin")),
        ],
        help_text=_("TRL reward only."),
    )
    labels = forms.ChoiceField(
        label=_("What makes a single response good or bad"),
        choices=[("ratings", _("people's ratings of it")), ("pairs", _("the pair that it won or lost"))],
        help_text=_("TRL KTO and LLaMA-Factory KTO only."),
    )
    prompt = forms.ChoiceField(
        label=_("Prompt"),
        choices=[
            ("recommended", _("as the trainer recommends")),
            ("implicit", _("in each conversation")),
            ("explicit", _("in a column of its own")),
        ],
        help_text=_("TRL only; RewardTrainer recommends the former, DPOTrainer the latter."),
    )
    validation = forms.FloatField(
        label=_("Validation split, % of prompts"),
        min_value=0,
        max_value=50,
        initial=0,
        help_text=_("Equal prompts stay on one side. The judgments format is never split."),
    )
    seed = forms.IntegerField(label=_("Seed of the split"), min_value=0, max_value=2**31 - 1, initial=0)

    dataset = forms.CharField(
        label=_("Keep as a data set named"),
        required=False,
        max_length=100,
        help_text=_("Later versions are made by the same choices and can be compared. Empty: an export of its own."),
    )

    # What the page shows at once; the rest waits behind “More options”.
    FIRST = ("format", "container", "source", "ties")

    def __init__(self, data: Any, project: Project) -> None:
        super().__init__(data)
        fit, self.unfit = fitting(project)
        self.fields["format"].choices = fit  # type: ignore[attr-defined]

    @property
    def first(self) -> list[forms.BoundField]:
        return [self[name] for name in self.FIRST]

    @property
    def more(self) -> list[forms.BoundField]:
        return [field for field in self if field.name not in self.FIRST]

    @property
    def has_errors_behind(self) -> bool:
        return any(field.errors for field in self.more)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        options = {name: cleaned[name] for name in OPTIONS if name in cleaned}
        if "validation" in options:
            options["validation"] /= 100
        return {**cleaned, "options": options}
