"""The prompt and the responses among the fields of a tool's row, found by what people call such fields.

A tool shows whatever fields its project has; its export says nothing of what they mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from annotator.formats import mapped, native, rows
from annotator.formats.rows import Entry, PromptRow, ResponseRow, RowInvalid, Vote

# Names of fields that hold one of several responses, without the letter or number at their end.
STEMS = (
    *("response", "answer", "completion", "output", "reply", "text", "summary", "candidate", "generation", "option"),
    *("item", "model_response", "model_output", "assistant", ""),
)
ORDERS = ("abcdefgh", "12345678", "01234567")
BY_HAND = "upload it and say which columns hold the prompt and the two responses"


@dataclass
class Sides:
    """The responses of a row: the field's name of each, A first, and who wrote it."""

    names: list[str]
    responses: list[ResponseRow]
    prompt: PromptRow
    # All fields that were read; the others are metadata.
    used: set[str]

    def place(self, value: Any) -> int | None:
        """Which response a value names: by its field's name, its id, its letter or number; None when it names none."""
        if isinstance(value, bool) or not isinstance(value, str | int):
            return None
        exact = [place for place, name in enumerate(self.names) if value in (name, self.responses[place].external_id)]
        said = mapped.words(str(value))
        alike = [place for place, name in enumerate(self.names) if said == mapped.words(name)]
        for found in (exact, alike):
            if len(found) == 1:
                return found[0]
        verdict = self._verdict(said)
        return {"a": 0, "b": 1}.get(verdict or "") if len(self.names) == 2 else None

    def verdict(self, value: Any) -> str | None:
        """What a value says of two responses: "a", "b", "tie" or "neither"; None when it says something else."""
        # A number is a rating more often than a response.
        if not isinstance(value, str) or not value.strip() or value.isdecimal() or len(self.names) != 2:
            return None
        place = self.place(value)
        if place is not None:
            return "ab"[place]
        verdict = self._verdict(mapped.words(value))
        return verdict if verdict in ("tie", "neither") else None

    def _verdict(self, said: str) -> str | None:
        return mapped.verdict_of(said, dict(zip(("response_a", "response_b"), self.names, strict=False)))

    def about(self, name: str) -> tuple[int | None, str]:
        """Which response a question is about by its name ("rating_response1"), and the name without the response's.

        (None, the name) where it names none.
        """
        said = mapped.words(name)
        for place, field in enumerate(self.names):
            own = mapped.words(field)
            # A field called "a" would be found in every second name.
            if len(own) > 1 and f"_{own}_" in f"_{said}_":
                return place, f"_{said}_".replace(f"_{own}_", "_", 1).strip("_")
        return None, said

    def entry(self, row_id: str, metadata: Mapping[str, Any], votes: list[Vote], left: list[str]) -> Entry:
        """One comparison of all the responses: three to eight of them are to be ranked."""
        others = tuple(range(2, len(self.responses)))
        made = rows.comparison_row(row_id, self.responses, 0, 1, dict(metadata), "id", others)
        return Entry(self.prompt, self.responses, [made], votes, left)


def find(fields: Mapping[str, Any], where: str, prompt: Any = None) -> Sides:
    """The prompt and the responses among `fields`; `prompt` where the tool says which it is.

    Raises RowInvalid (of `where`) when there is no prompt or there are no two responses.
    """
    names = _responses(fields)
    if len(names) < 2:
        found = ", ".join(sorted(str(name) for name in fields)[:12])
        raise RowInvalid(where, f"holds no two responses (found: {found}); {BY_HAND}")
    guessed = mapped.guess(name for name in fields if name not in names)
    models = _models(fields, names, mapped.guess(fields))
    asked = guessed.get("prompt", "")
    written = [
        rows.response_row({"text": fields[name], "model": fields.get(model) if model else None}, name, name)
        for name, model in zip(names, models, strict=True)
    ]
    used = {*names, *(model for model in models if model), *([asked] if prompt is None else [])}
    system = guessed.get("system")
    used |= {system} if system else set()
    asks = fields.get(asked) if prompt is None else prompt
    return Sides(names, rows.apart(written), prompt_of(asks, where, fields.get(system or "")), used)


def of_items(items: list[tuple[str, dict[str, Any]]], where: str, prompt: Any, used: set[str]) -> Sides:
    """The responses of a tool that lists them: (name, {"id"?, "text", "model"?, "metadata"?}) each."""
    if not 2 <= len(items) <= rows.RANKED_AT_MOST:
        raise RowInvalid(where, f"holds {len(items)} responses; a comparison has two to {rows.RANKED_AT_MOST}")
    written = [
        rows.response_row(given, f"{where}[{place}]", f"{where}[{place}]") for place, (_n, given) in enumerate(items)
    ]
    return Sides([name for name, _given in items], rows.apart(written), prompt_of(prompt, where), used)


def prompt_of(value: Any, where: str, system: Any = None) -> PromptRow:
    """The prompt: text, or turns with role and content."""
    if value is None or value == "" or value == []:
        raise RowInvalid(where, f"holds no prompt; {BY_HAND}")
    return rows.prompt_row(None, native.turns_of({"prompt": value, "system": system or None}), [])


def _responses(fields: Mapping[str, Any]) -> list[str]:
    """The names of the fields that hold responses, in their order."""
    known = {mapped.words(name): name for name in fields if isinstance(fields[name], str)}
    for stem, order in itertools.product(STEMS, ORDERS):
        wanted = (mapped.words(f"{stem}_{letter}") for letter in order)
        run = list(itertools.takewhile(known.__contains__, wanted))
        if len(run) >= 2:
            return [known[name] for name in run]
    guessed = mapped.guess(known.values())
    return [guessed[side] for side in ("response_a", "response_b") if side in guessed]


def _models(fields: Mapping[str, Any], names: list[str], guessed: Mapping[str, str]) -> list[str]:
    """The names of the fields that say who wrote the responses, "" where there is none."""
    own = [next((each for each in (f"{name}_model", f"{name}.model") if each in fields), "") for name in names]
    if len(names) == 2 and not any(own):
        own = [guessed.get(f"model_{side}", "") for side in "ab"]
    return [name if isinstance(fields.get(name), str) else "" for name in own]
