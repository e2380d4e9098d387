"""Compare: comparisons are made of the responses that prompts have, by a rule, and come in as imported ones do."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from itertools import combinations

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from annotator.formats.rows import ID_WIDTH, ComparisonRow, Entry, PromptRow, ResponseRow, as_json
from annotator.models import Comparison, Job, Project, Prompt, Response, User
from annotator.pipeline import ingest, work
from annotator.pipeline.ingest_report import IngestReport

RULES = {
    "all": _("every pair of responses of a prompt"),
    "first": _("its first two responses"),
    "random": _("one pair of a prompt, drawn by the seed"),
}
# Prompts read at once.
BATCH = 200

Pair = tuple[Response, Response]


def request(project: Project, rule: str, seed: int, *, by: User | None) -> Job:
    """One job a rule and seed; while it waits or runs asking again gives the same."""
    job = Job.objects.ask(project, Job.Kind.GENERATE, key=f"compare:{rule}:{seed}", by=by, rule=rule, seed=seed)
    transaction.on_commit(lambda: work.nudge(work.TASKS[Job.Kind.GENERATE]))
    return job


def compare(project: Project, rule: str, seed: int, *, job: Job | None = None) -> IngestReport:
    """Make the comparisons that the rule wants and that are not there, whichever side a response is on in them."""
    return ingest.ingest_entries(project, lambda beat: _entries(project, rule, seed, beat), job=job)


def _entries(project: Project, rule: str, seed: int, beat: Callable[[int, int, str], None]) -> Iterator[Entry]:
    ids = list(project.prompts.order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(ids), BATCH):
        prompts = Prompt.objects.filter(pk__in=ids[start : start + BATCH]).defer("html").order_by("pk")
        batch = list(prompts.prefetch_related("responses"))
        compared = already(batch)
        for prompt in batch:
            chosen = [pair for pair in pairs(prompt, rule, seed) if both(pair) not in compared]
            if chosen:
                yield entry(prompt, chosen, {"pair_rule": rule, "pair_seed": seed})
        beat(int(95 * min(start + BATCH, len(ids)) / len(ids)), 100, "")


def already(prompts: list[Prompt]) -> set[frozenset[int]]:
    """The pairs of responses that stand in a comparison, whichever is A."""
    sides = Comparison.objects.filter(prompt__in=prompts).values_list("response_a_id", "response_b_id")
    return {frozenset(pks) for pks in sides}


def both(pair: Pair) -> frozenset[int]:
    return frozenset(response.pk for response in pair)


def pairs(prompt: Prompt, rule: str, seed: int) -> list[Pair]:
    """The pairs of a prompt's responses that a rule wants, none of two equal texts. Same seed, same pairs and sides.

    Which response is A is drawn as well: else the first model of a generator would be A everywhere.
    """
    responses = sorted(prompt.responses.all(), key=lambda response: response.pk)
    possible = [pair for pair in combinations(responses, 2) if pair[0].text_hash != pair[1].text_hash]
    draw = random.Random(_seed(prompt, seed))
    if rule == "random" and possible:
        possible = [draw.choice(possible)]
    elif rule == "first":
        possible = possible[:1]
    elif rule not in RULES:
        raise ValueError(f"no such rule: {rule}")
    return [pair if draw.random() < 0.5 else (pair[1], pair[0]) for pair in possible]


def _seed(prompt: Prompt, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{prompt.external_id}".encode()).digest()[:8])


def entry(prompt: Prompt, chosen: list[Pair], made_by: dict[str, object]) -> Entry:
    """Comparisons of stored responses, as a reader would give them; their metadata are the prompt's and `made_by`."""
    places = {response.pk: response for pair in chosen for response in pair}
    place = {pk: number for number, pk in enumerate(places)}
    metadata = as_json({**prompt.metadata, **made_by}, "metadata")
    asked = PromptRow(
        prompt.external_id,
        as_json(prompt.turns, "turns"),
        as_json(prompt.context, "context"),
        json.dumps(prompt.metadata),
        prompt.text_hash,
    )
    sides = [
        ResponseRow(each.external_id, each.text, each.model, json.dumps(each.metadata), each.text_hash, "response")
        for each in places.values()
    ]
    made = [ComparisonRow(_name(prompt, pair), place[pair[0].pk], place[pair[1].pk], metadata, "id") for pair in chosen]
    return Entry(asked, sides, made, [])


def _name(prompt: Prompt, pair: Pair) -> str:
    """By the responses' numbers, the smaller first, so that the same pair never gets two names."""
    numbers = "-".join(str(pk) for pk in sorted(response.pk for response in pair))
    return f"{prompt.external_id[: ID_WIDTH - len(numbers) - 1]}:{numbers}"
