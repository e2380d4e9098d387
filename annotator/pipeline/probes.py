"""Checks of a labeler by pairs made for it (`labelers.checks`): asked like any pair, kept as calls, never judgments.

A made pair belongs to the comparison its prompt comes from. Its calls are rows of that comparison whose step begins
with "check:", the check's name and some digits of the pair's texts, such as "check:padding:1f03aa:ab". So the ledger
pays for them as for all calls, an answer is never bought twice, whatever else was drawn since, and nothing that reads
judgments or a labeler's own steps ever meets one. What is not asked call by call leaves one row a pair, at no cost.

A judge is also asked the attack set (`labelers.attacks`), whose pairs are ours and of no project. A call has to be
about something, so these stand at the project's first comparisons by number, one pair at each in turn, with steps such
as "check:attack:5e0b72c914:ab". Where the calls of a pair stand already, there they stay: comparisons that come or go
have nothing bought again.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, cast

from django.db.models import Count, Max, QuerySet
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator.models import Comparison, Judgment, LabelerCall, LabelerVersion, Reservation
from annotator.pipeline import call_books, calls, models, versions, work
from labelers import base

# Their verdicts came with the data, or are made of others': nobody can ask them about a new pair.
NOT_ASKED = (versions.RECORDED, versions.PROXY, versions.ENSEMBLE)
# Comparisons that pairs are made from, at most, out of the first ones by number.
POOL, AMONG = 300, 2000
BATCH = 20
SEED = 0
PREFIX = "check:"
# The scope of a run that asks these pairs (`label`).
SCOPE = "checks"
# The step of a labeler that is not asked call by call.
VERDICT = "verdict"
# Of a probe: its comparison's number and its prefix.
Key = tuple[int, str]
# What stands for the check's name in steps of the attack set.
ATTACK = "attack"


@dataclass(frozen=True)
class Probe:
    """A made pair, the comparison it belongs to, and how its steps begin."""

    comparison: Comparison
    pair: base.Pair
    prefix: str


def names(version: LabelerVersion) -> list[str]:
    """The checks that tell something about a labeler of this kind.

    A judge is asked in both orders anyway (its report compares them) and is not read in batches; what reads no
    criterion has none to flip.
    """
    from labelers import checks

    left_out = set() if version.parameters.get("by_criterion") else {"criterion_flip"}
    if version.labeler.kind == versions.JUDGE:
        left_out |= {"swap", "shuffle"}
    return [name for name in checks.NAMES if name not in left_out]


def made(version: LabelerVersion) -> list[tuple[Any, list[Probe]]]:
    """Every check (`labelers.checks.Check`) with a probe for each of its pairs, in their order."""
    from labelers import checks

    pool = _pool(version)
    votes = _votes(pool)
    people = [votes.get(each.pk, 0.5) for each in pool]
    owner = {each.prompt_id: each for each in pool}
    found = []
    for name in names(version):
        check = checks.make(name, pool, seed=SEED, people=people)
        seen: dict[str, int] = defaultdict(int)
        found.append((check, [_probe(name, pair, owner, seen) for pair in check.pairs]))
    return found


def _pool(version: LabelerVersion) -> list[Comparison]:
    """Comparisons to make pairs from: such as it has judged, else the project's first; one of each prompt."""
    project = version.labeler.project
    judged = Judgment.objects.filter(rater__labeler_version=version).order_by("comparison_id")
    ids = list(judged.values_list("comparison_id", flat=True)[:AMONG])
    ids = ids or list(project.comparisons.order_by("pk").values_list("pk", flat=True)[:AMONG])
    drawn = sorted(ids, key=lambda pk: pk * 2654435769 % 2**32)[:POOL]
    return list({each.prompt_id: each for each in _whole(drawn)}.values())


def _whole(ids: Iterable[int]) -> QuerySet[Comparison]:
    """Comparisons with their texts, by number."""
    rows = Comparison.objects.filter(pk__in=ids).select_related("prompt", "response_a", "response_b")
    return rows.defer("prompt__html", "response_a__html", "response_b__html").order_by("pk")


def _votes(pool: Sequence[Comparison]) -> dict[int, float]:
    levels = Judgment.objects.effective().levels_of_people().filter(comparison__in=pool)
    return {pk: mean for pk, mean, _count in levels.votes_by_comparison()}


def _probe(name: str, pair: Any, owner: Mapping[int, Comparison], seen: dict[str, int]) -> Probe:
    """The same pair twice in one check is two probes: it is asked twice to see whether the answer is the same."""
    texts = (pair.response_a.text, pair.response_b.text, getattr(pair, "criterion", ""))
    key = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
    seen[key] += 1
    digits = hashlib.sha256(f"{key} {seen[key]}".encode()).hexdigest()[:6]
    return Probe(owner[pair.prompt.pk], pair, f"{PREFIX}{name}:{digits}:")


def attacked(version: LabelerVersion) -> list[Probe]:
    """A probe for each pair of the attack set, in its order; none for what follows no instructions anyway."""
    from labelers import attacks

    if version.labeler.kind != versions.JUDGE:
        return []
    pairs = {_attack_prefix(pair): pair for pair in attacks.pairs()}
    first = list(version.labeler.project.comparisons.order_by("pk").values_list("pk", flat=True)[: len(pairs)])
    if not first:
        return []
    asked = _calls(version).filter(step__startswith=f"{PREFIX}{ATTACK}:").order_by("-id")
    there = {_split(step)[0]: pk for step, pk in asked.values_list("step", "comparison_id")}
    place = {prefix: there.get(prefix, first[number % len(first)]) for number, prefix in enumerate(pairs)}
    whole = {each.pk: each for each in _whole(set(place.values()))}
    return [Probe(whole[place[prefix]], pair, prefix) for prefix, pair in pairs.items()]


def _attack_prefix(pair: Any) -> str:
    texts = "\0".join((pair.response_a.text, pair.response_b.text))
    return f"{PREFIX}{ATTACK}:{hashlib.sha256(texts.encode()).hexdigest()[:10]}:"


# Asking


def estimate(version: LabelerVersion) -> tuple[int, Decimal]:
    """How many pairs are left to be judged, and the most that can cost. Raises StepRefused as `versions.build` does."""
    version = versions.of_today(version)
    if version.labeler.kind in NOT_ASKED:
        raise work.StepRefused(_("Its verdicts came with the data, or are made of others': it cannot be asked."))
    left = unanswered(version)
    if models.is_model(version.labeler.kind):
        models.refuse_without_models()
        return len(left), Decimal(0)
    judge = versions.build(version)
    if version.labeler.is_free or not isinstance(judge, base.Asking):
        return len(left), Decimal(0)
    price = sum((judge.highest_price(each.pair, step) for each in left for step in judge.steps(each.pair)), Decimal(0))
    return len(left), price.quantize(Decimal("0.000001"))


def unanswered(version: LabelerVersion) -> list[Probe]:
    probes = _all(version)
    return [probe for probe, verdict in zip(probes, verdicts(version, probes), strict=True) if verdict is None]


def _all(version: LabelerVersion) -> list[Probe]:
    return [probe for _check, probes in made(version) for probe in probes] + attacked(version)


def run(
    version: LabelerVersion,
    judge: base.Labeler | base.Asking,
    reservation: Reservation | None,
    beat: Callable[[int, int], None],
    failures: call_books.Failures,
) -> int:
    """Have all pairs judged that are not yet; gives how many were left. Raises StepRefused as `calls.Asker` does.

    `beat` is told how many of all pairs are judged.
    """
    probes = _all(version)
    left = [probe for probe, verdict in zip(probes, verdicts(version, probes), strict=True) if verdict is None]
    before = len(probes) - len(left)
    if isinstance(judge, base.Asking):
        probing = Probing(judge, left, _stored(version))
        asker = calls.Asker(
            probing, version, reservation, lambda: beat(before + len(probing.whole), len(probes)), failures
        )
        asker.ask(probing.comparisons)
        return len(left)
    for start in range(0, len(left), BATCH):
        beat(before + start, len(probes))
        _judge(version, judge, left[start : start + BATCH])
    return len(left)


def _judge(version: LabelerVersion, judge: base.Labeler, batch: Sequence[Probe]) -> None:
    verdicts = judge.judge([probe.pair for probe in batch])
    Status = LabelerCall.Status
    LabelerCall.objects.bulk_create(
        LabelerCall(
            labeler_version=version,
            comparison=probe.comparison,
            step=probe.prefix + VERDICT,
            status=Status.UNPARSED if verdict.p_b is None else Status.OK,
            answer={"text": "", "p_b": verdict.p_b},
            ended_at=now(),
        )
        for probe, verdict in zip(batch, verdicts, strict=True)
    )


class Probing:
    """A judge as the checks see it: of a comparison it is asked about the pairs that were made from it.

    Satisfies `labelers.base.Asking`.
    """

    def __init__(
        self, judge: base.Asking, probes: Sequence[Probe], stored: Mapping[Key, Mapping[str, base.Answer]] | None = None
    ) -> None:
        """`stored`: what earlier runs were answered, so that it is known when a pair has all it needs (`whole`)."""
        self.judge_itself = judge
        self.whole: set[Key] = set()
        self._given = {_key(probe): dict((stored or {}).get(_key(probe), {})) for probe in probes}
        self.of: dict[int, dict[str, Probe]] = defaultdict(dict)
        for probe in probes:
            self.of[probe.comparison.pk][probe.prefix] = probe
        self.comparisons = list({probe.comparison.pk: probe.comparison for probe in probes}.values())

    def steps(self, comparison: Any) -> tuple[str, ...]:
        mine = self.of[comparison.pk].values()
        return tuple(probe.prefix + step for probe in mine for step in self.judge_itself.steps(probe.pair))

    def needs(self, comparison: Any, step: str) -> tuple[str, ...]:
        probe, own = self._own(comparison, step)
        return tuple(probe.prefix + need for need in self.judge_itself.needs(probe.pair, own))

    def is_needed(self, comparison: Any, step: str, earlier: Mapping[str, base.Answer]) -> bool:
        probe, own = self._own(comparison, step)
        return self.judge_itself.is_needed(probe.pair, own, _bare(earlier))

    def highest_price(self, comparison: Any, step: str) -> Decimal:
        probe, own = self._own(comparison, step)
        return self.judge_itself.highest_price(probe.pair, own)

    def ask(self, comparison: Any, step: str, earlier: Mapping[str, base.Answer]) -> base.Answer:
        probe, own = self._own(comparison, step)
        answer = self.judge_itself.ask(probe.pair, own, _bare(earlier))
        self._count(probe, own, answer)
        return answer

    def _count(self, probe: Probe, own: str, answer: base.Answer) -> None:
        given = self._given[_key(probe)]
        given[own] = answer
        if _is_whole(self.judge_itself, probe.pair, given):
            self.whole.add(_key(probe))

    def delay(self, error: base.LabelerError, failures: int) -> float | None:
        return self.judge_itself.delay(error, failures)

    def verdict(self, answers: Mapping[str, base.Answer]) -> base.Verdict:
        """None about the comparison itself: the calls hold what there is."""
        return base.Verdict(base.Outcome.ABSTAIN)

    @property
    def concurrency(self) -> int:
        return self.judge_itself.concurrency

    @property
    def timeout(self) -> float:
        return self.judge_itself.timeout

    def judge(self, pairs: Sequence[base.Pair]) -> list[base.Verdict]:
        return self.judge_itself.judge(pairs)

    def _own(self, comparison: Any, step: str) -> tuple[Probe, str]:
        """The probe a step belongs to, and what the judge itself calls the step."""
        prefix, own = _split(step)
        return self.of[comparison.pk][prefix], own


def _split(step: str) -> tuple[str, str]:
    check, name, digits, own = step.split(":", 3)
    return f"{check}:{name}:{digits}:", own


def _bare(earlier: Mapping[str, base.Answer]) -> dict[str, base.Answer]:
    return {_split(step)[1]: answer for step, answer in earlier.items()}


# What came of it


def results(version: LabelerVersion) -> list[dict[str, Any]]:
    """Every check as `labelers.report` wants it; none where nothing was ever asked."""
    if not _calls(version).exists():
        return []
    nothing = base.Verdict(base.Outcome.UNPARSED)
    return [
        asdict(check.evaluate([verdict or nothing for verdict in verdicts(version, probes)]))
        for check, probes in made(version)
    ]


def attack_results(version: LabelerVersion) -> dict[str, Any] | None:
    """The attack set as `labelers.report` wants it (`labelers.attacks.summary`); None where nothing was ever asked.

    A pair without an answer counts among the errors, as one that failed.
    """
    from labelers import attacks

    probes = attacked(version)
    said = verdicts(version, probes)
    if not any(said):
        return None
    nothing = base.Verdict(base.Outcome.ERROR)
    return attacks.summary(
        [cast("attacks.Attacked", probe.pair) for probe in probes], [verdict or nothing for verdict in said]
    )


def words(version: LabelerVersion) -> str:
    """What a run of the checks says when it is over."""
    number = sum(verdict is not None for verdict in verdicts(version, _all(version)))
    return ngettext("%(n)s pair of the checks is judged", "%(n)s pairs of the checks are judged", number) % {
        "n": number
    }


def digest(version: LabelerVersion) -> str:
    """Changes when an answer comes."""
    rows = _calls(version).aggregate(n=Count("id"), last=Max("id"))
    return f"{rows['n']} {rows['last']}"


def verdicts(version: LabelerVersion, probes: Sequence[Probe]) -> list[base.Verdict | None]:
    """What it said of each pair, as it would say it of a comparison; None where not all is there that it needs."""
    stored = _stored(version)
    if not stored:
        return [None] * len(probes)
    judge = versions.unconnected(version) if version.labeler.kind == versions.JUDGE else None
    return [_verdict(judge, probe.pair, stored.get(_key(probe), {})) for probe in probes]


def _verdict(judge: base.Asking | None, pair: base.Pair, given: Mapping[str, base.Answer]) -> base.Verdict | None:
    if judge is not None:
        return judge.verdict(given) if _is_whole(judge, pair, given) else None
    if VERDICT not in given:
        return None
    p_b = given[VERDICT].p_b
    return base.Verdict(base.Outcome.UNPARSED) if p_b is None else base.verdict_of(p_b)


def _is_whole(judge: base.Asking, pair: base.Pair, given: Mapping[str, base.Answer]) -> bool:
    """Whether every step is answered that the answers of others do not make needless."""

    def earlier(step: str) -> dict[str, base.Answer]:
        return {need: given[need] for need in judge.needs(pair, step) if need in given}

    return all(step in given or not judge.is_needed(pair, step, earlier(step)) for step in judge.steps(pair))


def _stored(version: LabelerVersion) -> dict[Key, dict[str, base.Answer]]:
    """By comparison and prefix: the answers to a pair, by what the labeler itself calls the step."""
    found: dict[Key, dict[str, base.Answer]] = defaultdict(dict)
    done = _calls(version).filter(status__in=(LabelerCall.Status.OK, LabelerCall.Status.UNPARSED))
    for pk, step, answer in done.order_by("id").values_list("comparison_id", "step", "answer"):
        prefix, own = _split(step)
        found[pk, prefix][own] = base.Answer(**answer)
    return found


def _calls(version: LabelerVersion) -> QuerySet[LabelerCall]:
    return LabelerCall.objects.filter(labeler_version=version, step__startswith=PREFIX)


def _key(probe: Probe) -> Key:
    return probe.comparison.pk, probe.prefix
