"""croissant.json: the data set described for machines, in Croissant 1.1 with the fields of its RAI extension.

As the card it is written from the manifest alone. https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from annotator.formats.card import agreement, filters, machines, named, seen
from annotator.formats.header import by_config, by_split, comparisons_in, judgments_in, languages, unturned
from annotator.formats.source import Config, Writer

_ENCODINGS = {".parquet": "application/x-parquet", ".jsonl": "application/jsonlines", ".json": "application/json"}
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(facts: Mapping[str, Any], writer: Writer) -> dict[str, Any]:
    """The whole document for the files in `facts["files"]`, as JSON types.

    Catalogues show its texts on pages of theirs: none of them turns the direction of what stands beside it.
    """
    return _unturned(_document(facts, writer))  # type: ignore[no-any-return]


def _unturned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unturned(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_unturned(inner) for inner in value]
    return unturned(value) if isinstance(value, str) else value


def _document(facts: Mapping[str, Any], writer: Writer) -> dict[str, Any]:
    configs = {config.name: config for config in writer.configs}
    project, spoken = facts["project"], languages(facts)
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": project["name"],
        "description": _description(facts, writer),
        "version": f"{facts['export']}.0.0",
        "datePublished": facts["snapshot"]["seen"],
        "license": _licences(facts),
        "citeAs": f"{project['name']}, export {facts['export']} of {facts['snapshot']['seen'][:10]}, "
        f"sha256 {facts['data_sha256']}",
        **({"inLanguage": spoken} if spoken else {}),
        "keywords": ["preference", "rlhf", "switchyard"],
        "isLiveDataset": False,
        "distribution": [_file(file) for file in facts["files"]],
        "recordSet": [record for name, files in by_config(facts).items() for record in _records(configs[name], files)],
        **_rai(facts, writer),
    }


def _description(facts: Mapping[str, Any], writer: Writer) -> str:
    provenance = facts["project"]["provenance"]
    warning = f" Not collected in the field: this data is {provenance}." if provenance else ""
    return f"Preference judgments in the format {writer.title}, exported by Switchyard.{warning}"


def _licences(facts: Mapping[str, Any]) -> list[str]:
    """What texts state, word for word; "unknown" stands for those that state none."""
    stated = {name or "unknown" for found in facts["counted"].get("licences", {}).values() for name in found}
    return sorted(stated) or ["unknown"]


def _file(file: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file["name"],
        "name": file["name"],
        "contentUrl": file["name"],
        "contentSize": f"{file['bytes']} B",
        "encodingFormat": _ENCODINGS[PurePosixPath(file["name"].removesuffix(".gz")).suffix],
        "sha256": file["sha256"],
    }


def _records(config: Config, files: list[Any]) -> Iterator[dict[str, Any]]:
    """One record set a file, named by config and split: a split in parts has one for each part."""
    for split, parts in by_split(files).items():
        for number, file in enumerate(parts):
            name = f"{config.name}/{split}" + (f"/{number}" if len(parts) > 1 else "")
            yield {
                "@type": "cr:RecordSet",
                "@id": name,
                "name": name,
                "description": _about(config),
                "field": [
                    _field(f"{name}/{column.name}", column.name, column.type, _column(file["name"], column.name))
                    for column in config.schema
                    if not _is_lost(column.type, is_listed=False)
                ],
            }


def _column(file: str, name: str) -> dict[str, Any]:
    return {"fileObject": {"@id": file}, "extract": {"column": name}}


def _about(config: Config) -> str:
    """What the table holds, and what of it the fields do not give."""
    lost = [f"“{name}”" for name in _lost(config.schema)]
    if not lost:
        return config.about
    return f"{config.about}. In the file, but not among the fields here, for it nests deeper: {', '.join(lost)}."


def _field(own: str, name: str, kind: pa.DataType, source: dict[str, Any]) -> dict[str, Any]:
    """A column or a part of one; of a struct, and of a list of structs, every part is a sub-field."""
    element, depth = _element(kind)
    # No identifier may hold a space.
    field: dict[str, Any] = {"@type": "cr:Field", "@id": own.replace(" ", "_"), "name": name}
    if depth:
        field |= {"isArray": True, "arrayShape": ",".join(["-1"] * depth)}
    if not pa.types.is_struct(element):
        return {**field, "dataType": _type(element, name), "source": source}
    parts = [
        _field(f"{own}/{'/'.join(path)}", ".".join(path), part, _within(source, path))
        for path, part in _parts(element)
        if not _is_lost(part, bool(depth))
    ]
    return {**field, "subField": parts}


def _within(source: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """What lies on the path in what the source gives; transforms are applied one after another, to lists each by each.

    Names are quoted: they may hold spaces and hyphens.
    """
    step = {"jsonPath": "$" + "".join(f"['{name}']" for name in path)}
    return {**source, "transform": [*source.get("transform", []), step]}


def _parts(kind: pa.StructType) -> Iterator[tuple[tuple[str, ...], pa.DataType]]:
    """The parts of a struct with the paths to them; those of a struct within it stand beside the others."""
    for part in kind:
        if pa.types.is_struct(part.type):
            yield from (((part.name, *path), inner) for path, inner in _parts(part.type))
        else:
            yield (part.name,), part.type


def _is_lost(kind: pa.DataType, is_listed: bool) -> bool:
    """Whether no field can give it: structs in a list of lists, or in a list within a list.

    A JSON path of a transform gives readers one value of each element, and nothing of the elements of lists in them.
    """
    element, depth = _element(kind)
    return pa.types.is_struct(element) and depth + is_listed > 1


def _lost(schema: pa.Schema) -> Iterator[str]:
    """The columns and parts of columns that no field gives."""
    for column in schema:
        element, depth = _element(column.type)
        if _is_lost(column.type, is_listed=False):
            yield column.name
        elif pa.types.is_struct(element):
            yield from (".".join((column.name, *path)) for path, part in _parts(element) if _is_lost(part, depth > 0))


def _element(kind: pa.DataType) -> tuple[pa.DataType, int]:
    """What the innermost list holds, and how many lists stand around it."""
    depth = 0
    while pa.types.is_list(kind):
        kind, depth = kind.value_type, depth + 1
    return kind, depth


def _type(kind: pa.DataType, name: str) -> str:
    """Text that is a point in time is told by its name, as readers of JSON Lines tell it."""
    if pa.types.is_timestamp(kind) or pa.types.is_string(kind) and (name.endswith("_at") or name == "timestamp"):
        return "sc:DateTime"
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"


def _rai(facts: Mapping[str, Any], writer: Writer) -> dict[str, Any]:
    """The fields on responsible use, with what is known and nothing that is not."""
    said = {**_collection(facts), **_annotation(facts), **_fitness(writer)}
    return {f"rai:{name}": value for name, value in said.items() if value}


def _collection(facts: Mapping[str, Any]) -> dict[str, Any]:
    """How the data came together, and what is not in it."""
    counted, left_out = facts["counted"], facts["filters"]["left_out"]
    return {
        "dataCollection": " ".join(["Raters compared two responses to a prompt.", *seen(counted)]),
        "dataCollectionType": _ways(counted),
        "dataCollectionTimeFrame": facts["snapshot"]["seen"],
        # One text, as the vocabulary has it; most others may be several.
        "dataCollectionMissingData": "; ".join(f"{number} × {why}" for why, number in left_out.items()),
        "dataCollectionRawData": [f"{named(each)}, sha256 {each['sha256']}" for each in facts["inputs"]],
        "dataPreprocessingProtocol": [f"only: {name} {value}" for name, value in filters(facts)],
    }


def _annotation(facts: Mapping[str, Any]) -> dict[str, Any]:
    """By what rules and with what tools it was judged, how often and how unanimously."""
    counted = facts["counted"]
    comparisons, judgments = comparisons_in(facts), sum(judgments_in(counted).values())
    return {
        "dataAnnotationProtocol": [
            f"Protocol {each['preset']} version {each['version']}, sha256 {each.get('sha256', '')}; its definition is "
            "in manifest.json."
            for each in facts["protocols"]
        ],
        "dataAnnotationPlatform": [f"Switchyard {facts['software']['version']}"],
        "dataAnnotationAnalysis": [agreement(counted)] if counted["people"] else [],
        "annotationsPerItem": f"{judgments / comparisons:.2f} on average" if comparisons else "",
        "machineAnnotationTools": [text.removeprefix("- ").replace("\\", "") for text in machines(facts)],
    }


def _fitness(writer: Writer) -> dict[str, Any]:
    """What it can be used for, and what a user must know before."""
    return {
        "personalSensitiveInformation": [
            "People appear under pseudonyms; names, accounts, e-mail addresses and worker ids are left out. Prompts "
            "and responses are as they were imported and were not searched for personal data."
        ],
        "dataBiases": [
            "Preferences are those of the people and models that judged; which comparisons got people's judgments was "
            "chosen by a plan where there is one."
        ],
        "dataLimitations": list(writer.notes),
        "dataUseCases": ["Training and evaluating reward models and preference optimisation."],
    }


def _ways(counted: Mapping[str, Any]) -> list[str]:
    sources = judgments_in(counted)
    ways = ["Crowdsourcing"] if "people" in sources else []
    return [*ways, "Machine generated"] if any(name != "people" for name in sources) else ways
