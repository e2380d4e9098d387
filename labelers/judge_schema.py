"""What lets a server generate only what a judge can read: a choice of letters (vLLM), or an object by a schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labelers.judge_design import Design, Step


def extra(design: Design, this: Step) -> dict[str, Any] | None:
    """Parameters of a structured answer."""
    if this.kind == "text" or design.form == "off":
        return None
    a_letter = this.kind == "verdict" and (design.variant != "critique" or this.follow == "final")
    if design.form == "choice":
        return {"structured_outputs": {"choice": list(design.letters)}} if a_letter else None
    if this.kind == "scores":
        return _schema("ratings", {each["key"]: _rating(design, each, this) for each in design.attributes})
    if this.follow == "final":
        return None
    # Generated in this order: what is thought first cannot be an excuse.
    thought = {"critique": {"type": "string"}} if design.variant == "critique" else {}
    return _schema("verdict", {**thought, "verdict": {"type": "string", "enum": list(design.letters)}})


def _rating(design: Design, attribute: Mapping[str, Any], this: Step) -> dict[str, Any]:
    level = {"type": "integer", "enum": levels(attribute)}
    sides = design.sides(this)
    return level if sides == ("",) else _object(dict.fromkeys(sides, level))


def levels(attribute: Mapping[str, Any]) -> list[int]:
    return [int(value) for value, _label in attribute["levels"]]


def _schema(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    schema = {"name": name, "strict": True, "schema": _object(properties)}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
