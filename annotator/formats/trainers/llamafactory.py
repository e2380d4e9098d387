"""LLaMA-Factory: ShareGPT rows for `stage: rm` and `stage: dpo`, and for `stage: kto`, with their `dataset_info.json`.

Answers are single objects: lists, as TRL has them, make it lose prompt and answers without a word.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from annotator.formats.pairs import META, Pair, PairWriter
from annotator.formats.source import Config, Judged, Options
from annotator.formats.splits import TRAIN
from annotator.formats.trainers import singles
from annotator.formats.trainers.trl import P_CHOSEN
from annotator.formats.trainers.turns import ALTERNATING, alternate, apart
from annotator.protocols import Definition

SPOKEN = pa.struct([("from", pa.string()), ("value", pa.string())])
TAGS = {"user": "human", "assistant": "gpt"}
_PROMPT: list[tuple[str, Any]] = [("conversations", pa.list_(SPOKEN)), ("system", pa.string())]
RANKED = pa.schema([*_PROMPT, ("chosen", SPOKEN), ("rejected", SPOKEN), *META])
TAGGED = pa.schema([*_PROMPT, ("kto_tag", pa.bool_()), *singles.META])
_COLUMNS = {"preference": ("chosen", "rejected"), "kto": ("kto_tag",)}


class LlamaFactory(PairWriter):
    title = "LLaMA-Factory"
    main = "preference"
    heeds = PairWriter.heeds | {"labels", "good", "bad"}
    containers = ("parquet", "jsonl")

    def __init__(self, protocol: Definition, options: Options) -> None:
        super().__init__(protocol, options)
        self.singles = singles.Singles(protocol, options)

    @property
    def configs(self) -> tuple[Config, ...]:
        ranked = Config(self.main, RANKED, "one row a comparison, for `stage: rm` and `stage: dpo`")
        tagged = Config("kto", TAGGED, "one row a response, for `stage: kto`")
        return (ranked, tagged) if self.singles.are_known else (ranked,)

    @property
    def notes(self) -> list[str]:
        return [
            "`dataset_info.json` describes the tables: give this folder as `dataset_dir`, a table's name as `dataset` "
            "and, where there is a validation split, its name with `_validation` as `eval_dataset`.",
            "A system turn stands in `system`; conversations in which user and assistant do not take turns are left "
            "out, because LLaMA-Factory empties them.",
            *super().notes,
            P_CHOSEN,
            *(self.singles.notes if self.singles.are_known else []),
            "There is no margin: LLaMA-Factory reads none. It cuts conversations to `cutoff_len`.",
        ]

    def row(self, pair: Pair) -> dict[str, Any]:
        chosen, rejected = _spoken("assistant", pair.chosen.text), _spoken("assistant", pair.rejected.text)
        return {**_prompt(pair.judged), "chosen": chosen, "rejected": rejected, **pair.meta}

    def tables(self, judged: Judged) -> Iterator[tuple[str, dict[str, Any]]]:
        if not alternate(apart(judged.prompt.messages)[1]):
            self.left_out[ALTERNATING] += 1
            return
        yield from super().tables(judged)
        if not self.singles.are_known:
            return
        for single in self.singles.of(judged, self.left_out, " (kto)"):
            prompt = _prompt(judged)
            prompt["conversations"].append(_spoken("assistant", single.response.text))
            yield "kto", {**prompt, "kto_tag": single.is_good, **single.meta}

    def files(self, written: Mapping[str, list[str]]) -> dict[str, str]:
        """`dataset_info.json`, with an entry for each data file."""
        entries = {_entry(config, name): _described(config, name) for config in written for name in written[config]}
        return {"dataset_info.json": json.dumps(entries, indent=2) + "\n"}


def _prompt(judged: Judged) -> dict[str, Any]:
    system, turns = apart(judged.prompt.messages)
    return {"conversations": [_spoken(turn["role"], turn["content"]) for turn in turns], "system": system}


def _spoken(role: str, text: str) -> dict[str, str]:
    return {"from": TAGS[role], "value": text}


def _entry(config: str, name: str) -> str:
    split = PurePosixPath(name).name.split(".")[0]
    return config if split == TRAIN else f"{config}_{split}"


def _described(config: str, name: str) -> dict[str, Any]:
    columns = {"messages": "conversations", "system": "system", **{column: column for column in _COLUMNS[config]}}
    return {"file_name": name, "formatting": "sharegpt", "ranking": config == "preference", "columns": columns}
