"""The project's own proxy reward model as a labeler: learnt from people's votes, judging everything else for free."""

from __future__ import annotations

from annotator.models import Judgment, LabelerVersion, Outcome, Project, Rater
from labelers.proxy import Proxy

# Fewer comparisons with people's votes than this teach nothing.
ENOUGH = 50


def can_learn(project: Project) -> bool:
    """Whether people have judged enough comparisons to learn from."""
    judged = Judgment.objects.effective().filter(project=project, rater__kind=Rater.Kind.PERSON, outcome=Outcome.LEVEL)
    return judged.order_by().values("comparison").distinct()[:ENOUGH].count() >= ENOUGH


def build(version: LabelerVersion) -> Proxy:
    raise NotImplementedError(version)
