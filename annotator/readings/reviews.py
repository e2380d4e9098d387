"""What waits for a reviewer, and one disputed comparison with all that was said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from annotator import protocols
from annotator.models import (
    Comparison,
    Contest,
    Flag,
    Judgment,
    Label,
    Outcome,
    Project,
    Purpose,
    Rater,
    Return,
    Review,
)
from annotator.models.votes import UNPOOLED
from annotator.readings.comparison import Said, excerpt, said_of

PAGE = 50


@dataclass(frozen=True)
class Disputed:
    """One line of the queue. `why` says in words what brought it here."""

    comparison: Comparison
    excerpt: str
    votes: int
    # Share of votes with the majority; 1 where there are none, which is where the queue has it.
    agreed: float
    why: list[str]
    # Somebody who is at it now.
    reviewer: Rater | None


def disputed(project: Project, after: tuple[float, int] | None = None) -> list[Disputed]:
    """The next page of comparisons that people disagree about or that somebody raised, the least agreed first.

    `after` is (agreement, id) of the last one shown: keyset pages. What is settled or waits for its author is left out.
    """
    found = _queue(project).order_by("agreed", "pk")
    if after:
        found = found.filter(Q(agreed__gt=after[0]) | Q(agreed=after[0], pk__gt=after[1]))
    page = list(found.select_related("prompt")[:PAGE])
    reviewers = {
        review.comparison_id: review.reviewer
        for review in Review.objects.at_work().filter(comparison__in=page).select_related("reviewer__user")
    }
    return [_line(comparison, reviewers.get(comparison.pk)) for comparison in page]


def waiting(project: Project, at_most: int = 1000) -> int:
    """How many wait, counted up to `at_most`."""
    return _queue(project)[:at_most].count()


def first(project: Project, rater: Rater) -> Comparison | None:
    """What `rater` should settle next: what they have open, else the head of the queue that nobody is at."""
    own = Review.objects.filter(project=project, reviewer=rater, state=Review.State.OPEN).order_by("pk").first()
    if own:
        return own.comparison
    at_it = Exists(Review.objects.at_work().filter(comparison=OuterRef("pk")))
    # What is contested waits for a decision, not for a second settlement.
    return _queue(project).filter(~at_it, is_contested=False).order_by("agreed", "pk").first()


def _queue(project: Project) -> QuerySet[Any, Any]:
    """Comparisons with `agreed`, `votes` and why they are here: `is_contested`, `is_disputed`, …"""
    labels = Label.objects.filter(comparison=OuterRef("pk"), recipe__project=project, recipe__is_default=True)
    disagree = labels.filter(votes__gte=2, agreement__lt=1)
    contested = Contest.objects.filter(comparison=OuterRef("pk"), state=Contest.State.OPEN, review__isnull=False)
    flagged = Flag.objects.filter(comparison=OuterRef("pk"), resolved_at=None)
    people = Judgment.objects.filter(comparison=OuterRef("pk"), is_current=True, rater__kind=Rater.Kind.PERSON)
    settled = people.filter(purpose=Purpose.REVIEW)
    with_author = Return.objects.filter(judgment__comparison=OuterRef("pk"), answered_at=None)
    found = project.comparisons.annotate(
        # What nobody has voted on twice has no agreement; it stands behind what was disputed.
        agreed=Coalesce(Subquery(labels.values("agreement")[:1]), 1.0),
        votes=Subquery(labels.values("votes")[:1]),
        is_contested=Exists(contested),
        is_flagged=Exists(flagged),
        is_disputed=Exists(disagree),
        wants_expert=Exists(people.filter(flags__contains=["expert"])),
    )
    raised = Q(is_disputed=True) | Q(is_flagged=True) | Q(wants_expert=True)
    found = found.filter(Q(is_contested=True) | (~Exists(settled) & raised))
    return found.filter(~Exists(with_author))


def _line(comparison: Any, reviewer: Rater | None) -> Disputed:
    why = [
        (comparison.is_contested, _("an annotator contests how it was settled")),
        (comparison.is_disputed, _("people disagree")),
        (comparison.wants_expert, _("somebody asked for an expert")),
        (comparison.is_flagged, _("reported")),
    ]
    return Disputed(
        comparison,
        excerpt(comparison.prompt),
        comparison.votes or 0,
        comparison.agreed,
        [words for is_so, words in why if is_so],
        reviewer,
    )


@dataclass(frozen=True)
class Vote:
    """What one rater said, on the reviewer's screen sides; their words may mean the sides as they had them."""

    said: Said
    had_other_order: bool


def votes(review: Review) -> list[Vote]:
    """All current answers of people and of AI that reads, candidates of it left out."""
    current = Judgment.objects.filter(comparison=review.comparison_id, is_current=True)
    current = current.exclude(rater__kind=Rater.Kind.LABELER, rater__labeler_version__accepted_at=None)
    for pattern in UNPOOLED:
        kind = pattern.rstrip("%")
        current = current.exclude(rater__labeler_version__labeler__kind__startswith=kind)
    shown = current.exclude(purpose=Purpose.REVIEW, rater=review.reviewer_id).exclude(outcome=Outcome.ABSTAIN)
    rows = shown.select_related("rater__user", "rater__labeler_version__labeler", "protocol", "assignment")
    order = order_of(review)
    return [
        Vote(said_of(judgment, order), order_seen(judgment, review.comparison) not in (None, order))
        for judgment in rows.order_by("-rater__kind", "id")
    ]


def settled(review: Review) -> Said | None:
    return said_of(review.judgment, order_of(review)) if review.judgment else None


def order_of(review: Review) -> tuple[int, ...]:
    """Own places of the responses on the reviewer's screen, first on screen first."""
    definition = protocols.read(review.project.protocol.definition)
    count = 2 + review.comparison.candidates_count
    return protocols.on_screen(definition, a_first=review.a_first, shown_order=review.shown_order, count=count)


def order_seen(judgment: Judgment, comparison: Comparison) -> tuple[int, ...] | None:
    """The same of whoever gave `judgment`; None where nobody knows (AI, imported)."""
    if judgment.a_first is None or judgment.protocol is None:
        return None
    definition = protocols.read(judgment.protocol.definition)
    shown = judgment.assignment.shown_order if judgment.assignment else None
    count = 2 + comparison.candidates_count
    return protocols.on_screen(definition, a_first=judgment.a_first, shown_order=shown, count=count)


def closed(project: Project) -> list[Review]:
    """The newest settled and sent back reviews."""
    reviews = project.reviews.exclude(state=Review.State.OPEN).select_related(
        "comparison", "reviewer__user", "judgment"
    )
    return list(reviews.order_by("-closed_at")[:PAGE])


def contests(project: Project) -> list[Contest]:
    """Open contests, oldest first, then the newest decided ones."""
    found = project.contests.select_related("comparison", "rater__user", "gold", "review", "decided_by")
    waiting_ones = list(found.filter(state=Contest.State.OPEN).order_by("pk")[:PAGE])
    return waiting_ones + list(found.exclude(state=Contest.State.OPEN).order_by("-decided_at")[:20])


@dataclass(frozen=True)
class Thread:
    """What an annotator may know of a comparison they have judged."""

    comments: list[Any]
    mine: Said | None
    settled: Said | None
    reviewer_had_other_order: bool
    review: Review | None
    returned: Return | None
    contest: Contest | None

    @property
    def may_contest(self) -> bool:
        return bool(self.settled and self.mine and (self.contest is None or self.contest.review != self.review))


def thread(comparison: Comparison, rater: Rater) -> Thread:
    """The remarks, `rater`'s own answer, and how it was settled."""
    own = comparison.judgments.filter(rater=rater, is_current=True).exclude(purpose=Purpose.REVIEW)
    mine = own.select_related("rater__user", "protocol", "assignment").order_by("round").first()
    review = comparison.reviews.filter(state=Review.State.SETTLED).select_related("judgment__protocol").last()
    settled = review.judgment if review else None
    contested = comparison.contests.filter(rater=rater).order_by("-pk").first()
    # As this person saw it.
    order = (order_seen(mine, comparison) if mine else None) or (0, 1)
    return Thread(
        list(comparison.comments.select_related("author").order_by("pk")),
        said_of(mine, order) if mine else None,
        said_of(settled, order) if settled else None,
        review is not None and order_of(review) != order,
        review,
        Return.objects.filter(judgment__comparison=comparison, rater=rater, answered_at=None).first(),
        contested,
    )
