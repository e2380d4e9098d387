"""Two conversations that begin alike, as published pairs hold them, taken apart into a prompt and two responses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from annotator.formats import rows
from annotator.formats.rows import RowInvalid, RowLeft
from annotator.formats.source import Prompt

Turns = list[dict[str, str]]
FURTHER = "a response of several turns, kept as one text with later turns tagged"


def turns_of(value: Any, name: str, left: list[str]) -> Turns:
    """Messages with their text alone; what else a message holds (pictures, calls of tools) is named in `left`."""
    return [_turn(rows.mapping(turn, f"{name}[{place}]"), f"{name}[{place}]", left) for place, turn in enumerate(value)]


def _turn(turn: Mapping[str, Any], name: str, left: list[str]) -> dict[str, str]:
    content = turn.get("content")
    if isinstance(content, list):
        parts = [rows.mapping(part, f"{name}.content") for part in content]
        left += [f"a part of the kind {part.get('type')}" for part in parts if not isinstance(part.get("text"), str)]
        content = "\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    left += ["a call of a tool"] * bool(turn.get("tool_calls"))
    return {"role": str(turn.get("role")), "content": rows.text(content, f"{name}.content", empty=True)}


def taken_apart(first: Turns, second: Turns, names: tuple[str, str], left: list[str]) -> tuple[Turns, list[str]]:
    """The turns that both begin with, the last one the user's, and the text of what follows in each.

    Raises RowInvalid when they begin differently or one does not go on with an answer.
    """
    shared = 0
    while shared < min(len(first), len(second)) - 1 and first[shared] == second[shared]:
        shared += 1
    while shared and first[shared - 1]["role"] != "user":
        shared -= 1
    if not shared:
        raise RowInvalid(names[1], f"does not begin with the same user turn as {names[0]}")
    return first[:shared], [
        spoken(each[shared:], name, left) for each, name in zip((first, second), names, strict=True)
    ]


def filled(turns: Turns, texts: Iterable[str | None]) -> None:
    """Raises RowLeft where a turn or a response is empty, as published sets have them: there is nothing to judge."""
    if not all(turn["content"] for turn in turns):
        raise RowLeft("prompt", "with an empty turn")
    if "" in texts:
        raise RowLeft("response", "with an empty response")


def spoken(turns: Turns, name: str, left: list[str]) -> str:
    """What the assistant says next; turns after that are tagged, as in prompts that are one string."""
    if not turns or turns[0]["role"] != "assistant":
        raise RowInvalid(name, "must end with what the assistant says")
    if len(turns) > 1:
        left.append(FURTHER)
    return turns[0]["content"] + "".join(
        f"\n<extra_id_1>{turn['role'].capitalize()}\n{turn['content']}" for turn in turns[1:]
    )


def only_turn(prompt: Prompt) -> tuple[str, str]:
    """(text, "") of a prompt that is one user turn, for formats whose prompt is an instruction; else ("", why)."""
    messages = prompt.messages
    if len(messages) == 1:
        return messages[0]["content"], ""
    spoken_by_people = [turn for turn in messages if turn["role"] != "system"]
    return "", "a system turn" if len(spoken_by_people) == 1 else "a conversation of several turns"
