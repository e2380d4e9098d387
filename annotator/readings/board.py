"""Where a project stands: the numbers of its board. Aggregates over one project, for lead pages only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Aggregate, Avg, Count, Exists, F, FloatField, Max, OuterRef, Q, QuerySet, StdDev, Sum
from django.utils.timezone import localtime, now

from annotator.models import (
    Account,
    Assignment,
    Comparison,
    Judgment,
    Label,
    LedgerEntry,
    Plan,
    Project,
    Purpose,
    Rater,
    Reservation,
    Route,
)
from annotator.models.judgments import NOT_FIRST

# The board names the most productive people; an import may bring thousands.
PEOPLE_SHOWN = 50


class Median(Aggregate):
    function = "PERCENTILE_CONT"
    name = "median"
    template = "%(function)s(0.5) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()


@dataclass(frozen=True)
class Agreement:
    """Mean share of votes that agree with the majority, over `comparisons` with two votes or more; 95% interval."""

    mean: float
    half_width: float
    comparisons: int


@dataclass(frozen=True)
class Stage:
    """How many comparisons came this far, in total and by the source that judges them."""

    key: str
    total: int
    by_source: dict[str, int]


@dataclass(frozen=True)
class Spending:
    source: str
    paid: Decimal
    causes: int
    reserved: Decimal


def start_of_today() -> datetime:
    return localtime(now()).replace(hour=0, minute=0, second=0, microsecond=0)


def approved_plan(project: Project) -> Plan | None:
    return project.plans.filter(status=Plan.Status.APPROVED).first()


def stages(project: Project) -> list[Stage]:
    """From import to export. Labels are those of the default recipe."""
    imported = project.comparisons.count()
    routed: dict[str, int] = {}
    if plan := approved_plan(project):
        routed = dict(plan.routes.values_list("source").annotate(n=Count("id")).order_by("source"))
    labelled = dict(_labels(project).values_list("source").annotate(n=Count("id")).order_by("source"))
    exported = project.exports.filter(completed_at__isnull=False).order_by("-number").values_list("rows", flat=True)
    return [
        Stage("imported", imported, {}),
        Stage("routed", sum(routed.values()), routed),
        Stage("labelled", sum(labelled.values()), labelled),
        Stage("exported", min(exported.first() or 0, imported), {}),
    ]


def _labels(project: Project) -> Any:
    return Label.objects.filter(recipe__project=project, recipe__is_default=True, votes__gt=0)


def agreement(project: Project) -> Agreement | None:
    """None while no comparison has two votes of people."""
    found = (
        Label.objects.filter(recipe__project=project, recipe__is_default=True, votes__gte=2, agreement__isnull=False)
        .order_by()
        .aggregate(mean=Avg("agreement"), spread=StdDev("agreement", sample=True), n=Count("id"))
    )
    if not found["n"]:
        return None
    return Agreement(found["mean"], 1.96 * (found["spread"] or 0.0) / found["n"] ** 0.5, found["n"])


def waiting_for_people(project: Project) -> int:
    """Places that nobody holds: judgments still wanted of people."""
    return project.comparisons.filter(places_open__gt=0).aggregate(n=Sum("places_open"))["n"] or 0


def judged_without_label(project: Project) -> QuerySet[Comparison]:
    """Routed comparisons whose judgments are all there and make no label: nobody could choose, a labeler abstained."""
    plan = approved_plan(project)
    if plan is None:
        return Comparison.objects.none()
    said = Judgment.objects.effective().filter(comparison=OuterRef("pk"), is_surplus=False, aggregated=True)
    by = "rater__labeler_version__labeler__routes__"
    by_labeler = said.filter(**{f"{by}plan": plan, f"{by}comparison": F("comparison")})
    sent = Exists(plan.routes.filter(source=Route.PEOPLE, comparison=OuterRef("pk")))
    leased = Exists(Assignment.objects.filter(comparison=OuterRef("pk"), state=Assignment.State.LEASED))
    by_people = sent & Q(places_open=0) & ~leased & Exists(said.filter(rater__kind=Rater.Kind.PERSON))
    labels = Exists(_labels(project).filter(comparison=OuterRef("pk")))
    return project.comparisons.filter(~labels & (by_people | Exists(by_labeler)))


def people(project: Project) -> tuple[list[Any], int]:
    """Raters who are people, with `total`, `today`, `median_ms` and `latest`; and how many more there are."""
    current = Q(judgments__is_current=True)
    given = ~Q(judgments__provenance__has_any_keys=NOT_FIRST) & ~Q(judgments__purpose=Purpose.REVIEW)
    today = start_of_today()
    judging = (
        project.raters.people()  # type: ignore[attr-defined]
        .select_related("user")
        .annotate(
            total=Count("judgments", filter=current),
            # Imported judgments came with the file, not today, and thinking again is no further work.
            today=Count("judgments", filter=given & Q(user__isnull=False, judgments__created_at__gte=today)),
            median_ms=Median("judgments__active_ms", filter=current),
            latest=Max("judgments__created_at", filter=current),
        )
        .filter(total__gt=0)
    )
    shown: list[Any] = list(judging.order_by("-total", "id")[:PEOPLE_SHOWN])
    return shown, max(judging.count() - PEOPLE_SHOWN, 0) if len(shown) == PEOPLE_SHOWN else 0


def spending(account: Account) -> list[Spending]:
    """Money paid and still set aside, by source."""
    paid = {
        row["reservation__source"] or "": (row["amount"], row["n"])
        for row in LedgerEntry.objects.filter(account=account)
        .values("reservation__source")
        .annotate(amount=Sum("amount"), n=Count("id"))
    }
    reserved = dict(
        Reservation.objects.filter(account=account, is_open=True)
        .values_list("source")
        .annotate(left=Sum(F("amount") - F("committed") - F("refunded")))
    )
    none = (Decimal(0), 0)
    return [
        Spending(source, *paid.get(source, none), reserved.get(source, Decimal(0)))
        for source in sorted(paid.keys() | reserved.keys(), key=lambda source: (source != "people", source))
    ]
