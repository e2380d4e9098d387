"""What a project's labelers have done and how well: the numbers of the labelers page. For lead pages only."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import sqrt
from typing import Any

from django.db import connection
from django.db.models import Count, Max, Q, QuerySet, Sum

from annotator.models import Judgment, Labeler, LabelerCall, LabelerVersion, Project

# Accuracy looks at the newest judgments of people, so that the page stays quick in a large project.
PEOPLE_SEEN = 200_000
# The page says what goes wrong now, whatever went wrong in the years before.
FAILURES_SEEN = 1000
Z95 = 1.959964


@dataclass(frozen=True)
class Accuracy:
    """Share of people's majorities a labeler agrees with, its ties counting half; a 95% interval (Wilson 1927)."""

    comparisons: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    labeler: Labeler
    version: LabelerVersion | None
    judged: int
    cost: Decimal
    failed: int
    accuracy: Accuracy | None

    @property
    def is_null(self) -> bool:
        return self.labeler.kind.startswith("null")


def rows(project: Project) -> list[Row]:
    """The project's labelers in the order in which they came; the nulls, which all others must beat, last."""
    labelers = sorted(project.labelers.judging().order_by("id"), key=lambda each: each.kind.startswith("null"))
    theirs = Judgment.objects.filter(project=project, is_current=True, rater__labeler_version__isnull=False)
    by = "rater__labeler_version__labeler"
    judged = dict(theirs.order_by().values(by).annotate(n=Count("id")).values_list(by, "n"))
    cost = _costs(project)
    right = accuracies(project)
    newest = {version.labeler_id: version for version in _versions(project)}
    nothing = (Decimal(0), 0)
    return [
        Row(
            labeler,
            newest.get(labeler.pk),
            judged.get(labeler.pk, 0),
            *cost.get(labeler.pk, nothing),
            right.get(labeler.pk),
        )
        for labeler in labelers
    ]


def _costs(project: Project) -> dict[int, tuple[Decimal, int]]:
    """By labeler: what its calls did cost, and how many failed; summed in the index `labeler_call_totals`."""
    labeler_of = dict(LabelerVersion.objects.filter(labeler__project=project).values_list("id", "labeler_id"))
    failed = Count("id", filter=~Q(status__in=("ok", "in_flight")))
    calls = LabelerCall.objects.filter(labeler_version__in=list(labeler_of)).order_by().values("labeler_version")
    found: dict[int, tuple[Decimal, int]] = {}
    for version, cost, n in calls.annotate(sum=Sum("cost"), n=failed).values_list("labeler_version", "sum", "n"):
        before = found.get(labeler_of[version], (Decimal(0), 0))
        found[labeler_of[version]] = (before[0] + cost, before[1] + n)
    return found


def names(project: Project) -> list[tuple[int, str]]:
    """(id, name) of those that judge, for choices."""
    return list(project.labelers.judging().order_by("name").values_list("id", "name"))


def call_statuses(labeler: Labeler) -> list[dict[str, Any]]:
    """Its calls by how they ended: status in words, number, cost."""
    calls = LabelerCall.objects.filter(labeler_version__in=_ids(labeler)).order_by().values("status")
    words = dict(LabelerCall.Status.choices)
    rows = calls.annotate(n=Count("id"), cost=Sum("cost"), input=Sum("input_tokens"), output=Sum("output_tokens"))
    return [{**row, "words": words[row["status"]]} for row in rows.order_by("status")]


def failures(labeler: Labeler, most: int = 10) -> list[dict[str, Any]]:
    """Its newest calls that failed, by what was said, the most frequent first: words, number, newest."""
    failed = LabelerCall.objects.filter(labeler_version__in=_ids(labeler), status__in=("failed", "lost"))
    newest = failed.order_by("-id").values("pk")[:FAILURES_SEEN]
    said = LabelerCall.objects.filter(pk__in=newest).order_by().values("error")
    rows = said.annotate(n=Count("id"), last=Max("ended_at")).order_by("-n")
    return [dict(row) for row in rows[:most]]


def _ids(labeler: Labeler) -> list[int]:
    return list(labeler.versions.values_list("pk", flat=True))


def _versions(project: Project) -> QuerySet[LabelerVersion]:
    """Accepted ones, the one in use last."""
    accepted = LabelerVersion.objects.accepted().filter(labeler__project=project)
    return accepted.select_related("labeler__project").order_by("accepted_at", "id")


_AGREEMENT = """
WITH said AS (
    SELECT j.comparison_id, j.preference
    FROM annotator_judgment j JOIN annotator_rater r ON r.id = j.rater_id
    WHERE j.project_id = %(project)s AND r.kind = 'person'
      AND j.is_current AND j.effective_at <= clock_timestamp() AND j.outcome = 'level'
    ORDER BY j.id DESC LIMIT %(limit)s
),
people AS (
    SELECT comparison_id, sign(sum(sign(preference))) AS side FROM said GROUP BY comparison_id
),
answers AS (
    SELECT v.labeler_id, j.comparison_id, j.p_b,
           row_number() OVER (PARTITION BY v.labeler_id, j.comparison_id
                              ORDER BY v.accepted_at DESC, v.id DESC, j.round) AS place,
           people.side
    FROM people
    JOIN annotator_judgment j ON j.comparison_id = people.comparison_id AND j.is_current AND j.p_b IS NOT NULL
    JOIN annotator_rater r ON r.id = j.rater_id
    JOIN annotator_labelerversion v ON v.id = r.labeler_version_id AND v.accepted_at IS NOT NULL
    WHERE people.side <> 0
)
SELECT labeler_id, count(*),
       sum(CASE WHEN p_b = 0.5 THEN 0.5 WHEN sign(p_b - 0.5) = side THEN 1 ELSE 0 END)::float8
FROM answers WHERE place = 1 GROUP BY labeler_id
"""


def accuracies(project: Project) -> dict[int, Accuracy]:
    """By labeler id, where its newest verdicts meet people's majorities; where people tie is left out."""
    with connection.cursor() as cursor:
        cursor.execute(_AGREEMENT, {"project": project.pk, "limit": PEOPLE_SEEN})
        return {labeler: wilson(right, n) for labeler, n, right in cursor.fetchall()}


def wilson(right: float, n: int) -> Accuracy:
    """The 95% score interval of a share; unlike the plain one it never leaves [0, 1]."""
    share, square = right / n, Z95 * Z95
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = Z95 * sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    return Accuracy(n, share, max(0.0, middle - half), min(1.0, middle + half))
