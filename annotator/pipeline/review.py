"""Reviewers settle what people disagree about: judged blind first, then with all votes in view.

A settled comparison has a judgment with purpose "review", and in every recipe only the newest of these counts
(`models.votes`). A judgment may be sent back to its author instead. Nothing a reviewer does is lost: withdrawing keeps
the revision, and every step can be repeated.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils.timezone import now
from django.utils.translation import gettext as _

from annotator import protocols
from annotator.models import (
    Comment,
    Comparison,
    Contest,
    Gold,
    Judgment,
    Outcome,
    Project,
    Protocol,
    Purpose,
    Rater,
    Return,
    Review,
    User,
)
from annotator.models.reviews import IDLE
from annotator.models.votes import as_text
from annotator.pipeline import judge, places, quality

# Settlements are numbered behind any showing in the seat.
BEFORE_REVIEWS = 10_000


class ReviewRefused(Exception):
    """The step does not fit where the review stands. The message tells the reviewer why."""


def open_review(project: Project, reviewer: Rater, comparison: Comparison) -> Review:
    """The open review of `comparison`, claimed by `reviewer`. Raises ReviewRefused while somebody else is at it."""
    try:
        with transaction.atomic():
            review, _made = Review.objects.select_for_update(of=("self",)).get_or_create(
                project=project,
                comparison=comparison,
                state=Review.State.OPEN,
                defaults={
                    "reviewer": reviewer,
                    "a_first": bool(secrets.randbits(1)),
                    "shown_order": _order(comparison),
                },
            )
            if review.reviewer_id != reviewer.pk:
                _take_over(review, reviewer)
    except IntegrityError:  # another window was first
        return open_review(project, reviewer, comparison)
    return review


def _order(comparison: Comparison) -> list[int] | None:
    """Where there are more than two responses, the order on screen."""
    if not comparison.candidates_count:
        return None
    return secrets.SystemRandom().sample(range(2 + comparison.candidates_count), 2 + comparison.candidates_count)


def _take_over(review: Review, reviewer: Rater) -> None:
    if review.touched_at > now() - IDLE:
        raise ReviewRefused(_("%(who)s is settling this comparison now.") % {"who": review.reviewer})
    # What the other one answered blind was theirs.
    review.reviewer, review.blind, review.revealed_at, review.touched_at = reviewer, {}, None, now()
    review.save(update_fields=["reviewer", "blind", "revealed_at", "touched_at"])


def answer_blind(review: Review, given: Mapping[str, Any]) -> None:
    """Keep the reviewer's own answer (on-screen order) and reveal the votes.

    Repeating it changes nothing: the first answer was the blind one. Raises AnswerInvalid.
    """
    judge.check(review.project.protocol, given, review)
    known = {key: value for key, value in given.items() if key not in ("client_id", "active_ms", "protocol", "typed")}
    Review.objects.filter(pk=review.pk, state=Review.State.OPEN, revealed_at=None).update(
        blind=known, revealed_at=now(), touched_at=now()
    )
    review.refresh_from_db()


@transaction.atomic
def settle(review: Review, given: Mapping[str, Any], *, note: str = "") -> Judgment:
    """Store what the reviewer decides; labels follow. Repeated, it gives the judgment that is there.

    Raises AnswerInvalid, ReviewRefused before the votes were revealed.
    """
    places.lock([review.comparison_id])
    review = Review.objects.select_for_update(of=("self",)).select_related("project", "comparison").get(pk=review.pk)
    if review.state == Review.State.SETTLED and review.judgment:
        return review.judgment
    _refuse_when_closed(review.project)
    if review.state != Review.State.OPEN:
        raise ReviewRefused(_("This review was sent back; open the comparison again to settle it."))
    if review.revealed_at is None:
        raise ReviewRefused(_("Answer it yourself first; then the votes are shown."))
    protocol = review.project.protocol
    answer = judge.check(protocol, given, review)
    if answer.outcome == Outcome.CANNOT_JUDGE:
        raise protocols.AnswerInvalid("outcome", _("does not settle it: send it back, or leave it open"))
    review.judgment = _judgment(review, protocol, answer)
    review.state, review.closed_at = Review.State.SETTLED, now()
    review.save(update_fields=["judgment", "state", "closed_at"])
    if note and review.reviewer.user:
        comment(review.project, review.reviewer.user, review.comparison, note)
    return review.judgment


def _refuse_when_closed(project: Project) -> None:
    if project.status == Project.Status.CLOSED:
        raise ReviewRefused(_("The project is closed: its labels stay as they are. Ask the lead to open it again."))


def _judgment(review: Review, protocol: Protocol, answer: protocols.Answer) -> Judgment:
    theirs = Judgment.objects.filter(comparison=review.comparison_id, rater=review.reviewer_id)
    last = theirs.aggregate(last=Max("round"))["last"] or 0
    # Rounds of their own: the seat counts its showings to the same person from 1.
    return Judgment.objects.create(
        project=review.project,
        comparison=review.comparison,
        rater=review.reviewer,
        round=max(last, BEFORE_REVIEWS) + 1,
        purpose=Purpose.REVIEW,
        protocol=protocol,
        guidelines_version=review.project.guidelines_version,
        a_first=review.a_first,
        provenance={"review": review.pk},
        **vars(answer),
    )


@transaction.atomic
def reopen(review: Review) -> Review:
    """Take a settlement back: its judgment counts no more, the review is open again. Raises ReviewRefused."""
    places.lock([review.comparison_id])
    review = Review.objects.select_for_update(of=("self",)).get(pk=review.pk)
    if review.state == Review.State.OPEN:
        return review
    _refuse_when_closed(review.project)
    if review.judgment:
        Judgment.objects.filter(pk=review.judgment.pk).update(
            is_current=False, aggregated=False, provenance={**review.judgment.provenance, "withdrawn": as_text(now())}
        )
    review.judgment, review.state, review.closed_at, review.touched_at = None, Review.State.OPEN, None, now()
    try:
        with transaction.atomic():
            review.save(update_fields=["judgment", "state", "closed_at", "touched_at"])
    except IntegrityError:
        raise ReviewRefused(_("The comparison is under review again already.")) from None
    return review


@transaction.atomic
def send_back(review: Review, judgment: Judgment, words: str) -> Return:
    """Ask the author of `judgment` to look again, with a comment. Repeated, it gives what is waiting already."""
    review = Review.objects.select_for_update(of=("self",)).select_related("project", "comparison").get(pk=review.pk)
    waiting = Return.objects.filter(judgment=judgment, answered_at=None).first()
    if waiting:
        return waiting
    if review.revealed_at is None:
        raise ReviewRefused(_("Answer it yourself first; then the votes are shown."))
    if judgment.purpose == Purpose.REVIEW:
        raise ReviewRefused(_("A settlement is not sent back: withdraw it instead."))
    if judgment.comparison_id != review.comparison_id or not judgment.is_current or judgment.rater.user_id is None:
        raise ReviewRefused(_("Only the present answer of somebody with an account here can be sent back."))
    if not words:
        raise protocols.AnswerInvalid("comment", _("say what its author should look at again"))
    if review.state == Review.State.OPEN:
        review.state, review.closed_at = Review.State.SENT_BACK, now()
        review.save(update_fields=["state", "closed_at"])
    return Return.objects.create(judgment=judgment, rater=judgment.rater, review=review, comment=words)


def answered(judgment: Judgment) -> int:
    """The author revised `judgment` or stands to it: what was sent back of this comparison is answered."""
    waiting = Return.objects.filter(
        judgment__comparison=judgment.comparison_id, rater=judgment.rater_id, answered_at=None
    )
    return waiting.update(answered_at=now())


def comment(project: Project, author: User, comparison: Comparison, words: str) -> Comment:
    """Add a remark to the thread. The same words by the same person within a minute are one remark sent twice."""
    recent = comparison.comments.filter(author=author, text=words, created_at__gt=now() - timedelta(minutes=1))
    return recent.first() or Comment.objects.create(project=project, author=author, comparison=comparison, text=words)


def contest(rater: Rater, words: str, *, gold: Gold | None = None, review: Review | None = None) -> Contest:
    """Say that a known or a settled answer is wrong; once a person, the newest reason stays until it is decided.

    Raises ReviewRefused when it was decided, or when this person has not judged the comparison themselves.
    """
    about = gold.comparison if gold else review.comparison if review else None
    if about is None or not has_judged(rater, about):
        raise ReviewRefused(_("Only who has judged a comparison can contest its answer."))
    contested, made = Contest.objects.get_or_create(
        rater=rater, gold=gold, review=review,
        defaults={"project": about.project, "comparison": about, "reason": words},
    )  # fmt: skip
    if not made and contested.state != Contest.State.OPEN:
        raise ReviewRefused(_("This was decided already: %(state)s.") % {"state": contested.get_state_display()})
    if not made:
        Contest.objects.filter(pk=contested.pk, state=Contest.State.OPEN).update(reason=words)
    return contested


def has_judged(rater: Rater, comparison: Comparison) -> bool:
    """What opens a comparison's thread to an annotator: their own answer to it, or to its place in onboarding.

    An answer that can still be taken back opens nothing: it could be given again with what was read.
    """
    judged = Judgment.objects.final().filter(rater=rater, comparison=comparison, is_current=True).exists()
    gold = Gold.objects.filter(comparison=comparison).values_list("pk", flat=True).first()
    if judged or gold is None:
        return judged
    answered_in = rater.attempts.filter(answers__contains=[{"gold": gold}]).values_list("answers", flat=True)
    return any(one["gold"] == gold and one.get("given") for answers in answered_in for one in answers)


@transaction.atomic
def decide(contested: Contest, user: User, *, upheld: bool, reply: str) -> Contest:
    """Uphold: the gold answer is retired, the settlement withdrawn. Reject: they stay. Decided once.

    Raises ReviewRefused when a settlement cannot be withdrawn.
    """
    open_still = Contest.objects.select_for_update(of=("self",)).filter(pk=contested.pk, state=Contest.State.OPEN)
    found = open_still.select_related("gold", "review").first()
    if found is None:
        contested.refresh_from_db()
        return contested
    if upheld and found.gold:
        Gold.objects.filter(pk=found.gold.pk, retired_at=None).update(retired_at=now())
        quality.regrade_gold(found.gold)
    if upheld and found.review and found.review.state == Review.State.SETTLED:
        reopen(found.review)
    found.state = Contest.State.UPHELD if upheld else Contest.State.REJECTED
    found.reply, found.decided_at, found.decided_by = reply, now(), user
    found.save(update_fields=["state", "reply", "decided_at", "decided_by"])
    return found
