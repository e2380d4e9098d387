"""NeMo-Aligner (not maintained since 2025): one text a line, in the template of its own models.

`dpo`: prompt and both answers; `bradley_terry`: two lines a pair, the better one first; `regression`: one line a
response with nine attributes. It reads pairs by place, so a pair's lines stay together and in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from annotator.formats.pairs import META, Pair, PairWriter
from annotator.formats.source import Config, Judged, Options
from annotator.formats.trainers.singles import ratings, sides_of
from annotator.formats.trainers.turns import ALTERNATING, alternate, apart
from annotator.protocols import Definition

# Its fixed order; the first four are those of Open Assistant.
ATTRIBUTES = (
    *("quality", "toxicity", "humor", "creativity"),
    *("helpfulness", "correctness", "coherence", "complexity", "verbosity"),
)
MISSING = -100.0
# What ends an answer: the next turn, or the label of the answer.
TURN, LABEL = "\n<extra_id_1>", "\n<extra_id_2>"

_IDS: list[tuple[str, pa.DataType]] = [("meta_comparison_id", pa.string()), ("meta_prompt_id", pa.string())]
_DPO = pa.schema([("prompt", pa.string()), ("chosen_response", pa.string()), ("rejected_response", pa.string()), *META])
_LINES = pa.schema([("text", pa.string()), *_IDS])
_LABELLED = pa.schema([("text", pa.string()), ("label", pa.list_(pa.float64())), *_IDS])


class NemoAligner(PairWriter):
    title = "NeMo-Aligner"
    main = "dpo"
    containers = ("jsonl",)

    def __init__(self, protocol: Definition, options: Options) -> None:
        super().__init__(protocol, options)
        self.rated = [each for each in protocol.attributes if each.key in ATTRIBUTES]

    @property
    def configs(self) -> tuple[Config, ...]:
        pairs = (
            Config(self.main, _DPO, "one row a comparison"),
            Config("bradley_terry", _LINES, "two lines a comparison: rows 2k (better) and 2k+1 (worse)"),
        )
        labelled = Config("regression", _LABELLED, f"one row a rated response: {', '.join(ATTRIBUTES)}")
        return (*pairs, labelled) if self.rated else pairs

    @property
    def notes(self) -> list[str]:
        regression = (
            "Labels of `regression` are the means of people's ratings on a scale of 0 to 4, in the order "
            f"{', '.join(ATTRIBUTES)}; {MISSING:g} where there is none (`loss_mask_val`). The protocol asks for "
            f"{', '.join(each.key for each in self.rated)}."
        )
        return [
            "Texts are in the template of NVIDIA's models (`<extra_id_0>System`, `<extra_id_1>User`, "
            "`<extra_id_1>Assistant`); a model that was tuned with another one needs its own.",
            "Lines of `bradley_terry` must keep their order: two belong together, the better one first.",
            *([regression] if self.rated else []),
            *super().notes,
            "`train_gpt_dpo.py` stops at texts longer than the model's sequence; reward models skip them.",
        ]

    def row(self, pair: Pair) -> dict[str, Any]:
        return {
            "prompt": template(pair.prompt.messages),
            "chosen_response": pair.chosen.text + TURN,
            "rejected_response": pair.rejected.text + TURN,
            **pair.meta,
        }

    def tables(self, judged: Judged) -> Iterator[tuple[str, dict[str, Any]]]:
        if not alternate(apart(judged.prompt.messages)[1]):
            self.left_out[ALTERNATING] += 1
            return
        for pair in self.pairs(judged):
            row = self.row(pair)
            yield self.main, row
            for text in (row["chosen_response"], row["rejected_response"]):
                yield "bradley_terry", {"text": row["prompt"] + text, **_ids(judged, pair.key)}
        if self.rated:
            yield from self._labelled(judged)

    def _labelled(self, judged: Judged) -> Iterator[tuple[str, dict[str, Any]]]:
        prompt = template(judged.prompt.messages)
        for side, response in sides_of(judged):
            said = {each.key: ratings(judged, each, side) for each in self.rated}
            means = {key: sum(values) / len(values) for key, values in said.items() if values}
            if not means:
                self.left_out["a response that nobody rated (regression)"] += 1
                continue
            label = [means.get(key, MISSING) for key in ATTRIBUTES]
            yield "regression", {"text": prompt + response.text + LABEL, "label": label, **_ids(judged, judged.key)}


def template(messages: list[dict[str, str]]) -> str:
    """The prompt up to where the answer begins."""
    system, turns = apart(messages)
    said = "".join(f"<extra_id_1>{turn['role'].capitalize()}\n{turn['content']}\n" for turn in turns)
    return f"<extra_id_0>System\n{system}\n{said}<extra_id_1>Assistant\n"


def _ids(judged: Judged, key: str) -> dict[str, str]:
    return {"meta_comparison_id": key, "meta_prompt_id": judged.prompt.key}
