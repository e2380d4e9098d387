"""A person's answer becomes a judgment: stored once, acknowledged only when stored, undone within ten seconds.

A lease turns into a judgment by one conditional update, so of two windows that submit at once one comes first. The
place stays held (the lease counted for it before, the judgment does now), so nothing has to be recounted. An answer
without a lease comes late: then the comparison is locked and its places say whether somebody took the place meanwhile.

Pay: the entry is written in the transaction of the judgment, against money that was reserved when the plan was
approved and at the price of that time, so an acknowledged judgment is always paid and no change of a price passes the
budget; an undo takes the entry back, which is possible because the ledger settles nothing before `effective_at`.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils.timezone import now
from django.utils.translation import gettext as _

from annotator import protocols
from annotator.models import (
    Assignment,
    Candidate,
    Comparison,
    Judgment,
    Outcome,
    Plan,
    Project,
    Protocol,
    Purpose,
    Rater,
    Reservation,
    Route,
)
from annotator.models.routes import vote_price
from annotator.pipeline import admission, ledger, places

UNDO = timedelta(seconds=10)


class UndoTooLate(Exception):
    """The judgment counts already: labels and exports may have seen it."""


class _Unusual(Exception):
    """To be repeated with the comparison locked: its lease is gone, or more people hold it than its plan pays for."""


def submit_judgment(
    assignment: Assignment,
    answer: Mapping[str, Any],
    *,
    client_id: UUID,
    active_ms: int = 0,
    protocol: Protocol | None = None,
    typed: Mapping[str, int] | None = None,
) -> Judgment:
    """Store `answer` (on-screen order, shape of `protocols.check`), given under `protocol` (default: the newest).

    `typed` is what the page counted while words were written; it is kept beside the answer.
    The same client id again gives what it gave first. Raises protocols.AnswerInvalid, and then nothing has changed.
    """
    protocol = protocol or assignment.project.protocol
    checked = check(protocol, answer, assignment)
    judgment = _judgment(assignment, checked, protocol, client_id, active_ms)
    if typed:
        judgment.provenance = {"typed": dict(typed)}
    try:
        return _store(assignment, judgment, usual=True)
    except (IntegrityError, _Unusual):
        pass
    try:
        return _store(assignment, judgment, usual=False)
    except IntegrityError:
        if Judgment.objects.filter(rater=assignment.rater_id, client_id=client_id).exists():
            raise protocols.AnswerInvalid("client_id", _("was used for another comparison")) from None
        raise


class Showing(typing.Protocol):
    """A comparison on somebody's screen in the order drawn for them: an assignment, a review."""

    comparison_id: int
    a_first: bool
    shown_order: list[int] | None


def check(protocol: Protocol, answer: Mapping[str, Any], showing: Showing) -> protocols.Answer:
    """The checked answer in the comparison's own order. Raises AnswerInvalid in the words of what is on screen."""
    definition = protocols.read(protocol.definition)
    own = _texts(showing.comparison_id) if _needs_texts(definition, answer) else None
    order = _order(definition, showing, len(own or "ab"))
    shown = own and {protocols.SIDES[place]: own[protocols.SIDES[each]] for place, each in enumerate(order)}
    checked = protocols.check(definition, answer, shown)
    if list(order) == sorted(order):
        return checked
    in_order = own and {side: own[side] for side in sorted(shown or ())}
    return protocols.check(definition, protocols.mirror(answer, order), in_order)


def _needs_texts(definition: protocols.Definition, answer: Mapping[str, Any]) -> bool:
    """Only what points into a response, or ranks more than two, is worth the query."""
    return definition.ranks or bool(answer.get("spans") or answer.get("edit"))


def _texts(comparison_id: int) -> dict[str, str]:
    """The stored text of every response by side, in the comparison's own order."""
    columns = ("response_a__text", "response_b__text", "candidates_count")
    *texts, further = Comparison.objects.values_list(*columns).get(pk=comparison_id)
    if further:
        candidates = Candidate.objects.filter(comparison=comparison_id).order_by("place")
        texts += candidates.values_list("response__text", flat=True)
    return dict(zip(protocols.SIDES, texts, strict=False))


def _order(definition: protocols.Definition, showing: Showing, count: int) -> tuple[int, ...]:
    """Own places of the responses on screen."""
    return protocols.on_screen(definition, a_first=showing.a_first, shown_order=showing.shown_order, count=count)


@transaction.atomic
def undo(assignment: Assignment) -> Assignment:
    """Take the judgment of `assignment` back: the comparison is open again with the answer as its draft.

    The revision is kept and never counts. Raises UndoTooLate when there is nothing left to undo.
    """
    # No plan is approved meanwhile: the approved one is told what the opened place costs.
    Project.objects.select_for_update(no_key=True).get(pk=assignment.project_id)
    places.lock([assignment.comparison_id])
    fresh = Judgment.objects.filter(assignment=assignment, is_current=True, effective_at__gt=now())
    judgment = fresh.select_for_update(no_key=True).first()
    if judgment is None or not _withdraw(assignment, judgment):
        raise UndoTooLate
    # Marked, so that exports can tell what was taken back from what was corrected later. To be aggregated again: a
    # label must not keep what was taken back.
    Judgment.objects.filter(pk=judgment.pk).update(
        is_current=False, aggregated=False, cost=0, provenance={**judgment.provenance, "undone": True}
    )
    judgment.assignment = assignment
    assignment.draft = shown_answer(judgment)
    # Somebody else holds the place of a surplus judgment; its author may still change their mind and send it again.
    assignment.state = Assignment.State.EXPIRED if judgment.is_surplus else Assignment.State.LEASED
    assignment.opened_at = assignment.draft_saved_at = now()
    assignment.leased_until = now() + timedelta(seconds=assignment.project.lease_seconds)
    assignment.save(update_fields=["draft", "state", "opened_at", "draft_saved_at", "leased_until"])
    places.recount([assignment.comparison_id])
    return assignment


def _withdraw(assignment: Assignment, judgment: Judgment) -> bool:
    """Take the pay back; False when it is too late.

    A plan that was approved since counted this vote as there (`handout`) and set no money aside for it. Its place
    opens again, so what the former plan gets back goes to the plan that pays for the place now.
    """
    holds_place = judgment.purpose == Purpose.JUDGE and not judgment.is_surplus
    kept = _kept(assignment) if holds_place else None
    if kept is None or judgment.plan_id == kept.reservation.plan_id:
        return ledger.withdraw(judgment)
    before = _held_by_people(assignment.comparison_id).exclude(pk=judgment.pk)
    if before.exclude(plan=kept.reservation.plan_id).count() >= kept.votes:
        return ledger.withdraw(judgment)
    return ledger.withdraw(judgment, onto=kept.reservation, at_most=kept.price)


def shown_answer(judgment: Judgment) -> dict[str, Any]:
    """The answer as its author saw it, in the shape of a draft."""
    own = {
        "outcome": "level" if judgment.outcome == Outcome.RANKED else judgment.outcome,
        "level": judgment.level,
        "confidence": None if judgment.confidence is None else int(judgment.confidence),
        **{name: getattr(judgment, name) for name in _SAID},
    }
    order = _shown_order(judgment)
    return own if list(order) == sorted(order) else protocols.mirror(own, protocols.inverse(order))


# What a judgment keeps of a checked answer just as it is.
_SAID = (
    *("aspects", "attributes", "reasons", "justification"),
    *("spans", "feedback", "edit", "ranking", "flags"),
)


def columns(answer: protocols.Answer) -> dict[str, Any]:
    """A checked answer as the columns of a judgment."""
    names = ("outcome", "level", "preference", "confidence", *_SAID)
    return {name: getattr(answer, name) for name in names}


def _shown_order(judgment: Judgment) -> tuple[int, ...]:
    """More than a pair is shown only where all are ranked, and then the ranks say how many there were."""
    pair = (0, 1) if judgment.a_first is not False else protocols.SWAPPED
    if judgment.protocol is None or judgment.assignment is None or judgment.assignment.shown_order is None:
        return pair
    definition = protocols.read(judgment.protocol.definition)
    return _order(definition, judgment.assignment, len(judgment.assignment.shown_order))


def _judgment(
    assignment: Assignment, answer: protocols.Answer, protocol: Protocol, client_id: UUID, active_ms: int
) -> Judgment:
    current = now()
    return Judgment(
        project_id=assignment.project_id,
        comparison_id=assignment.comparison_id,
        rater_id=assignment.rater_id,
        round=assignment.round,
        purpose=assignment.purpose,
        protocol=protocol,
        guidelines_version=assignment.project.guidelines_version,
        assignment=assignment,
        **columns(answer),
        client_id=client_id,
        a_first=assignment.a_first,
        active_ms=active_ms,
        created_at=current,
        effective_at=current + UNDO,
    )


@transaction.atomic
def _store(assignment: Assignment, judgment: Judgment, *, usual: bool) -> Judgment:
    """Store the answer that closes the lease.

    Nearly every answer is the first one (none was undone) to a comparison with a place for everybody who holds it, so
    that is tried first and without a lock: IntegrityError or _Unusual when it is not as `usual`. The transaction is
    left then: an update that waited for another window keeps the assignment locked even when it found it judged, and
    whoever locks both takes the comparison first.
    """
    if not usual:
        places.lock([assignment.comparison_id])
    earlier = [] if usual else _revisions(assignment)
    if sent_before := _sent(earlier, judgment.client_id):
        return sent_before
    if not _close(assignment, judgment, Assignment.State.LEASED):
        if usual:
            raise _Unusual
        return _store_late(assignment, judgment, earlier)
    judgment.pk, judgment.revision = None, len(earlier) + 1
    return _pay(assignment, judgment, locked=not usual)


def _store_late(assignment: Assignment, judgment: Judgment, earlier: list[Judgment]) -> Judgment:
    """The lease is gone: it ran out, was taken over or skipped, or another window has judged. Needs the lock."""
    judgment.pk, judgment.revision = None, len(earlier) + 1
    for first in earlier:
        if first.is_current:
            # The first answer stands; the second is kept as a revision that does not count, and is not paid.
            judgment.is_current = False
            judgment.provenance = {**judgment.provenance, "second_answer_to": first.pk}
            judgment.save(force_insert=True)
            return first
    if _is_skipped(assignment) and admission.hindrance(assignment.project, assignment.rater):
        # What they gave back is no way around a pause or a day's limit: kept, but it does not count.
        judgment.is_current, judgment.provenance = False, {**judgment.provenance, "after_skip": True}
        judgment.save(force_insert=True)
        return judgment
    free = Comparison.objects.filter(pk=assignment.comparison_id, places_open__gt=0).exists()
    judgment.is_surplus = judgment.purpose == Purpose.JUDGE and not free
    _close(assignment, judgment, Assignment.State.EXPIRED, Assignment.State.SKIPPED)
    _pay(assignment, judgment, locked=True)
    places.recount([assignment.comparison_id])
    return judgment


def _is_skipped(assignment: Assignment) -> bool:
    return Assignment.objects.filter(pk=assignment.pk, state=Assignment.State.SKIPPED).exists()


def _close(assignment: Assignment, judgment: Judgment, *states: str) -> bool:
    """Turn the assignment to judged if it is in one of `states`; the claim of one answer among several."""
    mine = Assignment.objects.filter(pk=assignment.pk, state__in=states)
    return bool(mine.update(state=Assignment.State.JUDGED, active_ms=judgment.active_ms or 0))


def _pay(assignment: Assignment, judgment: Judgment, *, locked: bool) -> Judgment:
    """Store the judgment under the plan that sent it to people, and pay it from what that plan reserved.

    Raises _Unusual when the places must be counted and the comparison is not locked.
    """
    # What is asked to see how well somebody judges is work too, but no plan counted on it.
    kept = _kept(assignment) if judgment.purpose == Purpose.JUDGE else None
    judgment.plan_id = kept.reservation.plan_id if kept else None
    if kept and not judgment.is_surplus and kept.others >= kept.votes:
        if not locked:
            raise _Unusual
        judgment.is_surplus = _held_by_people(assignment.comparison_id).count() >= kept.votes
    judgment.cost = price = kept.price if kept else _price(judgment, assignment.project)
    judgment.save(force_insert=True)
    if not price:
        return judgment
    if kept is None or judgment.is_surplus:
        entry = ledger.pay_surplus(judgment, price)
    else:
        entry = ledger.pay_from(kept.reservation, judgment, price)
    if entry.amount != price:
        judgment.cost = entry.amount
        judgment.save(update_fields=["cost"])
    return judgment


def _price(judgment: Judgment, project: Project) -> Decimal:
    """What a judgment is worth that no plan counted on. What checks people pays as much as what it lies among: they
    would tell it by the money."""
    if judgment.purpose == Purpose.JUDGE:
        return project.price_per_judgment
    people = Route.objects.filter(plan__project=project, plan__status=Plan.Status.APPROVED, source=Route.PEOPLE)
    route = people.order_by("pk").first()
    return vote_price(route.price, route.votes) if route else project.price_per_judgment


class _Kept(NamedTuple):
    """What the approved plan keeps for one comparison: the price of a vote, how many, and who else holds its places."""

    reservation: Reservation
    price: Decimal
    votes: int
    others: int


# Written out, as are the queries of `assign`: building such a join anew for each judgment costs more than running it.
_KEPT = f"""
    SELECT reservation.*, route.price AS route_price, route.votes AS route_votes, ({places.TAKEN}) AS others
    FROM annotator_comparison c
    JOIN annotator_route route ON route.comparison_id = c.id AND route.source = 'people'
    JOIN annotator_plan plan ON plan.id = route.plan_id AND plan.status = 'approved'
    JOIN annotator_reservation reservation ON reservation.plan_id = plan.id AND reservation.source = 'people'
    WHERE c.id = %s LIMIT 1
"""


def _kept(assignment: Assignment) -> _Kept | None:
    """None when no approved plan sends the comparison to people. The lease that is being judged counts no more."""
    for row in Reservation.objects.raw(_KEPT, [assignment.comparison_id]):
        price, votes, others = row.route_price, row.route_votes, row.others  # type: ignore[attr-defined]
        return _Kept(row, vote_price(price, votes), votes, others)
    return None


def _held_by_people(comparison_id: int) -> QuerySet[Judgment]:
    """Judgments that hold a place of a locked comparison."""
    counted = Judgment.objects.filter(
        comparison=comparison_id, is_current=True, is_surplus=False, purpose=Purpose.JUDGE
    )
    return counted.filter(rater__kind=Rater.Kind.PERSON)


def _revisions(assignment: Assignment) -> list[Judgment]:
    """All this person's answers to the comparison in this round, oldest first."""
    mine = Judgment.objects.filter(
        comparison=assignment.comparison_id, rater=assignment.rater_id, round=assignment.round
    )
    return list(mine.order_by("revision"))


def _sent(earlier: Iterable[Judgment], client_id: UUID | None) -> Judgment | None:
    """What this client id has stored; where its answer came second, the answer that stands."""
    for judgment in earlier:
        if judgment.client_id == client_id:
            first = judgment.provenance.get("second_answer_to")
            return next((each for each in earlier if each.pk == first), judgment)
    return None
