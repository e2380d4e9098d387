"""What a lead does about how somebody judges. Every act has one that takes it back, and none touches a judgment."""

from __future__ import annotations

from django.db import transaction
from django.utils.timezone import now

from annotator.models import Attempt, Comparison, Concern, Gold, Plan, Project, Rater, Route, Standing, User
from annotator.pipeline import places, quality


def of(rater: Rater) -> Standing:
    return Standing.objects.get_or_create(rater=rater)[0]


def pause(rater: Rater, reason: str) -> None:
    """No new comparisons until `resume`. They read the reason; what is on their screen they may still answer."""
    Standing.objects.update_or_create(rater=rater, defaults={"paused_at": now(), "pause_reason": reason})


def resume(rater: Rater) -> None:
    """Work goes on, and gold answers are counted from here. Concerns stay until they are settled."""
    current = now()
    fresh = {"paused_at": None, "pause_reason": "", "resumed_at": current, "gold_seen": 0, "gold_right": 0}
    Standing.objects.update_or_create(rater=rater, defaults=fresh)


def require_qualification(rater: Rater) -> None:
    """They must qualify again before their next comparison."""
    Standing.objects.update_or_create(rater=rater, defaults={"certified": 0})


def certify(rater: Rater) -> None:
    """They count as qualified under today's guidelines."""
    certified = max(rater.project.guidelines_version, 1)
    Standing.objects.update_or_create(rater=rater, defaults={"certified": certified})


def settle(project: Project, rater: Rater, kind: str, by: User) -> int:
    """All open concerns of one kind about one person; what they rest on is not reported again."""
    open_now = Concern.objects.filter(project=project, rater=rater, kind=kind, resolved_at=None)
    return open_now.update(resolved_at=now(), resolved_by=by)


def reopen(concern: Concern) -> None:
    """Take the settling of one back, with all that were settled by the same click."""
    together = Concern.objects.filter(rater=concern.rater_id, kind=concern.kind, resolved_at=concern.resolved_at)
    waiting = Concern.objects.filter(rater=concern.rater_id, kind=concern.kind, resolved_at=None, judgment=None)
    # A new one of the same kind is open meanwhile: it speaks of the same judgments and more.
    if concern.judgment_id is None and waiting.exists():
        return
    together.update(resolved_at=None, resolved_by=None)


@transaction.atomic
def make_known(gold: Gold) -> None:
    """Store a known answer, new or changed: everybody who gave one is counted anew, and the queue follows its use."""
    gold.save()
    quality.regrade_gold(gold)
    _follow_use(gold)


@transaction.atomic
def retire(gold: Gold) -> None:
    """The answer no longer counts, for nobody and from the start; the comparison stays."""
    gold.retired_at = now()
    gold.save(update_fields=["retired_at"])
    quality.regrade_gold(gold)
    _follow_use(gold)


@transaction.atomic
def restore(gold: Gold) -> None:
    gold.retired_at = None
    gold.save(update_fields=["retired_at"])
    quality.regrade_gold(gold)
    _follow_use(gold)


def _follow_use(gold: Gold) -> None:
    """What teaches has no places. What no longer does has those of the approved plan, unless somebody has learned it.

    The plan is locked before the comparison, as wherever places are opened.
    """
    plan = Plan.objects.filter(project=gold.project_id, status=Plan.Status.APPROVED).select_for_update(no_key=True)
    routes = Route.objects.filter(plan=plan.first(), source=Route.PEOPLE, comparison=gold.comparison_id)
    votes = 0
    if gold.use == Gold.Use.HIDDEN or gold.retired_at:
        learned = Attempt.objects.filter(rater__project=gold.project_id, answers__contains=[{"gold": gold.pk}])
        route = None if learned.exists() else routes.first()
        if route is None:
            return
        votes = route.votes
    places.lock([gold.comparison_id])
    Comparison.objects.filter(pk=gold.comparison_id).update(votes_wanted=votes)
    places.recount([gold.comparison_id])
