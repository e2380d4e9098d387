"""Who judged: the raters of a file, found in the project or made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from hashlib import sha256

from annotator.models import Labeler, LabelerVersion, Project, Rater
from annotator.models.labelers import new_pseudonym
from annotator.pipeline.ingest_copy import NULL
from annotator.pipeline.ingest_rows import Met, RaterKey

RECORDED = "recorded"
Wrong = Callable[[int, str, str], None]


class Raters:
    """The file's raters by their place in it, as the start of a judgment: rater and the protocol it answered."""

    def __init__(self, project: Project, protocol_id: int) -> None:
        self.project = project
        self.protocol_id = protocol_id
        self.texts: list[str] = []
        self._ids: dict[RaterKey, int] = {}

    def add(self, met: Sequence[Met], experts: Sequence[RaterKey], wrong: Wrong) -> None:
        """Take over who is met for the first time; `wrong` is told of labelers that judge by themselves."""
        people = [each.key for each in met if not each.key[0]]
        self._ids |= _people(self.project, people) if people else {}
        if any(each.key[0] for each in met):
            self._add_labelers([each for each in met if each.key[0]], wrong)
        # A labeler answers the overall question and no protocol.
        protocols = {True: NULL, False: str(self.protocol_id)}
        self.texts += [f"{self._ids[each.key]}\t{protocols[each.key[0]]}" for each in met]
        if experts:
            Rater.objects.filter(pk__in=[self._ids[key] for key in experts]).update(was_expert=True)

    def _add_labelers(self, met: Sequence[Met], wrong: Wrong) -> None:
        labelers = _labelers(self.project, [each.key[2] for each in met])
        raters = _raters(self.project, labelers.values())
        for each in met:
            labeler = labelers[each.key[2]]
            if labeler.kind != RECORDED:
                words = "{} is a labeler of this project that judges by itself; name the recorded one differently"
                wrong(each.line, each.field, words.format(labeler.name))
            self._ids[each.key] = raters[labeler.pk]


def _people(project: Project, keys: Sequence[RaterKey]) -> dict[RaterKey, int]:
    """Their ids; who is not there is made."""
    there = Rater.objects.filter(
        project=project,
        user=None,
        labeler_version=None,
        source__in={source for _is_ai, source, _name in keys},
        external_id__in=[name for _is_ai, _source, name in keys],
    )
    found = {(False, source, name): pk for source, name, pk in there.values_list("source", "external_id", "pk")}
    made = Rater.objects.bulk_create(
        Rater(project=project, kind=Rater.Kind.PERSON, source=source, external_id=name, pseudonym=new_pseudonym())
        for is_ai, source, name in keys
        if (is_ai, source, name) not in found
    )
    return found | {(False, rater.source, rater.external_id): rater.pk for rater in made}


def _labelers(project: Project, names: Sequence[str]) -> dict[str, Labeler]:
    """The labelers of these names; those that are not there are made, as recorded."""
    found = {labeler.name: labeler for labeler in Labeler.objects.filter(project=project, name__in=names)}
    new = [Labeler(project=project, name=name, kind=RECORDED) for name in names if name not in found]
    return found | {labeler.name: labeler for labeler in Labeler.objects.bulk_create(new)}


def _raters(project: Project, labelers: Collection[Labeler]) -> dict[int, int]:
    """{id of a labeler: id of the rater who is what was recorded of it}."""
    digests = {labeler.pk: sha256(f"recorded:{labeler.name}".encode()).hexdigest() for labeler in labelers}
    there = LabelerVersion.objects.filter(labeler__in=digests, digest__in=digests.values())
    versions = {version.labeler_id: version for version in there}
    new = [
        LabelerVersion(labeler=labeler, digest=digests[labeler.pk], parameters={"judge": labeler.name})
        for labeler in labelers
        if labeler.pk not in versions
    ]
    versions |= {version.labeler_id: version for version in LabelerVersion.objects.bulk_create(new)}
    known = Rater.objects.filter(project=project, labeler_version__in=versions.values())
    found = dict(known.values_list("labeler_version__labeler", "pk"))
    missing = [version for labeler, version in versions.items() if labeler not in found]
    made = Rater.objects.bulk_create(
        Rater(project=project, kind=Rater.Kind.LABELER, labeler_version=version) for version in missing
    )
    return found | {version.labeler_id: rater.pk for version, rater in zip(missing, made, strict=True)}
