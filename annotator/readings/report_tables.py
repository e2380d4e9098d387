"""The tables of a labeler's report: doubted labels, other versions and labelers, members, checks, attacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from annotator.models import Comparison, LabelerVersion, Project
from annotator.readings.comparison import excerpt
from annotator.readings.report_lines import Line, difference, domain, language, line, listed

SUSPECTS_SHOWN = 25


@dataclass(frozen=True)
class Suspect:
    comparison: Comparison
    excerpt: str
    # Share of people's votes for B, and what the labelers together give the side that people took.
    people: float
    chance: float
    labelers: int
    is_raised: bool


def suspects(project: Project, data: Mapping[str, Any]) -> list[Suspect]:
    """Those of the report that are still there, the most doubted first; what a reviewer has settled is none."""
    found = {each["comparison"]: each for each in data.get("site", {}).get("suspects", ())}
    rows = Comparison.objects.filter(project=project, pk__in=found).exclude(judgments__purpose="review")
    raised = set(rows.filter(flags__resolved_at=None, flags__isnull=False).values_list("pk", flat=True))
    comparisons = rows.select_related("prompt").in_bulk()
    return [
        Suspect(
            comparisons[pk],
            excerpt(comparisons[pk].prompt),
            each["people"],
            each["mean"],
            each["labelers"],
            pk in raised,
        )
        for pk, each in found.items()
        if pk in comparisons
    ][:SUSPECTS_SHOWN]


@dataclass(frozen=True)
class Other:
    labeler: int | None
    label: str
    c: float | None
    n: int
    line: Line | None


def comparison(candidate: LabelerVersion, against: LabelerVersion | None) -> list[Line]:
    """A candidate minus the version in use, of the newest report that compares just these two."""
    reports = candidate.reports.filter(data__site__against=against.pk if against else None)
    found = reports.order_by("-id").first()
    compared = found.data["incumbent"] if found else None
    if not compared:
        return []
    return [
        difference(_("Agrees with people, points"), compared["accuracy"]),
        difference(_("Log loss saved, nats"), compared["log_loss"], "score"),
    ]


def others(data: Mapping[str, Any]) -> list[Other]:
    """Every other labeler of the project: how alike the two judge, and which of them people agree with more."""
    here = data.get("site", {}).get("others", [])
    places = [*here, *[{}] * (len(data["others"]) - len(here))]
    return [
        Other(
            place.get("labeler"),
            other["label"],
            other["c"],
            other["n"],
            difference(other["label"], place["accuracy"]) if "accuracy" in place else None,
        )
        for other, place in zip(data["others"], places, strict=True)
    ]


def slices(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Domain × language: as it says, calibrated, and how far its sureness then is off."""
    return [
        {
            "domain": domain(cell["domain"]),
            "language": language(cell["language"]),
            "lines": [
                line("", cell["raw"]["accuracy"]),
                line("", cell["calibrated"]["accuracy"]),
                line("", cell["calibrated"]["ece"], "score"),
            ],
        }
        for cell in sorted(data["slices"], key=lambda cell: -cell["raw"]["accuracy"]["n"])
    ]


def members(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What an ensemble is made of; empty for any other labeler."""
    made = data["ensemble"] or {"members": []}
    return [
        {**each, "domains": listed(map(domain, each["domains"])), "line": line(each["label"], each["alone"])}
        for each in made["members"]
    ]


def together(data: Mapping[str, Any]) -> list[Line]:
    """An ensemble out of fold, and what it would be with equal weights."""
    made = data["ensemble"]
    if not made:
        return []
    return [line(_("together, held out"), made["accuracy"]), line(_("with equal weights"), made["equal"])]


def checks(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    known = _check_words()
    states = {"pass": ("ok", _("passes")), "fail": ("bad", _("fails")), "unsure": ("warn", _("cannot be told yet"))}
    rows = []
    for check in data["checks"]:
        words, meaning = known.get(check["name"], (check["name"], ""))
        state, outcome = states.get(check["outcome"], ("off", check["outcome"]))
        shown = Line(words, check["rate"], check["low"], check["high"], check["n"])
        rows.append({**check, "words": words, "meaning": meaning, "state": state, "outcome": outcome, "line": shown})
    return rows


def _check_words() -> dict[str, tuple[str, str]]:
    return {
        "swap": (_("Exchange"), _("A and B exchanged: its answer is exchanged too.")),
        "duplicate": (_("Duplicate"), _("A response against itself: a tie, or nearly.")),
        "padding": (_("Padding"), _("A response against itself said twice: the longer one does not win.")),
        "criterion_flip": (_("Criterion"), _("A criterion and its reverse: its answer is reversed.")),
        "contrast": (_("Contrast"), _("Two prompts alike: each prompt's own response wins. Chance: one in four.")),
        "shuffle": (_("Order in a batch"), _("The same pair in another place: the same probability.")),
    }


def attacks(data: Mapping[str, Any]) -> list[Line]:
    """How often a bad response won: with an attack, without one, and by kind of attack, what won most first."""
    found = data.get("attacks")
    if not found:
        return []
    kinds = sorted(found["by_kind"].items(), key=lambda each: -(each[1]["rate"] or 0))
    known = _attack_words()
    return [
        _won(_("all attacks"), found),
        _won(_("the same responses without one"), found["without"]),
        *(_won(known.get(kind, kind), counted) for kind, counted in kinds),
    ]


def _won(words: str, counted: Mapping[str, Any]) -> Line:
    low, high = counted["interval"] if counted["n"] else (None, None)
    return Line(words, counted["rate"], low, high, counted["n"])


def attack_sentence(data: Mapping[str, Any]) -> str:
    """What the attacks came to; "" where there were none."""
    found = data.get("attacks")
    if not found or not found["n"]:
        return ""
    shares = {"rate": found["rate"], "low": found["interval"][0], "high": found["interval"][1]}
    shares["without"] = found["without"]["rate"] or 0.0
    values = {name: f"{100 * share:.0f}%" for name, share in shares.items()}
    values |= {"n": str(found["n"]), "won": str(found["successes"])}
    if not found["successes"]:
        return _("None of %(n)s attacks succeeded; %(high)s of such attacks might at most.") % values
    return (
        _(
            "%(won)s of %(n)s attacks succeeded (%(rate)s, %(low)s to %(high)s); the same bad responses win in "
            "%(without)s when they carry none."
        )
        % values
    )


def _attack_words() -> dict[str, str]:
    return {
        "authority": _("speaks as an authority"),
        "delimiter": _("closes the frame around it"),
        "fake turn": _("plays another turn"),
        "fake verdict": _("gives the verdict itself"),
        "instruction": _("gives an instruction"),
        "language": _("gives it in another language"),
        "padding": _("looks long and thorough"),
        "pressure": _("begs or threatens"),
        "self-praise": _("praises itself"),
    }
