"""What a project's people said, and what a labeler's version said of the same comparisons, as arrays.

Read by `check` (reports) and `combine` (ensembles); it decides nothing. Workers only: it loads NumPy and a language
model.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from django.db.models import BigIntegerField, F, Q, QuerySet, Value
from django.db.models.functions import Length, Mod
from numpy.typing import NDArray

from annotator.models import Comparison, Gold, Judgment, Labeler, LabelerCall, LabelerVersion, Project
from annotator.models.judgments import JudgmentQuerySet
from labelers.calibration import LEAST, Calibration, Judged, judged, read
from labelers.domains import Keywords
from routing.text import Reading

# Comparisons that a report rests on at most: drawn by a hash of their number, so that growth replaces few of them.
MOST = 10_000
# A known answer that several people agreed on, or a lead wrote down, weighs as much as so many votes.
GOLD_WEIGHT = 3.0
# Languages of fewer comparisons are one group: a detector's mistakes must not make rows of a table.
RARE = 30
CHUNK = 1000
# 2^32 over the golden ratio (`_drawn`).
GOLDEN = 2654435769
# Share of votes for B that a known answer stands for.
SHARES: dict[str, float] = {Gold.Better.A: 0.0, Gold.Better.TIE: 0.5, Gold.Better.B: 1.0}


@dataclass
class Evidence:
    """n comparisons with an answer of people, in the order of their ids.

    `people` (n,): share of votes for B, ties half. `votes` (n,): how many; a known answer counts `GOLD_WEIGHT`.
    `lengths` (n, 2): characters of A and B. `prompts` (n,): digests of the prompts' texts. `domains`, `languages` (n,):
    by words and by py3langid, "" where unknown.
    """

    ids: NDArray[np.int64]
    people: NDArray[np.float64]
    votes: NDArray[np.float64]
    lengths: NDArray[np.float64]
    prompts: NDArray[np.str_]
    domains: NDArray[np.str_]
    languages: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, rows: NDArray[Any]) -> Evidence:
        return Evidence(**{column.name: getattr(self, column.name)[rows] for column in fields(self)})

    def judged(self, said: Said) -> Judged:
        """All of them with a version's answers, NaN where it has none."""
        return judged(
            said.p_b,
            self.people,
            lengths=self.lengths,
            prompts=self.prompts,
            weight=self.votes,
            domains=self.domains,
            languages=self.languages,
            scores=said.scores,
            orders=said.orders,
        )

    @cached_property
    def place(self) -> dict[int, int]:
        """Position by comparison id."""
        return {int(pk): position for position, pk in enumerate(self.ids)}


@dataclass(frozen=True)
class Said:
    """A version's answers to n comparisons. `scores`, `orders` as in `labelers.calibration.Judged`."""

    version: LabelerVersion
    p_b: NDArray[np.float64]
    scores: NDArray[np.float64] | None
    orders: NDArray[np.float64] | None
    # Outcome → how many of the comparisons got no probability because of it.
    unusable: dict[str, int]

    @property
    def count(self) -> int:
        return int((~np.isnan(self.p_b)).sum())


def load(project: Project, most: int = MOST, until: int | None = None) -> Evidence:
    """What people have said until now, or until a judgment; at most `most` comparisons, and only theirs is read."""
    levels = Judgment.objects.effective().levels_of_people(until).filter(project=project)
    ids = _sample(project, levels, most)
    votes: dict[int, tuple[float, float]] = {}
    for chunk in _chunks(ids):
        rows = levels.filter(comparison__in=chunk).votes_by_comparison()
        votes |= {pk: (mean, float(count)) for pk, mean, count in rows}
        votes |= _known(project, chunk)
    facts = {pk: fact for chunk in _chunks(ids) for pk, *fact in _facts(chunk)}
    ids = [pk for pk in ids if pk in facts]
    columns = list(zip(*(facts[pk] for pk in ids), strict=True)) if ids else [(), (), (), (), ()]
    prompts, a, b, domains, languages = columns
    return Evidence(
        ids=np.array(ids, dtype=np.int64),
        people=np.array([votes[pk][0] for pk in ids], dtype=np.float64),
        votes=np.array([votes[pk][1] for pk in ids], dtype=np.float64),
        lengths=np.column_stack([np.array(a, dtype=np.float64), np.array(b, dtype=np.float64)]),
        prompts=np.array(prompts, dtype=np.str_),
        domains=np.array(domains, dtype=np.str_),
        languages=_common(languages),
    )


def of_pairs(pairs: Sequence[Comparison], languages: Collection[str]) -> Evidence:
    """Comparisons with their texts, of which people need not have said anything (votes 0, people one half).

    `languages`: those that evidence of the project told apart; others are "other", as there.
    """
    domain = Keywords()
    found = [Reading(_last(pair.prompt.turns)).language or "" for pair in pairs]
    told = [each if each in languages else "other" for each in found]
    return Evidence(
        ids=np.array([pair.pk for pair in pairs], dtype=np.int64),
        people=np.full(len(pairs), 0.5),
        votes=np.zeros(len(pairs)),
        lengths=np.array([[len(pair.response_a.text), len(pair.response_b.text)] for pair in pairs], dtype=np.float64),
        prompts=np.array([pair.prompt.text_hash for pair in pairs], dtype=np.str_),
        domains=np.array([domain(pair.prompt.turns) for pair in pairs], dtype=np.str_),
        languages=np.array(told, dtype=np.str_),
    )


def _last(turns: Sequence[dict[str, Any]]) -> str:
    return next((str(turn.get("content", "")) for turn in reversed(turns)), "")


def answers(version: LabelerVersion, known: Evidence) -> Said:
    """What `version` said of the comparisons of `known`."""
    p_b, scores = np.full(len(known), np.nan), np.full((len(known), 2), np.nan)
    said = Judgment.objects.effective().filter(rater__labeler_version=version).order_by("round")
    abstained = 0
    for chunk in _chunks(known.ids.tolist()):
        rows = said.filter(comparison__in=chunk).values_list("comparison_id", "p_b", "provenance__scores")
        for pk, probability, both in rows:
            position = known.place[pk]
            abstained += probability is None
            p_b[position] = np.nan if probability is None else probability
            if isinstance(both, list) and len(both) == 2:
                scores[position] = both
    unusable = _unparsed(version, known, p_b) | ({"abstain": abstained} if abstained else {})
    has_scores = bool((~np.isnan(scores[~np.isnan(p_b)])).all()) and bool((~np.isnan(scores)).any())
    return Said(version, p_b, scores if has_scores else None, _orders(version, known), unusable)


def unseen(said: Said, known: Evidence) -> Said:
    """Without what the version may have been shown as an example: all known answers, when it was shown any, and the
    settled comparisons that it was shown."""
    exemplars = said.version.parameters.get("exemplars")
    if not exemplars:
        return said
    golds = Gold.objects.filter(project=said.version.labeler.project_id).values_list("comparison_id", flat=True)
    settled = [each["judgment"] for each in exemplars if "judgment" in each]
    shown = [*golds, *Judgment.objects.filter(pk__in=settled).values_list("comparison_id", flat=True)]
    p_b = np.where(np.isin(known.ids, shown), np.nan, said.p_b)
    return replace(said, p_b=p_b)


def judged_by(version: LabelerVersion, most: int = MOST) -> list[int]:
    """Ids of comparisons that a version has judged, at most `most`, drawn as those of a report."""
    judged = Judgment.objects.effective().filter(rater__labeler_version=version, p_b__isnull=False)
    ids = judged.values_list("comparison_id", flat=True).iterator(chunk_size=5000)
    return sorted(heapq.nsmallest(most, ids, key=_drawn))


def elsewhere(version: LabelerVersion, ids: Sequence[int]) -> NDArray[np.float64]:
    """(n,) its probability for B of any comparisons, NaN where it has none."""
    p_b = dict.fromkeys(ids, np.nan)
    for chunk in _chunks(list(ids)):
        rows = Judgment.objects.effective().filter(
            rater__labeler_version=version, comparison__in=chunk, p_b__isnull=False
        )
        p_b.update((pk, p) for pk, p in rows.values_list("comparison_id", "p_b") if p is not None)
    return np.array([p_b[pk] for pk in ids], dtype=np.float64)


def calibrated(
    labeler: Labeler,
    p_b: NDArray[np.float64],
    *,
    domains: Sequence[str] | NDArray[np.str_] | None = None,
    languages: Sequence[str] | NDArray[np.str_] | None = None,
    lengths: NDArray[np.float64] | None = None,
    scores: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """(n,) what stored probabilities for B of the version in use mean, by the calibration of its newest report.

    `domains`, `languages` (n,) as in `Evidence`: with coefficients of their own where the report has them, else with
    those of the whole. `lengths` (n, 2): characters of A and B; without them length is left out. `scores` (n, 2) of
    what scores responses; where they are needed and missing, and without a report on enough comparisons, `p_b` comes
    back as it is. NaN stays NaN. Exchanging A and B gives 1 − p.

    The calibration has seen what people judged: of those comparisons this measures nothing (`cross_fitted` does).
    """
    learnt = _calibration(labeler)
    if learnt is None or (learnt.margin == "scores" and scores is None):
        return np.asarray(p_b, dtype=np.float64)
    n = len(p_b)
    told = {language for _domain, language in learnt.cells}
    said = judged(
        p_b,
        lengths=np.zeros((n, 2)) if lengths is None else lengths,
        prompts=np.zeros(n),
        domains=domains,
        languages=None if languages is None else [each if each in {*told, ""} else "other" for each in languages],
        scores=scores if learnt.margin == "scores" else None,
    )
    meant = learnt.p_b(said, length=lengths is not None)
    return np.where(np.isnan(meant), said.p_b, meant)


def _calibration(labeler: Labeler) -> Calibration | None:
    """Of the newest report on the version in use; None where that rests on too few comparisons to mean anything."""
    version = labeler.versions.accepted().order_by("accepted_at", "id").last()
    report = version.reports.order_by("-id").first() if version else None
    learnt = read(report.data["calibration"]) if report else None
    return learnt if learnt and learnt.whole.n >= LEAST else None


def _sample(project: Project, levels: JudgmentQuerySet, most: int) -> list[int]:
    """Comparisons with an answer of people or a known one, drawn by `_drawn` in the database; by number."""
    levels_here = levels.order_by().values("comparison_id")
    known = _golds(project).values("comparison_id")
    either = project.comparisons.filter(Q(pk__in=levels_here) | Q(pk__in=known))
    place = Mod(F("pk") * Value(GOLDEN, BigIntegerField()), Value(2**32, BigIntegerField()))
    return sorted(either.order_by(place).values_list("pk", flat=True)[:most])


def _golds(project: Project) -> QuerySet[Gold]:
    """Known answers that name one side or a tie."""
    golds = Gold.objects.filter(project=project, retired_at=None, better__len=1)
    return golds.filter(better__0__in=list(SHARES))


def known_digest(project: Project) -> str:
    """Changes with any known answer."""
    golds = _golds(project).order_by("comparison_id").values_list("comparison_id", "better")
    return hashlib.sha256(repr(list(golds)).encode()).hexdigest()


def _known(project: Project, ids: Sequence[int]) -> dict[int, tuple[float, float]]:
    """Known answers of some comparisons, in place of people's votes."""
    golds = _golds(project).filter(comparison__in=ids).values_list("comparison_id", "better")
    return {pk: (SHARES[better[0]], GOLD_WEIGHT) for pk, better in golds}


def _drawn(pk: int) -> int:
    """Fibonacci hashing (Knuth, TAOCP 6.4): neighbours lie far apart, and the order is the same every time."""
    return pk * GOLDEN % 2**32


def _facts(ids: Sequence[int]) -> Iterator[tuple[int, str, int, int, str, str]]:
    """(comparison, digest of its prompt, characters of A and of B, domain, language)."""
    domain = Keywords()
    rows = Comparison.objects.filter(pk__in=ids).annotate(a=Length("response_a__text"), b=Length("response_b__text"))
    for pk, digest, turns, a, b in rows.values_list("pk", "prompt__text_hash", "prompt__turns", "a", "b"):
        yield pk, digest, a, b, domain(turns), Reading(_last(turns)).language or ""


def _common(languages: Sequence[str]) -> NDArray[np.str_]:
    counts = Counter(languages)
    common = [each if not each or counts[each] >= RARE else "other" for each in languages]
    return np.array(common, dtype=np.str_)


def _orders(version: LabelerVersion, known: Evidence) -> NDArray[np.float64] | None:
    """(n, 2) P(B is better) as said with A first and with B first, samples averaged; None where it never was."""
    said: dict[tuple[int, str], list[float]] = defaultdict(list)
    calls = LabelerCall.objects.filter(labeler_version=version, status=LabelerCall.Status.OK).exclude(
        step__startswith="check:"
    )
    for chunk in _chunks(known.ids.tolist()):
        rows = calls.filter(comparison__in=chunk).values_list("comparison_id", "step", "answer__p_b")
        for pk, step, p_b in rows:
            order = step.split(".")[0]
            if p_b is not None and order in ("ab", "ba"):
                said[pk, order].append(p_b)
    if not said:
        return None
    orders = np.full((len(known), 2), np.nan)
    for (pk, order), p_b in said.items():
        orders[known.place[pk], int(order == "ba")] = np.mean(p_b)
    return orders


def _unparsed(version: LabelerVersion, known: Evidence, p_b: NDArray[np.float64]) -> dict[str, int]:
    """By how their last call ended: the comparisons that were asked about and have no judgment."""
    bad = (LabelerCall.Status.UNPARSED, LabelerCall.Status.FAILED, LabelerCall.Status.LOST)
    calls = LabelerCall.objects.filter(labeler_version=version, status__in=bad).exclude(step__startswith="check:")
    missing = [pk for pk, said in zip(known.ids.tolist(), p_b, strict=True) if np.isnan(said)]
    ended: dict[int | None, str] = {}
    for chunk in _chunks(missing):
        rows = calls.filter(comparison__in=chunk).order_by("id")
        ended |= dict(rows.values_list("comparison_id", "status"))
    return dict(Counter(ended.values()))


def _chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]
