"""One labeler's report from what is in the database; computed by `check` in a worker, read by pages.

`labelers.report` says what is in it. This site adds what its page shows and the library knows nothing of:

    "site": {"margins": {"right": [20 numbers], "wrong": [20]},          comparisons by p_b, people of its mind or not
             "suspects": [{"comparison": id, "people": 0.0, "mean": 0.07, "spread": 0.9, "against": 3, "labelers": 3}],
             "seen": what there was when it was computed (`is_current`),
             "against": id of the version in use that a candidate was compared with, or null,
             "others": [{"labeler": id, "version": id, "accuracy": Difference}]}            in the order of "others"
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from django.db.models import Count, Max
from numpy.typing import NDArray
from scipy.special import expit, logit

from annotator.models import Judgment, LabelerReport, LabelerVersion, Project, Rater
from annotator.pipeline import evidence, probes, versions
from annotator.pipeline.evidence import Evidence, Said
from labelers import calibration, compare, ensemble, report

# A change of what is computed here makes new reports of old judgments.
CODE_VERSION = 3
# Reports kept of one version, newest first.
KEPT = 10
BARS = 20
SUSPECTS_SHOWN = 100
# Fewer comparisons calibrate no labeler well enough to doubt people.
ENOUGH = 100


@dataclass
class Panel:
    """What people and the labelers of a project that read said of the comparisons that people judged."""

    project: Project
    known: Evidence
    read: dict[int, Said] = field(default_factory=dict)

    @classmethod
    def of(cls, project: Project) -> Panel:
        return cls(project, evidence.load(project))

    def said(self, version: LabelerVersion) -> Said:
        if version.pk not in self.read:
            self.read[version.pk] = evidence.unseen(evidence.answers(version, self.known), self.known)
        return self.read[version.pk]

    @cached_property
    def in_use(self) -> list[LabelerVersion]:
        """Of every labeler that reads and is switched on."""
        reading = self.project.labelers.filter(enabled=True).judging().exclude(kind__startswith="null").order_by("id")
        return [version for labeler in reading if (version := versions.in_use(labeler)) is not None]

    @cached_property
    def calibrated(self) -> dict[int, NDArray[np.float64]]:
        """By version: (n,) held-out calibrated P(B is better), of those with enough to be calibrated.

        Without proxies and ensembles: they have learnt from the very votes, or repeat the others.
        """
        able = [each for each in self.in_use if each.labeler.kind not in (versions.PROXY, versions.ENSEMBLE)]
        able = [each for each in able if self.said(each).count >= ENOUGH]
        return {each.pk: calibration.cross_fitted(self.known.judged(self.said(each))) for each in able}

    @cached_property
    def nulls(self) -> dict[str, NDArray[np.float64]]:
        """What labelers that read nothing say: the two that length alone gives, and others of the project."""
        longer = np.sign(self.known.lengths[:, 1] - self.known.lengths[:, 0])
        found = {"null_longest": (1 + longer) / 2, "null_shortest": (1 - longer) / 2}
        for labeler in self.project.labelers.filter(kind__startswith="null").exclude(kind__in=found).order_by("id"):
            version = versions.in_use(labeler)
            if version is not None and self.said(version).count:
                found[labeler.kind] = self.said(version).p_b
        return found


def is_current(version: LabelerVersion, seen: Mapping[str, Any]) -> bool:
    """Whether nothing has been said since its newest report: by people, by known answers, by the version itself.

    What the other labelers said since waits for that, or for a lead who asks.
    """
    return version.reports.order_by("-id").values_list("data__site__seen", flat=True).first() == seen


def seen(version: LabelerVersion) -> dict[str, Any]:
    """What tells whether there is anything new, without reading it."""
    project = version.labeler.project
    final = Judgment.objects.effective().filter(project=project)
    incumbent = versions.in_use(version.labeler)
    return {
        "people": final.filter(rater__kind=Rater.Kind.PERSON).aggregate(last=Max("id"), n=Count("id")),
        "labeler": final.filter(rater__labeler_version=version).aggregate(last=Max("id"), n=Count("id")),
        "known": evidence.known_digest(project),
        "checks": probes.digest(version),
        "in_use": incumbent.pk if incumbent else None,
        "code": [report.FORMAT, CODE_VERSION],
    }


def store(version: LabelerVersion, panel: Panel, seen: Mapping[str, Any] | None = None) -> bool | None:
    """Compute and store the report of a version. False: it is there already. None: nothing that both judged.

    `seen`: as it was before the panel was read, kept with the report.
    """
    said = panel.said(version)
    if not said.count:
        return None
    name = _digest(version, panel)
    if there := version.reports.filter(digest=name).first():
        there.data["site"]["seen"] = seen
        there.save(update_fields=["data"])
        return False
    data = compute(version, panel)
    data["site"]["seen"] = seen
    LabelerReport.objects.get_or_create(version=version, digest=name, defaults={"data": data})
    kept = version.reports.order_by("-id").values_list("pk", flat=True)[:KEPT]
    version.reports.exclude(pk__in=list(kept)).delete()
    return True


def _digest(version: LabelerVersion, panel: Panel) -> str:
    """sha256 over everything the report is computed from."""
    whole = hashlib.sha256(f"{report.FORMAT} {CODE_VERSION} {version.digest}".encode())
    known, said = panel.known, panel.said(version)
    columns: list[Any] = [known.ids, known.people, known.votes, known.domains, known.languages, said.p_b]
    columns += [each for each in (said.scores, said.orders, *panel.nulls.values()) if each is not None]
    for other in _others(version, panel):
        columns += [np.array([other.pk]), panel.said(other).p_b]
    for column in columns:
        whole.update(np.ascontiguousarray(column).tobytes())
    whole.update(repr((said.unusable, probes.digest(version), version.accepted_at is None)).encode())
    return whole.hexdigest()


def compute(version: LabelerVersion, panel: Panel) -> dict[str, Any]:
    """The report's JSON."""
    known, said = panel.known, panel.said(version)
    against = versions.in_use(version.labeler) if version.accepted_at is None else None
    others = _others(version, panel)
    whole = report.report(
        known.judged(said),
        panel.nulls,
        unusable=said.unusable,
        checks=probes.results(version),
        attacks=probes.attack_results(version),
        incumbent=_compared(said, panel.said(against), known) if against else None,
        others=_consistency(version, others),
        ensemble=_ensemble(version, panel),
    )
    compared = [_compared(said, panel.said(other), known) for other in others]
    site = {
        "margins": _margins(said.p_b, known.people),
        "suspects": suspects(version, panel),
        "against": against.pk if against else None,
        "others": [
            {"labeler": other.labeler_id, "version": other.pk, "accuracy": each["accuracy"]}
            for other, each in zip(others, compared, strict=True)
        ],
    }
    return {**whole, "site": site}


def _compared(said: Said, other: Said, known: Evidence) -> dict[str, Any]:
    """The first minus the second, paired, in the report's words."""
    found = compare.paired(said.p_b, other.p_b, known.people, known.prompts)
    return {"label": str(other.version), **asdict(found)}


def _consistency(version: LabelerVersion, others: Sequence[LabelerVersion]) -> list[dict[str, Any]]:
    """With each other version, over what both have judged, whether people have or not."""
    ids = evidence.judged_by(version)
    own = evidence.elsewhere(version, ids)
    found = [(other, compare.consistency(own, evidence.elsewhere(other, ids))) for other in others]
    return [{"label": str(other), **asdict(agreement)} for other, agreement in found]


def _ensemble(version: LabelerVersion, panel: Panel) -> dict[str, Any] | None:
    """How an ensemble's members do alone and together, out of fold; None for any other labeler."""
    chosen = version.parameters
    if version.labeler.kind != versions.ENSEMBLE or not chosen.get("versions"):
        return None
    rows = LabelerVersion.objects.select_related("labeler").in_bulk(list(chosen["versions"].values()))
    members = {rows[pk].labeler.name: panel.known.judged(panel.said(rows[pk])) for pk in chosen["versions"].values()}
    names = {row.labeler_id: row.labeler.name for row in rows.values()}
    domains = {domain: names[pk] for domain, pk in chosen["domains"].items()}
    return ensemble.measured(members, chosen["method"], domains=domains)


def _others(version: LabelerVersion, panel: Panel) -> list[LabelerVersion]:
    """The version in use of every other labeler, and of this one when it is not that itself.

    Also the one whose place it took because our code changed: nobody compared the two before.
    """
    replaced = versions.replaced_by_code(version) if version.accepted_at else None
    beside = [*panel.in_use, *([replaced] if replaced else [])]
    return [other for other in beside if other != version and panel.said(other).count]


def _margins(p_b: NDArray[np.float64], people: NDArray[np.float64]) -> dict[str, list[float]]:
    """Comparisons by what the labeler said, in `BARS` equal steps from 0 to 1; a tie of either is half of both."""
    said = ~np.isnan(p_b)
    place = np.minimum((p_b[said] * BARS).astype(int), BARS - 1)
    same = (1 + np.sign(p_b[said] - 0.5) * np.sign(people[said] - 0.5)) / 2
    right, wrong = (np.bincount(place, weights=weights, minlength=BARS) for weights in (same, 1 - same))
    return {"right": right.tolist(), "wrong": wrong.tolist()}


def suspects(version: LabelerVersion, panel: Panel) -> list[dict[str, Any]]:
    """Labels of people that this labeler and others agree on against them (`compare.suspects`), the worst first."""
    if version.pk not in panel.calibrated:
        return []
    people, log_odds = panel.known.people, logit(np.column_stack(list(panel.calibrated.values())))
    own = logit(panel.calibrated[version.pk]) * np.sign(people - 0.5)
    found = [each for each in compare.suspects(log_odds, people) if own[each.place] < 0]
    return [
        {
            "comparison": int(panel.known.ids[each.place]),
            "people": float(people[each.place]),
            "mean": float(expit(each.mean)),
            "spread": each.spread,
            "against": each.against,
            "labelers": each.of,
        }
        for each in found[:SUSPECTS_SHOWN]
    ]
