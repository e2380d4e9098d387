"""Domains: what each prompt is about, by its words, said once; runs and exports can be about one."""

from __future__ import annotations

from collections.abc import Callable

from django.db import transaction

from annotator.models import Project, Prompt
from labelers.domains import Keywords

BATCH = 1000


def find(project: Project, beat: Callable[[], None] | None = None) -> None:
    """Say what each prompt is about that nobody has looked at. `beat` is called after every `BATCH`."""
    domain_of = Keywords()
    while prompts := _put(project, domain_of):
        if beat:
            beat()
        if len(prompts) < BATCH:
            return


@transaction.atomic
def _put(project: Project, domain_of: Keywords) -> list[Prompt]:
    """Those of the next batch. Of two at once the second waits, and finds what the first has left."""
    unseen = Prompt.objects.filter(project=project, domain="").only("turns").order_by("pk")
    prompts = list(unseen.select_for_update(no_key=True)[:BATCH])
    for prompt in prompts:
        prompt.domain = domain_of(prompt.turns)
    Prompt.objects.bulk_update(prompts, ["domain"])
    return prompts
