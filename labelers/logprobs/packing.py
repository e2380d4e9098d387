"""Packed batches: texts one after the other in one row, without padding, and a context once for all its responses.

A batch says which rows of the hidden states predict which tokens, and who may look at whom (`Span`). Nothing here
needs torch; the order of the requests changes nothing but which batch a text is in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Tokens:
    """A response after its context, as token ids of one tokenizer."""

    context: tuple[int, ...]
    response: tuple[int, ...]
    # UTF-8 bytes of the response's text without the mark of its end, to compare lengths across tokenizers.
    bytes: int = 0
    # How many tokens at the start of the context were left out; never more than 0 without being asked.
    cut: int = 0
    # "whole": the text as a whole begins with the context's own tokens. "apart": it does not, see `texts`.
    boundary: str = "whole"


@dataclass(frozen=True)
class Span:
    """Tokens start..stop of a row look at themselves causally and, before that, at all of `prefix`."""

    start: int
    stop: int
    prefix: tuple[int, int] | None = None

    @property
    def keys(self) -> int:
        start, stop = self.prefix or (0, 0)
        return stop - start + self.stop - self.start


@dataclass
class Batch:
    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    # Hidden row → the token it has to predict, all responses one after the other.
    rows: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    # (number of the request, how many of the targets are its own), in the order of `targets`.
    owners: list[tuple[int, int]] = field(default_factory=list)

    def add(self, context: Sequence[int], responses: Sequence[tuple[int, Sequence[int]]]) -> None:
        """A context with its responses. The last token of a response predicts nothing, so it is not computed."""
        start = len(self.ids)
        self._lay(context, 0)
        end = len(self.ids)
        for number, (owner, response) in enumerate(responses):
            first = len(self.ids)
            self._lay(response[:-1], len(context))
            if number == 0:
                # The first response follows its context in the row: one plain causal text, the fastest there is.
                self.spans.append(Span(start, len(self.ids)))
            elif len(response) > 1:
                self.spans.append(Span(first, len(self.ids), prefix=(start, end)))
            self.rows += [end - 1, *range(first, len(self.ids))]
            self.targets += response
            self.owners.append((owner, len(response)))

    def _lay(self, ids: Sequence[int], position: int) -> None:
        self.ids += ids
        self.positions += range(position, position + len(ids))


Group = tuple[tuple[int, ...], list[tuple[int, tuple[int, ...]]]]


def pack(texts: Sequence[tuple[int, Tokens]], budget: int) -> Iterator[Batch]:
    """Batches of at most `budget` tokens, the largest first: what does not fit in memory fails at once, not at the end.

    A text longer than the budget gets a batch of its own.
    """
    batch = Batch()
    for context, responses in sorted(_groups(texts, budget), key=_size, reverse=True):
        if batch.ids and len(batch.ids) + _size((context, responses)) > budget:
            yield batch
            batch = Batch()
        batch.add(context, responses)
    if batch.ids:
        yield batch


def alone(texts: Sequence[tuple[int, Tokens]]) -> Iterator[Batch]:
    """One text a batch: for models that look at more than their `Span`, and as a yardstick."""
    for owner, tokens in texts:
        batch = Batch()
        batch.add(tokens.context, [(owner, tokens.response)])
        yield batch


def _groups(texts: Sequence[tuple[int, Tokens]], budget: int) -> Iterator[Group]:
    """Responses by context; a group over the budget is divided, and its context computed once for each part."""
    by_context: dict[tuple[int, ...], list[tuple[int, tuple[int, ...]]]] = {}
    for owner, tokens in texts:
        by_context.setdefault(tokens.context, []).append((owner, tokens.response))
    for context, responses in by_context.items():
        part: list[tuple[int, tuple[int, ...]]] = []
        for each in responses:
            if part and _size((context, [*part, each])) > budget:
                yield context, part
                part = []
            part.append(each)
        yield context, part


def _size(group: Group) -> int:
    context, responses = group
    return len(context) + sum(len(response) - 1 for _owner, response in responses)
