"""Realised: what a plan's labels so far train to, measured as its prediction was, and what left the plan.

The prediction is the accuracy of a proxy reward model trained on as many comparisons as the performance model had, of
which a share goes to each source, on people's majorities of prompts it has not seen. So the plan's labels so far are
drawn down to that number, several times, each source at its share of the plan, trained on and scored on held-out
prompts in the same way; labelers answer in minutes and people in days, so whatever came first is no sample of the plan.
They are scored on comparisons that people judged by chance: imported, seed set, random control (`Signals.drawn`).

`Realised.detail`: {"size": comparisons trained on, "draws", "tested", "prompts": those it was scored on, "routed": of
the plan, "sources": [{"source", "wanted": labels at its share of that size, "there": labels so far}, …],
"at_full_size": accuracy of all labels so far or null, "text": why there is no figure, "labelers": [see `labelers_now`],
"spending": {"planned", "paid"} of what is judged, "departs": [words, …]}.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from django.db.models import Exists, OuterRef, Sum
from django.utils.translation import gettext as _

from annotator.models import Job, Judgment, Label, LedgerEntry, Plan, Realised, Route
from annotator.pipeline import basis, signals
from annotator.pipeline.loop import departures
from annotator.readings import report_lines
from routing import features, reward_proxy
from routing.strategies import off_policy

# How often the labels are drawn down to the size of the prediction.
DRAWS = 8
REPEATS = 2
# Comparisons looked at, at most: trained on, and scored on.
MOST_LABELS, MOST_TESTED = 8000, 4000
# Fewer labels or prompts than this give no figure.
ENOUGH_LABELS, ENOUGH_PROMPTS = 50, 8
# A source must have this part of the labels at its share of the size: some comparisons get none, whoever judges them.
NEARLY = 0.9
# An estimate of a labeler that rests on fewer comparisons is not told.
ENOUGH_COMPARED = 20
# z of the 90% interval, as predictions carry.
Z = 1.645


def measure(plan: Plan, *, seed: int = 0, job: Job | None = None) -> Realised:
    """Measure now and store it. Raises StepRefused while the comparisons have no features."""
    known = signals.load(plan.project)
    labels = _labels(plan, known.ids)
    tested = known.drawn & (known.people != 0.5)
    detail = _score(plan, known, labels, tested, seed, job)
    figure = {name: detail.pop(name, None) for name in ("accuracy", "low", "high")}
    detail |= {
        "routed": plan.routes.count(),
        "labelers": labelers_now(plan, known),
        "spending": _spending(plan),
    }
    detail["departs"] = list(departures(detail).values())
    return Realised.objects.create(
        plan=plan,
        judgments=Judgment.objects.effective().levels_of_people().filter(project=plan.project).count(),
        labels=int((~np.isnan(labels)).sum()),
        spent=basis.spent(plan),
        detail=detail,
        **figure,
    )


def _labels(plan: Plan, ids: np.ndarray) -> np.ndarray:
    """(n,) the labels that exports would give today for what the plan routes; NaN where there is none yet."""
    routed = plan.routes.filter(comparison=OuterRef("comparison"))
    found = Label.objects.filter(Exists(routed), recipe__project=plan.project, recipe__is_default=True, votes__gt=0)
    labels = np.full(len(ids), np.nan)
    for position, (p_b,) in signals.placed(found.values_list("comparison_id", "p_b"), ids):
        labels[position] = np.nan if p_b is None else p_b
    return labels


def _score(
    plan: Plan, known: signals.Signals, labels: np.ndarray, tested: np.ndarray, seed: int, job: Job | None
) -> dict[str, Any]:
    """Accuracy with its interval, and what it was measured on; without a figure, why."""
    rng = np.random.default_rng(seed)
    test = _at_most(np.flatnonzero(tested), MOST_TESTED, rng)
    metrics = plan.performance_model.metrics if plan.performance_model else {}
    parts = _parts(plan, known, labels, min(MOST_LABELS, int(metrics.get("comparisons", len(test)))))
    told: dict[str, Any] = {"tested": len(test), "prompts": len(np.unique(known.groups[test]))}
    told["sources"] = [{"source": each.source, "wanted": each.wanted, "there": len(each.rows)} for each in parts]
    if words := _too_few(parts, told["prompts"]):
        return told | {"text": words}
    if job:
        job.beat(0, 1, _("training proxy reward models"))
    targets = _drawn(labels, parts, rng)
    rows = np.union1d(np.flatnonzero(~np.isnan(targets).all(axis=0)), test)
    people = np.where(tested, known.people, np.nan)[rows]
    *drawn, full = _accuracies(known, rows, targets[:, rows], people, metrics.get("l2"), seed).tolist()
    told |= {"size": sum(each.size for each in parts), "draws": len(drawn), "at_full_size": full}
    return told | _interval(drawn, known.votes[test], metrics)


def _interval(drawn: list[float], votes: np.ndarray, metrics: dict[str, Any]) -> dict[str, float]:
    accuracy = float(np.mean(drawn))
    noise = float(np.std(drawn, ddof=1)) / len(drawn) ** 0.5 if len(drawn) > 1 else _seed_noise(metrics)
    error = Z * float(np.hypot(noise, sampling_error(votes, accuracy)))
    return {"accuracy": accuracy, "low": max(0.0, accuracy - error), "high": min(1.0, accuracy + error)}


@dataclass(frozen=True)
class _Part:
    """One source of the plan: `rows` that it has labels for, and how many are `wanted` at its share of the size."""

    source: str
    rows: np.ndarray
    wanted: int

    @property
    def size(self) -> int:
        return min(self.wanted, len(self.rows))

    @property
    def is_in(self) -> bool:
        return len(self.rows) >= int(NEARLY * self.wanted)


def _parts(plan: Plan, known: signals.Signals, labels: np.ndarray, size: int) -> list[_Part]:
    """The plan's sources, each at its share of `size` comparisons (of all that it routes, where those are fewer)."""
    routed: dict[str, list[int]] = {}
    for position, (source,) in signals.placed(plan.routes.values_list("comparison_id", "source"), known.ids):
        routed.setdefault(source, []).append(position)
    total = sum(len(rows) for rows in routed.values())
    parts = []
    for source, positions in sorted(routed.items()):
        rows = np.array(sorted(positions), dtype=np.int64)
        wanted = round(min(size, total) * len(rows) / total)
        parts.append(_Part(source, rows[~np.isnan(labels[rows])], wanted))
    return parts


def _too_few(parts: list[_Part], prompts: int) -> str:
    """Why there is no figure, in words; empty when there is one."""
    there = sum(len(each.rows) for each in parts)
    if there < ENOUGH_LABELS or prompts < ENOUGH_PROMPTS:
        words = _(
            "%(labels)s labels so far, and people judged %(prompts)s prompts by chance; it takes %(enough)s and "
            "%(several)s to measure."
        )
        return words % {"labels": there, "prompts": prompts, "enough": ENOUGH_LABELS, "several": ENOUGH_PROMPTS}
    if all(each.is_in for each in parts):
        return ""
    counted = _("%(source)s: %(there)s of %(wanted)s")
    states = (
        counted % {"source": each.source, "there": min(len(each.rows), each.wanted), "wanted": each.wanted}
        for each in parts
    )
    words = _("It is measured once every source has the labels of its share of the plan. So far: %(states)s.")
    return words % {"states": str(report_lines.SEMICOLON).join(states)}


def _at_most(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))


def _drawn(labels: np.ndarray, parts: list[_Part], rng: np.random.Generator) -> np.ndarray:
    """(draws + 1, n) targets: each source's share of the size every time, and of all labels so far last."""
    labelled = np.sort(np.concatenate([each.rows for each in parts]))
    count = DRAWS if any(each.size < len(each.rows) for each in parts) else 1
    targets = np.full((count + 1, len(labels)), np.nan)
    for row in targets[:-1]:
        chosen = np.concatenate([rng.choice(each.rows, each.size, replace=False) for each in parts])
        row[chosen] = labels[chosen]
    everything = _at_most(labelled, MOST_LABELS, rng)
    targets[-1, everything] = labels[everything]
    return targets


def _accuracies(
    known: signals.Signals, rows: np.ndarray, targets: np.ndarray, people: np.ndarray, l2: float | None, seed: int
) -> np.ndarray:
    signed = known.features[:, features.signed(known.names)]
    prompt, a, b = known.prompt[rows], known.a[rows], known.b[rows]
    design = reward_proxy.design(prompt, a, b, signed[rows], reward_proxy.scales(signed))
    groups = np.unique(known.groups[rows], return_inverse=True)[1]
    if l2 is None:
        there = ~np.isnan(targets[-1])
        l2 = reward_proxy.choose_l2(design[there], targets[-1][there], groups[there], seed=seed)
    votes = known.votes[rows]
    return reward_proxy.cross_fitted_accuracy(design, targets, people, votes, groups, l2=l2, seed=seed, repeats=REPEATS)


def _seed_noise(metrics: dict[str, Any]) -> float:
    return float(metrics.get("noise_ceiling", {}).get("deviation") or 0.0)


def sampling_error(votes: np.ndarray, accuracy: float) -> float:
    """Standard error of an accuracy on comparisons with so many votes each, two right and two wrong added."""
    weight = votes.astype(float)
    effective = weight.sum() ** 2 / np.square(weight).sum()
    mean = (accuracy * effective + 2) / (effective + 4)
    return float(np.sqrt(mean * (1 - mean) / (effective + 4)))


# What left the plan


def _spending(plan: Plan) -> dict[str, str]:
    """What the plan counted for what it has had judged, and what was paid under it, failed calls included."""
    answered = basis.judged(plan).filter(labeler__isnull=False, is_kept=False).exclude(labeler__kind="recorded")
    planned = answered.aggregate(total=Sum("price"))["total"] or Decimal(0)
    calls = LedgerEntry.objects.filter(reservation__plan=plan, call__isnull=False)
    paid = calls.aggregate(total=Sum("amount"))["total"] or Decimal(0)
    return {"planned": str(planned), "paid": str(paid)}


def labelers_now(plan: Plan, known: signals.Signals) -> list[dict[str, Any]]:
    """How often the plan's labelers are right, over all that it routes, from what chance sent to people.

    [{"source", "promised", "value", "low", "high", "effective", "method"}, …]. Only the plan's own decisions count,
    where people had a chance: what it kept of earlier plans was drawn with another one. Where people judged, the
    labeler's answer must be there as well (recorded, free, or asked on all that people judged); one that was never
    so compared has no row.
    """
    promised = {row["source"]: row["accuracy"] for row in plan.summary.get("promised", [])}
    routes = _own_routes(plan, known.ids)
    rows = []
    for column, labeler in enumerate(known.labelers):
        if labeler.name not in promised:
            continue
        found = _accuracy(routes, known, column)
        if found is not None and found.effective >= ENOUGH_COMPARED:
            numbers = {name: float(getattr(found, name)) for name in ("value", "low", "high", "effective")}
            rows.append({"source": labeler.name, "promised": promised[labeler.name], "method": found.method, **numbers})
    return rows


def _own_routes(plan: Plan, ids: np.ndarray) -> list[tuple[int, float]]:
    """(position, chance with which people got it) of what the plan itself sent to people with all their votes.

    A route of fewer votes has a chance of its own, and a vote that is no majority: it says nothing here.
    """
    own = plan.routes.filter(labeler=None, propensity__gt=0, is_kept=False, votes=_full_votes(plan))
    rows = signals.placed(own.order_by("comparison_id").values_list("comparison_id", "propensity"), ids)
    return [(position, chance) for position, (chance,) in rows]


def _full_votes(plan: Plan) -> int:
    """As many as "people" stood for when the plan was made."""
    shares = {row["source"]: row["votes"] for row in plan.summary.get("shares", [])}
    return int(shares.get(Route.PEOPLE, plan.project.votes))


def _accuracy(routes: list[tuple[int, float]], known: signals.Signals, column: int) -> off_policy.Estimate | None:
    """Over all that people could have got: each comparison that they judged stands for one over its chance."""
    at = np.array([position for position, _chance in routes], dtype=np.int64)
    chance = np.array([each for _position, each in routes])
    people, said = known.people[at], known.p_b[at, column]
    there = ~np.isnan(people) & (people != 0.5) & ~np.isnan(said)
    if not there.any():
        return None
    right = (1 + np.sign(people[there] - 0.5) * np.sign(said[there] - 0.5)) / 2
    return off_policy.estimate(right, chance[there], np.ones(len(right)), groups=known.groups[at][there])
