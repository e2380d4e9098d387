"""What an export reads: the project's data as of one point, page by page, as the pure values that writers take.

The point is a time and the highest ids then, not a long transaction: a page is one short read, so an export of ten
minutes holds nothing up and its worker can show progress meanwhile. Judgments are append-only and texts immutable,
so later pages are as old as the first.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Exists, Max, OuterRef, Q, QuerySet
from django.utils.timezone import now

from annotator.formats import source
from annotator.models import (
    Candidate,
    Comparison,
    Judgment,
    LabelerVersion,
    Membership,
    Project,
    Prompt,
    Rater,
    Recipe,
    Response,
    Role,
    Route,
)
from annotator.models.votes import Scope, approved_plan, count, counted

PAGE = 250
# Keys of metadata under which a text's licence is found.
LICENCE = ("license", "licence")
# Licences and languages that are told apart.
DISTINCT = 200
# Words in a labeler's parameters that name a place or a secret rather than what was asked of the model.
PRIVATE = ("url", "key", "token", "secret", "header", "password", "host")


@dataclass
class Tally:
    """Facts for manifest and card, counted while a pass over the comparisons runs."""

    comparisons: Counter[str] = field(default_factory=Counter)
    votes: Counter[str] = field(default_factory=Counter)
    cost: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    people: set[int] = field(default_factory=set)
    versions: set[int] = field(default_factory=set)
    protocols: set[int] = field(default_factory=set)
    # Judgments of people that came with an import: how they were made is their source's to say.
    imported: int = 0
    # What texts of labelled comparisons say of themselves ("" where they say nothing), counted once a comparison:
    # licences of ("prompt" | "response", licence), and languages of prompts.
    licences: Counter[tuple[str, str]] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    # Pairs of people who judged the same comparison, and how many of them chose the same side.
    pairs: int = 0
    agreeing: int = 0

    def agreement(self) -> float | None:
        """The share of pairs of people that agree on A, tie or B; None without two people on one comparison."""
        return self.agreeing / self.pairs if self.pairs else None

    def add_texts(self, judged: source.Judged) -> None:
        """What was not said of a text alone may have been said of the whole comparison."""
        _count(self.languages, _said(("language",), judged.prompt.metadata, judged.metadata))
        _count(self.licences, ("prompt", _said(LICENCE, judged.prompt.metadata, judged.metadata)))
        for response in (judged.response_a, judged.response_b, *judged.further):
            _count(self.licences, ("response", _said(LICENCE, response.metadata, judged.metadata)))

    def add_people(self, preferences: Sequence[float]) -> None:
        sides = Counter((preference > 0) - (preference < 0) for preference in preferences)
        self.pairs += len(preferences) * (len(preferences) - 1) // 2
        self.agreeing += sum(number * (number - 1) // 2 for number in sides.values())


@dataclass
class Snapshot:
    """One project under one recipe as of `seen`. Satisfies `formats.source.Source`."""

    project: Project
    recipe: Recipe
    plan_id: int | None
    seen: datetime
    last: dict[str, int]
    tally: Tally = field(default_factory=Tally)
    # Comparisons (and, in their own table, judgments) passed so far, for progress.
    passed: int = 0

    @classmethod
    def take(cls, project: Project, recipe: Recipe) -> Snapshot:
        """The data as it is now. Judgments inside their undo window are not in it, now or later."""
        newest = {
            "judgments": Judgment.objects.filter(project=project),
            "comparisons": Comparison.objects.filter(project=project),
            "prompts": Prompt.objects.filter(project=project),
            "responses": Response.objects.filter(prompt__project=project),
        }
        # The time first: what becomes effective between the two reads is then in neither.
        seen = now()
        last = {name: rows.aggregate(last=Max("pk"))["last"] or 0 for name, rows in newest.items()}
        return cls(project, recipe, approved_plan(project.pk), seen, last)

    @property
    def scope(self) -> Scope:
        return Scope(self.recipe, self.plan_id, self.seen, self.last["judgments"])

    def size(self, all_judgments: bool) -> int:
        """What `passed` will reach after a pass over the comparisons, and over all judgments if that is done too."""
        comparisons = self._judged_comparisons().count()
        return comparisons + (self._judgments().count() if all_judgments else 0)

    def judged(self) -> Iterator[source.Judged]:
        """Every comparison with counted judgments, by id; the tally starts anew."""
        self.tally = Tally()
        for page in _pages(self._judged_comparisons(), self.last["comparisons"], _COMPARISON):
            yield from self._page(page)
            self.passed += len(page)

    def _page(self, page: list[dict[str, Any]]) -> Iterator[source.Judged]:
        ids = [row["pk"] for row in page]
        labels = count(self.scope, ids)
        votes = self._votes(ids)
        further = _further_responses([row["pk"] for row in page if row["candidates_count"]])
        for row in page:
            if row["pk"] not in labels:
                continue
            label = labels[row["pk"]]
            self.tally.comparisons[label.source] += 1
            judged = source.Judged(
                key=row["external_id"],
                prompt=source.Prompt(
                    row["prompt__external_id"], row["prompt__turns"], row["prompt__context"], row["prompt__metadata"]
                ),
                response_a=_response(row, "response_a"),
                response_b=_response(row, "response_b"),
                label=source.Label(
                    label.source, label.p_b, label.p_tie, label.strength, label.agreement, label.votes, label.neither
                ),
                votes=tuple(votes[row["pk"]]),
                metadata=row["metadata"],
                further=tuple(further[row["pk"]]),
            )
            self.tally.add_texts(judged)
            yield judged

    def _votes(self, comparisons: Sequence[int]) -> dict[int, list[source.Vote]]:
        """The counted judgments of a page, as votes by comparison; the tally learns of them."""
        rows = list(
            Judgment.objects.filter(pk__in=counted(self.scope, comparisons)).order_by("pk").values(*_JUDGMENT, "cost")
        )
        raters = _raters({row["rater_id"] for row in rows})
        experts = self._experts({rater.user_id for rater in raters.values() if rater.user_id})
        votes: dict[int, list[source.Vote]] = defaultdict(list)
        preferences: dict[int, dict[int, float]] = defaultdict(dict)
        for row in rows:
            rater = raters[row["rater_id"]]
            is_person = rater.kind == Rater.Kind.PERSON
            self._note(row, rater)
            if is_person and row["preference"] is not None:
                preferences[row["comparison_id"]].setdefault(_identity(rater, row["pk"]), row["preference"])
            votes[row["comparison_id"]].append(
                source.Vote(
                    rater=pseudonym(rater),
                    is_person=is_person,
                    is_expert=rater.user_id in experts,
                    **{name: row[name] for name in _VOTE},
                )
            )
        for said in preferences.values():
            self.tally.add_people(list(said.values()))
        return votes

    def _note(self, row: dict[str, Any], rater: Rater) -> None:
        tally = self.tally
        version = rater.labeler_version
        whose = version.labeler.name if version else "people"
        tally.votes[whose] += 1
        tally.cost[whose] += row["cost"]
        if version:
            tally.versions.add(version.pk)
        else:
            tally.people.add(rater.pk)
            tally.imported += row["assignment_id"] is None
        if row["protocol_id"]:
            tally.protocols.add(row["protocol_id"])

    def _experts(self, users: set[int]) -> set[int]:
        """Those of `users` who review or lead the project."""
        known = Membership.objects.filter(project=self.project, user__in=users, role__in=(Role.REVIEWER, Role.LEAD))
        return set(known.values_list("user_id", flat=True))

    def _judged_comparisons(self) -> QuerySet[Comparison]:
        visible = self._judgments().filter(comparison=OuterRef("pk"), is_current=True)
        return Comparison.objects.filter(Exists(visible), project=self.project, pk__lte=self.last["comparisons"])

    def _judgments(self) -> QuerySet[Judgment]:
        """Every revision that was ever seen by labels; an answer undone in time never was (see `judge.undo`)."""
        return Judgment.objects.filter(
            ~Q(provenance__has_key="undone"),
            project=self.project,
            effective_at__lte=self.seen,
            pk__lte=self.last["judgments"],
        )

    def table(self, name: str) -> Iterator[dict[str, Any]]:
        """The rows of one table of `formats.judgments.TABLES`."""
        return getattr(self, f"_{name}_table")()

    def _judgments_table(self) -> Iterator[dict[str, Any]]:
        columns = (*_JUDGMENT, *_STORED, "protocol__version", "plan__number")
        for page in _pages(self._judgments(), self.last["judgments"], columns):
            raters = _raters({row["rater_id"] for row in page})
            keys = _keys(Comparison.objects.filter(pk__in={row["comparison_id"] for row in page}))
            for row in page:
                rater = raters[row["rater_id"]]
                yield {
                    **{name: row[name] for name in (*_VOTE, *_STORED) if name not in _AS_JSON and name != "created_at"},
                    **{name: as_json(row[name]) for name in _AS_JSON},
                    "judgment_id": row["pk"],
                    "comparison_id": keys[row["comparison_id"]],
                    "rater": pseudonym(rater),
                    "rater_kind": rater.kind,
                    "cost": format(row["cost"], "f"),
                    "protocol_version": row["protocol__version"],
                    "plan": row["plan__number"],
                    "created_at": row["created_at"].isoformat(),
                    "effective_at": row["effective_at"].isoformat(),
                }
            self.passed += len(page)

    def _comparisons_table(self) -> Iterator[dict[str, Any]]:
        responses = ("response_a__external_id", "response_b__external_id")
        own = ("external_id", "metadata", "criterion", "harms", "candidates_count")
        columns = (*own, "prompt__external_id", *responses)
        for page in _pages(Comparison.objects.filter(project=self.project), self.last["comparisons"], columns):
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
                    "metadata": as_json(row["metadata"]),
                }

    def _prompts_table(self) -> Iterator[dict[str, Any]]:
        columns = ("external_id", "turns", "context", "metadata")
        for page in _pages(Prompt.objects.filter(project=self.project), self.last["prompts"], columns):
            for row in page:
                yield {
                    "prompt_id": row["external_id"],
                    "turns": row["turns"],
                    "context": row["context"],
                    "metadata": as_json(row["metadata"]),
                }

    def _responses_table(self) -> Iterator[dict[str, Any]]:
        columns = ("external_id", "text", "model", "metadata", "prompt__external_id")
        for page in _pages(Response.objects.filter(prompt__project=self.project), self.last["responses"], columns):
            for row in page:
                yield {
                    "prompt_id": row["prompt__external_id"],
                    "response_id": row["external_id"],
                    "text": row["text"],
                    "model": row["model"],
                    "metadata": as_json(row["metadata"]),
                }

    def _raters_table(self) -> Iterator[dict[str, Any]]:
        judged = self._judgments().filter(rater=OuterRef("pk"))
        raters = Rater.objects.filter(Exists(judged), project=self.project).select_related("labeler_version__labeler")
        experts = self._experts({user for user in raters.values_list("user_id", flat=True) if user})
        for rater in raters.order_by("pk"):
            version = rater.labeler_version
            yield {
                "rater": pseudonym(rater),
                "kind": rater.kind,
                "is_expert": rater.user_id in experts,
                "labeler": version.labeler.name if version else None,
                "labeler_kind": version.labeler.kind if version else None,
                "labeler_digest": version.digest if version else None,
                "parameters": as_json(public(version.parameters)) if version else None,
            }

    def _protocols_table(self) -> Iterator[dict[str, Any]]:
        for protocol in self.project.protocols.order_by("version"):
            yield {
                "version": protocol.version,
                "preset": protocol.preset,
                "definition": as_json(protocol.definition),
            }

    def _routes_table(self) -> Iterator[dict[str, Any]]:
        columns = ("source", "votes", "price", "propensity", "is_control", "gain", "reason")
        routes = Route.objects.filter(plan=self.plan_id)
        for page in _pages(routes, None, (*columns, "comparison__external_id", "plan__number")):
            for row in page:
                yield {
                    **{name: row[name] for name in columns},
                    "comparison_id": row["comparison__external_id"],
                    "plan": row["plan__number"],
                    "price": format(row["price"], "f"),
                }


_COMPARISON = (
    "external_id",
    "metadata",
    "candidates_count",
    *(f"prompt__{name}" for name in ("external_id", "turns", "context", "metadata")),
    *(f"response_{side}__{name}" for side in "ab" for name in ("external_id", "text", "model", "metadata")),
)
_AS_JSON = ("aspects", "attributes", "spans", "feedback", "edit", "ranking", "provenance")
_VOTE = (
    *("outcome", "preference", "p_b", "confidence", "aspects", "attributes", "reasons", "justification"),
    *("active_ms", "created_at", "level", "feedback", "edit", "spans", "ranking", "flags", "a_first"),
)
_JUDGMENT = ("pk", "comparison_id", "rater_id", "protocol_id", "assignment_id", *_VOTE)
_STORED = (
    *("round", "revision", "is_current", "p_tie", "is_surplus", "provenance"),
    *("purpose", "guidelines_version", "cost", "effective_at"),
)


def _pages(rows: QuerySet[Any], last: int | None, columns: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    """Pages of `columns` and pk in the order of pk, up to `last`: each a short indexed read."""
    after = 0
    bounded = rows if last is None else rows.filter(pk__lte=last)
    while page := list(bounded.filter(pk__gt=after).order_by("pk").values(*{"pk", *columns})[:PAGE]):
        yield page
        after = page[-1]["pk"]


def _raters(ids: set[int]) -> dict[int, Rater]:
    return {rater.pk: rater for rater in Rater.objects.filter(pk__in=ids).select_related("labeler_version__labeler")}


def _keys(comparisons: QuerySet[Comparison]) -> dict[int, str]:
    return dict(comparisons.values_list("pk", "external_id"))


def _further(comparisons: list[int]) -> dict[int, list[str]]:
    """Ids of the responses that are ranked with A and B, C first."""
    found: dict[int, list[str]] = defaultdict(list)
    candidates = Candidate.objects.filter(comparison__in=comparisons).order_by("comparison", "place")
    for comparison, response in candidates.values_list("comparison", "response__external_id") if comparisons else ():
        found[comparison].append(response)
    return found


def _further_responses(comparisons: list[int]) -> dict[int, list[source.Response]]:
    """The responses that are ranked with A and B, C first."""
    found: dict[int, list[source.Response]] = defaultdict(list)
    candidates = Candidate.objects.filter(comparison__in=comparisons).order_by("comparison", "place")
    columns = ("comparison", *(f"response__{name}" for name in ("external_id", "text", "model", "metadata")))
    for comparison, *response in candidates.values_list(*columns) if comparisons else ():
        found[comparison].append(source.Response(*response))
    return found


def _response(row: dict[str, Any], side: str) -> source.Response:
    return source.Response(*(row[f"{side}__{name}"] for name in ("external_id", "text", "model", "metadata")))


def _identity(rater: Rater, judgment: int) -> int:
    """One number a person; imported people without a name share a rater, so there each judgment is its own person."""
    is_anonymous = not rater.user_id and not rater.external_id
    return -judgment if is_anonymous else rater.pk


def pseudonym(rater: Rater) -> str:
    """What exports call a rater: never a name, an account or a worker id; the same in every export of the project."""
    version: LabelerVersion | None = rater.labeler_version
    return f"{version.labeler.name}@{version.digest[:12]}" if version else f"person-{rater.pk}"


def public(parameters: dict[str, Any]) -> dict[str, Any]:
    """A labeler's parameters without addresses and secrets."""
    return {name: value for name, value in parameters.items() if not any(word in name.lower() for word in PRIVATE)}


def _said(keys: Sequence[str], *metadata: dict[str, Any]) -> str:
    """The first text under one of `keys`, as one short line; "" where there is none."""
    found = (each[key] for each in metadata for key in keys if isinstance(each.get(key), str))
    return next((line[:100] for text in found if (line := " ".join(text.split()))), "")


def _count(counter: Counter[Any], key: Any) -> None:
    """Of keys that come from outside only so many are told apart: memory must not grow with them."""
    if key in counter or len(counter) < DISTINCT:
        counter[key] += 1
    else:
        counter[(key[0], "others") if isinstance(key, tuple) else "others"] += 1


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
