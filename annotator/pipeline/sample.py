"""Sample: the exact request that a labeler would make about one comparison, for people to read. Nothing is sent."""

from __future__ import annotations

import json
from typing import Any

from annotator.models import Comparison, LabelerVersion
from annotator.pipeline import keys, versions
from labelers.offline import Offline


def request(version: LabelerVersion, comparison: Comparison) -> str:
    """The address and JSON body of a call; for models behind a server, the texts that it is to score."""
    body = _asked(version, comparison) if version.labeler.kind == versions.JUDGE else _scored(comparison)
    first = keys.addresses(version.parameters)[0].rstrip("/")
    path = "/chat/completions" if version.labeler.kind == versions.JUDGE else ""
    return f"POST {first}{path}\n\n{json.dumps(body, indent=2, ensure_ascii=False)}"


def system_prompt(version: LabelerVersion, comparison: Comparison) -> str:
    """What a judge is told before it sees any text of the comparison."""
    said = _asked(version, comparison)["messages"]
    return "\n\n".join(str(each["content"]) for each in said if each["role"] == "system")


def _asked(version: LabelerVersion, comparison: Comparison) -> dict[str, Any]:
    """The first verdict's call, or rating's, without what earlier steps would have added to it."""
    judge = versions.unconnected(version)
    step = next(name for name in judge.steps(comparison) if name.split(".")[0] in ("ab", "scores"))
    return Offline(judge).request(comparison, step, {})


def _scored(comparison: Comparison) -> dict[str, Any]:
    """A scoring server gets these in the model's chat template, as tokens, each response in a request of its own."""
    responses = (comparison.response_a.text, comparison.response_b.text)
    return {"messages": comparison.prompt.turns, "responses": list(responses)}
