from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from django import forms
from django.urls import reverse
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _

from annotator import protocols
from annotator.formats import WRITERS
from annotator.formats.source import CHOICES, GROUPS, FormatUnfit, Options, Writer
from annotator.formats.tables import CONTAINERS
from annotator.forms.export_words import ABOUT, FILE_TYPES, GROUP_NAMES, SOURCES, named, preset_title
from annotator.models import Plan, Project
from annotator.readings import metadata

# The names of `Options`; a format says in `heeds` which of them it reads.
OPTIONS = (
    *("ties", "neither", "single", "ai", "margin", "pairs", "labels", "good", "bad", "prompt"),
    *("splits", "validation", "seed"),
)
# The names of `Filters`.
FILTERS = ("agreement", "votes", "status", "plan", "protocol", "metadata")
# How fields begin that stand for a name of the metadata.
SAID = "metadata."
PLANS_SHOWN = 100
# Kept as a share, shown in percent.
SHARES = ("agreement", "validation")
# A format may fit with another choice than the default alone: KTO takes pairs where nobody rates, when it is asked to.
CHANCES = (Options(), Options(labels="pairs"))


def fitting(project: Project) -> tuple[list[tuple[Any, list[tuple[str, str]]]], list[tuple[str, str]]]:
    """Groups of (name, title) of the formats that the project's protocol can fill; (title, reason) of the others."""
    definition = protocols.read(project.protocol.definition)
    groups: dict[str, list[tuple[str, str]]] = {group: [] for group in GROUPS}
    unfit = []
    for name, path in WRITERS.items():
        writer = import_string(path)
        reasons = [reason for chance in CHANCES if (reason := _unfit(writer, definition, chance))]
        if len(reasons) < len(CHANCES):
            groups[writer.group].append((name, writer.title))
        else:
            unfit.append((writer.title, named(reasons[0])))
    return [(GROUP_NAMES[group], formats) for group, formats in groups.items() if formats], unfit


def _unfit(writer: type[Writer], definition: protocols.Definition, options: Options) -> str:
    """Why the protocol cannot fill the format under the options, or ""."""
    try:
        writer(definition, options)
    except FormatUnfit as reason:
        return str(reason)
    return ""


def _refuses(writer: type[Writer], definition: protocols.Definition, name: str, value: str) -> bool:
    given: dict[str, Any] = {name: value}
    return all(_unfit(writer, definition, replace(chance, **given)) for chance in CHANCES)


class ExportForm(forms.Form):
    """What to export and how. `options` and `filters` of the cleaned data are what `request_export` takes.

    Only what the chosen format reads is shown; what was not shown has its default.
    """

    format = forms.ChoiceField(label=_("Format"))
    container = forms.ChoiceField(
        label=_("File type"), choices=[(name, FILE_TYPES[name]) for name in CONTAINERS], initial="parquet"
    )
    source = forms.ChoiceField(
        label=_("Whose judgments count"),
        choices=list(SOURCES.items()),
        help_text=_(
            "Careful with people and AI together: an AI labeler's answer weighs as much as a person's, "
            "so several labelers outvote one person."
        ),
    )
    agreement = forms.FloatField(
        label=_("Least agreement, %"),
        min_value=0,
        max_value=100,
        initial=0,
        required=False,
        help_text=_("Of the votes behind a label, the share that says the same. A single vote agrees with itself."),
    )
    votes = forms.IntegerField(label=_("Fewest votes"), min_value=0, max_value=1000, initial=0, required=False)
    status = forms.ChoiceField(
        label=_("Labels"),
        choices=[("labelled", _("all")), ("settled", _("settled ones only"))],
        required=False,
        help_text=_("Settled: a reviewer has spoken, or as many people have judged as are wanted."),
    )
    plan = forms.TypedChoiceField(label=_("Comparisons in"), coerce=int, empty_value=None, required=False)
    protocol = forms.TypedChoiceField(label=_("People answered"), coerce=int, empty_value=None, required=False)
    metadata = forms.CharField(
        label=_("Further metadata"),
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text=_(
            "What prompts or comparisons say of themselves and is not listed here: one a line, such as "
            "language = en. All of it must hold."
        ),
    )

    ties = forms.ChoiceField(
        label=_("Ties"),
        required=False,
        choices=[
            ("drop", _("leave them out")),
            ("keep", _("keep them as ties")),
            ("both", _("write them both ways round")),
        ],
    )
    neither = forms.ChoiceField(
        label=_("Where half or more found neither response valid"),
        required=False,
        choices=[("drop", _("leave the comparison out")), ("keep", _("use what the others said"))],
    )
    single = forms.ChoiceField(
        label=_("Where one person alone has judged"),
        required=False,
        choices=[("drop", _("leave it out, as the published sets do")), ("keep", _("take the one answer"))],
    )
    ai = forms.ChoiceField(
        label=_("Comparisons that only an AI labeler judged"),
        required=False,
        choices=[("leave_out", _("leave them out")), ("keep", _("keep its answer"))],
    )
    margin = forms.ChoiceField(
        label=_("Margin"),
        required=False,
        choices=[
            ("strength", _("strength of people's preference")),
            ("llama2", _("the same, 0 to 3 as Llama 2 has it")),
            ("soft", _("how sure the label is")),
            ("none", _("no margin")),
        ],
    )
    pairs = forms.ChoiceField(
        label=_("Pairs of a ranking"),
        required=False,
        choices=[("first", _("A against B alone")), ("all", _("all that the ranks tell apart"))],
    )
    labels = forms.ChoiceField(
        label=_("What makes a single response good or bad"),
        required=False,
        choices=[("ratings", _("people's ratings of it")), ("pairs", _("the pair that it won or lost"))],
    )
    good = forms.FloatField(label=_("Good from a mean rating of"), min_value=0, max_value=4, initial=3, required=False)
    bad = forms.FloatField(label=_("Bad up to a mean rating of"), min_value=0, max_value=4, initial=1, required=False)
    prompt = forms.ChoiceField(
        label=_("Prompt"),
        required=False,
        choices=[
            ("recommended", _("as the trainer recommends")),
            ("implicit", _("in each conversation")),
            ("explicit", _("in a column of its own")),
        ],
    )
    splits = forms.ChoiceField(
        label=_("Splits"),
        required=False,
        choices=[("drawn", _("drawn anew")), ("imported", _("as they were imported, the rest drawn"))],
        help_text=_("Imported: what metadata of the prompt or comparison call “split”."),
    )
    validation = forms.FloatField(
        label=_("Validation split, % of prompts"),
        min_value=0,
        max_value=50,
        initial=0,
        required=False,
        help_text=_("Equal prompts stay on one side."),
    )
    seed = forms.IntegerField(label=_("Seed of the split"), min_value=0, max_value=2**31 - 1, initial=0, required=False)

    dataset = forms.CharField(
        label=_("Keep as a data set named"),
        required=False,
        max_length=100,
        help_text=_("Later versions are made by the same choices and can be compared. Empty: an export of its own."),
    )

    # What the page shows at once; the rest waits behind “Which comparisons” and “How it is written”.
    FIRST = ("format", "source", "dataset")

    def __init__(self, data: Any, project: Project, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial)
        self.project = project
        groups, self.unfit = fitting(project)
        self._offer("format", groups)
        self.fields["format"].widget.attrs |= {
            "hx-get": reverse("export_options", args=[project.pk]),
            "hx-trigger": "change",
            "hx-target": "#export-options",
            "hx-swap": "outerHTML",
            "hx-include": "closest form",
            # Its own: the form's would have the count of the same change abort this request.
            "hx-sync": "this:replace",
        }
        for name in ("container", *OPTIONS):
            self.fields[name].required = False
        self._offer("plan", [("", _("any plan or none")), *_plans(project)])
        self._offer("protocol", [("", _("any version of the questions")), *_versions(project)])
        self.known = self._add_known(metadata.known(project))
        # What was sent is refused with the format's own reason instead.
        if self.writer and not self.is_bound:
            self._fit(self.writer)

    def _offer(self, name: str, choices: list[Any]) -> None:
        self.fields[name].choices = choices  # type: ignore[attr-defined]

    def _add_known(self, known: Mapping[str, list[str]]) -> list[str]:
        """A field for each name that the project's metadata has, and for each that was sent; gives the fields' names.

        What was sent and is not there any more is refused: left out it would let everything through.
        """
        sent = [name.removeprefix(SAID) for name in self.data if name.startswith(SAID)]
        for name in dict.fromkeys([*known, *sent]):
            choices = [("", _("any")), *((value, value) for value in known.get(name, ()))]
            self.fields[SAID + name] = forms.ChoiceField(label=name, choices=choices, required=False)
        return [name for name in self.fields if name.startswith(SAID)]

    @property
    def about(self) -> str:
        """What the format is for."""
        return str(ABOUT[str(self["format"].value() or self._formats()[0])]) if self.writer else ""

    def _formats(self) -> list[str]:
        return [name for _group, each in self.fields["format"].choices for name, _title in each]  # type: ignore[attr-defined]

    @property
    def writer(self) -> type[Writer] | None:
        """The format that is chosen, or the first there is."""
        formats = self._formats()
        chosen = str(self["format"].value() or next(iter(formats), ""))
        return import_string(WRITERS[chosen]) if chosen in formats else None

    def _fit(self, writer: type[Writer]) -> None:
        """Offer what the format can be written as: file types, and choices that it does not refuse."""
        definition = protocols.read(self.project.protocol.definition)
        self._offer("container", [(name, FILE_TYPES[name]) for name in _containers(writer)])
        for name in writer.heeds & CHOICES.keys():
            refused = [value for value in CHOICES[name] if _refuses(writer, definition, name, value)]
            self._offer(name, [each for each in self.fields[name].choices if each[0] not in refused])  # type: ignore[attr-defined]

    @property
    def first(self) -> list[forms.BoundField]:
        return [self[name] for name in self.FIRST]

    @property
    def filtering(self) -> list[forms.BoundField]:
        if self.writer and self.writer.is_lossless:
            return []
        *first, last = FILTERS
        return [self[name] for name in (*first, *self.known, last)]

    @property
    def heeded(self) -> list[forms.BoundField]:
        """The file type and the options that the format reads."""
        heeds: Collection[str] = self.writer.heeds if self.writer else OPTIONS
        return [self["container"], *(self[name] for name in OPTIONS if name in heeds)]

    @property
    def unheeded(self) -> list[forms.BoundField]:
        """Options of other formats: for browsers without scripts, which cannot fetch them when the format changes."""
        shown = {field.name for field in self.heeded}
        return [self[name] for name in OPTIONS if name not in shown]

    @property
    def has_errors_behind(self) -> bool:
        return any(field.errors for field in (*self.filtering, *self.heeded))

    def clean_metadata(self) -> dict[str, str]:
        said = {}
        for line in self.cleaned_data["metadata"].splitlines():
            name, equals, value = (part.strip() for part in line.partition("="))
            if line.strip() and not (name and equals and value):
                raise forms.ValidationError(_("“%(line)s” is not of the form name = value."), params={"line": line})
            if name:
                said[name] = value
        return said

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        options = {name: cleaned[name] for name in OPTIONS if _is_given(cleaned.get(name))}
        if "validation" in options:
            options["validation"] /= 100
        chosen = {name.removeprefix(SAID): cleaned[name] for name in self.known if cleaned.get(name)}
        cleaned["metadata"] = (cleaned.get("metadata") or {}) | chosen
        filters = {name: cleaned[name] for name in FILTERS if _is_given(cleaned.get(name))}
        if "agreement" in filters:
            filters["agreement"] /= 100
        container = cleaned.get("container") or _containers(self.writer)[0]
        return {**cleaned, "container": container, "options": options, "filters": filters}


def said(values: Mapping[str, Any]) -> str:
    """Options or filters of an export, {name: value}, as the form calls them; "–" for none."""
    parts = [part for name, value in values.items() if _is_given(value) for part in _said(name, value)]
    return "; ".join(parts) or "–"


def _said(name: str, value: Any) -> list[str]:
    field = ExportForm.base_fields.get(name)
    if name == "metadata":
        return [f"{key} = {each}" for key, each in value.items()]
    if field is None:
        return [f"{name} = {value}"]
    choices = {"plan": _("plan %(number)s"), "protocol": _("version %(n)s")}
    if name in choices:
        words = choices[name] % {"number": value, "n": value}
    elif isinstance(field, forms.ChoiceField):
        words = dict(field.choices).get(value, value)  # type: ignore[arg-type]
    else:
        words = f"{value * 100 if name in SHARES else value:g}"
    return [f"{field.label}: {words}"]


def _containers(writer: type[Writer] | None) -> tuple[str, ...]:
    """The file types that the format's readers read."""
    return writer.containers if writer else tuple(CONTAINERS)


def _is_given(value: Any) -> bool:
    return value not in (None, "", {})


def _plans(project: Project) -> list[tuple[int, str]]:
    plans = project.plans.exclude(status=Plan.Status.DRAFT).order_by("-number")
    return [(plan.number, _("plan %(number)s") % {"number": plan.number}) for plan in plans[:PLANS_SHOWN]]


def _versions(project: Project) -> list[tuple[int, str]]:
    versions = project.protocols.order_by("-version").values_list("version", "preset")
    return [
        (version, _("version %(version)s (%(preset)s)") % {"version": version, "preset": preset_title(preset) or "–"})
        for version, preset in versions
    ]
