"""Configure: a lead adds a labeler or edits one. What is typed becomes parameters, a key and a version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _

from annotator import protocols
from annotator.models import Comparison, Gold, Judgment, Labeler, LabelerVersion, Project, User
from annotator.models.judgments import Purpose
from annotator.pipeline import keys, versions
from annotator.pipeline.work import StepRefused
from labelers.base import Prices

# What a verdict is called where exemplars are shown to a judge.
_VERDICTS = {Gold.Better.A: "A", Gold.Better.B: "B", Gold.Better.TIE: "tie"}


def add(
    project: Project, kind: str, name: str, price: Prices, chosen: Mapping[str, Any], key: keys.Key, *, by: User | None
) -> Labeler:
    """A new labeler. Raises StepRefused for an endpoint, a name or parameters that cannot be used."""
    parameters = checked(project, kind, chosen)
    with transaction.atomic():
        labeler = versions.new_labeler(project, kind, name, price)
        keys.give(labeler, versions.new_version(labeler, parameters), key, by)
    return labeler


def edit(labeler: Labeler, chosen: Mapping[str, Any], key: keys.Key, *, by: User | None) -> LabelerVersion:
    """The version that was asked for; a candidate where the labeler has judged (`versions.edit`)."""
    parameters = checked(labeler.project, labeler.kind, chosen)
    with transaction.atomic():
        version = versions.edit(labeler, parameters)
        keys.give(labeler, version, key, by)
    return version


def checked(project: Project, kind: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a version, whose endpoints may be called. Looks hosts up: never inside a transaction."""
    parameters = _parameters(project, kind, chosen)
    for address in keys.addresses(parameters):
        versions.check_endpoint(address)
    return parameters


def _parameters(project: Project, kind: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    if kind in versions.OWN:
        return dict(chosen)
    if kind != versions.JUDGE:
        from annotator.pipeline import models

        return models.parameters(project, kind, dict(chosen))
    kept = dict(chosen)
    number = kept.pop("exemplar_pool", 0)
    if number:
        kept["exemplars"] = exemplars(project, number)
    return versions.judge_parameters(project, **kept)


def exemplars(project: Project, number: int) -> list[dict[str, Any]]:
    """Known answers as a judge is shown them, the oldest first, then what reviewers settled: frozen with the version.

    Only those that may be shown (`Gold.objects.examples`). Raises StepRefused when there are none.
    """
    texts = ("comparison__prompt", "comparison__response_a", "comparison__response_b")
    golds = Gold.objects.filter(project=project).examples().select_related(*texts).order_by("id")
    shown = [_exemplar(gold.comparison, Gold.Better(gold.better[0]), gold.explanation) for gold in golds[:number]]
    settled = _settled(project).select_related(*texts).order_by("id")[: number - len(shown)]
    shown += [{**_exemplar(each.comparison, _side(each), ""), "judgment": each.pk} for each in settled]
    if not shown:
        raise StepRefused(
            _(
                "There are no known answers to show as examples: those that are mixed in unseen never leave this site. "
                "Set some aside for the tutorial or the qualification on the page Quality."
            )
        )
    return shown


def _settled(project: Project) -> QuerySet[Judgment]:
    """What reviewers settled, but for comparisons with a known answer: those are shown as such, or to nobody.

    Their reasons stay here: they were written to people.
    """
    known = Gold.objects.filter(comparison=OuterRef("comparison"))
    said = Judgment.objects.effective().filter(project=project, purpose=Purpose.REVIEW, level__isnull=False)
    return said.filter(~Exists(known))


def _side(judgment: Judgment) -> Gold.Better:
    level = judgment.level or 0
    return Gold.Better.TIE if not level else Gold.Better.B if level > 0 else Gold.Better.A


def _exemplar(comparison: Comparison, better: Gold.Better, reason: str) -> dict[str, Any]:
    turns = comparison.prompt.turns
    alone = len(turns) == 1
    return {
        "prompt": turns[0]["content"] if alone else "\n\n".join(f"{each['role']}: {each['content']}" for each in turns),
        "a": comparison.response_a.text,
        "b": comparison.response_b.text,
        "verdict": _VERDICTS[better],
        "reason": reason,
    }


def attributes(project: Project) -> list[dict[str, Any]]:
    """What a judge can rate: the protocol's own attributes, then HelpSteer2's that it does not have.

    [{"key", "label", "help", "levels": [[value, label], …]}, …]
    """
    own = protocols.read(project.protocol.definition).attributes
    usual = protocols.read(protocols.PRESETS["helpsteer2"]).attributes
    taken = {attribute.key for attribute in own}
    return [_attribute(attribute) for attribute in (*own, *(each for each in usual if each.key not in taken))]


def _attribute(attribute: protocols.Attribute) -> dict[str, Any]:
    words = {level.value: level.label for level in attribute.anchors}
    values = range(attribute.minimum, attribute.maximum + 1)
    levels = [[value, str(words.get(value) or value)] for value in values]
    return {"key": attribute.key, "label": str(attribute.label), "help": str(attribute.help), "levels": levels}
