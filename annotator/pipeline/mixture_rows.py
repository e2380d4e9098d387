"""One stored mixture as training rows, with the labels as they are known now: read page by page, nothing computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from annotator import protocols
from annotator.formats.source import Judged, Source
from annotator.formats.trainers.trl import TrlReward
from annotator.models import Judgment, Labeler, Mixture, Project
from annotator.pipeline import mixture_sets, signals

# Comparisons whose labels and texts are in memory at once.
PAGE = 500


class SourceGone(Exception):
    """The mixture uses a labeler that the project has no more; its name is the message."""


def rows(project: Project, mixture: Mixture) -> Iterator[dict[str, Any]]:
    """The mixture in TRL's preference format; comparisons without a label, or with a tie, are left out.

    Raises SourceGone, before the first row, for a labeler that is not there any more.
    """
    assignment, names = mixture_sets.assignment_of(mixture), mixture.mixture_set.sources
    used = [names[number] for number in np.unique(assignment[assignment >= 0]).tolist()]
    labelers = {name: _labeler(project, name) for name in used if not signals.is_people(name)}
    writer = TrlReward(protocols.read(project.protocol.definition), mixture_sets.OPTIONS)
    return (row.values for row in writer.rows(_Known(project, mixture, labelers)))


def _labeler(project: Project, name: str) -> Labeler:
    found = project.labelers.judging().filter(name=name).first()
    if found is None:
        raise SourceGone(name)
    return found


class _Known(Source):
    """What an export is written from: the mixture's comparisons with the label of their source."""

    def __init__(self, project: Project, mixture: Mixture, labelers: dict[str, Labeler]) -> None:
        self.project, self.labelers = project, labelers
        self.names = mixture.mixture_set.sources
        self.ids = mixture_sets.comparisons_of(mixture.mixture_set)
        self.assignment = mixture_sets.assignment_of(mixture)

    def judged(self) -> Iterator[Judged]:
        for start in range(0, len(self.ids), PAGE):
            part = slice(start, start + PAGE)
            yield from self._page(self.ids[part], self.assignment[part])

    def _page(self, ids: np.ndarray, assignment: np.ndarray) -> Iterator[Judged]:
        p_b = np.full(len(ids), np.nan)
        for number in np.unique(assignment[assignment >= 0]).tolist():
            here = assignment == number
            p_b[here] = self._labels(self.names[number], ids[here].tolist())
        known = ~np.isnan(p_b)
        names = [self.names[number] for number in assignment[known].tolist()]
        yield from mixture_sets.judged(self.project, ids[known], p_b[known], names)

    def _labels(self, name: str, ids: Sequence[int]) -> list[float]:
        said = _answers(self.labelers[name], ids) if name in self.labelers else _votes(self.project, name, ids)
        return [said.get(pk, float("nan")) for pk in ids]


def _answers(labeler: Labeler, ids: Sequence[int]) -> dict[int, float]:
    """By comparison the probability for B of the version accepted last that answered."""
    found = (
        Judgment.objects.effective()
        .filter(comparison__in=ids, rater__labeler_version__labeler=labeler, p_b__isnull=False)
        .filter(rater__labeler_version__accepted_at__isnull=False)
        .order_by("rater__labeler_version__accepted_at", "rater__labeler_version_id")
    )
    return {pk: float(p_b) for pk, p_b in found.values_list("comparison_id", "p_b") if p_b is not None}


def _votes(project: Project, name: str, ids: Sequence[int]) -> dict[int, float]:
    """By comparison people's mean vote for B: of all, or of the first r where the source is "people:r"."""
    first = name.partition(":")[2]
    found = Judgment.objects.effective().levels_of_people().filter(project=project, comparison__in=ids)
    if not first:
        return {pk: mean for pk, mean, _votes in found.votes_by_comparison()}
    ballots: dict[int, list[float]] = {}
    for pk, level in found.order_by("comparison_id", "id").values_list("comparison_id", "level"):
        ballots.setdefault(pk, []).append((1 + float(np.sign(level or 0))) / 2)
    count = int(first)
    return {pk: sum(said[:count]) / count for pk, said in ballots.items() if len(said) >= count}
