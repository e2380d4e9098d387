"""What routing stands on: the project's comparisons as a problem, and those that people judged by chance as evidence.

What a ranking sent to people teaches where labelers err (`routing.strategies`), and nothing else: a mixture of it, or
an accuracy on it, is one of the hard comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import ROUND_UP, Decimal
from typing import Any

import numpy as np
from django.utils.translation import gettext as _

from annotator.models import Labeler, Project, Route
from annotator.pipeline import signals, versions, work
from routing import features, mixtures, reward_proxy, strategies, traits
from routing.evidence import Evidence
from routing.paired import Paired

# Fewer judged comparisons or prompts than this cannot tell one mixture from another.
ENOUGH_JUDGED, ENOUGH_PROMPTS = 100, 8


def gather(project: Project, known: signals.Signals) -> Evidence:
    """The comparisons of `known` that people judged by chance.

    Raises StepRefused when they are too few or no labeler answered them.
    """
    _refuse_too_few(known)
    columns = signals.usable(known)
    if not columns:
        raise work.StepRefused(
            _("No AI labeler has answered what people judged. On the labelers page, run one on people's comparisons.")
        )
    labelers = [known.labelers[column] for column in columns]
    return _evidence(known, problem_of(project, known, labelers, signals.fewer_votes(project, known)))


def _refuse_too_few(known: signals.Signals) -> None:
    drawn = known.drawn
    prompts = len(np.unique(known.groups[drawn]))
    if drawn.sum() >= ENOUGH_JUDGED and prompts >= ENOUGH_PROMPTS:
        return
    counts = {"judged": int(drawn.sum()), "prompts": prompts, "enough": ENOUGH_JUDGED, "several": ENOUGH_PROMPTS}
    if ranked := int(known.judged.sum() - drawn.sum()):
        words = _(
            "People have judged %(judged)s comparisons of %(prompts)s prompts by chance, and %(ranked)s because a plan "
            "ranked them, which tell nothing about the others. A performance model needs at least %(enough)s by "
            "chance, of %(several)s prompts: raise the control share, or make a plan by “random mixture” first."
        )
        raise work.StepRefused(words % {**counts, "ranked": ranked})
    words = _(
        "People have judged %(judged)s comparisons of %(prompts)s prompts. A performance model needs at least "
        "%(enough)s of %(several)s prompts: make a plan by “random mixture” first."
    )
    raise work.StepRefused(words % counts)


def _evidence(known: signals.Signals, problem: strategies.Problem) -> Evidence:
    """What the problem knows of the comparisons that people judged by chance; bins and scales are the project's."""
    bins = mixtures.Bins.fit(problem.described, traits.names_of(problem.names))
    signed = known.features[:, features.signed(known.names)]
    drawn, scales = known.drawn, reward_proxy.scales(signed)
    return Evidence(
        names=[source.name for source in problem.sources],
        is_people=[source.is_people for source in problem.sources],
        prices=problem.units[drawn] / float(strategies.UNIT),
        design=reward_proxy.design(known.prompt[drawn], known.a[drawn], known.b[drawn], signed[drawn], scales),
        traits=problem.described[drawn],
        members=bins.members(problem.described[drawn]),
        bins=bins,
        p_b=problem.p_b[drawn],
        votes=known.votes[drawn],
        groups=known.groups[drawn],
        comparisons=known.ids[drawn],
    )


def problem_of(
    project: Project, known: signals.Signals, labelers: list[Labeler], votes: Sequence[int] = ()
) -> strategies.Problem:
    """The project's comparisons as routing sees them: people first, then `labelers`, then people with fewer `votes`.

    A recorded labeler or an ensemble can be used where it has answered, another one everywhere. Raises StepRefused
    when a judge cannot be used as configured.
    """
    columns = [known.labelers.index(labeler) for labeler in labelers]
    prices = [signals.prices(labeler, known.ids) for labeler in labelers]
    people_price = project.price_per_judgment * project.votes
    answered = ~np.isnan(known.p_b[:, columns])
    # An ensemble costs nothing where its members have judged, and cannot judge anywhere else.
    stored = (versions.RECORDED, versions.ENSEMBLE)
    can_judge = np.array([labeler.kind not in stored for labeler in labelers], dtype=bool)
    everywhere = np.ones(len(known.ids), dtype=bool)
    problem = strategies.Problem(
        features=features.symmetric(known.features, known.names),
        names=known.names,
        sources=(
            strategies.Source(Route.PEOPLE, people_price, is_people=True, votes=project.votes),
            *(strategies.Source(each.name, _mean(price)) for each, price in zip(labelers, prices, strict=True)),
            *signals.people_sources(project, votes),
        ),
        p_b=np.column_stack(
            [known.people, known.p_b[:, columns], *(signals.first_votes(project, known.ids, each) for each in votes)]
        ),
        groups=known.groups,
        votes=known.votes,
        by_chance=known.by_chance,
        prices=_price_matrix(project, prices, votes) if any(len(set(price)) > 1 for price in prices) else None,
        available=np.column_stack([everywhere, answered | can_judge, *[everywhere] * len(votes)]),
    )
    return replace(problem, traits=traits.traits(problem))


def difference_error(told: Mapping[str, Any], one: np.ndarray, other: np.ndarray, *, nested: bool = False) -> float:
    """What the judged sample leaves open of the difference of two plans with these shares of sources, each (s,).

    `told`: a performance model's metrics. One trained before it told of pairs gets McNemar's bound: all labels of two
    sources could differ.
    """
    if not told:
        return 0.0
    bound = Paired(-math.log(told["comparisons"]), 1.0, (1 - np.eye(len(one))).tolist())
    return (Paired.read(told["paired"]) if "paired" in told else bound).error(one, other, nested=nested)


def _mean(prices: list[Decimal]) -> Decimal:
    """The price shown for a labeler whose price differs between comparisons."""
    return (sum(prices, Decimal(0)) / max(1, len(prices))).quantize(Decimal("1e-8"), ROUND_UP)


def _price_matrix(project: Project, labelers: list[list[Decimal]], votes: Sequence[int]) -> np.ndarray:
    """(n, s) Decimals, people first."""
    people = [project.price_per_judgment * each for each in (project.votes, *votes)]
    whole = [np.full(len(labelers[0]), price, dtype=object) for price in people]
    return np.column_stack([whole[0], *(np.array(row) for row in labelers), *whole[1:]])
