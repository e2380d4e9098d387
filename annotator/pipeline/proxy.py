"""The project's own proxy reward model as a labeler: learnt from people's votes, judging everything for free.

Comparisons that people judged get the answer of a model that never saw their prompt, so its accuracy there is honest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from django.db.models import Max, QuerySet
from django.utils.translation import gettext as _

from annotator.models import Judgment, Labeler, LabelerVersion, Project
from annotator.models.judgments import JudgmentQuerySet
from annotator.pipeline import signals, versions
from annotator.pipeline.work import StepRefused
from labelers.proxy import Proxy

# Fewer comparisons with people's votes than this teach nothing.
ENOUGH = 50
# Learn anew when people have judged so many times more than the last version knew.
GROWTH = 1.25
FOLDS = 5


def can_learn(project: Project) -> bool:
    """Whether people have judged enough comparisons to learn from, and these have features."""
    return project.feature_sets.filter(state="ready").exists() and _votes(project).count() >= ENOUGH


def current_version(labeler: Labeler) -> LabelerVersion:
    """The newest version, or a new one when the features changed or people have judged much more since."""
    project = labeler.project
    if not can_learn(project):
        raise StepRefused(
            _("The proxy learns from people: it needs %(number)s comparisons they have judged, with features.")
            % {"number": ENOUGH}
        )
    feature_set = project.feature_sets.filter(state="ready").latest("version")
    judged = _votes(project).count()
    newest = labeler.versions.order_by("-id").first()
    if newest:
        known = newest.parameters
        if known.get("features") == feature_set.digest and judged < GROWTH * known.get("judged", 0):
            return newest
    last = _people(project).aggregate(last=Max("id"))["last"]
    learnt = {"features": feature_set.digest, "judged": judged, "last_judgment": last, "seed": 0}
    return versions.new_version(labeler, learnt)


def build(version: LabelerVersion) -> Proxy:
    """The labeler, fitted on the votes its version names; minutes for a million comparisons."""
    # Imported here, not by every web process that only asks for a run.
    from routing import features
    from routing.reward_proxy import design

    project, learnt = version.labeler.project, version.parameters
    known = signals.load(project)
    X = design(known.prompt, known.a, known.b, known.features[:, features.signed(known.names)])
    people, votes = np.full(len(known.ids), np.nan), np.zeros(len(known.ids))
    for comparison_id, mean, count in _votes(project, learnt["last_judgment"]):
        position = int(np.searchsorted(known.ids, comparison_id))
        if position < len(known.ids) and known.ids[position] == comparison_id:
            people[position], votes[position] = mean, count
    if len(np.unique(known.groups[votes > 0])) < 2:
        raise StepRefused(_("The proxy learns from votes on different prompts; so far there is only one prompt."))
    p_b = cross_fitted(X, people, votes, known.groups, learnt["seed"])
    position_of = {int(pk): position for position, pk in enumerate(known.ids)}

    def predict(pairs: Sequence[Any]) -> np.ndarray:
        return np.array([p_b[position_of[pair.pk]] if pair.pk in position_of else np.nan for pair in pairs])

    return Proxy(predict, learnt_from=learnt["judged"])


def cross_fitted(X: np.ndarray, people: np.ndarray, votes: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """(n,) P(B is better): by a model of all votes, and where there are votes by one that saw none of their group."""
    from routing.reward_proxy import RewardProxy, folds

    judged = np.flatnonzero(~np.isnan(people))
    whole = RewardProxy(seed=seed).fit(X[judged], people[judged], votes[judged], groups[judged])
    p_b = whole.predict_proba(X)[:, 1]
    for train, test in folds(groups[judged], FOLDS, seed):
        seen, unseen = judged[train], judged[test]
        part = RewardProxy(l2=whole.l2_, seed=seed).fit(X[seen], people[seen], votes[seen])
        p_b[unseen] = part.predict_proba(X[unseen])[:, 1]
    return p_b


def _people(project: Project, last_judgment: int | None = None) -> JudgmentQuerySet:
    return Judgment.objects.effective().levels_of_people(last_judgment).filter(project=project)


def _votes(project: Project, last_judgment: int | None = None) -> QuerySet[Any, Any]:
    """(comparison, mean vote for B, votes) of every comparison people judged, up to a judgment."""
    return _people(project, last_judgment).votes_by_comparison()
