"""A project's recorded judgments as a backtest reads them: comparisons that people and labelers have both judged."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal

import numpy as np
from django.utils.translation import gettext as _

from annotator.models import Comparison, Features, FeatureSet, Judgment, Labeler, Project
from annotator.pipeline import signals, versions, work
from routing import table
from routing.table import Table

# Comparisons whose highest price is asked of a labeler that is paid by length; their mean is its price.
PRICED = 300
CHUNK = 2000


@dataclass
class _Recorded:
    """What is judged: people's votes for B by comparison, each labeler's probability for B by comparison."""

    ballots: dict[int, list[float]]
    said: dict[Labeler, dict[int, float]]


def table_of(project: Project, last_judgment: int) -> Table:
    """Comparisons that people have judged, as a table; labelers that answered nearly all of them are its judges.

    Judgments after `last_judgment` do not count. Raises StepRefused, with numbers, when there are no such labelers or
    the comparisons have no features.
    """
    found = _Recorded(_ballots(project, last_judgment), _said(project, last_judgment))
    values, names = _features(project, list(found.ballots))
    ids = sorted(values)
    if not ids:
        raise work.StepRefused(
            _("People have judged %(n)s comparisons, and none of them has features yet: wait for the features job.")
            % {"n": len(found.ballots)}
        )
    judges = _judges(found, ids)
    texts, models = _texts(ids)
    ballots = tuple(tuple(found.ballots[pk]) for pk in ids)
    return Table(
        texts=texts,
        values=np.array([values[pk] for pk in ids]),
        people=np.array([np.mean(votes) for votes in ballots]),
        votes=np.array([len(votes) for votes in ballots]),
        judges=tuple(judge.name for judge in judges),
        p_b=np.column_stack([[found.said[judge].get(pk, float("nan")) for pk in ids] for judge in judges]),
        prompts=table.prompt_numbers(text[0] for text in texts),
        models=models,
        ballots=ballots,
        names=names,
    )


def prices_of(project: Project, data: Table) -> dict[str, Decimal]:
    """Money a comparison: people with all votes, and each judge's mean price. Raises StepRefused."""
    judges = project.labelers.filter(name__in=data.judges)
    return {"people": project.price_per_judgment * project.votes, **{judge.name: _price(judge) for judge in judges}}


def _price(labeler: Labeler) -> Decimal:
    if labeler.kind == versions.RECORDED or labeler.is_free:
        return labeler.price_per_call
    judge = versions.build(versions.current_version(labeler))
    rows = labeler.project.comparisons.select_related("prompt", "response_a", "response_b").order_by("pk")[:PRICED]
    highest = [versions.highest_price(judge, [row]) for row in rows]  # type: ignore[arg-type]
    return (sum(highest, Decimal(0)) / max(1, len(highest))).quantize(Decimal("1e-8"), ROUND_UP)


def _ballots(project: Project, last: int) -> dict[int, list[float]]:
    """{comparison: votes for B, in the order they were given}; a tie is half a vote."""
    rows = Judgment.objects.effective().levels_of_people(last).filter(project=project)
    rows = rows.exclude(comparison__in=project.golds.teaching().values("comparison"))
    ballots: dict[int, list[float]] = defaultdict(list)
    for pk, level in rows.order_by("comparison_id", "id").values_list("comparison_id", "level").iterator(CHUNK):
        ballots[pk].append((1 + float(np.sign(level or 0))) / 2)
    return ballots


def _said(project: Project, last: int) -> dict[Labeler, dict[int, float]]:
    """By labeler that a plan could use: {comparison: probability for B of the version accepted last that answered}."""
    labelers = project.labelers.judging().filter(enabled=True).exclude(kind__in=versions.OWN).order_by("id")
    return {labeler: _answers(labeler, last) for labeler in labelers}


def _answers(labeler: Labeler, last: int) -> dict[int, float]:
    rows = (
        Judgment.objects.effective()
        .filter(pk__lte=last, rater__labeler_version__labeler=labeler, p_b__isnull=False)
        .filter(rater__labeler_version__accepted_at__isnull=False)
        .order_by("rater__labeler_version__accepted_at", "rater__labeler_version_id")
    )
    return {pk: float(p_b) for pk, p_b in rows.values_list("comparison_id", "p_b").iterator(CHUNK) if p_b is not None}


def _features(project: Project, ids: list[int]) -> tuple[dict[int, list[float]], tuple[str, ...]]:
    """({comparison: values}, names) of the newest complete feature set."""
    feature_set = project.feature_sets.filter(state=FeatureSet.State.READY).order_by("-version").first()
    if feature_set is None:
        raise work.StepRefused(
            _("The comparisons have no features yet. Wait for the features job, or start it on the board.")
        )
    values: dict[int, list[float]] = {}
    for start in range(0, len(ids), CHUNK):
        rows = Features.objects.filter(feature_set=feature_set, comparison__in=ids[start : start + CHUNK])
        values.update(rows.values_list("comparison_id", "values"))
    return values, tuple(feature_set.names)


def _judges(found: _Recorded, ids: list[int]) -> list[Labeler]:
    """Labelers that answered nearly all of `ids`. Raises StepRefused, naming what each has answered."""
    answered = {judge: sum(pk in said for pk in ids) / len(ids) for judge, said in found.said.items()}
    enough = [judge for judge, share in answered.items() if share >= signals.COVERAGE]
    if enough:
        return enough
    each = ", ".join(f"{judge.name} {share:.0%}" for judge, share in answered.items()) or _("there is none")
    raise work.StepRefused(
        _(
            "People have judged %(n)s comparisons, but no labeler has answered %(enough)s of them (%(each)s). Run one "
            "on the comparisons that people judged, then ask again."
        )
        % {"n": len(ids), "enough": f"{signals.COVERAGE:.0%}", "each": each}
    )


def _texts(ids: list[int]) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
    """(prompt, A, B) and the models that wrote A and B, in the order of `ids`."""
    texts, models = [], []
    for start in range(0, len(ids), CHUNK):
        rows = Comparison.objects.filter(pk__in=ids[start : start + CHUNK]).order_by("pk")
        for row in rows.select_related("prompt", "response_a", "response_b"):
            prompt = "\n\n".join(turn["content"] for turn in row.prompt.turns)
            texts.append((prompt, row.response_a.text, row.response_b.text))
            models.append((row.response_a.model, row.response_b.model))
    return texts, models
