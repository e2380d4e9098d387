"""A comparison as plain text, for commands."""

from __future__ import annotations

from collections.abc import Iterator

from annotator.models import Comparison


def printable(text: str) -> str:
    """`text` without control characters: what a model wrote must not steer the terminal that shows it."""
    return "".join(letter if letter in "\n\t" or letter.isprintable() else "�" for letter in text)


def conversation(comparison: Comparison, *, a_first: bool = True, names: bool = False) -> Iterator[str]:
    """Prompt, context and both responses, lettered in the order on screen; with the models' `names` if wanted."""
    for turn in comparison.prompt.turns:
        yield from ("", f"--- {turn['role']}", turn["content"])
    for document in comparison.prompt.context:
        yield from ("", f"--- context: {document['title']}", document["text"])
    shown = [comparison.response_a, comparison.response_b]
    for letter, response in zip("AB", shown if a_first else shown[::-1], strict=True):
        yield from ("", f"--- response {letter}" + (f" ({response.model})" if names else ""), response.text)
