"""Everything known about one comparison, in words: what was said, by whom, and why it went where it went."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _

from annotator import protocols, rendering
from annotator.models import Comparison, Features, FeatureSet, Judgment, Outcome, Project, Prompt, Route

EXCERPT = 140


@dataclass(frozen=True)
class Feature:
    name: str
    value: str
    words: str
    # The share of the project's comparisons with a lower value, half of the equal ones counted; None where not known.
    place: float | None = None


@dataclass(frozen=True)
class Worth:
    """What one source was worth for one comparison when the plan was made (`Route.values`)."""

    source: str
    right: float | None
    error: float | None
    price: Decimal
    is_chosen: bool


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
    others = [each.response for each in comparison.candidates.select_related("response").order_by("place")]
    return [
        {"side": side, "response": response, "html": rendering.rendered(response)}
        for side, response in zip(
            protocols.SIDES, [comparison.response_a, comparison.response_b, *others], strict=False
        )
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
    spread = row.feature_set.made_with.get("spread", {})
    # Of a prompt's tags those that hold say it all.
    return [
        _feature(name, value, _place(value, spread.get(name, ())))
        for name, value in zip(row.feature_set.names, row.values, strict=True)
        if value == 1 or not name.startswith("tag_")
    ]


def _place(value: float, spread: Sequence[float]) -> float | None:
    """`spread`: values at even steps of the project's ranks (`feature_sets.keep_spread`)."""
    if math.isnan(value) or len(spread) < 2:
        return None
    lower, equal = sum(other < value for other in spread), sum(other == value for other in spread)
    return (lower + equal / 2) / len(spread)


def worths(route: Route) -> list[Worth]:
    """Every source that could have judged it, the surest first; empty for plans that did not keep it."""
    found = [
        Worth(source, told.get("right"), told.get("error"), Decimal(told["price"]), source == route.source)
        for source, told in route.values.items()
    ]
    return sorted(found, key=lambda worth: (-1 if worth.right is None else -worth.right, worth.price))


def _feature(name: str, value: float, place: float | None) -> Feature:
    # Not at the top: the extractors load NumPy and a language model, which annotators' pages do not need.
    from routing.features import describe

    if math.isnan(value):
        return Feature(name, "–", _("not defined for this comparison"))
    try:
        words = describe(name, value)
    except KeyError:  # a feature set made by another version of the extractors
        words = ""
    return Feature(name, f"{value:.4g}".replace("-", "−"), words, place)


def judgments(comparison: Comparison) -> list[Said]:
    """Current judgments, people first, each as it was given."""
    current = (
        comparison.judgments.filter(is_current=True)
        .select_related("rater__user", "rater__labeler_version__labeler", "protocol")
        .order_by("-rater__kind", "id")
    )
    return [said_of(judgment) for judgment in current]


def said_of(judgment: Judgment, order: Sequence[int] = (0, 1)) -> Said:
    """The judgment in words, its sides as they are on a screen that shows the responses in `order` (of own places)."""
    definition = protocols.read(judgment.protocol.definition) if judgment.protocol else None
    is_person = judgment.rater.labeler_version_id is None
    answer = _on_screen(judgment, order)
    return Said(judgment, is_person, _answer(judgment, answer, definition, order), _details(answer, definition))


def _on_screen(judgment: Judgment, order: Sequence[int]) -> dict[str, Any]:
    names = ("level", "aspects", "attributes", "reasons", "justification", "flags", "feedback", "edit", "spans")
    own = {name: getattr(judgment, name) for name in (*names, "ranking")}
    count = len((judgment.ranking or {}).get("ranks", order))
    if tuple(order) == tuple(range(len(order))) or len(order) < count:
        return own
    return protocols.mirror(own, protocols.inverse(order))


def _answer(
    judgment: Judgment, answer: dict[str, Any], definition: protocols.Definition | None, order: Sequence[int]
) -> str:
    if ranking := answer["ranking"]:
        return _ranking(ranking)
    if judgment.outcome != Outcome.LEVEL:
        return str(Outcome(judgment.outcome).label)
    if answer["level"] is not None and definition:
        return next(
            (level.label for level in definition.levels if level.value == answer["level"]), str(answer["level"])
        )
    if judgment.p_b is not None:
        p_b = judgment.p_b if order[0] == 0 else 1 - judgment.p_b
        side, chance = ("B", p_b) if p_b >= 0.5 else ("A", 1 - p_b)
        return _("%(side)s, with a chance of %(chance).2f") % {"side": side, "chance": chance}
    return _("no answer")


def _ranking(ranking: dict[str, Any]) -> str:
    """The order as in B > A = C, or best and worst."""
    letters = protocols.SIDES.upper()
    if "ranks" not in ranking:
        return _("best %(best)s, worst %(worst)s") % {end: letters[ranking[end]] for end in ("best", "worst")}
    places: dict[int, list[str]] = {rank: [] for rank in sorted(ranking["ranks"])}
    for letter, rank in zip(letters, ranking["ranks"], strict=False):
        places[rank].append(letter)
    return " > ".join(" = ".join(shared) for shared in places.values())


def _details(answer: dict[str, Any], definition: protocols.Definition | None) -> list[tuple[str, str]]:
    """Aspects, ratings, reasons, marks and words, with the names of the protocol it answered."""
    if definition is None:
        return [(_("Says"), answer["justification"])] if answer["justification"] else []
    rows = [(aspect.label, _aspect(aspect, answer["aspects"])) for aspect in definition.aspects]
    for attribute in definition.attributes:
        rating = answer["attributes"].get(attribute.key) or {}
        given = [f"{side.upper()} {rating[side]}" for side in protocols.SIDES if side in rating]
        rows.append((attribute.label, " · ".join(given)))
    rows += [
        (_("Reasons"), _labels(definition.reasons, answer["reasons"])),
        (_("Flags"), _labels(definition.flags, answer["flags"])),
        (_("Says"), answer["justification"]),
    ]
    rows += [(_("On %(side)s") % {"side": side.upper()}, words) for side, words in sorted(answer["feedback"].items())]
    rows += [
        (_("Marked in %(side)s") % {"side": span["side"].upper()}, _span(definition, span)) for span in answer["spans"]
    ]
    if edit := answer["edit"]:
        rows.append((_("%(side)s, edited") % {"side": edit["side"].upper()}, edit["text"]))
    return [(name, words) for name, words in rows if words]


def _labels(choices: Sequence[protocols.Choice], keys: Sequence[str]) -> str:
    return ", ".join(choice.label for choice in choices if choice.key in keys)


def _span(definition: protocols.Definition, span: dict[str, Any]) -> str:
    kinds = definition.spans
    asked = (("type", kinds.types), ("severity", kinds.severities)) if kinds else ()
    words = [_labels(choices, [span.get(name, "")]) for name, choices in asked]
    return ": ".join(part for part in ("“" + span.get("text", "") + "”", *words, span.get("comment", "")) if part)


def _aspect(aspect: protocols.Aspect, answers: dict[str, Any]) -> str:
    answer = answers.get(aspect.key) or {}
    words = [level.label for level in aspect.levels if level.value == answer.get("level")]
    words += [reason.label for reason in aspect.reasons if reason.key in (answer.get("reasons") or [])]
    words += [answer["own"]] if answer.get("own") else []
    return ", ".join(words)


def alternatives(project: Project) -> list[tuple[str, Decimal, bool]]:
    """(source, price of one judgment, priced by the token as well) of everybody who could have judged it."""
    labelers = project.labelers.judging().filter(enabled=True).order_by("id")
    return [("people", project.price_per_judgment * project.votes, False)] + [
        (each.name, each.price_per_call, bool(each.price_per_million_input or each.price_per_million_output))
        for each in labelers
    ]
