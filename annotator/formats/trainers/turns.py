"""The turns of a prompt as trainers without a chat template of their own want them: system apart, then alternating."""

from __future__ import annotations

from itertools import cycle

ALTERNATING = "the conversation does not alternate between user and assistant"


def apart(messages: list[dict[str, str]]) -> tuple[str, list[dict[str, str]]]:
    """The system turn that opens the conversation ("" where there is none), and the turns after it."""
    if messages and messages[0]["role"] == "system":
        return messages[0]["content"], messages[1:]
    return "", messages


def alternate(turns: list[dict[str, str]]) -> bool:
    """Whether user and assistant take turns, from the user to the user: an odd number of them."""
    roles = zip(turns, cycle(("user", "assistant")), strict=False)
    return len(turns) % 2 == 1 and all(turn["role"] == role for turn, role in roles)


def answer(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}
