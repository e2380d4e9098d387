"""The tables of the lossless store (`formats.judgments`), read from a snapshot: all there is, counted or not."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.db.models import Exists, Max, OuterRef, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils.functional import cached_property

from annotator import money
from annotator.models import Candidate, Comparison, Judgment, LabelerVersion, Prompt, Rater, Response, Route, votes
from annotator.readings.judged_rows import VOTE, as_json, tidy
from annotator.readings.raters import is_anonymous, public
from annotator.readings.snapshot import Snapshot, whose

_AS_JSON = ("aspects", "attributes", "spans", "feedback", "edit", "ranking", "provenance")
_TIMES = ("created_at", "effective_at")
# Read as text: what a driver makes of them would only be written down again.
_AS_TEXT = (*_AS_JSON, *_TIMES, "cost")
_AS_IS = (
    *(name for name in VOTE if name not in _AS_TEXT),
    *("round", "revision", "is_current", "p_tie", "is_surplus", "purpose", "guidelines_version"),
)


def _text(name: str) -> str:
    return f"{name}_as_text"


_JSON_TEXTS = [(name, _text(name)) for name in _AS_JSON]
_TIME_TEXTS = [(name, _text(name)) for name in _TIMES]
# What a person has instead of a labeler's version.
NO_VERSION = dict.fromkeys(("labeler", "labeler_kind", "labeler_digest", "parameters", "accepted_at"))


class WholeSnapshot(Snapshot):
    """A snapshot whose tables can be read beside its judged comparisons. Filters do not reach the tables."""

    def table(self, name: str) -> Iterator[dict[str, Any]]:
        """The rows of one table of `formats.judgments.TABLES`."""
        return getattr(self, f"_{name}_table")()

    def _judgments_table(self) -> Iterator[dict[str, Any]]:
        pointers = ("comparison_id", "rater_id", "restored_id", "protocol__version", "plan__number")
        columns = (*pointers, *_AS_IS, *map(_text, _AS_TEXT))
        self.tally.held = self._tally_before.held.copy()
        for page in self.pages("judgments", _with_texts(self.judgments(), _AS_TEXT), self.last["judgments"], columns):
            raters = self.raters({row["rater_id"] for row in page})
            keys = _keys({row["comparison_id"] for row in page})
            for row in self._as_then(page):
                known = raters[row["rater_id"]]
                self.tally.held[whose(known.rater)] += 1
                yield {
                    **{name: row[name] for name in _AS_IS},
                    **{name: tidy(row[text]) for name, text in _JSON_TEXTS},
                    **{name: datetime.fromisoformat(row[text]).isoformat() for name, text in _TIME_TEXTS},
                    "judgment_id": row["restored_id"] or self._highest_restored + row["pk"],
                    "comparison_id": keys[row["comparison_id"]],
                    "rater": known.name,
                    "rater_kind": known.rater.kind,
                    "cost": row[_text("cost")],
                    "protocol_version": row["protocol__version"],
                    "plan": row["plan__number"],
                }

    def _as_then(self, page: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """A page's judgments, with those that were corrected or withdrawn since as they were."""
        past = [row["pk"] for row in page if not row["is_current"]]
        for row in page if (stood := votes.stood(self.scope, past) if past else set()) else ():
            if row["pk"] in stood:
                row["is_current"] = True
                provenance = json.loads(row[_text("provenance")])
                row[_text("provenance")] = as_json({k: value for k, value in provenance.items() if k != "withdrawn"})
        return page

    @cached_property
    def _highest_restored(self) -> int:
        """What was judged here gets ids above those that came with a store; 0 where none did."""
        restored = Judgment.objects.filter(
            project=self.project, restored_id__isnull=False, pk__lte=self.last["judgments"]
        )
        return restored.aggregate(highest=Max("restored_id"))["highest"] or 0

    def _comparisons_table(self) -> Iterator[dict[str, Any]]:
        responses = ("response_a__external_id", "response_b__external_id")
        own = ("external_id", _text("metadata"), "criterion", "harms", "candidates_count")
        columns = (*own, "prompt__external_id", *responses)
        rows = _with_texts(Comparison.objects.filter(project=self.project), ["metadata"])
        for page in self.pages("comparisons", rows, self.last["comparisons"], columns):
            further = _further([row["pk"] for row in page if row["candidates_count"]])
            for row in page:
                yield {
                    "comparison_id": row["external_id"],
                    "prompt_id": row["prompt__external_id"],
                    "response_a_id": row["response_a__external_id"],
                    "response_b_id": row["response_b__external_id"],
                    "further_response_ids": further[row["pk"]],
                    "criterion": row["criterion"],
                    "harms": row["harms"],
                    "metadata": tidy(row[_text("metadata")]),
                }

    def _prompts_table(self) -> Iterator[dict[str, Any]]:
        columns = ("external_id", "turns", "context", _text("metadata"))
        rows = _with_texts(Prompt.objects.filter(project=self.project), ["metadata"])
        for page in self.pages("prompts", rows, self.last["prompts"], columns):
            for row in page:
                yield {
                    "prompt_id": row["external_id"],
                    "turns": row["turns"],
                    "context": row["context"],
                    "metadata": tidy(row[_text("metadata")]),
                }

    def _responses_table(self) -> Iterator[dict[str, Any]]:
        columns = ("external_id", "text", "model", _text("metadata"), "prompt__external_id")
        rows = _with_texts(Response.objects.filter(prompt__project=self.project), ["metadata"])
        for page in self.pages("responses", rows, self.last["responses"], columns):
            for row in page:
                yield {
                    "prompt_id": row["prompt__external_id"],
                    "response_id": row["external_id"],
                    "text": row["text"],
                    "model": row["model"],
                    "metadata": tidy(row[_text("metadata")]),
                }

    def _raters_table(self) -> Iterator[dict[str, Any]]:
        judged = self.judgments().filter(rater=OuterRef("pk"))
        rows = Rater.objects.filter(Exists(judged), project=self.project)
        for page in self.pages("raters", rows, None, ()):
            raters = self.raters({row["pk"] for row in page})
            for row in page:
                known = raters[row["pk"]]
                yield {
                    "rater": known.name,
                    "kind": known.rater.kind,
                    "is_expert": known.is_expert,
                    "is_anonymous": is_anonymous(known.rater),
                    **(_version(known.rater.labeler_version) if known.rater.labeler_version else NO_VERSION),
                }

    def _protocols_table(self) -> Iterator[dict[str, Any]]:
        rows, columns = self.project.protocols.all(), ("version", "preset", "definition")
        for page in self.pages("protocols", rows, self.last["protocols"], columns):
            for row in page:
                yield {
                    "version": row["version"],
                    "preset": row["preset"],
                    "definition": as_json(row["definition"]),
                }

    def _routes_table(self) -> Iterator[dict[str, Any]]:
        columns = ("source", "votes", "price", "propensity", "is_control", "gain", "reason")
        routes = Route.objects.filter(plan=self.plan_id)
        for page in self.pages("routes", routes, None, (*columns, "comparison__external_id", "plan__number")):
            for row in page:
                yield {
                    **{name: row[name] for name in columns},
                    "comparison_id": row["comparison__external_id"],
                    "plan": row["plan__number"],
                    "price": money.plain(row["price"]),
                }


def _with_texts(rows: QuerySet[Any], names: Iterable[str]) -> QuerySet[Any]:
    """With these columns as the database writes them, under their `_text` names."""
    return rows.annotate(**{_text(name): Cast(name, TextField()) for name in names})


def _version(version: LabelerVersion) -> dict[str, Any]:
    return {
        "labeler": version.labeler.name,
        "labeler_kind": version.labeler.restored_kind or version.labeler.kind,
        "labeler_digest": version.digest,
        "parameters": as_json(public(version.parameters)),
        "accepted_at": version.accepted_at.isoformat() if version.accepted_at else "",
    }


def _keys(ids: set[int]) -> dict[int, str]:
    return dict(Comparison.objects.filter(pk__in=ids).values_list("pk", "external_id"))


def _further(comparisons: list[int]) -> dict[int, list[str]]:
    """Ids of the responses that are ranked with A and B, C first."""
    found: dict[int, list[str]] = defaultdict(list)
    candidates = Candidate.objects.filter(comparison__in=comparisons).order_by("comparison", "place")
    for comparison, response in candidates.values_list("comparison", "response__external_id") if comparisons else ():
        found[comparison].append(response)
    return found
