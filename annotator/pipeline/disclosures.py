"""Disclosures: which texts of a project may leave for which endpoint. A lead says so before the first call.

What leaves is named by parts; what stays on this site (nulls, proxies, models that a worker loads itself) needs no
word. An endpoint on this very machine does: a server there may belong to somebody else, or pass on what it is sent.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from django.db import transaction
from django.utils.functional import Promise
from django.utils.timezone import now
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotator.models import Disclosure, Labeler, LabelerVersion, Project, User
from annotator.pipeline import keys, versions
from annotator.pipeline.work import StepRefused

# Seconds for which a word that was heard is taken to stand while calls start.
HEARD = 1.0

PROMPT, DOCUMENTS, RESPONSES, GUIDELINES, JUDGMENTS = "prompt", "documents", "responses", "guidelines", "judgments"
# In the order in which pages name them.
PARTS: dict[str, str | Promise] = {
    PROMPT: _("prompts: all turns of a conversation"),
    DOCUMENTS: _("documents that belong to a prompt, where there are any"),
    RESPONSES: _("responses"),
    GUIDELINES: _("the guidelines and the protocol's questions"),
    JUDGMENTS: _("judgments: comparisons with known answers, shown as examples"),
}


def parts_of(version: LabelerVersion) -> list[str]:
    """What a version sends to its endpoints; empty when it has none."""
    parameters = version.parameters
    if not keys.places(version):
        return []
    judges = version.labeler.kind == "llm_judge"
    sent = {PROMPT, DOCUMENTS}
    if version.labeler.kind not in Labeler.OPERATIONS:
        sent.add(RESPONSES)
    if judges or parameters.get("guidelines"):
        sent.add(GUIDELINES)
    if parameters.get("exemplars") or parameters.get("exemplars_by_domain"):
        sent.add(JUDGMENTS)
    return [part for part in PARTS if part in sent]


def confirmed(project: Project, place: str) -> set[str]:
    """The parts that may leave for `place` now."""
    rows = Disclosure.objects.filter(project=project, place=place, withdrawn_at=None)
    return {part for parts in rows.values_list("parts", flat=True) for part in parts}


@transaction.atomic
def confirm(project: Project, place: str, parts: Sequence[str], by: User | None) -> Disclosure:
    """A lead's word that `parts` may leave for `place`. Raises ValueError for a part there is not."""
    if unknown := set(parts) - set(PARTS):
        raise ValueError(f"no such part: {', '.join(sorted(unknown))}")
    return Disclosure.objects.create(project=project, place=place, parts=list(parts), confirmed_by=by)


def withdraw(project: Project, place: str) -> int:
    """Nothing leaves for `place` any more; runs stop at their next call. Gives how many words were taken back."""
    standing = Disclosure.objects.filter(project=project, place=place, withdrawn_at=None)
    return standing.update(withdrawn_at=now())


def missing(labeler: Labeler, version: LabelerVersion | None = None) -> tuple[str, list[str]] | None:
    """The first place that `version` (the one in use, when not given) would call without a lead's word for it.

    Gives the place and all parts that would leave for it; None when the labeler may run. One or two short queries.
    """
    version = version or versions.in_use(labeler)
    if version is None:
        return None
    parts = parts_of(version)
    for place in keys.places(version):
        if not confirmed(labeler.project, place).issuperset(parts):
            return place, parts
    return None


def refuse_unless_allowed(version: LabelerVersion) -> None:
    """Raise StepRefused when `version` would send something without a lead's word for it."""
    if wanted := missing(version.labeler, version):
        words = gettext(
            "Texts may not leave for %(place)s: no lead has allowed it, or somebody took it back. Allow it on the page "
            "of the labeler, then run it again."
        )
        raise StepRefused(words % {"place": wanted[0]})


class Word:
    """A lead's word for what `version` sends, for those who start calls: asked for anew once it is HEARD seconds old.

    So a run stops at its next call when the word is taken back, whatever it asks about.
    """

    def __init__(self, version: LabelerVersion) -> None:
        self.version = version
        self._heard = float("-inf")

    def refuse_unless_it_stands(self, *, now: bool = False) -> None:
        """Raise StepRefused when it does not. `now`: whenever it was heard last."""
        clock = time.monotonic()
        if now or clock - self._heard >= HEARD:
            refuse_unless_allowed(self.version)
            self._heard = clock
