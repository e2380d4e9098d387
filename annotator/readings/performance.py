"""A performance model as its pages read it: `PerformanceModel.metrics` (see pipeline/retrain.py) in typed form.

Keys that an older model did not have are empty here, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count
from django.utils.translation import gettext as _

from annotator.models import Loop, PerformanceModel, Project

NEWEST = 50


@dataclass(frozen=True)
class Score:
    """How well one kind of model did on mixtures it had not seen."""

    rmse: float
    rmse_error: float
    spearman: float
    spearman_low: float
    spearman_high: float


@dataclass(frozen=True)
class Observed:
    """One mixture: what was predicted without having seen it, with the 90% interval, and what was measured."""

    predicted: float
    observed: float
    low: float
    high: float

    @property
    def is_inside(self) -> bool:
        return self.low <= self.observed <= self.high


@dataclass(frozen=True)
class Effect:
    """Points of predicted performance when a tenth of people's judgments moves to one bin of a feature."""

    name: str
    bin: int
    bins: int
    effect: float
    low: float
    high: float
    # What the feature is, in words.
    words: str = ""
    # The edges of its bins, where the model kept them: a feature that is only yes or no has one.
    edges: tuple[float, ...] = ()

    @property
    def where(self) -> str:
        """The bin in words."""
        if self.edges == (1.0,) and 0 <= self.bin < 2:
            return (_("no"), _("yes"))[self.bin]
        known = {
            2: (_("low"), _("high")),
            3: (_("low"), _("middle"), _("high")),
            4: (_("lowest quarter"), _("second quarter"), _("third quarter"), _("highest quarter")),
        }
        if self.bins in known and 0 <= self.bin < self.bins:
            return known[self.bins][self.bin]
        return _("part %(number)s of %(count)s") % {"number": self.bin + 1, "count": self.bins}

    @property
    def is_clear(self) -> bool:
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Fidelity:
    """One way of measuring a mixture beside the proxy: how many have it, and its rank correlation with the proxy."""

    name: str
    mixtures: int
    spearman: float | None
    low: float | None
    high: float | None
    deviation: float | None


@dataclass(frozen=True)
class Published:
    """A performance model of the paper on mixtures drawn as the paper draws them."""

    kind: str
    rmse: float
    spearman: float


@dataclass(frozen=True)
class Skill:
    """What cross-validation measured of a performance model."""

    has_skill: bool
    # False: it knows what money buys, not on which comparisons to spend it.
    beats_budget: bool
    kind: str
    scores: dict[str, Score]
    # The score of choosing anew in every fold: the honest one for the kind that was chosen.
    nested: Score | None
    # The highest rank correlation that the noise between seeds allows, and one mixture's deviation between seeds.
    ceiling: float | None
    deviation: float | None
    coverage: float | None
    coverage_observed: float | None
    comparisons: int
    prompts: int
    mixtures: int
    sources: list[str]
    observed: list[Observed] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    fidelities: list[Fidelity] = field(default_factory=list)
    # Which score it learnt to predict, and why, in words; empty when only the proxy was there.
    target: str = ""
    target_text: str = ""
    published: list[Published] = field(default_factory=list)
    published_mixtures: int = 0
    mixture_set: int | None = None
    sampling_error: float | None = None


def skill(model: PerformanceModel) -> Skill:
    metrics = model.metrics
    noise = metrics.get("noise_ceiling", {})
    fidelities = metrics.get("fidelities") or {}
    paper = metrics.get("paper") or {}
    return Skill(
        has_skill=bool(metrics.get("skill")),
        beats_budget=bool(metrics.get("beats_budget")),
        kind=model.kind,
        scores={kind: _score(row) for kind, row in metrics.get("scores", {}).items()},
        nested=_score(metrics["nested"]) if "nested" in metrics else None,
        ceiling=noise.get("correlation"),
        deviation=noise.get("deviation"),
        coverage=metrics.get("coverage_90"),
        coverage_observed=metrics.get("coverage_observed"),
        comparisons=metrics.get("comparisons", 0),
        prompts=metrics.get("prompts", 0),
        mixtures=metrics.get("mixtures", 0),
        sources=metrics.get("sources", []),
        observed=[Observed(*row) for row in metrics.get("observed") or []],
        effects=_effects(metrics),
        fidelities=[_fidelity(name, row) for name, row in fidelities.items() if isinstance(row, Mapping)],
        target=str(fidelities.get("target", "")),
        target_text=str(fidelities.get("text", "")),
        published=[
            Published(kind, row["rmse"], row["spearman"]) for kind, row in paper.items() if isinstance(row, Mapping)
        ],
        published_mixtures=int(paper.get("mixtures") or 0),
        mixture_set=metrics.get("mixture_set"),
        sampling_error=metrics.get("sampling_error"),
    )


def _score(row: Mapping[str, Any]) -> Score:
    return Score(row["rmse"], row["rmse_error"], row["spearman"], row["spearman_low"], row["spearman_high"])


def _effects(metrics: Mapping[str, Any]) -> list[Effect]:
    bins = metrics.get("bins") or {}
    edges = {name: tuple(found) for name, found in zip(bins.get("names", ()), bins.get("edges", ()), strict=True)}
    return [_effect(row, edges.get(row["name"], ())) for row in metrics.get("effects") or []]


def _effect(row: Mapping[str, Any], edges: tuple[float, ...]) -> Effect:
    numbers = (row["effect"], row["low"], row["high"])
    return Effect(row["name"], int(row["bin"]), int(row["bins"]), *numbers, trait_words(row["name"]), edges)


def trait_words(name: str) -> str:
    """A feature or trait in words, as the page of the features tells it; the name itself where nothing is known."""
    # Not at the top: the extractors load NumPy and a language model, which annotators' pages do not need.
    from routing import tags
    from routing.features import FEATURES

    if name == "labeler_wrong":
        return _("chance that the best labeler is wrong")
    if name == "labelers_disagree":
        return _("labelers who contradict the majority of labelers")
    if name in tags.NAMES:
        return tags.describe(name, 1)
    if name not in FEATURES:
        return name.replace("_", " ")
    # Of the whole description what it is, without its unit and how it is computed.
    said = re.split(r"[.;,:]( |$)", FEATURES[name].meaning.removeprefix("1 when "))[0]
    # Models read differences without their side: A and B can be exchanged.
    what = re.split(r" (?:in B )?minus | of B minus ", said)[0].removeprefix("B ")
    return _("%(feature)s: difference") % {"feature": what} if FEATURES[name].signed else said


def kind_words(name: str) -> str:
    """A kind of performance model (`routing.performance.KINDS`), in words."""
    known = {
        "mean": _("the mean of all mixtures"),
        "budget": _("cost alone"),
        "linear": _("linear"),
        "ridge": _("linear (ridge)"),
        "quadratic": _("quadratic (ridge)"),
        "lightgbm": _("trees (LightGBM)"),
        "gaussian_process": _("Gaussian process"),
        "stack": _("several together"),
    }
    return known.get(name, name.replace("_", " "))


def _fidelity(name: str, row: Mapping[str, Any]) -> Fidelity:
    numbers = (row.get(key) for key in ("spearman", "low", "high", "deviation"))
    return Fidelity(name, int(row.get("mixtures") or 0), *numbers)


@dataclass(frozen=True)
class Version:
    """One line of the history of performance models."""

    model: PerformanceModel
    skill: Skill
    plans: int
    # The one that plans use from now on.
    is_used: bool


def pinned(project: Project) -> PerformanceModel | None:
    """The version that a lead restored; None when plans use the newest."""
    loop = Loop.objects.filter(project=project).select_related("performance_model").first()
    return loop.performance_model if loop else None


def history(project: Project) -> list[Version]:
    """The newest versions first."""
    models = list(project.performance_models.annotate(made=Count("plans")).order_by("-version")[:NEWEST])
    used = pinned(project) or (models[0] if models else None)
    return [Version(model, skill(model), model.made, model == used) for model in models]  # type: ignore[attr-defined]
