"""Conversations glued into one string with `<extra_id_n>` tags, as HelpSteer2 does, taken apart into turns again."""

from __future__ import annotations

import itertools
import re

# `source.Prompt.text` writes them: the first turn bare when it is the user's, all others after a line with their role.
_TAG = re.compile(r"(?:^|\n)<extra_id_[01]>(System|User|Assistant)\n")


def turns_of(text: str) -> list[dict[str, str]]:
    """The turns of a glued prompt. A text whose tags make no conversation that waits for an answer is one user turn:
    somebody may have written about such tags."""
    first, *rest = _TAG.split(text)
    tagged = zip(rest[::2], rest[1::2], strict=True)
    turns = [{"role": "user", "content": first}] if first else []
    turns += [{"role": role.lower(), "content": content} for role, content in tagged]
    return turns if _waits(turns) else [{"role": "user", "content": text}]


def _waits(turns: list[dict[str, str]]) -> bool:
    """Whether user and assistant take turns, the user last, after a system turn at most."""
    roles = [turn["role"] for turn in turns]
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    alternating = list(itertools.islice(itertools.cycle(("user", "assistant")), len(spoken)))
    return len(spoken) % 2 == 1 and spoken == alternating and all(turn["content"] for turn in turns)
