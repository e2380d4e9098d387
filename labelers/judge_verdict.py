"""What a judge's answers come to: one verdict of a pair, from both orders, all samples, and the ratings beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from labelers import parsing
from labelers.base import Answer, Outcome, Usage, Verdict, verdict_of
from labelers.judge_design import Design, Step, latest
from labelers.pointwise import sigmoid


def verdict(design: Design, model: str, answers: Mapping[str, Answer]) -> Verdict:
    """The mean of both orders' probabilities; one order that was not understood leaves the pair unparsed."""
    known = {head: said for head in design.heads if (said := latest(head, answers)) and said.is_understood}
    whole: dict[str, Any] = {
        "usage": sum((answer.usage for answer in answers.values()), Usage()),
        "cost": sum((answer.cost for answer in answers.values()), Decimal(0)),
        "provenance": _provenance(model, answers),
    }
    attributes = _attributes(design, known)
    if not design.pairwise:
        return _by_ratings(design, attributes, whole)
    orders = {
        order: [said for head, said in known.items() if Step.of(head).order == order and said.kind == "verdict"]
        for order in ("ab", "ba")
    }
    if not all(orders.values()):
        return Verdict(Outcome.UNPARSED, **whole)
    whole |= {"attributes": attributes, "rationale": _rationale(design, orders["ab"][0])}
    p = [_mean([said.p_b for said in each]) for each in orders.values()]
    p_tie = _mean([_mean([said.p_tie or 0.0 for said in each]) for each in orders.values()]) if design.tie else None
    if design.disagreement != "mean" and (p[0] - 0.5) * (p[1] - 0.5) < 0:
        whole["provenance"]["disagreement"] = {"p_b": _mean(p)}
        if design.disagreement == "abstain":
            return Verdict(Outcome.ABSTAIN, **whole)
        return Verdict(Outcome.TIE, p_b=0.5, p_tie=p_tie, confidence=0.5, **whole)
    return verdict_of(_mean(p), p_tie, **whole)


def _provenance(model: str, answers: Mapping[str, Answer]) -> dict[str, Any]:
    dropped = sorted({name for answer in answers.values() for name in answer.dropped})
    steps = {step: answer.stored() for step, answer in answers.items()}
    return {"model": model, "steps": steps} | ({"dropped": dropped} if dropped else {})


def _rationale(design: Design, said: Answer) -> str:
    """The critique of the order in which its A and B are the pair's."""
    return parsing.critique(said.text) if design.variant == "critique" else ""


def _attributes(design: Design, known: Mapping[str, Answer]) -> dict[str, dict[str, float]]:
    """The mean of both orders, or of each response's own call; empty when any of them is missing."""
    rated = [said.attributes for head, said in known.items() if said.kind == "scores"]
    if len(rated) < 2:
        return {}
    keys = [each["key"] for each in design.attributes]
    return {
        key: {side: _mean([each[key][side] for each in rated if side in each[key]]) for side in ("a", "b")}
        for key in keys
    }


def _by_ratings(design: Design, attributes: Mapping[str, Mapping[str, float]], whole: Mapping[str, Any]) -> Verdict:
    """The weighted mean of the ratings, whose difference is a log-odds until calibration has seen people."""
    if not attributes:
        return Verdict(Outcome.UNPARSED, **whole)
    weights = {each["key"]: float(each.get("weight", 1)) for each in design.attributes}
    total = sum(abs(weight) for weight in weights.values()) or 1.0
    a, b = (sum(weights[key] * attributes[key][side] for key in weights) / total for side in ("a", "b"))
    return verdict_of(0.5 if abs(b - a) < 1e-9 else sigmoid(b - a), scores=(a, b), attributes=dict(attributes), **whole)


def _mean(values: Sequence[Any]) -> float:
    return float(sum(values) / len(values))
