"""Combine: several labelers of a project as one, an ensemble. It asks nobody: it reads what its members have judged.

What a lead chose (members, method, who judges which domain) and what was learnt from people (`labelers.ensemble`) stand
in a version's parameters:

    {"members": [labeler ids], "method": "weighted" | "equal" | "by_domain", "domains": {domain: labeler id},
     "versions": {labeler id: id of its version}, "learnt": {…} | null, "judged": comparisons of people it learnt from,
     "languages": […], "last_judgment": id, "seed": 0}

Only the first three until it has learnt. Where people judged, its answer comes from weights that never saw the prompt,
so its accuracy there is honest. Like a proxy it learns anew by itself; a lead's edit makes a candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _
from numpy.typing import NDArray

from annotator.models import Comparison, Judgment, Labeler, LabelerVersion, Project, Route
from annotator.pipeline import scope, versions
from annotator.pipeline.work import StepRefused
from labelers.combined import Combined
from labelers.domains import DOMAINS

WEIGHTED, EQUAL, BY_DOMAIN = "weighted", "equal", "by_domain"
METHODS = (WEIGHTED, BY_DOMAIN, EQUAL)
# Fewer comparisons that people and every member judged teach no weights: LLMBar's panel needed 40.
ENOUGH = 40
# Learn anew when people have judged so many times more than the last version knew.
GROWTH = 1.25
CHOSEN = ("members", "method", "domains")
NOTHING: dict[str, Any] = {"members": [], "method": WEIGHTED, "domains": {}}


# What a lead chooses


def setup(project: Project, members: Sequence[Labeler], method: str, domains: Mapping[str, Labeler]) -> dict[str, Any]:
    """A version's parameters before it has learnt. Raises StepRefused for what is no ensemble."""
    ids = sorted({member.pk for member in members} | {member.pk for member in domains.values()})
    if method == BY_DOMAIN and set(domains) != set(DOMAINS):
        raise StepRefused(_("Choose who judges each domain."))
    if method not in METHODS or (method != BY_DOMAIN and len(ids) < 2):
        raise StepRefused(_("An ensemble needs two members or more."))
    chosen = Labeler.objects.filter(pk__in=ids)
    if chosen.filter(project=project).exclude(kind=versions.ENSEMBLE).count() != len(ids):
        raise StepRefused(_("Its members are labelers of this project that are no ensembles themselves."))
    named = {domain: member.pk for domain, member in domains.items()} if method == BY_DOMAIN else {}
    return {"members": ids, "method": method, "domains": named}


@transaction.atomic
def add(project: Project, name: str, chosen: Mapping[str, Any]) -> Labeler:
    """A new ensemble with what `setup` gave. Raises StepRefused for a name that is taken."""
    if name.lower() == Route.PEOPLE or project.labelers.filter(name=name).exists():
        raise StepRefused(_("This project already has a labeler named %(name)s.") % {"name": name})
    labeler = Labeler.objects.create(project=project, name=name, kind=versions.ENSEMBLE)
    versions.new_version(labeler, chosen)
    return labeler


def members(version: LabelerVersion) -> list[Labeler]:
    """In the order of the version's own list; without those that were removed meanwhile."""
    return list(Labeler.objects.filter(pk__in=version.parameters["members"]).order_by("pk"))


def with_member(labeler: Labeler) -> list[Labeler]:
    """Ensembles that are switched on and whose version in use counts on `labeler`."""
    ensembles = labeler.project.labelers.filter(kind=versions.ENSEMBLE, enabled=True).order_by("pk")
    found = ((each, versions.in_use(each)) for each in ensembles)
    return [each for each, version in found if version and labeler.pk in version.parameters["members"]]


# What it has learnt


def version_of(labeler: Labeler, version_id: int | None = None) -> LabelerVersion:
    """The version that judges: the one in use or the named candidate, learnt anew where that is due.

    Takes seconds to minutes. Raises StepRefused when people have judged too little of what its members judged.
    """
    base = versions.in_use(labeler) if version_id is None else labeler.versions.filter(pk=version_id).first()
    waiting = versions.candidate(labeler)
    if base and version_id is not None and waiting and _chosen(waiting) == _chosen(base):
        base = waiting  # it has learnt since the run was asked for
    if base is None or base.discarded_at is not None:
        raise StepRefused(_("This version of %(name)s was put aside.") % {"name": labeler.name})
    counted_on = _versions(base)
    judged = _judged(labeler.project)
    known = base.parameters
    is_known = known.get("versions") == counted_on and judged < GROWTH * known.get("judged", 0)
    if is_known or (known["method"] == EQUAL and known.get("versions") == counted_on):
        return versions.of_today(base)
    learnt = _learn(labeler.project, base, counted_on) | {"judged": judged}
    return versions.succeed(base, learnt)


def _chosen(version: LabelerVersion) -> dict[str, Any]:
    return {name: version.parameters[name] for name in CHOSEN}


def _versions(base: LabelerVersion) -> dict[str, int]:
    """The version of each member that it combines now. Raises StepRefused when one has none."""
    found = {}
    for member in members(base):
        version = versions.in_use(member)
        if version is None:
            raise StepRefused(_("%(name)s has judged nothing yet.") % {"name": member.name})
        found[str(member.pk)] = version.pk
    if len(found) < len(base.parameters["members"]):
        raise StepRefused(_("A member of this ensemble was removed. Edit it."))
    return found


def _judged(project: Project) -> int:
    return Judgment.objects.effective().levels_of_people().filter(project=project).votes_by_comparison().count()


def _learn(project: Project, base: LabelerVersion, counted_on: Mapping[str, int]) -> dict[str, Any]:
    """The parameters of a version that has learnt from what people have said until now."""
    from annotator.pipeline import evidence
    from labelers import ensemble

    chosen = _chosen(base)
    last = project.judgments.order_by("-id").values_list("id", flat=True).first()
    stored = {**chosen, "versions": dict(counted_on), "last_judgment": last, "seed": 0}
    if chosen["method"] == EQUAL:
        made = ensemble.Ensemble("equal", tuple(counted_on), (1 / len(counted_on),) * len(counted_on), ())
        return {**stored, "learnt": made.as_json(), "languages": []}
    known = evidence.load(project, until=last)
    said = _said(known, counted_on, taught=True)
    together = np.all([~np.isnan(each.p_b) for each in said.values()], axis=0) if said else np.empty(0)
    if chosen["method"] == WEIGHTED and together.sum() < ENOUGH:
        words = _(
            "Weights are learnt from comparisons that people and all members judged: it needs %(least)s, and there are "
            "%(n)s. Let the members judge what people have judged, or choose equal weights."
        )
        raise StepRefused(words % {"least": ENOUGH, "n": int(together.sum())})
    if len(known) < ENOUGH:
        raise StepRefused(
            _("Its members are calibrated on what people judged: it needs %(least)s comparisons.") % {"least": ENOUGH}
        )
    made = ensemble.fit(said, chosen["method"], domains=_domains(chosen), seed=0)
    return {**stored, "learnt": made.as_json(), "languages": sorted(set(known.languages.tolist()))}


def _said(known: Any, counted_on: Mapping[str, int], *, taught: bool = False) -> dict[str, Any]:
    """By member, as a text of its id: what it said of `known` (`labelers.calibration.Judged`).

    `taught`: to learn from, so without what a member may have been shown as an example.
    """
    from annotator.pipeline import evidence

    rows = LabelerVersion.objects.in_bulk(list(counted_on.values()))
    said = {member: evidence.answers(rows[pk], known) for member, pk in counted_on.items()}
    return {member: known.judged(evidence.unseen(each, known) if taught else each) for member, each in said.items()}


def _domains(chosen: Mapping[str, Any]) -> dict[str, str]:
    return {domain: str(member) for domain, member in chosen["domains"].items()}


# Judging


def build(version: LabelerVersion) -> Combined:
    """The labeler of a version that has learnt: held-out answers where people judged, the whole's elsewhere."""
    from annotator.pipeline import evidence
    from labelers import ensemble

    known, learnt = version.parameters, ensemble.read(version.parameters["learnt"])
    held_out: dict[int, float] = {}
    if known["method"] != EQUAL:
        taught = evidence.load(version.labeler.project, until=known["last_judgment"])
        said = _said(taught, known["versions"], taught=True)
        p_b = ensemble.cross_fitted(said, known["method"], domains=_domains(known), seed=known["seed"])
        held_out = dict(zip(taught.ids.tolist(), p_b.tolist(), strict=True))

    def predict(pairs: Sequence[Any]) -> NDArray[np.float64]:
        here = evidence.of_pairs(pairs, known["languages"])
        members_said = _said(here, known["versions"])
        p_b = learnt.p_b(members_said)
        p_b[~_complete(members_said, known, here.domains)] = np.nan
        own = np.array([held_out.get(pair.pk, np.nan) for pair in pairs])
        return np.where(np.isnan(p_b) | np.isnan(own), p_b, own)

    return Combined(predict, method=known["method"], members=known["versions"], learnt_from=known["judged"])


def _complete(said: Mapping[str, Any], known: Mapping[str, Any], domains: Iterable[str]) -> NDArray[np.bool_]:
    """(n,) whether all have judged that are needed: every member, or the one of the comparison's domain."""
    there = {member: ~np.isnan(each.p_b) for member, each in said.items()}
    if known["method"] != BY_DOMAIN:
        return np.asarray(np.all(list(there.values()), axis=0))
    chosen = _domains(known)
    return np.array([bool(there[chosen[domain]][place]) for place, domain in enumerate(domains)], dtype=bool)


def ready(version: LabelerVersion, comparisons: QuerySet[Comparison]) -> QuerySet[Comparison]:
    """Those of `comparisons` that its members have judged: all of them, or for domains at least one."""
    judged = [
        Exists(Judgment.objects.filter(comparison=OuterRef("pk"), rater__labeler_version=pk, p_b__isnull=False))
        for pk in version.parameters["versions"].values()
    ]
    if version.parameters["method"] != BY_DOMAIN:
        return comparisons.filter(*judged)
    condition = Q()
    for each in judged:
        condition |= Q(each)
    return comparisons.filter(condition)


# What the members have not judged


@dataclass(frozen=True)
class Lacking:
    """What a member would have to judge (of one domain, where the ensemble asks it about that only)."""

    member: Labeler
    domain: str
    number: int
    most: Decimal
    # Why it cannot be asked, in words.
    hindrance: str = ""

    @property
    def asked(self) -> dict[str, str]:
        """As `scope.of_filter` reads it, beside whose comparisons are meant."""
        return {"domain": self.domain} if self.domain else {}


def lacking(version: LabelerVersion, on: str) -> list[Lacking]:
    """By member, and domain where there are some: what it has not judged of all, or of what people have judged."""
    chosen = version.parameters
    found = []
    for member in members(version):
        mine = [domain for domain, pk in sorted(chosen["domains"].items()) if pk == member.pk]
        found += [_lacking(member, domain, on) for domain in mine or [""]]
    return found


def _lacking(member: Labeler, domain: str, on: str) -> Lacking:
    asked = {"domain": domain, "people": "yes" if on == "people" else ""}
    comparisons = scope.of_filter(member.project, asked)
    if member.kind in (versions.RECORDED, versions.PROXY):
        version = versions.in_use(member)
        number = scope.unjudged(version, comparisons).count() if version else comparisons.count()
        return Lacking(member, domain, number, Decimal(0), _("its verdicts come with the data or from votes"))
    try:
        estimate = scope.estimate(member, comparisons)
    except StepRefused as refusal:
        return Lacking(member, domain, 0, Decimal(0), str(refusal))
    return Lacking(member, domain, estimate.number, Decimal(0) if member.is_free else estimate.most)
