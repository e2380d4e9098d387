"""The forms of labelers with models of one's own, made of `pipeline.model_fields`: what it lists is asked here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from annotator.forms.labelers import LabelerForm, Section
from annotator.models import Labeler, Project
from annotator.pipeline.model_fields import FIELDS, MODEL_PARTS, REPOSITORY, Field
from labelers.logprobs.models import COMMIT

BACKENDS = [
    ("transformers", _("a worker of this site loads it")),
    ("vllm", _("a vLLM server")),
    ("sglang", _("an SGLang server")),
]
# What is served elsewhere is told where; the rest of a model is the same.
SERVER_PARTS: tuple[Field, ...] = (
    Field("backend", "choice", _("Where it runs"), default="transformers", choices=tuple(BACKENDS)),  # type: ignore[arg-type]
    Field(
        "base_url",
        "text",
        _("Address of the server"),
        _("Only for a server of your own; texts are sent there, and nothing of the budget pays for it."),
        default="",
    ),
)
OWN_PARTS = {part.name for part in MODEL_PARTS}
PARTS = (*MODEL_PARTS, *(part for part in SERVER_PARTS if part.name not in OWN_PARTS))
ROUTER_PARTS: tuple[Field, ...] = (
    Field(
        "base_url",
        "text",
        _("Address of the server that says what a prompt is about"),
        _("On this machine or in its own network, without a key: what it costs is not counted. Empty: words decide."),
        default="",
        advanced=True,
    ),
    Field("model", "text", _("Its model"), default="", advanced=True),
)


class Lines(forms.CharField):
    """One text a line; empty lines are left out."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:  # type: ignore[override]
        return [line.strip() for line in super().clean(value).splitlines() if line.strip()]


class Weights(forms.CharField):
    """{name: number}, written one a line as name = 0.65."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(f"{name} = {weight}" for name, weight in value.items()) if isinstance(value, dict) else value

    def clean(self, value: Any) -> dict[str, float]:  # type: ignore[override]
        found = {}
        for number, line in enumerate(super().clean(value).splitlines(), 1):
            name, equals, weight = line.rpartition("=")
            if not line.strip():
                continue
            try:
                found[name.strip()] = float(weight)
            except ValueError:
                equals = ""
            if not equals or not name.strip() or not math.isfinite(found[name.strip()]):
                words = _("Line %(n)s is not of the form name = 0.65.") % {"n": number}
                raise forms.ValidationError(words)
        return found


class ModelLabelerForm(LabelerForm):
    """Fields are made from FIELDS[kind]; a model's parts are fields of their own, named strong__revision and so on."""

    def __init__(
        self,
        data: object = None,
        *,
        project: Project,
        kind: str,
        labeler: Labeler | None = None,
        initial: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(data, project=project, kind=kind, labeler=labeler, initial=_flat(kind, initial or {}))
        for field in FIELDS[kind]:
            for name, part in _parts(field):
                self.fields[name] = _made(part, required=part.required and field.type != "router")
        for name in self.PRICES:
            self.fields.pop(name, None)

    @property
    def sections(self) -> list[Section]:
        plain = [field for field in FIELDS[self.kind] if field.type != "model"]
        models = [field for field in FIELDS[self.kind] if field.type == "model"]
        made = [Section(_("What it is called"), [self["name"]])] if "name" in self.fields else []
        for field in models:
            shown = [(name, part) for name, part in _parts(field)]
            made.append(Section(field.label, [self[name] for name, part in shown if not part.advanced], field.help))
            more = [self[name] for name, part in shown if part.advanced]
            made.append(Section(f"{field.label} · {_('Details')}", more, folded=True))
        told = [(name, part) for field in plain for name, part in _parts(field)]
        made.append(Section(_("How it judges"), [self[name] for name, part in told if not part.advanced]))
        made.append(Section(_("Details"), [self[name] for name, part in told if part.advanced], folded=True))
        served = [self[name] for name in self.KEYS if self._is_shown(name) and name != "api_key_env"]
        made.append(Section(_("Key of a server"), served, folded=True))
        return [section for section in made if section.fields]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        for field in FIELDS[self.kind]:
            if field.type == "model":
                self._check_model(field.name, cleaned)
        return cleaned

    def _check_model(self, name: str, cleaned: Mapping[str, Any]) -> None:
        given = {part.name: cleaned.get(f"{name}__{part.name}") or "" for part in PARTS}
        served = given["backend"] not in ("", "transformers")
        if served and not given["base_url"]:
            self.add_error(f"{name}__base_url", _("Give the address of the server, or let a worker load the model."))
        if given["base_url"] and not served:
            self.add_error(f"{name}__backend", _("Say what runs at the address, or leave the address empty."))
        if not settings.MODELS:
            words = _("This site was started with MODELS=no: labelers of this kind cannot judge here.")
            self.add_error(f"{name}__backend", words)
        for what, commit in (("name", "revision"), ("adapter", "adapter_revision")):
            is_repository = "/" in given[what] and REPOSITORY.fullmatch(given[what]) is not None
            if is_repository and not served and not COMMIT.fullmatch(given[commit]):
                words = _("A repository may change: give the commit, 40 hexadecimal digits.")
                self.add_error(f"{name}__{commit}", words)

    def addresses(self, cleaned: Mapping[str, Any]) -> list[str]:
        """Those a key can be for: a router takes none."""
        models = [field.name for field in FIELDS[self.kind] if field.type == "model"]
        given = [cleaned.get(f"{name}__base_url") for name in models]
        return [address for address in given if address]

    def chosen(self) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for field in FIELDS[self.kind]:
            value = self._value(field)
            if value != field.default:
                kept[field.name] = value
        return kept

    def _value(self, field: Field) -> Any:
        given = {part.name: self.cleaned_data[name] for name, part in _parts(field)}
        if field.type not in ("model", "router"):
            return given[field.name]
        return {name: value for name, value in given.items() if value and (name, value) != ("backend", "transformers")}


def _parts(field: Field) -> list[tuple[str, Field]]:
    """The fields of the form that ask for one parameter, by name."""
    if field.type == "model":
        return [(f"{field.name}__{part.name}", part) for part in PARTS]
    if field.type == "router":
        return [(f"{field.name}__{part.name}", part) for part in ROUTER_PARTS]
    return [(field.name, field)]


def _flat(kind: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A version's parameters as the form's fields show them; what is not there is at its default."""
    shown: dict[str, Any] = {}
    for field in FIELDS[kind]:
        value = parameters.get(field.name, field.default)
        if field.type == "gold" and isinstance(value, list):
            value = len(value)
        for name, part in _parts(field):
            nested = field.type in ("model", "router")
            shown[name] = (value or {}).get(part.name, part.default) if nested else value
    return shown


def _made(field: Field, *, required: bool) -> forms.Field:
    """The form's field for a parameter. A yes/no and a list of choices may always be empty."""
    common: dict[str, Any] = {"label": field.label, "help_text": field.help, "required": required}
    numbers = {"min_value": field.least, "max_value": field.most}
    box = forms.Textarea(attrs={"rows": field.rows}) if field.rows > 1 else forms.TextInput()
    choices = list(field.choices)
    make: dict[str, Callable[[], forms.Field]] = {
        "text": lambda: (
            forms.URLField(**common, assume_scheme="https", max_length=300)
            if field.name == "base_url"
            else forms.CharField(**common, widget=box, max_length=20_000)
        ),
        "lines": lambda: Lines(**common, max_length=20_000),
        "number": lambda: forms.FloatField(**{**common, **numbers, "required": True}),
        "whole": lambda: forms.IntegerField(**{**common, **numbers, "required": True}),  # type: ignore[arg-type]
        "gold": lambda: forms.IntegerField(**{**common, **numbers, "required": True}),  # type: ignore[arg-type]
        "choice": lambda: forms.ChoiceField(**{**common, "choices": choices}),
        "choices": lambda: forms.MultipleChoiceField(
            **{**common, "choices": choices, "widget": forms.CheckboxSelectMultiple}
        ),
        "yes": lambda: forms.BooleanField(**common),
        "weights": lambda: Weights(**common, max_length=20_000),
    }
    return make[field.type]()
