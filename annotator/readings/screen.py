"""A comparison as its annotator sees it: responses in on-screen order, prompt, criterion, warning. No model name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import OuterRef, Subquery

from annotator import protocols, rendering
from annotator.models import Comparison, Harm, Protocol, Response

LETTERS = protocols.SIDES.upper()

# The protocol new judgments are given under, of any row that has a project.
NEWEST_PROTOCOL = Subquery(Protocol.objects.filter(project=OuterRef("project")).order_by("-version").values("pk")[:1])

# One query for all that is on screen; what only `rendering` of an outdated page needs is fetched when it asks.
_READ = (
    Comparison.objects.select_related("prompt", "response_a", "response_b")
    .only(
        "project_id",
        "criterion",
        "harms",
        "candidates_count",
        "prompt__html",
        "prompt__html_version",
        *(f"response_{side}__{name}" for side in "ab" for name in ("text", "html", "html_version")),
    )
    .annotate(newest_protocol=NEWEST_PROTOCOL)
)


@dataclass(frozen=True)
class Side:
    letter: str
    html: str
    text: str


@dataclass(frozen=True)
class Screen:
    """`sides` are all responses, first on screen first; `warning` says in words what kinds of harm the texts touch."""

    turns: str
    documents: str
    sides: tuple[Side, ...]
    criterion: str
    warning: tuple[str, ...]
    harms: tuple[str, ...]
    newest_protocol: int
    # A and B alone: what is on screen where the protocol does not rank.
    pair: tuple[Side, ...]


def read(comparison_id: int, *, a_first: bool, shown_order: Sequence[int] | None = None) -> Screen:
    """One query for a pair; a second for the other responses where there are more than two."""
    comparison = _READ.get(pk=comparison_id)
    turns, documents = rendering.rendered_parts(comparison.prompt)
    shown = _in_order(_responses(comparison), a_first, shown_order)
    sides = _sides(shown)
    known = dict(Harm.choices)
    return Screen(
        turns=turns,
        documents=documents,
        sides=sides,
        criterion=comparison.criterion,
        warning=tuple(str(known.get(harm, harm)) for harm in comparison.harms),
        harms=tuple(comparison.harms),
        newest_protocol=comparison.newest_protocol,
        pair=sides if len(sides) == 2 else _sides(_in_order(_responses(comparison)[:2], a_first, None)),
    )


def _responses(comparison: Comparison) -> list[Response]:
    """In the comparison's own order."""
    pair = [comparison.response_a, comparison.response_b]
    if not comparison.candidates_count:
        return pair
    candidates = comparison.candidates.select_related("response").order_by("place")
    return [*pair, *(candidate.response for candidate in candidates)]


def _in_order(responses: list[Response], a_first: bool, shown_order: Sequence[int] | None) -> list[Response]:
    """As drawn; an order drawn for fewer or more responses than there are now must not hide one."""
    if shown_order is not None and sorted(shown_order) == list(range(len(responses))):
        return [responses[place] for place in shown_order]
    return responses if a_first else [responses[1], responses[0], *responses[2:]]


def _sides(shown: list[Response]) -> tuple[Side, ...]:
    lettered = zip(LETTERS, shown, strict=False)
    return tuple(Side(letter, rendering.rendered(response), response.text) for letter, response in lettered)
