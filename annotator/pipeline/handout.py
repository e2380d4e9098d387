"""What a plan asks of labelers and people: its money, and the places of people, wanted where it sends them only.

Places change in batches, each a transaction of its own that first makes sure that the plan is still the approved one.
What is as it should be is passed over, so a run that stopped midway is finished by the next.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from annotator.models import Comparison, Job, Judgment, Labeler, Plan, Rater, Route
from annotator.models.routes import vote_price
from annotator.pipeline import places, versions

BATCH = 2000


# What is to be paid


def asked(plan: Plan) -> list[Labeler]:
    """The plan's labelers that judge anew; recorded verdicts are there already."""
    routed = plan.project.labelers.filter(routes__plan=plan).distinct().order_by("id")
    return [labeler for labeler in routed if labeler.kind != versions.RECORDED]


def to_pay(plan: Plan) -> list[tuple[str, Decimal]]:
    """(source, money) at the plan's own prices for what no judgment covers yet, so never more than the plan costs."""
    due = [(Route.PEOPLE, _people_due(plan))] if plan.routes.filter(source=Route.PEOPLE).exists() else []
    return due + [(labeler.name, _labeler_due(plan, labeler)) for labeler in asked(plan)]


def _people_due(plan: Plan) -> Decimal:
    """The price of the votes beyond those that are there.

    One that can still be undone is there and paid. Should it be undone, its pay comes over to this plan (`judge`), so
    only what this plan pays more for it is due.
    """
    theirs = Judgment.objects.filter(is_current=True, is_surplus=False, rater__kind=Rater.Kind.PERSON)
    have = theirs.filter(comparison=OuterRef("comparison")).order_by().values("comparison").annotate(n=Count("pk"))
    sent = plan.routes.filter(source=Route.PEOPLE).annotate(have=Coalesce(Subquery(have.values("n")), 0))
    undoable: dict[int, list[Decimal]] = defaultdict(list)
    for comparison, paid in theirs.filter(project=plan.project_id).not_final().values_list("comparison", "cost"):
        undoable[comparison].append(paid)
    rows = sent.filter(Q(have__lt=F("votes")) | Q(comparison__in=list(undoable)))
    due = Decimal(0)
    for comparison, price, votes, present in rows.values_list("comparison", "price", "votes", "have").iterator():
        each = vote_price(price, votes)
        dearer = sum((max(each - paid, Decimal(0)) for paid in undoable[comparison]), Decimal(0))
        due += each * max(votes - present, 0) + min(dearer, each * min(votes, present))
    return due


def switched_off(plan: Plan) -> list[Labeler]:
    """Labelers that are to judge anew and never will: their runs are refused while they are switched off."""
    return [labeler for labeler in asked(plan) if not labeler.enabled and _left(plan, labeler).exists()]


def _labeler_due(plan: Plan, labeler: Labeler) -> Decimal:
    """The highest prices that the plan counted for what is left."""
    return _left(plan, labeler).aggregate(total=Sum("price"))["total"] or Decimal(0)


def _left(plan: Plan, labeler: Labeler) -> QuerySet[Route]:
    """Its routes that the version that judges now has not judged; of one that is switched off, that judged last."""
    version = versions.current_version(labeler) if labeler.enabled else versions.in_use(labeler)
    counted = [version] if version else []
    judged = Judgment.objects.filter(comparison=OuterRef("comparison"), rater__labeler_version__in=counted)
    return plan.routes.filter(~Exists(judged), labeler=labeler)


# Places for people


def begin(plan: Plan) -> None:
    """The first batch of both kinds, so that annotators can start at once; a plan of up to 2,000 is done with it."""
    _close_batch(plan)
    _open_batch(plan)


def finish(plan: Plan, job: Job | None = None) -> None:
    """Whatever is still to be opened, then what is to be closed. Nothing when another plan was approved since."""
    for batch in (_open_batch, _close_batch):
        done = 0
        while changed := batch(plan):
            done += changed
            if job:
                job.beat(done, done, "places")


def _open_batch(plan: Plan) -> int:
    """Comparisons that the plan sends to people and that want another number of votes."""
    routes = plan.routes.filter(source=Route.PEOPLE).exclude(comparison__votes_wanted=F("votes"))
    # What came to teach since the plan was made is sent to nobody.
    routes = routes.exclude(comparison__in=plan.project.golds.teaching().values("comparison"))
    ids = list(routes.order_by("comparison_id").values_list("comparison_id", flat=True)[:BATCH])
    votes = plan.routes.filter(comparison=OuterRef("pk")).values("votes")[:1]
    return _want(plan, ids, Subquery(votes))


def _close_batch(plan: Plan) -> int:
    """Comparisons that want votes and that the plan does not send to people."""
    sent = Exists(plan.routes.filter(source=Route.PEOPLE, comparison=OuterRef("pk")))
    left = plan.project.comparisons.filter(~sent, votes_wanted__gt=0)
    return _want(plan, list(left.order_by("pk").values_list("pk", flat=True)[:BATCH]), 0)


@transaction.atomic
def _want(plan: Plan, ids: list[int], votes: Subquery | int) -> int:
    """Gives how many were changed; 0 as well when the plan was replaced."""
    approved = Plan.objects.filter(pk=plan.pk, status=Plan.Status.APPROVED).select_for_update(no_key=True)
    if not ids or approved.first() is None:
        return 0
    places.lock(ids)
    Comparison.objects.filter(pk__in=ids).update(votes_wanted=votes)
    places.recount(ids)
    return len(ids)
