"""One score a response, 1 to 10 as UltraFeedback's: people's ratings of it, else how probably it is the better one.

A protocol that asks for helpfulness is scored by that; by an attribute called quality or overall; or by its only one.
Attributes such as length, of which more is not better, would make no score.
"""

from __future__ import annotations

from collections.abc import Sequence

from annotator.formats.pairs import Pair
from annotator.formats.source import Judged, Response
from annotator.protocols import SIDES, Attribute, Definition

LOWEST, HIGHEST = 1.0, 10.0
_GOOD = ("helpfulness", "quality", "overall")


def scored_by(protocol: Definition) -> Attribute | None:
    """The attribute whose ratings are the score; None where the label's probability is."""
    asked = {attribute.key: attribute for attribute in protocol.attributes}
    named = next((asked[key] for key in _GOOD if key in asked), None)
    return named or (protocol.attributes[0] if len(asked) == 1 else None)


def about(attribute: Attribute | None) -> str:
    """What a score is, for a writer's notes."""
    if attribute is None:
        return "Scores are how probably the response is the better one by the label, 0 to 1 stretched to 1 to 10."
    return (
        f"Scores are people's mean rating of {attribute.key}, {attribute.minimum} to {attribute.maximum} "
        "stretched to 1 to 10."
    )


def scores_of(pair: Pair, attribute: Attribute | None) -> tuple[float | None, float | None]:
    """(chosen, rejected); None for a response that nobody rated."""
    if attribute is None:
        return _stretched(pair.p_chosen), _stretched(1 - pair.p_chosen)
    chosen, rejected = (_mean(ratings_of(pair.judged, each, attribute.key)) for each in (pair.chosen, pair.rejected))
    return _share(chosen, attribute), _share(rejected, attribute)


def ratings_of(judged: Judged, response: Response, key: str) -> list[float]:
    """What people said of a response under the attribute `key`, in the order they said it."""
    side = side_of(judged, response)
    said = [(vote.attributes.get(key) or {}).get(side) for vote in judged.people]
    return [value for value in said if value is not None]


def side_of(judged: Judged, response: Response) -> str:
    """The letter of one of the comparison's responses."""
    responses = (judged.response_a, judged.response_b, *judged.further)
    return next(side for side, each in zip(SIDES, responses, strict=False) if each is response)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _share(mean: float | None, attribute: Attribute) -> float | None:
    return None if mean is None else _stretched((mean - attribute.minimum) / (attribute.maximum - attribute.minimum))


def _stretched(share: float) -> float:
    return LOWEST + (HIGHEST - LOWEST) * share
