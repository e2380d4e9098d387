"""Everything known about one comparison, in words: what was said, by whom, and why it went where it went."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _

from annotator import protocols, rendering
from annotator.models import Comparison, Features, FeatureSet, Judgment, Outcome, Project, Prompt

EXCERPT = 140


@dataclass(frozen=True)
class Feature:
    name: str
    value: str
    words: str


@dataclass(frozen=True)
class Said:
    """One judgment as the page shows it."""

    judgment: Judgment
    is_person: bool
    words: str
    details: list[tuple[str, str]]


def excerpt(prompt: Prompt) -> str:
    """The beginning of the last turn: what the responses answer."""
    content = str(prompt.turns[-1]["content"]) if prompt.turns else ""
    line = " ".join(content[: EXCERPT * 2].split())
    return line if len(line) <= EXCERPT else line[:EXCERPT] + "…"


def sides(comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {"side": side, "response": response, "html": rendering.rendered(response)}
        for side, response in (("a", comparison.response_a), ("b", comparison.response_b))
    ]


def features(comparison: Comparison) -> list[Feature]:
    """Names, values and words of the newest complete feature set; empty before it is made."""
    row = (
        Features.objects.filter(comparison=comparison, feature_set__state=FeatureSet.State.READY)
        .select_related("feature_set")
        .order_by("-feature_set__version")
        .first()
    )
    if row is None:
        return []
    return [_feature(name, value) for name, value in zip(row.feature_set.names, row.values, strict=True)]


def _feature(name: str, value: float) -> Feature:
    # Not at the top: the extractors load NumPy and a language model, which annotators' pages do not need.
    from routing.features import describe

    if math.isnan(value):
        return Feature(name, "–", _("not defined for this comparison"))
    try:
        words = describe(name, value)
    except KeyError:  # a feature set made by another version of the extractors
        words = ""
    return Feature(name, f"{value:.4g}".replace("-", "−"), words)


def judgments(comparison: Comparison) -> list[Said]:
    """Current judgments, people first, each as it was given."""
    current = (
        comparison.judgments.filter(is_current=True)
        .select_related("rater__user", "rater__labeler_version__labeler", "protocol")
        .order_by("-rater__kind", "id")
    )
    return [_said(judgment) for judgment in current]


def _said(judgment: Judgment) -> Said:
    definition = protocols.read(judgment.protocol.definition) if judgment.protocol else None
    is_person = judgment.rater.labeler_version_id is None
    return Said(judgment, is_person, _answer(judgment, definition), _details(judgment, definition))


def _answer(judgment: Judgment, definition: protocols.Definition | None) -> str:
    if judgment.outcome != Outcome.LEVEL:
        return str(Outcome(judgment.outcome).label)
    if judgment.level is not None and definition:
        return next((level.label for level in definition.levels if level.value == judgment.level), str(judgment.level))
    if judgment.p_b is not None:
        side, chance = ("B", judgment.p_b) if judgment.p_b >= 0.5 else ("A", 1 - judgment.p_b)
        return _("%(side)s, with a chance of %(chance).2f") % {"side": side, "chance": chance}
    return _("no answer")


def _details(judgment: Judgment, definition: protocols.Definition | None) -> list[tuple[str, str]]:
    """Aspects, ratings, reasons and words, with the names of the protocol it answered."""
    if definition is None:
        return [(_("Says"), judgment.justification)] if judgment.justification else []
    rows = [(aspect.label, _aspect(aspect, judgment.aspects)) for aspect in definition.aspects]
    for attribute in definition.attributes:
        rating = judgment.attributes.get(attribute.key) or {}
        rows.append((attribute.label, " · ".join(f"{side.upper()} {rating[side]}" for side in "ab" if side in rating)))
    chosen = [reason.label for reason in definition.reasons if reason.key in judgment.reasons]
    rows += [(_("Reasons"), ", ".join(chosen)), (_("Says"), judgment.justification)]
    return [(name, words) for name, words in rows if words]


def _aspect(aspect: protocols.Aspect, answers: dict[str, Any]) -> str:
    answer = answers.get(aspect.key) or {}
    words = [level.label for level in aspect.levels if level.value == answer.get("level")]
    words += [reason.label for reason in aspect.reasons if reason.key in (answer.get("reasons") or [])]
    return ", ".join(words)


def alternatives(project: Project) -> list[tuple[str, Decimal, bool]]:
    """(source, price of one judgment, priced by the token as well) of everybody who could have judged it."""
    labelers = project.labelers.filter(enabled=True).order_by("id")
    return [("people", project.price_per_judgment * project.votes, False)] + [
        (each.name, each.price_per_call, bool(each.price_per_million_input or each.price_per_million_output))
        for each in labelers
    ]
