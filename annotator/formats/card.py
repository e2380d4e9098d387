"""The dataset card: README.md in the form of the Hugging Face hub, whose header makes the folder loadable as it is.

Written from a manifest (`annotator/readings/manifest.py`) alone, so that card and manifest cannot disagree.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from annotator.formats.source import Config, Writer

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def card(facts: Mapping[str, Any], writer: Writer) -> str:
    """The whole README.md for the files in `facts["files"]`."""
    configs = {config.name: config for config in writer.configs}
    header = _yaml(_header(facts, configs))
    sections = (
        _opening(facts, writer),
        _tables(facts, configs),
        _collection(facts),
        _people(facts),
        _routing(facts),
        _labels(facts),
        _limits(facts, writer),
        _repeat(facts),
    )
    return f"---\n{header}---\n\n" + "\n".join(sections)


def _header(facts: Mapping[str, Any], configs: Mapping[str, Config]) -> dict[str, Any]:
    written = _by_config(facts)
    rows = sum(file["rows"] for file in written[next(iter(written))])
    sources = facts["counted"]["judgments_by_source"]
    creators = [name for name, present in _creators(sources) if present]
    return {
        "license": "unknown",
        "pretty_name": facts["project"]["name"],
        "size_categories": [next((name for limit, name in _SIZES if rows < limit), "n>1M")],
        "task_categories": ["text-generation"],
        "tags": ["preference", "rlhf", *(["human-feedback"] if "people" in sources else []), "switchyard"],
        **({"annotations_creators": creators} if creators else {}),
        "configs": [
            {
                "config_name": name,
                **({"default": True} if number == 0 else {}),
                "data_files": [{"split": file["split"], "path": file["name"]} for file in files],
            }
            for number, (name, files) in enumerate(written.items())
        ],
        "dataset_info": [
            {
                "config_name": name,
                "features": features(configs[name].schema),
                "splits": [
                    {"name": file["split"], "num_bytes": file["bytes"], "num_examples": file["rows"]} for file in files
                ],
            }
            for name, files in written.items()
        ],
    }


def _creators(sources: Mapping[str, int]) -> Iterable[tuple[str, bool]]:
    yield "crowdsourced", "people" in sources
    yield "machine-generated", any(name != "people" for name in sources)


def _by_config(facts: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Files by config, in the order in which the format declares its configs."""
    configs: dict[str, list[Any]] = {}
    for file in facts["files"]:
        configs.setdefault(file["config"], []).append(file)
    return {name: configs[name] for name in facts["configs"] if name in configs}


def features(schema: pa.Schema) -> list[dict[str, Any]]:
    """An Arrow schema in the words of `dataset_info.features`."""
    return [{"name": column.name, **_feature(column.type)} for column in schema]


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_list(kind):
        inner = _feature(kind.value_type)
        return {"list": inner.get("dtype") or inner["struct"]}
    if pa.types.is_struct(kind):
        return {"struct": [{"name": part.name, **_feature(part.type)} for part in kind]}
    names = {pa.float64(): "float64", pa.float32(): "float32"}
    return {"dtype": names.get(kind, str(kind))}


def _yaml(value: Any, indent: int = 0) -> str:
    """Block YAML of dicts, lists and scalars; scalars as JSON, which YAML reads alike."""
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


def _opening(facts: Mapping[str, Any], writer: Writer) -> str:
    project = facts["project"]
    lines = [f"# {_line(project['name'])}", ""]
    if project["provenance"]:
        lines += [f"> **Not collected in the field. This data is {_line(project['provenance'])}.**", ""]
    counted = facts["counted"]
    comparisons = sum(counted["comparisons_by_source"].values())
    lines.append(
        f"Preference judgments in the format {writer.title}: {_number(comparisons)} comparisons of two responses, "
        f"{_number(sum(counted['judgments_by_source'].values()))} judgments, exported by Switchyard "
        f"{facts['software']['version']} from the data as of {facts['snapshot']['seen']}."
    )
    return "\n".join(lines) + "\n"


def _tables(facts: Mapping[str, Any], configs: Mapping[str, Config]) -> str:
    rows = [
        (name, file["split"], _number(file["rows"]), configs[name].about)
        for name, files in _by_config(facts).items()
        for file in files
    ]
    usage = '`load_dataset("this folder", "config")` loads them, online or not.'
    return "## Tables\n\n" + _grid(("config", "split", "rows", "what"), rows) + f"\n{usage}\n"


def _collection(facts: Mapping[str, Any]) -> str:
    protocols = [f"{_line(each['preset'])} version {each['version']}" for each in facts["protocols"]]
    lines = [
        "## Collection",
        "",
        "Raters were given a prompt with two responses, A and B, and said which is better. Negative always means A.",
        *_seen(facts["counted"]),
        f"Protocol: {', '.join(protocols) or 'none (no judgment by people under a protocol)'}; "
        f"guidelines version {facts['guidelines']['version']}. Definition and hash are in `manifest.json`.",
    ]
    return "\n".join(lines) + "\n"


def _seen(counted: Mapping[str, Any]) -> list[str]:
    """How people's judgments came about, as far as it is known."""
    imported = counted["imported_judgments_of_people"]
    own = counted["judgments_by_source"].get("people", 0) - imported
    lines = []
    if own:
        lines.append(
            f"{_number(own)} judgments by people were made in Switchyard: the order on screen was drawn at random for "
            "each and is undone here; the models' names were not shown."
        )
    if imported:
        lines.append(
            f"{_number(imported)} judgments by people were imported; how they were made is for their source to say."
        )
    return lines


def _people(facts: Mapping[str, Any]) -> str:
    counted = facts["counted"]
    lines = ["## Annotators and agreement", ""]
    if not counted["people"]:
        return "\n".join([*lines, "No judgment of a person is in this export."]) + "\n"
    lines.append(
        f"{_number(counted['people'])} people judged. They appear under pseudonyms (`person-…`), the same in every "
        "export of this project. Nothing else about them is included."
    )
    pairs, agreeing = counted["pairs_of_people"], counted["agreeing_pairs"]
    lines.append(
        f"Of {_number(pairs)} pairs of people who judged the same comparison, {100 * agreeing / pairs:.1f}% chose the "
        "same of A, tie and B (not corrected for chance)."
        if pairs
        else "No comparison was judged by two people, so there is no agreement to report."
    )
    return "\n".join(lines) + "\n"


def _routing(facts: Mapping[str, Any]) -> str:
    counted, currency = facts["counted"], facts["project"]["currency"]
    total = sum(counted["comparisons_by_source"].values()) or 1
    shares = [
        (_line(name), _number(number), f"{100 * number / total:.1f}%")
        for name, number in counted["comparisons_by_source"].items()
    ]
    costs = [
        (_line(name), _number(number), f"{counted['cost_by_source'].get(name, '0')} {currency}")
        for name, number in counted["judgments_by_source"].items()
    ]
    plan = facts["plan"]
    lines = ["## Who judged what, and what it cost", ""]
    lines.append(
        f"Plan {plan['number']} (strategy {_line(plan['strategy'])}, budget {plan['budget']} {currency}) chose the "
        "source of each comparison's label."
        if plan
        else "No plan was approved when this was exported."
    )
    lines += ["", _grid(("source of the label", "comparisons", "share"), shares)]
    lines += [_grid(("judgments by", "judgments", "cost"), costs)]
    for labeler in facts["labelers"]:
        model = labeler["parameters"].get("model")
        lines.append(
            f"- AI labeler {_line(labeler['name'])}: {_line(labeler['kind'])}"
            f"{f', model {_line(str(model))}' if model else ''}, version `{labeler['digest'][:12]}`"
        )
    return "\n".join(lines) + "\n"


def _labels(facts: Mapping[str, Any]) -> str:
    recipe = facts["recipe"]
    whose = {
        "routed": "Only judgments of the source that the plan chose for a comparison count; without a plan, people's.",
        "people": "Only judgments of people count.",
        "pooled": "Judgments of people and AI labelers count together.",
    }[recipe["source"]]
    return (
        f"## Labels\n\nRecipe {_line(recipe['name'])} version {recipe['version']}: {whose} The soft label is the mean "
        "of the votes (A 0, tie 0.5, B 1; an AI labeler votes with its probability). Corrected answers and answers "
        "that could still be undone are not counted; an answer that came after its place was taken is.\n"
    )


def _limits(facts: Mapping[str, Any], writer: Writer) -> str:
    left_out = [f"- left out: {_number(number)} × {reason}" for reason, number in facts["filters"]["left_out"].items()]
    notes = [f"- {note}" for note in writer.notes]
    licence = (
        "- The licence of prompts and responses is not known to Switchyard: find it out before you pass this on, "
        "then replace `unknown` above."
    )
    return "## Limits and notes\n\n" + "\n".join([*notes, *left_out, licence]) + "\n"


def _repeat(facts: Mapping[str, Any]) -> str:
    options = ", ".join(f"{name} = {value}" for name, value in facts["options"].items()) or "none"
    return (
        f"## Repeating it\n\nOptions: {options}. `manifest.json` holds filters, versions, prices, seeds and the hash "
        f"of every file; the data files together: sha256 `{facts['data_sha256']}`.\n"
    )


def _grid(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _column in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(value: int) -> str:
    return f"{value:,}"


def _line(text: str) -> str:
    """Somebody's words as one harmless line of a card: names must not add headings, rows or markup."""
    plain = " ".join(text.split()).replace("|", "/")
    return "".join(f"\\{character}" if character in "\\`*_[]<>#" else character for character in plain)
