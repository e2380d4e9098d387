"""Who judges what next: annotators lease places of comparisons (`places`), keep them, or give them back.

Locking (measured in docs/decisions/0002-assignment-locking.md): looking for the next comparison passes over rows that
somebody else has locked at this moment, so annotators do not wait for each other; before anybody is told that nothing
is left, the rows are looked at once more without locking, and a locked one is waited for. An annotator's request never
waits while it holds a lock, so no two of them can wait for each other.

What an annotator's request costs does not grow with the project: the queue is a partial index over open places, and
the search starts behind the annotator's own last comparison, because what they passed before they mostly have had.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils.timezone import now
from django.utils.translation import gettext as _

from annotator.models import Assignment, Flag, Plan, Project, Purpose, Rater, Review, Standing
from annotator.pipeline import admission, extra, places
from annotator.pipeline.admission import Admission
from annotator.pipeline.extra import Offer, one_row

# One open and a few fetched ahead are the rule; an undo or a second window can add to them. Whoever holds as many
# fetches nothing ahead: they would keep the places from others by opening one after the other.
HELD_AT_MOST = 8
# How long it is good enough to know when there was nothing left, before it is written down anew.
REMEMBERED = timedelta(minutes=1)

_HELD = """
    SELECT * FROM annotator_assignment WHERE rater_id = %s AND state = 'leased'
    ORDER BY opened_at DESC NULLS LAST, id LIMIT %s
"""

# Nobody votes who has learned the answer: from a tutorial or a qualification, or from the votes they saw in a review.
# OFFSET 0 keeps each a look into one index for the row at hand: joined, the planner may read all of either table.
_UNKNOWN_TO_ME = """
      AND NOT EXISTS (SELECT FROM annotator_gold known
                      WHERE known.comparison_id = c.id AND known.use <> 'hidden' AND known.retired_at IS NULL OFFSET 0)
      AND NOT EXISTS (SELECT FROM annotator_review seen
                      WHERE seen.comparison_id = c.id AND seen.reviewer_id = %(rater)s OFFSET 0)
"""
# A comparison that was skipped or judged by this person is not offered again; one whose lease ran out is.
_OPEN_FOR_ME = f"""
    SELECT c.id FROM annotator_comparison c
    WHERE c.project_id = %(project)s AND c.places_open > 0
      AND NOT (c.harms && %(opted_out)s::varchar[])
      AND NOT EXISTS (SELECT FROM annotator_assignment mine
                      WHERE mine.comparison_id = c.id AND mine.rater_id = %(rater)s AND mine.state <> 'expired')
      {_UNKNOWN_TO_ME}
"""
# Behind my last comparison; somebody new starts at the head.
_BEHIND_MY_LAST = """
      AND (c.queue_order, c.id) > (
          SELECT place.queue_order, place.id FROM (
              (SELECT last.queue_order, last.id, 1 AS known
               FROM annotator_assignment mine JOIN annotator_comparison last ON last.id = mine.comparison_id
               WHERE mine.rater_id = %(rater)s AND mine.purpose = 'judge' ORDER BY mine.id DESC LIMIT 1)
              UNION ALL SELECT -9223372036854775808, 0, 0
          ) AS place ORDER BY known DESC LIMIT 1)
"""
# Fetched ahead only while there is room; read under a lock, so that of two fetches at once one sees the other's lease.
_HAS_ROOM = """
    (SELECT count(*) FROM annotator_assignment held
     WHERE held.rater_id = %(rater)s AND held.state = 'leased') < %(most)s
"""
_ROOM = f" AND {_HAS_ROOM} "
_LOCK = 0x5317C5
_FIRST = " ORDER BY c.queue_order, c.id LIMIT 1 "
# Somebody who has been through the whole queue looks only at what has opened since. A transaction that opened places
# may have ended a little later than the moment it wrote down.
_REOPENED = " AND c.reopened_at > %(nothing_left_at)s - interval '10 minutes' ORDER BY c.reopened_at LIMIT 1 "
_UNLOCKED = " FOR NO KEY UPDATE OF c SKIP LOCKED"

# Leases that were only fetched ahead, of comparisons I have not had.
_TO_TAKE_OVER = f"""
    SELECT theirs.id, theirs.comparison_id
    FROM annotator_assignment theirs JOIN annotator_comparison c ON c.id = theirs.comparison_id
    WHERE theirs.project_id = %(project)s AND theirs.state = 'leased' AND theirs.opened_at IS NULL
      AND theirs.rater_id <> %(rater)s AND theirs.purpose = 'judge'
      AND NOT (c.harms && %(opted_out)s::varchar[])
      AND NOT EXISTS (SELECT FROM annotator_assignment mine
                      WHERE mine.comparison_id = theirs.comparison_id AND mine.rater_id = %(rater)s
                        AND mine.state <> 'expired')
      {_UNKNOWN_TO_ME}
    ORDER BY theirs.id LIMIT 1
"""


def next_assignment(
    project: Project,
    rater: Rater,
    *,
    prefetch: bool = False,
    resume: bool = False,
    having: Collection[int] = (),
) -> Assignment | None:
    """What `rater` judges now: the lease they hold, else a new one; None when nothing is left for them.

    With `prefetch` the one after it and after those they are `having` (ids): leased too, but not opened, so somebody
    else may take it over while it is the last thing left; None as well while they hold HELD_AT_MOST. With `resume` a
    draft whose lease ran out comes first, when its place is still free.
    Calling it again gives the same assignment. None as well while something hinders them (`admission`).
    """
    if project.status != Project.Status.ACTIVE:
        return None
    admitted = admission.ask(rater)
    if admitted.hindrance:
        return None
    held = _held(rater)
    if prefetch:
        ahead = [assignment for assignment in held if assignment.opened_at is None and assignment.pk not in having]
        if ahead:
            return ahead[0]
        return _new_lease(project, rater, admitted, ahead=True) if len(held) < _most(admitted) else None
    for assignment in held:
        if open_now(assignment, project):
            return assignment
    return (_resumed(project, rater) if resume else None) or _new_lease(project, rater, admitted)


def _most(admitted: Admission) -> int:
    """How many leases a person may hold; no more than the day has left for them."""
    return HELD_AT_MOST if admitted.left_today is None else min(HELD_AT_MOST, admitted.left_today)


def open_now(assignment: Assignment, project: Project) -> bool:
    """The annotator reads it now: from here on nobody may take it over. False when somebody had before."""
    current = now()
    opened = assignment.opened_at or current
    until = current + timedelta(seconds=project.lease_seconds)
    mine = Assignment.objects.filter(pk=assignment.pk, state=Assignment.State.LEASED)
    if not mine.update(opened_at=opened, leased_until=until):
        return False
    assignment.opened_at, assignment.leased_until = opened, until
    return True


def save_draft(assignment: Assignment, draft: dict[str, Any], active_ms: int) -> datetime | None:
    """Keep an unfinished answer and the lease with it; None when the comparison is no longer this person's."""
    current = now()
    saved = Assignment.objects.filter(pk=assignment.pk, state=Assignment.State.LEASED).update(
        draft=draft,
        draft_saved_at=current,
        active_ms=Greatest(F("active_ms"), active_ms),
        leased_until=current + timedelta(seconds=assignment.project.lease_seconds),
    )
    return current if saved else None


@transaction.atomic
def skip(assignment: Assignment, reason: str = "") -> bool:
    """Give the place back; this person is not offered it again. False when it was judged already."""
    places.lock([assignment.comparison_id])
    open_or_expired = Assignment.objects.filter(
        pk=assignment.pk, state__in=(Assignment.State.LEASED, Assignment.State.EXPIRED)
    )
    skipped = open_or_expired.update(state=Assignment.State.SKIPPED, skip_reason=reason)
    places.recount([assignment.comparison_id])
    return bool(skipped)


def opt_out(rater: Rater, kinds: Iterable[str]) -> None:
    """From now on `rater` is offered nothing with these kinds of harm either."""
    with transaction.atomic():
        known = Rater.objects.select_for_update(of=("self",), no_key=True).get(pk=rater.pk).opted_out
        rater.opted_out = sorted({*known, *kinds})
        rater.save(update_fields=["opted_out"])
    _give_back_unwanted(rater)


def set_opt_outs(rater: Rater, kinds: Iterable[str]) -> None:
    """`rater` is offered nothing with these kinds of harm; what they hold of it goes to others."""
    rater.opted_out = sorted(set(kinds))
    rater.save(update_fields=["opted_out"])
    _give_back_unwanted(rater)


def _give_back_unwanted(rater: Rater) -> None:
    # What they did not want before may be left for them.
    Standing.objects.filter(rater=rater).update(nothing_left_at=None)
    held = Assignment.objects.filter(rater=rater, state=Assignment.State.LEASED)
    for assignment in held.filter(comparison__harms__overlap=rater.opted_out):
        skip(assignment, _("opted out of this kind of content"))


def flag(assignment: Assignment, reason: str) -> Flag:
    """Report the comparison to the lead; a second report by the same person replaces the first and reopens it."""
    flagged, _created = Flag.objects.update_or_create(
        comparison_id=assignment.comparison_id,
        rater_id=assignment.rater_id,
        defaults={"reason": reason, "resolved_at": None},
    )
    return flagged


def queue_state(project: Project, rater: Rater) -> str:
    """Why there is nothing for `rater` now, in words. Ask after `next_assignment` gave None.

    Where it is they who are hindered, `admission.hindrance` names the page that helps.
    """
    if project.status == Project.Status.PAUSED:
        return _("The lead has paused this project. Your work is safe; come back later.")
    if project.status == Project.Status.CLOSED:
        return _("This project is closed. Thank you for your work.")
    if hindered := admission.hindrance(project, rater):
        return hindered.words
    if project.comparisons.filter(places_open__gt=0).exists():
        return _("You have judged or skipped everything that is left.")
    others = project.assignments.filter(state=Assignment.State.LEASED, purpose=Purpose.JUDGE).exclude(rater=rater)
    if others.exists():
        return _("Everything left is being judged by others; look again in a few minutes.")
    if project.assignments.exists() or project.plans.filter(status=Plan.Status.APPROVED).exists():
        return _("All comparisons of this plan are judged.")
    return _("The lead has not approved a plan yet.")


def _held(rater: Rater) -> list[Assignment]:
    """Leases of `rater`: the one opened last first, those fetched ahead after the opened ones."""
    return list(Assignment.objects.raw(_HELD, [rater.pk, HELD_AT_MOST]))


def _resumed(project: Project, rater: Rater) -> Assignment | None:
    """What this person worked on last, when its lease ran out with a draft in it and its place is still free."""
    last = Assignment.objects.filter(rater=rater).order_by("-pk").first()
    if last is None or last.state != Assignment.State.EXPIRED or not last.draft:
        return None
    if set(last.comparison.harms) & set(rater.opted_out):
        return None
    with transaction.atomic():
        places.lock([last.comparison_id])
        free = last.purpose != Purpose.JUDGE or places.has_open(last.comparison_id)
        if Review.objects.filter(comparison=last.comparison_id, reviewer=rater).exists():
            return None
        offer = Offer(last.comparison_id, last.purpose, last.round)
        return places.lease(project, rater, offer, ahead=False) if free else None


@dataclass(frozen=True)
class _Wish:
    """Somebody's request for a lease; with `ahead` of one that they fetch and do not open yet."""

    project: Project
    rater: Rater
    admitted: Admission
    ahead: bool

    @property
    def limited(self) -> bool:
        """Whether windows at once must not pass what a person may hold: ahead of time, or of what the day has left."""
        return self.ahead or self.admitted.left_today is not None

    @property
    def open_for_me(self) -> str:
        return _OPEN_FOR_ME + _ROOM if self.limited else _OPEN_FOR_ME

    @property
    def parts(self) -> tuple[str, ...]:
        """Which of the places open for them are looked at, one after the other; the last says whether there is one."""
        return (_REOPENED,) if self.admitted.nothing_left_at else (_BEHIND_MY_LAST + _FIRST, _FIRST)

    @property
    def asked(self) -> dict[str, Any]:
        """What the statements are given."""
        return {
            "project": self.project.pk,
            "rater": self.rater.pk,
            "opted_out": self.rater.opted_out,
            "most": _most(self.admitted),
            "nothing_left_at": self.admitted.nothing_left_at,
        }


def _new_lease(project: Project, rater: Rater, admitted: Admission, *, ahead: bool = False) -> Assignment | None:
    """Lease the next open place. None only when, at one moment of this call, there was none for `rater`; with `ahead`
    also when they hold enough or what is left is locked at this moment."""
    wish = _Wish(project, rater, admitted, ahead)
    offer = extra.draw(rater, admitted)
    return (_extra(wish, offer) if offer else None) or _next_open(wish)


def _next_open(wish: _Wish) -> Assignment | None:
    assignment = None
    while assignment is None:
        if assignment := _unlocked(wish):
            break
        if wish.limited and not one_row(f"SELECT 1 WHERE {_HAS_ROOM}", wish.asked):
            return None
        if places.expire_leases(wish.project.pk):
            continue
        # Everything open, if anything, was locked a moment ago: wait for the first of these.
        waited_for = _locked(wish)
        if wish.ahead:
            return None  # what is locked at this moment can be fetched a little later
        if waited_for:
            assignment = _claim_waiting(wish, waited_for[0])
        elif fetched := one_row(_TO_TAKE_OVER, wish.asked):
            assignment = _take_over(wish, *fetched)
        else:
            return None
    return _found(assignment, wish.admitted)


def _unlocked(wish: _Wish) -> Assignment | None:
    """The first place that is open for them and that nobody has locked at this moment."""
    for part in wish.parts:
        if assignment := _claim(wish, wish.open_for_me + part + _UNLOCKED):
            return assignment
    return None


def _locked(wish: _Wish) -> tuple[Any, ...] | None:
    """(id) of the first comparison that is open for them, locked or not; that there is none is remembered."""
    looked_at = now()
    found = one_row(_OPEN_FOR_ME + wish.parts[-1], wish.asked)
    if found is None:
        _remember(wish.rater, wish.admitted, looked_at)
    return found


def _remember(rater: Rater, admitted: Admission, looked_at: datetime) -> None:
    """The whole queue holds nothing for `rater`: until something opens, nobody needs to walk through it again."""
    if admitted.nothing_left_at and looked_at - admitted.nothing_left_at < REMEMBERED:
        return
    standing = Standing(rater=rater, nothing_left_at=looked_at)
    remembered = {"update_conflicts": True, "unique_fields": ["rater"], "update_fields": ["nothing_left_at"]}
    Standing.objects.bulk_create([standing], **remembered)  # type: ignore[arg-type]


def _found(assignment: Assignment, admitted: Admission) -> Assignment:
    """With one that opened, more may have: a plan opens thousands, and the queue has an order for these."""
    if admitted.nothing_left_at:
        Standing.objects.filter(rater=assignment.rater_id).update(nothing_left_at=None)
    return assignment


@transaction.atomic
def _extra(wish: _Wish, offer: Offer) -> Assignment | None:
    """A gold comparison or a repeat, among work that goes on without it: never when nothing else is left."""
    if wish.limited:
        _lock_fetching(wish.rater)
    if not any(one_row(wish.open_for_me + part, wish.asked) for part in wish.parts):
        return None
    return places.lease(wish.project, wish.rater, offer, ahead=wish.ahead)


@transaction.atomic
def _claim(wish: _Wish, search: str) -> Assignment | None:
    if wish.limited:
        _lock_fetching(wish.rater)
    found = one_row(search, wish.asked)
    return places.lease(wish.project, wish.rater, Offer(found[0]), ahead=wish.ahead) if found else None


@transaction.atomic
def _claim_waiting(wish: _Wish, comparison_id: int) -> Assignment | None:
    places.lock([comparison_id])
    free = places.has_open(comparison_id)
    return places.lease(wish.project, wish.rater, Offer(comparison_id), ahead=False) if free else None


@transaction.atomic
def _take_over(wish: _Wish, assignment_id: int, comparison_id: int) -> Assignment | None:
    places.lock([comparison_id])
    unopened = Assignment.objects.filter(pk=assignment_id, state=Assignment.State.LEASED, opened_at=None)
    if not unopened.update(state=Assignment.State.EXPIRED):
        return None
    return places.lease(wish.project, wish.rater, Offer(comparison_id), ahead=False)


def _lock_fetching(rater: Rater) -> None:
    """One fetch ahead of a person at a time, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK, rater.pk % 2**31])
