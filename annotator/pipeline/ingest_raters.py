"""Who judged: the raters of a file, found in the project or made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256

from annotator.models import Labeler, LabelerVersion, Project, Rater
from annotator.pipeline.ingest_copy import NULL

RaterKey = tuple[bool, str, str]  # is AI, source ("" for AI), name
RECORDED = "recorded"
Wrong = Callable[[int, str, str], None]


@dataclass(frozen=True)
class Met:
    """A rater, and the line and field where the file had it first."""

    key: RaterKey
    line: int
    field: str


class Raters:
    """The file's raters by their place in it, as the start of a judgment: rater and the protocol it answered."""

    def __init__(self, project: Project, protocol_id: int) -> None:
        self.project = project
        self.protocol_id = protocol_id
        self.texts: list[str] = []
        self._ids: dict[RaterKey, int] = {}

    def add(self, met: Iterable[Met], experts: Iterable[RaterKey], wrong: Wrong) -> None:
        """Take over who is met for the first time; `wrong` is told of labelers that judge by themselves."""
        for each in met:
            rater, labeler = _ai(self.project, each.key[2]) if each.key[0] else (_person(self.project, each.key), None)
            if labeler and labeler.kind != RECORDED:
                words = "{} is a labeler of this project that judges by itself; name the recorded one differently"
                wrong(each.line, each.field, words.format(labeler.name))
            self._ids[each.key] = rater.pk
            # A labeler answers the overall question and no protocol.
            self.texts.append(f"{rater.pk}\t{NULL if each.key[0] else self.protocol_id}")
        known = [self._ids[key] for key in experts]
        if known:
            Rater.objects.filter(pk__in=known).update(was_expert=True)


def _person(project: Project, key: RaterKey) -> Rater:
    _is_ai, source, name = key
    return Rater.objects.get_or_create(
        project=project, source=source, external_id=name, user=None, labeler_version=None,
        defaults={"kind": Rater.Kind.PERSON},
    )[0]  # fmt: skip


def _ai(project: Project, name: str) -> tuple[Rater, Labeler]:
    labeler, _made = Labeler.objects.get_or_create(project=project, name=name, defaults={"kind": RECORDED})
    version, _made = LabelerVersion.objects.get_or_create(
        labeler=labeler,
        digest=sha256(f"recorded:{name}".encode()).hexdigest(),
        defaults={"parameters": {"judge": name}},
    )
    rater, _made = Rater.objects.get_or_create(
        project=project, labeler_version=version, defaults={"kind": Rater.Kind.LABELER}
    )
    return rater, labeler
