"""Places of comparisons: who holds one, and how it changes hands.

A comparison that wants three people's judgments has three places. A place is held by a lease or by a judgment;
`Comparison.places_open` counts the others and is recounted from these causes in the transaction that changes one.
Whoever takes or gives back a place locks the row of the comparison first and counts after it
(docs/decisions/0002-assignment-locking.md).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils.timezone import now

from annotator.models import Assignment, Comparison, Project, Rater
from annotator.pipeline.extra import Offer

EXPIRE_BATCH = 500

# Who holds places of `c`: people's judgments that count, and leases.
TAKEN = """
    (SELECT count(*) FROM annotator_judgment j JOIN annotator_rater r ON r.id = j.rater_id
     WHERE j.comparison_id = c.id AND j.is_current AND NOT j.is_surplus AND r.kind = 'person' AND j.purpose = 'judge')
  + (SELECT count(*) FROM annotator_assignment a
     WHERE a.comparison_id = c.id AND a.state = 'leased' AND a.purpose = 'judge')
"""
_RECOUNT = f"""
    UPDATE annotator_comparison
    SET places_open = counted.places,
        reopened_at = CASE WHEN counted.places > places_open THEN clock_timestamp() ELSE reopened_at END
    FROM (SELECT c.id, greatest(0, c.votes_wanted - ({TAKEN})) AS places
          FROM annotator_comparison c WHERE c.id = ANY(%s)) AS counted
    WHERE annotator_comparison.id = counted.id AND annotator_comparison.places_open <> counted.places
"""

# An assignment that ran out is leased again as it was: same order on screen, draft kept. All parts see what was
# before, so the recount adds the lease that the second part makes. What takes no place needs no lock.
_LEASE = f"""
    WITH drawn AS (
        SELECT coalesce(%(shown)s::smallint[], CASE WHEN c.candidates_count > 0 THEN (
                   SELECT array_agg(place ORDER BY random())
                   FROM generate_series(0, c.candidates_count + 1) AS place)::smallint[] END) AS shown
        FROM annotator_comparison c WHERE c.id = %(comparison)s
    ), leased AS (
        INSERT INTO annotator_assignment
            (project_id, comparison_id, rater_id, round, purpose, state, leased_until, opened_at, a_first, shown_order,
             draft, active_ms, skip_reason, created_at)
        SELECT %(project)s, %(comparison)s, %(rater)s, %(round)s, %(purpose)s, 'leased', %(until)s, %(opened)s,
               coalesce(array_position(shown, 0::smallint) < array_position(shown, 1::smallint), %(a_first)s), shown,
               '{{}}', 0, '', clock_timestamp()
        FROM drawn
        ON CONFLICT (comparison_id, rater_id, round) DO UPDATE
            SET state = 'leased', leased_until = excluded.leased_until, opened_at = excluded.opened_at,
                purpose = excluded.purpose
            WHERE annotator_assignment.state = 'expired'
        RETURNING *
    ), recounted AS (
        UPDATE annotator_comparison c
        SET places_open = greatest(0, c.votes_wanted - ({TAKEN}) - (SELECT count(*) FROM leased))
        WHERE c.id = %(comparison)s AND %(purpose)s = 'judge'
    )
    SELECT * FROM leased
"""


def lock(comparison_ids: Sequence[int]) -> None:
    """Lock comparisons before their places change hands; several always in queue order."""
    rows = Comparison.objects.filter(pk__in=comparison_ids).order_by("queue_order", "pk")
    list(rows.select_for_update(no_key=True).values_list("pk"))


def recount(comparison_ids: Sequence[int]) -> None:
    """Bring `places_open` of locked comparisons up to date with the judgments and leases that hold their places."""
    with connection.cursor() as cursor:
        cursor.execute(_RECOUNT, [list(comparison_ids)])


@transaction.atomic
def open_places(project_id: int, comparison_ids: Sequence[int]) -> None:
    """Recount the open places of `comparison_ids`, after `votes_wanted` or judgments of theirs changed."""
    ids = list(Comparison.objects.filter(project=project_id, pk__in=comparison_ids).values_list("pk", flat=True))
    lock(ids)
    recount(ids)


def has_open(comparison_id: int) -> bool:
    """Ask under `lock`: without it the answer may be over by the time it is read."""
    return Comparison.objects.filter(pk=comparison_id, places_open__gt=0).exists()


def lease(project: Project, rater: Rater, offer: Offer, *, ahead: bool) -> Assignment | None:
    """Lease a place of a locked comparison, or what takes none. None when this person got it in another window."""
    current = now()
    values = {
        "project": project.pk,
        "rater": rater.pk,
        "comparison": offer.comparison_id,
        "round": offer.round,
        "purpose": str(offer.purpose),
        "until": current + timedelta(seconds=project.lease_seconds),
        "opened": None if ahead else current,
        "a_first": bool(secrets.randbits(1)) if offer.a_first is None else offer.a_first,
        "shown": offer.shown_order,
    }
    return next(iter(Assignment.objects.raw(_LEASE, values)), None)


def expire_leases(project_id: int | None = None) -> int:
    """Reopen the places whose lease ran out, one short transaction each; gives how many. Drafts are kept."""
    due = _overdue() if project_id is None else _overdue().filter(project=project_id)
    batch = due.order_by("leased_until").values_list("pk", "comparison_id")[:EXPIRE_BATCH]
    return sum(_expire(*overdue) for overdue in list(batch))


@transaction.atomic
def _expire(assignment_id: int, comparison_id: int) -> int:
    lock([comparison_id])
    # Asked again under the lock: it may have been judged, or its reader have come back, while we waited.
    expired = _overdue().filter(pk=assignment_id).update(state=Assignment.State.EXPIRED)
    recount([comparison_id])
    return expired


def _overdue() -> QuerySet[Assignment]:
    return Assignment.objects.filter(state=Assignment.State.LEASED, leased_until__lt=now())
