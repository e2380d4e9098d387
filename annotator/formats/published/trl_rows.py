"""Reads TRL's preference rows: `chosen` and `rejected`, as text or messages, with or without a column `prompt`.

One anonymous person judged each row, or the labeler that `meta_source` names. `margin` becomes the strength where the
first thousand rows say on which scale it is: 0 to 1, or Llama 2's 0 to 3.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, TypeGuard

from django.utils.translation import gettext_lazy as _

from annotator.formats import rows
from annotator.formats.files import Numbered
from annotator.formats.pairs import LLAMA2
from annotator.formats.published import better, conversations
from annotator.formats.rows import Entry, RowInvalid

TITLE = "TRL preference"
COLUMNS = {
    "prompt": _("the prompt"),
    "system": _("the prompt's system turn"),
    "chosen": _("the better response; which becomes A is drawn"),
    "rejected": _("the other response"),
    "margin": _("how clearly the chosen response is better, where the scale is 0 to 1 or 0 to 3"),
    "meta_source": _("the AI labeler that judged; people where there is none"),
    "meta_chosen_model": _("the model of the chosen response"),
    "meta_rejected_model": _("the model of the other response"),
}
KNOWN = ("prompt", "system", "chosen", "rejected", "margin", "margin_scale")
# So many rows say which scale the margins are on: they are held together.
LOOKED_AT = 1000
# A margin of 0 is Llama 2's “negligibly better”: hardly, and still better.
HARDLY = 0.01
# Columns that TRL reads beside the texts and that nothing here can hold.
UNHELD = {"images": "pictures", "image": "a picture", "tools": "tools"}


def claims(row: Mapping[str, Any]) -> bool:
    """Also rows of single responses (KTO) and of steps (PRM), to say in words why they are refused."""
    if {"chosen", "rejected"} <= row.keys():
        known = all(isinstance(row[name], str) or _are_messages(row[name]) for name in better.SIDES)
        return known and (row.get("prompt") is not None or not _may_hide_a_prompt(row))
    return {"completion", "label"} <= row.keys() or {"completions", "labels"} <= row.keys()


def _may_hide_a_prompt(row: Mapping[str, Any]) -> bool:
    """Whether chosen and rejected are text and another column, "question" say, may be what they answer."""
    others = {name for name, value in row.items() if isinstance(value, str) and not name.startswith("meta_")}
    return isinstance(row["chosen"], str) and bool(others - {*better.SIDES, "id", "source"})


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(turn, Mapping) and "role" in turn for turn in value)


def joined(numbered: Iterable[Numbered]) -> Iterator[Numbered]:
    """Rows with ids and, in `margin_scale`, the highest margin there may be."""
    rest = iter(numbered)
    first = list(islice(rest, LOOKED_AT))
    given = [row.get("margin") for _line, row in first if not isinstance(row, RowInvalid)]
    scale = _scale([float(margin) for margin in given if _is_number(margin)])
    for line, row in better.named(chain(first, rest)):
        yield line, row if isinstance(row, RowInvalid) or scale is None else {**row, "margin_scale": scale}


def _scale(margins: list[float]) -> float | None:
    if not margins or min(margins) < 0 or max(margins) > LLAMA2:
        return None
    return 1.0 if max(margins) <= 1 else LLAMA2


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def read(row: Mapping[str, Any]) -> Entry:
    """One row. Raises RowInvalid."""
    if "chosen" not in row:
        raise RowInvalid("completion" if "completion" in row else "completions", _refused(row))
    left = [what for name, what in UNHELD.items() if row.get(name)] + better.summed_up(row)
    turns, texts = _texts(_opened(row), left)
    if row.get("system") and turns[0]["role"] != "system":
        turns = [{"role": "system", "content": rows.text(row["system"], "system")}, *turns]
    conversations.filled(turns, texts)
    prompt = rows.prompt_row(None, turns, [])
    said, metadata = better.said_by(row, _strength(row, left)), better.metadata_of(row, KNOWN)
    return better.entry(better.row_id(row), prompt, texts, better.models_of(row), said, metadata, left)


def _opened(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with messages that a CSV file holds as JSON text; text that is no list of messages stays text."""
    opened = {name: _messages_of(row.get(name)) for name in (*better.SIDES, "prompt")}
    if not all(isinstance(opened[name], list) for name in better.SIDES):
        return dict(row)
    return {**row, **{name: value for name, value in opened.items() if value is not None}}


def _messages_of(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("[{"):
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return parsed if _are_messages(parsed) else value
    return value


def _refused(row: Mapping[str, Any]) -> str:
    what = "a single response with a label" if "completion" in row else "the steps of one response"
    return f"holds {what}; that is no comparison of two responses, so there is nothing here to judge"


def _strength(row: Mapping[str, Any], left: list[str]) -> float:
    margin, scale = row.get("margin"), row.get("margin_scale")
    if margin is None:
        return 1.0
    if not _is_number(margin) or scale is None or not 0 <= margin <= scale:
        left.append("a margin on a scale of its own")
        return 1.0
    return max(margin / scale, HARDLY)


def _texts(row: Mapping[str, Any], left: list[str]) -> tuple[list[dict[str, str]], list[str]]:
    """The prompt's turns and the texts of chosen and rejected."""
    given = [row[name] for name in better.SIDES]
    if all(isinstance(each, str) for each in given):
        return _plain(row.get("prompt"), given)
    if any(isinstance(each, str) for each in given):
        raise RowInvalid("rejected", "must be of the same kind as chosen: both text, or both messages")
    chosen, rejected = (
        conversations.turns_of(each, name, left) for name, each in zip(better.SIDES, given, strict=True)
    )
    if not isinstance(row.get("prompt"), list) or (chosen and chosen[0]["role"] != "assistant"):
        # Full conversations; a prompt in words beside them repeats what they begin with.
        return conversations.taken_apart(chosen, rejected, better.SIDES, left)
    texts = [conversations.spoken(chosen, "chosen", left), conversations.spoken(rejected, "rejected", left)]
    return conversations.turns_of(row["prompt"], "prompt", left), texts


def _plain(prompt: Any, given: list[str]) -> tuple[list[dict[str, str]], list[str]]:
    if isinstance(prompt, list):
        raise RowInvalid("prompt", "must be of the same kind as chosen: both text, or both messages")
    if prompt is None:
        prompt, given = _shared(*given)
    return [{"role": "user", "content": rows.text(prompt, "prompt")}], given


def _shared(chosen: str, rejected: str) -> tuple[str, list[str]]:
    """TRL takes the longest common beginning for the prompt; ours ends with white space, so no word is cut."""
    end = 0
    while end < min(len(chosen), len(rejected)) - 1 and chosen[end] == rejected[end]:
        end += 1
    while end and not chosen[end - 1].isspace():
        end -= 1
    if not chosen[:end].strip():
        raise RowInvalid("rejected", "does not begin with the same prompt as chosen, and there is no column prompt")
    return chosen[:end], [chosen[end:], rejected[end:]]
