"""Domains: what each prompt is about, by its words, said once; runs and exports can be about one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from annotator.models import Project, Prompt
from labelers.domains import Keywords

# Prompts that are looked at between two signs of life.
BATCH = 1000


def find(project: Project, beat: Callable[[int, int], None] | None = None) -> None:
    """Say what each prompt is about that nobody has looked at. `beat`: (done, total), after every `BATCH`.

    Repeatable; two at once say the same. To be called outside a transaction: each batch is stored when it is done.
    """
    unseen = Prompt.objects.filter(project=project, domain="")
    total, done, last, domain_of = unseen.count(), 0, 0, Keywords()
    # By key, so that each batch's cost is its own: no index knows domains.
    while total and (batch := list(unseen.filter(pk__gt=last).order_by("pk").values_list("pk", "turns")[:BATCH])):
        _put(batch, domain_of)
        last, done = batch[-1][0], done + len(batch)
        if beat:
            beat(done, max(done, total))


def _put(batch: Sequence[tuple[int, Any]], domain_of: Keywords) -> None:
    """Nothing is locked while words are looked at; then one short statement for each domain."""
    found: dict[str, list[int]] = defaultdict(list)
    for pk, turns in batch:
        found[domain_of(turns)].append(pk)
    for domain, prompts in found.items():
        Prompt.objects.filter(pk__in=prompts, domain="").update(domain=domain)
