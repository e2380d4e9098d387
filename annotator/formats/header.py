"""The header of a dataset card: YAML that the Hugging Face hub and `load_dataset` read.

What it says of licence and language is what the texts' own metadata say; where that is silent, so is the header.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from annotator.formats.source import Config, Writer

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
# Licences that data sets of this field carry, by the hub's names; others are "other" there and named on the card.
_LICENCES = {
    *("apache-2.0", "mit", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0"),
    *("cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
    *("cc-by-nc-nd-4.0", "cc-by-nd-4.0", "odc-by", "odbl", "pddl", "openrail", "llama2", "llama3", "llama3.1"),
    *("llama3.2", "llama3.3", "gemma", "bsd-3-clause", "gpl-3.0", "cdla-permissive-2.0", "cdla-sharing-1.0"),
}
_LANGUAGE = re.compile(r"[a-z]{2,3}")

# Characters that turn the direction of what follows, beyond the words they stand in: no name may do that to a card.
TURNS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])


def unturned(text: str) -> str:
    """Somebody's words without TURNS."""
    return text.translate(TURNS)


def header(facts: Mapping[str, Any], writer: Writer) -> str:
    """The YAML between the card's two lines of dashes."""
    return _yaml(_facts(facts, {config.name: config for config in writer.configs}))


def _facts(facts: Mapping[str, Any], configs: Mapping[str, Config]) -> dict[str, Any]:
    written = by_config(facts)
    rows = sum(file["rows"] for file in next(iter(written.values())))
    sources = judgments_in(facts["counted"])
    creators = [name for name, present in _creators(sources) if present]
    spoken = languages(facts)
    return {
        "license": licence(facts),
        **({"language": spoken} if spoken else {}),
        "pretty_name": unturned(facts["project"]["name"]),
        "size_categories": [next((name for limit, name in _SIZES if rows < limit), "n>1M")],
        "task_categories": ["text-generation"],
        "tags": ["preference", "rlhf", *(["human-feedback"] if "people" in sources else []), "switchyard"],
        **({"annotations_creators": creators} if creators else {}),
        "configs": [
            {"config_name": name, **({"default": True} if number == 0 else {}), "data_files": _data_files(files)}
            for number, (name, files) in enumerate(written.items())
        ],
        "dataset_info": [
            {"config_name": name, "features": features(configs[name].schema), "splits": _splits(files)}
            for name, files in written.items()
        ],
    }


def judgments_in(counted: Mapping[str, Any]) -> Mapping[str, int]:
    """Judgments in the files by whose they are: all of a lossless store's, else those that the recipe counts."""
    return counted.get("held_by_source") or counted["judgments_by_source"]  # type: ignore[no-any-return]


def comparisons_in(facts: Mapping[str, Any]) -> int:
    """Comparisons in the files, labelled or, of a lossless store, not."""
    if "held_by_source" in facts["counted"]:
        return sum(file["rows"] for file in facts["files"] if file["config"] == "comparisons")
    return sum(facts["counted"]["comparisons_by_source"].values())


def by_config(facts: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The manifest's data files by config, in the order in which the format declares its configs."""
    configs: dict[str, list[Any]] = {}
    for file in facts["files"]:
        configs.setdefault(file["config"], []).append(file)
    return {name: configs[name] for name in facts["configs"] if name in configs}


def by_split(files: Iterable[Any]) -> dict[str, list[Any]]:
    """A config's files by split: one, or several where a table is written in parts."""
    splits: dict[str, list[Any]] = {}
    for file in files:
        splits.setdefault(file["split"], []).append(file)
    return splits


def licence(facts: Mapping[str, Any]) -> str | list[str]:
    """What the hub calls the licences that all texts state; "unknown" where one states none, "other" for odd ones."""
    licences = facts["counted"].get("licences", {})
    stated = {name.lower().replace(" ", "-") for of in licences.values() for name in of}
    if not stated or "" in stated:
        return "unknown"
    if not stated <= _LICENCES:
        return "other"
    return next(iter(stated)) if len(stated) == 1 else sorted(stated)


def languages(facts: Mapping[str, Any]) -> list[str]:
    """Codes of languages that prompts say they are in, the most frequent first; all else is left out."""
    said = (name.lower().partition("-")[0] for name in facts["counted"].get("languages", {}))
    return list(dict.fromkeys(code for code in said if _LANGUAGE.fullmatch(code)))


def _data_files(files: Iterable[Any]) -> list[dict[str, Any]]:
    parts = {split: [file["name"] for file in of] for split, of in by_split(files).items()}
    return [{"split": split, "path": names[0] if len(names) == 1 else names} for split, names in parts.items()]


def _splits(files: Iterable[Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": split,
            "num_bytes": sum(file["bytes"] for file in of),
            "num_examples": sum(file["rows"] for file in of),
        }
        for split, of in by_split(files).items()
    ]


def _creators(sources: Mapping[str, int]) -> Iterable[tuple[str, bool]]:
    yield "crowdsourced", "people" in sources
    yield "machine-generated", any(name != "people" for name in sources)


def features(schema: pa.Schema) -> list[dict[str, Any]]:
    """An Arrow schema in the words of `dataset_info.features`."""
    return [{"name": column.name, **_feature(column.type)} for column in schema]


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_list(kind):
        inner = _feature(kind.value_type)
        # A list of plain values or structs is named by what is in it, a list of lists by the inner list.
        return {"list": inner.get("dtype") or inner.get("struct") or inner}
    if pa.types.is_struct(kind):
        return {"struct": [{"name": part.name, **_feature(part.type)} for part in kind]}
    names = {pa.float64(): "float64", pa.float32(): "float32"}
    return {"dtype": names.get(kind, str(kind))}


def _yaml(value: Any, indent: int = 0) -> str:
    """Block YAML of dicts, lists and scalars; scalars as JSON in ASCII, which YAML reads alike whatever they hold."""
    pad = " " * indent
    if isinstance(value, dict):
        lines = []
        for key, each in value.items():
            nested = isinstance(each, (dict, list))
            lines.append(f"{pad}{key}:\n{_yaml(each, indent + 2)}" if nested else f"{pad}{key}: {_scalar(each)}\n")
        return "".join(lines)
    lines = []
    for each in value:
        if isinstance(each, (dict, list)):
            lines.append(f"{pad}- {_yaml(each, indent + 2).lstrip()}")
        else:
            lines.append(f"{pad}- {_scalar(each)}\n")
    return "".join(lines)


def _scalar(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True)
