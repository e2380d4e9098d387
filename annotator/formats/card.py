"""The dataset card: README.md in the form of the Hugging Face hub, whose header makes the folder loadable as it is.

Written from a manifest (`annotator/readings/manifest.py`) alone, so that card and manifest cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from annotator import protocols
from annotator.formats.header import by_config, comparisons_in, header, judgments_in, unturned
from annotator.formats.source import Config, Writer


def card(facts: Mapping[str, Any], writer: Writer) -> str:
    """The whole README.md for the files in `facts["files"]`."""
    configs = {config.name: config for config in writer.configs}
    sections = (
        _opening(facts, writer),
        _tables(facts, configs),
        _collection(facts),
        _protocol(facts),
        _people(facts),
        _routing(facts),
        _labels(facts),
        _licences(facts),
        _limits(facts, writer),
        _repeat(facts),
    )
    return f"---\n{header(facts, writer)}---\n\n" + "\n".join(sections)


def _opening(facts: Mapping[str, Any], writer: Writer) -> str:
    project = facts["project"]
    lines = [f"# {line(project['name'])}", ""]
    if project["provenance"]:
        lines += [f"> **Not collected in the field. This data is {line(project['provenance'])}.**", ""]
    lines.append(
        f"Preference judgments in the format {writer.title}: {_number(comparisons_in(facts))} comparisons of two "
        f"responses, {_number(sum(judgments_in(facts['counted']).values()))} judgments, exported by Switchyard "
        f"{facts['software']['version']} from the data as of {facts['snapshot']['seen']}."
    )
    return "\n".join(lines) + "\n"


def _tables(facts: Mapping[str, Any], configs: Mapping[str, Config]) -> str:
    written = by_config(facts)
    rows = [
        (name, file["split"], _number(file["rows"]), configs[name].about)
        for name, files in written.items()
        for file in files
    ]
    others = "".join(f'more = load_dataset("FOLDER", "{name}")\n' for name in list(written)[1:2])
    usage = f'```python\nfrom datasets import load_dataset\nrows = load_dataset("FOLDER")\n{others}```\n'
    note = (
        "FOLDER is where these files lie, or the repository they were pushed to. `croissant.json` describes the same."
    )
    return "## Tables\n\n" + _grid(("config", "split", "rows", "what"), rows) + f"\n{usage}\n{note}\n"


def _collection(facts: Mapping[str, Any]) -> str:
    lines = [
        "## Collection",
        "",
        "Raters were given a prompt with two responses, A and B, and said which is better. Negative always means A.",
        *seen(facts["counted"]),
        *_imports(facts),
    ]
    return "\n".join(lines) + "\n"


def seen(counted: Mapping[str, Any]) -> list[str]:
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
    if beside := sum(judgments_in(counted).values()) - sum(counted["judgments_by_source"].values()):
        lines.append(
            f"Judgments that are here and that the recipe of the labels does not count: {_number(beside)} (corrected "
            "ones, say, and those of sources that were not chosen). People, agreement and cost are told of the others."
        )
    return lines


def _imports(facts: Mapping[str, Any]) -> Iterator[str]:
    """The files the project was made from, as the manifest lists them."""
    for each in facts["inputs"]:
        yield f"- imported: {line(named(each))} (sha256 `{each['sha256']}`)"
    if further := facts["further_inputs"]:
        yield (
            f"- imported besides: {_number(further['rows'])} rows in {_number(further['number'])} files and batches "
            f"(sha256 over theirs `{further['sha256_of_sha256']}`)"
        )


def named(imported: Mapping[str, Any]) -> str:
    """What an imported file was called, or the public set that it is of."""
    return str(imported["filename"] or imported["origin"].get("name") or "a file")


def _protocol(facts: Mapping[str, Any]) -> str:
    asked = [_asked(each) for each in facts["protocols"]]
    guidelines = facts["guidelines"]
    lines = [
        "## Protocol and guidelines",
        "",
        *(asked or ["No judgment of a person under a protocol is counted in this export."]),
        "",
        f"Guidelines version {guidelines['version']} (sha256 `{guidelines['sha256'][:12]}`) were in force at the "
        "export. The protocols' definitions stand word for word in `manifest.json`.",
    ]
    return "\n".join(lines) + "\n"


def _asked(protocol: Mapping[str, Any]) -> str:
    """What one version asked, in a line."""
    definition = protocols.read(protocol["definition"])
    levels = "; ".join(f"{level.value} {line(level.label)}" for level in definition.levels)
    parts = [
        f"version {protocol['version']} (preset {line(protocol['preset'])}): “{line(definition.question)}”, {levels}"
    ]
    for words, named in (
        ("aspects", definition.aspects),
        ("ratings", definition.attributes),
        ("reasons", definition.reasons),
    ):
        if labels := ", ".join(line(each.label) for each in named):
            parts.append(f"{words}: {labels}")
    return "- " + ". ".join(parts)


def _people(facts: Mapping[str, Any]) -> str:
    counted = facts["counted"]
    lines = ["## Annotators and agreement", ""]
    if not counted["people"]:
        here = judgments_in(counted).get("people", 0)
        none = (
            f"Judgments of people here: {_number(here)}. The recipe of the labels counts none of them." if here else ""
        )
        return "\n".join([*lines, none or "No judgment of a person is in this export."]) + "\n"
    lines.append(
        f"{_number(counted['people'])} people judged. They appear under pseudonyms (`person-…`), the same in every "
        "export of this project. What else of them is included, if anything, is named under *Limits and notes*."
    )
    lines.append(agreement(counted))
    return "\n".join(lines) + "\n"


def agreement(counted: Mapping[str, Any]) -> str:
    """How far people agree, in a sentence."""
    pairs, agreeing = counted["pairs_of_people"], counted["agreeing_pairs"]
    return (
        f"Of {_number(pairs)} pairs of people who judged the same comparison, {100 * agreeing / pairs:.1f}% chose the "
        "same of A, tie and B (not corrected for chance)."
        if pairs
        else "No comparison was judged by two people, so there is no agreement to report."
    )


def _routing(facts: Mapping[str, Any]) -> str:
    counted, currency = facts["counted"], facts["project"]["currency"]
    total = sum(counted["comparisons_by_source"].values()) or 1
    shares = [
        (line(name), _number(number), f"{100 * number / total:.1f}%")
        for name, number in counted["comparisons_by_source"].items()
    ]
    costs = [
        (
            *(line(name), _number(number), _number(counted["judgments_by_source"].get(name, 0))),
            f"{counted['cost_by_source'].get(name, '0')} {currency}",
        )
        for name, number in judgments_in(counted).items()
    ]
    lines = ["## Who judged what, and what it cost", "", _plan(facts)]
    lines += ["", _grid(("source of the label", "comparisons", "share"), shares)]
    lines += [_grid(("judgments by", "judgments", "counted", "cost of these"), costs)]
    lines += machines(facts)
    return "\n".join(lines) + "\n"


def _plan(facts: Mapping[str, Any]) -> str:
    plan = facts["plan"]
    if not plan:
        return "No plan was approved when this was exported."
    said = (
        f"Plan {plan['number']} (strategy {line(plan['strategy'])}, budget {plan['budget']} "
        f"{facts['project']['currency']}) chose the source of each comparison's label."
    )
    if routes := plan.get("routes"):
        least = routes["least_propensity"]
        said += (
            f" Of its {_number(routes['all'])} routes {_number(routes['control'])} were drawn at random as a control"
        )
        said += f"; the least chance with which a route was drawn is {least:.4g}." if least is not None else "."
    return said


def machines(facts: Mapping[str, Any]) -> list[str]:
    """A line for each AI labeler whose judgments counted."""
    lines = []
    for labeler in facts["labelers"]:
        model = labeler["parameters"].get("model")
        lines.append(
            f"- AI labeler {line(labeler['name'])}: {line(labeler['kind'])}"
            f"{f', model {line(str(model))}' if model else ''}, version `{labeler['digest'][:12]}`"
        )
    return lines


def _labels(facts: Mapping[str, Any]) -> str:
    recipe = facts["recipe"]
    whose = {
        "routed": "Only judgments of the source that the plan chose for a comparison count; without a plan, people's.",
        "people": "Only judgments of people count.",
        "pooled": "Judgments of people and AI labelers count together.",
    }[recipe["source"]]
    return (
        f"## Labels\n\nRecipe {line(recipe['name'])} version {recipe['version']}: {whose} The soft label is the mean "
        "of the votes (A 0, tie 0.5, B 1; an AI labeler votes with its probability). Corrected answers and answers "
        "that could still be undone are not counted; an answer that came after its place was taken is.\n"
    )


def _licences(facts: Mapping[str, Any]) -> str:
    licences = facts["counted"].get("licences", {})
    rows = [
        (f"{part}s", line(name) or "not stated", _number(number))
        for part, found in licences.items()
        for name, number in found.items()
    ]
    lines = ["## Licences", ""]
    if rows:
        lines += ["What the texts' own metadata say, counted once a comparison:", ""]
        lines += [_grid(("texts", "licence", "times"), rows)]
    if not rows or any("" in found for found in licences.values()):
        lines.append(
            "Where none is stated it is not known to Switchyard: find it out before you pass this on, then replace "
            "`unknown` above."
        )
    lines.append("The judgments are the project's own; which licence they get is for those who publish them to say.")
    return "\n".join(lines) + "\n"


def _limits(facts: Mapping[str, Any], writer: Writer) -> str:
    chosen = [f"- only: {name} {line(str(value))}" for name, value in filters(facts)]
    left_out = [
        f"- left out: {_number(number)} × {line(reason)}" for reason, number in facts["filters"]["left_out"].items()
    ]
    notes = [f"- {note}" for note in writer.notes]
    usual = (
        "- Preferences are those of the people and models named above, in the languages of the prompts; they are no "
        "measure of truth."
    )
    return "## Limits and notes\n\n" + "\n".join([*notes, *chosen, *left_out, usual]) + "\n"


def filters(facts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The filters that left something out, as (name, value): what the manifest names beside the usual."""
    chosen = facts["filters"].get("chosen") or {}
    return [(name, value) for name, value in chosen.items() if value]


def _repeat(facts: Mapping[str, Any]) -> str:
    options = ", ".join(f"{name} = {value}" for name, value in facts["options"].items()) or "none"
    return (
        f"## Repeating it\n\nOptions: {options}. `manifest.json` holds filters, versions, prices, seeds and the hash "
        f"of every file; the data files together: sha256 `{facts['data_sha256']}`.\n"
    )


def _grid(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _column in head), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)


def _number(value: int) -> str:
    return f"{value:,}"


def line(text: str) -> str:
    """Somebody's words as one harmless line of a card: names must not add headings, rows or markup."""
    plain = " ".join(unturned(text).split()).replace("|", "/")
    return "".join(f"\\{character}" if character in "\\`*_[]<>#" else character for character in plain)
