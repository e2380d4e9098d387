"""Somebody thinks again about an answer of their own: a new revision counts from then on, the old one is kept.

It holds the place that the old one held, under the same plan, and is paid by what was paid for the first: nothing is
recounted and the ledger is not touched. There is no undo of a revision, another revision does the same. In a paused
project answers may still be put right, because that hands out no work; in a closed one they stay as they are, because
what was published from it must not change under its readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils.timezone import now
from django.utils.translation import gettext as _

from annotator import protocols
from annotator.models import Judgment, Project, Protocol, Purpose
from annotator.pipeline import judge, places, review


class NotRevisable(Exception):
    """The answer stays as it is; the message says why and what to do."""


def refusal(judgment: Judgment) -> str:
    """Why `judgment` cannot be revised now, in words; "" when it can."""
    if judgment.assignment_id is None or judgment.purpose == Purpose.REVIEW:
        return _("This answer was not given in the seat, so it cannot be changed there.")
    if judgment.project.status == Project.Status.CLOSED:
        return _("The project is closed: its answers stay as they are. Ask the lead to open it again.")
    if not _stands(judgment).exists():
        return _("You took this answer back; the comparison is open for you again.")
    return ""


@transaction.atomic
def revise(
    judgment: Judgment,
    answer: Mapping[str, Any],
    *,
    client_id: UUID,
    active_ms: int = 0,
    protocol: Protocol | None = None,
    typed: Mapping[str, int] | None = None,
) -> Judgment:
    """Put `answer` (on-screen order) in the place of this person's standing answer to the same showing.

    The same client id again gives what it gave first. Raises NotRevisable, or protocols.AnswerInvalid, and then
    nothing has changed.
    """
    places.lock([judgment.comparison_id])
    if stored := _sent(judgment, client_id):
        return stored
    if words := refusal(judgment):
        raise NotRevisable(words)
    old = _stands(judgment).select_for_update(of=("self",)).select_related("assignment", "protocol").get()
    protocol = protocol or old.protocol or judgment.project.protocol
    checked = judge.check(protocol, answer, old.assignment)
    Judgment.objects.filter(pk=old.pk).update(is_current=False, aggregated=False)
    revised = Judgment.objects.create(
        **_kept(old),
        **judge.columns(checked),
        protocol=protocol,
        guidelines_version=judgment.project.guidelines_version,
        client_id=client_id,
        active_ms=active_ms,
        revision=_answers(judgment).count() + 1,
        provenance={"revises": old.pk} | ({"typed": dict(typed)} if typed else {}),
        effective_at=now(),
    )
    review.answered(revised)
    return revised


def _answers(judgment: Judgment) -> Any:
    """All this person's answers to the comparison in this round."""
    return Judgment.objects.filter(comparison=judgment.comparison_id, rater=judgment.rater_id, round=judgment.round)


def _stands(judgment: Judgment) -> Any:
    return _answers(judgment).filter(is_current=True)


def _sent(judgment: Judgment, client_id: UUID) -> Judgment | None:
    """What this client id has stored, here or elsewhere."""
    stored = Judgment.objects.filter(rater=judgment.rater_id, client_id=client_id).first()
    if stored and (stored.comparison_id, stored.round) != (judgment.comparison_id, judgment.round):
        raise protocols.AnswerInvalid("client_id", _("was used for another comparison"))
    return stored


def _kept(old: Judgment) -> dict[str, Any]:
    """What a revision takes over. Its cost is none: the first answer is paid, and stays so."""
    names = ("project_id", "comparison_id", "rater_id", "round", "purpose", "plan_id", "assignment_id", "a_first")
    return {name: getattr(old, name) for name in (*names, "is_surplus")}
