"""What routing knows of a project's comparisons, as arrays: features, embeddings, people's votes, labelers' answers.

Read by `retrain` and `route`; it holds no decision of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from typing import Any

import numpy as np
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from annotator.models import Features, FeatureSet, Judgment, Labeler, Loop, Project, Route
from annotator.pipeline import versions
from annotator.pipeline.work import StepRefused
from routing.strategies import Source

# A labeler must have answered this share of the comparisons with people's votes before a plan may use it.
COVERAGE = 0.9
# Plans whose people were not ranked.
UNRANKED = ("random", "all_people")


@dataclass
class Signals:
    """n comparisons in the order of their ids; k features, embeddings of width d, L labelers.

    `people` is the mean vote for B in [0, 1] (ties count half; NaN without votes), `votes` their number,
    `by_chance` where they were asked without a ranking, `p_b` (n, L) each labeler's probability for B (NaN where it has
    not answered).
    """

    feature_set: FeatureSet
    ids: np.ndarray
    groups: np.ndarray
    features: np.ndarray
    prompt: np.ndarray
    a: np.ndarray
    b: np.ndarray
    people: np.ndarray
    votes: np.ndarray
    by_chance: np.ndarray
    labelers: list[Labeler]
    p_b: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of `features`, as the feature set tells them."""
        return tuple(self.feature_set.names)

    @property
    def judged(self) -> np.ndarray:
        """(n,) where people have voted."""
        return self.votes > 0

    @property
    def drawn(self) -> np.ndarray:
        """(n,) where people have voted and chance had sent it to them: what every measurement rests on.

        What a ranking sent to people is harder for labelers than the rest, and would make them look worse everywhere.
        """
        return self.judged & self.by_chance


def load(project: Project) -> Signals:
    """Everything known now. Raises StepRefused when the comparisons have no features yet."""
    feature_set = project.feature_sets.filter(state=FeatureSet.State.READY).order_by("-version").first()
    if feature_set is None:
        raise StepRefused("The comparisons have no features yet. Wait for the features job, or start it on the board.")
    ids, groups, values, embeddings = _features(feature_set)
    width = embeddings.shape[1] // 3
    people, votes = _people(project, ids)
    labelers = [
        labeler
        # Baselines read no meaning and the project's own proxy only repeats its labels: no plan sends them anything.
        for labeler in project.labelers.judging().filter(enabled=True).exclude(kind__in=versions.OWN).order_by("id")
        if labeler.versions.accepted().exists()
    ]
    p_b = np.column_stack([_answers(labeler, ids) for labeler in labelers]) if labelers else np.empty((len(ids), 0))
    return Signals(
        feature_set,
        ids,
        groups,
        values,
        embeddings[:, :width],
        embeddings[:, width : 2 * width],
        embeddings[:, 2 * width :],
        people,
        votes,
        _by_chance(project, ids),
        labelers,
        p_b,
    )


def usable(signals: Signals) -> list[int]:
    """Columns of labelers that have answered nearly all comparisons which people judged by chance."""
    seen = ~np.isnan(signals.p_b[signals.drawn])
    return [column for column in range(len(signals.labelers)) if seen.size and seen[:, column].mean() >= COVERAGE]


def is_people(source: str) -> bool:
    """Whether a source of this name is people, with all or with fewer votes ("people:1")."""
    return source.split(":")[0] == Route.PEOPLE


def people_sources(project: Project, votes: Sequence[int]) -> list[Source]:
    """People with fewer votes a comparison than the project's, each a source of its own."""
    price = project.price_per_judgment
    return [Source(f"{Route.PEOPLE}:{each}", price * each, is_people=True, votes=each) for each in votes]


def fewer_votes(project: Project, signals: Signals) -> list[int]:
    """Numbers of votes the lead lets a plan choose from (`Loop.votes`), had by nearly all comparisons of chance."""
    loop = Loop.objects.filter(project=project).first()
    wanted = sorted({each for each in (loop.votes if loop else []) if 0 < each < project.votes})
    have = signals.votes[signals.drawn]
    return [each for each in wanted if have.size and (have >= each).mean() >= COVERAGE]


def prices(labeler: Labeler, ids: np.ndarray) -> list[Decimal]:
    """What each comparison costs with this labeler at most: a plan counts the highest price, so it cannot be passed.

    Raises StepRefused when a judge cannot be used as configured.
    """
    if labeler.kind == versions.RECORDED or labeler.is_free:
        return [labeler.price_per_call] * len(ids)
    judge = versions.build(versions.current_version(labeler))
    rows = labeler.project.comparisons.select_related("prompt", "response_a", "response_b").order_by("pk")
    price = {row.pk: versions.highest_price(judge, [row]) for row in rows.iterator(chunk_size=500)}  # type: ignore[arg-type]
    return [price[int(pk)].quantize(Decimal("1e-8"), ROUND_UP) for pk in ids]


def _features(feature_set: FeatureSet) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rows = (
        Features.objects.filter(feature_set=feature_set)
        .exclude(comparison__in=feature_set.project.golds.teaching().values("comparison"))
        .order_by("comparison_id")
        .values_list("comparison_id", "comparison__prompt__text_hash", "values", "embedding")
    )
    ids, groups, values, embeddings = [], [], [], []
    numbers: dict[str, int] = {}
    for comparison_id, text_hash, row, embedding in rows.iterator(chunk_size=2000):
        ids.append(comparison_id)
        groups.append(numbers.setdefault(text_hash, len(numbers)))
        values.append(np.asarray(row, dtype=np.float64))
        embeddings.append(np.frombuffer(embedding, dtype=np.float32))
    if not ids:
        raise StepRefused("The project has no comparisons yet. Import some first.")
    return np.asarray(ids), np.asarray(groups), np.vstack(values), np.vstack(embeddings)


def _people(project: Project, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = Judgment.objects.effective().levels_of_people().filter(project=project).votes_by_comparison()
    people, votes = np.full(len(ids), np.nan), np.zeros(len(ids), dtype=np.int64)
    for position, (mean, count) in placed(rows, ids):
        people[position], votes[position] = mean, count
    return people, votes


def _by_chance(project: Project, ids: np.ndarray) -> np.ndarray:
    """(n,) True but where every judgment of people is one that a plan's ranking asked for.

    A comparison that chance had sent to people first stays one of chance when a ranking asks for more votes: to leave
    it out would take the hard ones from the sample.
    """
    said = Judgment.objects.effective().levels_of_people().filter(project=project)
    by_rank = said.filter(plan__isnull=False).filter(_ranked())
    other = said.exclude(pk__in=by_rank.values("pk")).values_list("comparison_id")
    found = np.ones(len(ids), dtype=bool)
    for position, _rest in placed(by_rank.order_by().values_list("comparison_id").distinct(), ids):
        found[position] = False
    for position, _rest in placed(other.order_by().distinct(), ids):
        found[position] = True
    return found


def _ranked() -> Q:
    """Of judgments under a plan: whether its ranking asked for them, or that of a plan whose decision it kept."""
    sent = Route.objects.filter(comparison=OuterRef("comparison"), labeler=None, is_control=False)
    own = sent.filter(plan=OuterRef("plan"))
    ranked = sent.filter(is_kept=False, plan__is_seed_set=False).exclude(plan__strategy__in=UNRANKED)
    before = ranked.filter(
        plan__project=OuterRef("project"), plan__number__lt=OuterRef("plan__number"), plan__approved_at__isnull=False
    )
    return Q(Exists(ranked.filter(plan=OuterRef("plan")))) | Q(Exists(own.filter(is_kept=True)), Exists(before))


def first_votes(project: Project, ids: np.ndarray, count: int) -> np.ndarray:
    """(n,) what the first `count` people said of each comparison, as `Signals.people`; NaN where fewer have voted."""
    rows = Judgment.objects.effective().levels_of_people().filter(project=project).order_by("comparison_id", "id")
    said: dict[int, list[float]] = {}
    for position, (level,) in placed(rows.values_list("comparison_id", "level"), ids):
        if len(votes := said.setdefault(position, [])) < count:
            votes.append((1 + float(np.sign(level))) / 2)
    people = np.full(len(ids), np.nan)
    for position, votes in said.items():
        if len(votes) == count:
            people[position] = sum(votes) / count
    return people


def _answers(labeler: Labeler, ids: np.ndarray) -> np.ndarray:
    """(n,) the probability for B by the version accepted last that answered; candidates do not count."""
    rows = (
        Judgment.objects.effective()
        .filter(rater__labeler_version__labeler=labeler)
        .filter(Q(p_b__isnull=False), rater__labeler_version__accepted_at__isnull=False)
        .order_by("rater__labeler_version__accepted_at", "rater__labeler_version_id")
        .values_list("comparison_id", F("p_b"))
    )
    p_b = np.full(len(ids), np.nan)
    for position, (probability,) in placed(rows, ids):
        p_b[position] = probability
    return p_b


def placed(rows: QuerySet[Any, Any], ids: np.ndarray) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """(position in `ids`, the rest of the row) for rows whose comparison has features."""
    for comparison_id, *rest in rows.iterator(chunk_size=5000):
        position = int(np.searchsorted(ids, comparison_id))
        if position < len(ids) and ids[position] == comparison_id:
            yield position, tuple(rest)
