"""Which words of either response an AI labeler's verdict came from: texts in pieces, for leads and reviewers.

Never for annotators: who sees what a machine looked at looks there too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from annotator import protocols
from annotator.models import Comparison, HeatMap

# From here on, as shares of the map's own scale, a token is weak, medium or strong.
LEVELS = (0.1, 0.35, 0.7)
# The scale is what so many of the tokens stay below: one odd token must not make all others pale.
SCALE_SHARE = 0.98
STRONGEST = 10
# The newest labelers of a comparison that are shown.
SHOWN = 4


@dataclass(frozen=True)
class Piece:
    """A stretch of the text. `level`: -3 (strongly against the response) to 3 (strongly for it); 0 says little."""

    text: str
    level: int = 0

    @property
    def css(self) -> str:
        """Class of its mark; "" for plain text."""
        return f"{'for' if self.level > 0 else 'against'}-{abs(self.level)}" if self.level else ""


@dataclass(frozen=True)
class Token:
    side: str
    words: str
    value: float

    @property
    def nats(self) -> str:
        return f"{self.value:+.3f}".replace("-", "−")


@dataclass(frozen=True)
class Side:
    letter: str
    pieces: list[Piece]


@dataclass(frozen=True)
class Map:
    """One labeler's map: both texts in the order of the screen, and the strongest tokens each way, strongest first."""

    judgment_id: int
    labeler: str
    sides: list[Side]
    strongest_for: list[Token]
    strongest_against: list[Token]


def of(comparison: Comparison, order: Sequence[int] = (0, 1)) -> list[Map]:
    """The maps of the current judgments; `order`: own places of the responses on screen, first on screen first."""
    found = HeatMap.objects.filter(judgment__comparison=comparison, judgment__is_current=True)
    found = found.select_related("judgment__rater__labeler_version__labeler").order_by("-judgment_id")
    texts = (comparison.response_a.text, comparison.response_b.text)
    return [_map(each, texts, order) for each in found[:SHOWN]]


def _map(stored: HeatMap, texts: tuple[str, str], order: Sequence[int]) -> Map:
    own = [_spans(rows, text) for rows, text in zip((stored.side_a, stored.side_b), texts, strict=True)]
    scale = _scale([abs(value) for spans in own for _start, _end, value in spans])
    places = [place for place in order if place < len(texts)]
    letters = dict(zip(places, protocols.SIDES.upper(), strict=False))
    tokens = [
        Token(letters[place], visible(texts[place][start:end]), value)
        for place in places
        for start, end, value in own[place]
    ]
    tokens.sort(key=lambda token: token.value)
    return Map(
        stored.judgment_id,
        str(stored.judgment.rater),
        [Side(letters[place], list(_pieces(texts[place], own[place], scale))) for place in places],
        [token for token in reversed(tokens[-STRONGEST:]) if token.value > 0],
        [token for token in tokens[:STRONGEST] if token.value < 0],
    )


def _spans(rows: Sequence[Sequence[float]], text: str) -> list[tuple[int, int, float]]:
    """In order and inside the text, whatever was stored."""
    found, last = [], 0
    for start, end, value in rows:
        begin, stop = max(int(start), last), min(int(end), len(text))
        if begin < stop:
            found.append((begin, stop, float(value)))
            last = stop
    return found


def _scale(sizes: list[float]) -> float:
    ranked = sorted(sizes)
    return ranked[int(SCALE_SHARE * (len(ranked) - 1))] or ranked[-1] if ranked else 0.0


def _pieces(text: str, spans: Sequence[tuple[int, int, float]], scale: float) -> Iterator[Piece]:
    """All of the text, neighbours that say little as one piece."""
    cut, last = [], 0
    for start, end, value in spans:
        cut += [Piece(text[last:start]), Piece(text[start:end], _level(value, scale))]
        last = end
    cut.append(Piece(text[last:]))
    for is_plain, some in groupby((piece for piece in cut if piece.text), key=lambda piece: piece.level == 0):
        if is_plain:
            yield Piece("".join(piece.text for piece in some))
        else:
            yield from some


def _level(value: float, scale: float) -> int:
    size = abs(value) / scale if scale else 0.0
    level = sum(size >= least for least in LEVELS)
    return level if value > 0 else -level


def visible(text: str) -> str:
    """A token as it can be named in a table: spaces and what cannot be printed are shown as what they are."""
    bare = text.strip(" ")
    if bare and all(character.isprintable() for character in bare):
        return bare
    names = {" ": "␣", "\n": "⏎", "\t": "⇥"}
    return "".join(names.get(each, each if each.isprintable() else f"U+{ord(each):04X}") for each in text)
