"""Labelers' versions: an immutable row for every exact configuration, its rater, and the labeler built from it.

One version of a labeler is in use: the newest that was accepted. A lead's edit of a labeler that has judged makes a
candidate: it may judge what people have judged, nothing it says counts, and the lead accepts or discards it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.utils.timezone import now
from django.utils.translation import gettext as _

import labelers
from annotator import protocols
from annotator.models import Job, Judgment, Labeler, LabelerVersion, Project, Rater
from annotator.pipeline import keys
from annotator.pipeline.model_fields import FIELDS
from annotator.pipeline.work import StepRefused
from labelers import endpoint
from labelers.base import Asking, Prices, digest
from labelers.base import Labeler as LabelerContract
from labelers.keys import sendable

JUDGE = "llm_judge"
PROXY = "proxy"
ENSEMBLE = "ensemble"
RECORDED = "recorded"
# Labelers of ours that send nothing anywhere and cost nothing: they run on everything by themselves.
OWN = ("null_longest", "null_shortest", "null_random", "null_relevance", PROXY)
# How an endpoint is asked, which changes no verdict: a change of these makes no other version.
OPERATION = ("concurrency", "timeout", "calls_per_minute", "tokens_per_minute")
# Parameters of a version that its class is not built with.
_BOOKKEEPING = ("api_key_env", "guidelines_version", "protocol_version", "calls_per_minute", "tokens_per_minute")


@transaction.atomic
def new_version(labeler: Labeler, parameters: Mapping[str, Any], *, accepted: bool = True) -> LabelerVersion:
    """The version of `labeler` with these parameters and today's code; made with its rater when it is new.

    A new one is in use at once, or waits as a candidate when not `accepted`; one that is there stays as it is, but for
    how its endpoint is asked.
    """
    kind = labelers.load(labeler.kind)
    name = digest(labeler.kind, _telling(parameters), code=kind.CODE_VERSION, prompts=getattr(kind, "PROMPT_FILES", ()))
    made = {"parameters": dict(parameters), "accepted_at": now() if accepted else None}
    version, created = LabelerVersion.objects.get_or_create(labeler=labeler, digest=name, defaults=made)
    if not created and version.parameters != made["parameters"]:
        version.parameters = made["parameters"]
        version.save(update_fields=["parameters"])
    Rater.objects.get_or_create(project=labeler.project, labeler_version=version, defaults={"kind": Rater.Kind.LABELER})
    return version


def _telling(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those that make a version what it is."""
    return {key: value for key, value in parameters.items() if key not in OPERATION}


def in_use(labeler: Labeler) -> LabelerVersion | None:
    """The version whose judgments count: of those that were accepted, the newest."""
    return labeler.versions.accepted().order_by("accepted_at", "id").last()


def current_version(labeler: Labeler) -> LabelerVersion:
    """The version that judges now. Code or prompt files that changed since make a new one with the same parameters.

    That one is in use at once, unlike a lead's edit: the code it replaces is gone, so there is no incumbent that could
    go on judging. The labeler's page says so (`replaced_by_code`), and a report that sets the two side by side is asked
    for at once; it comes anew when the new one has judged.
    """
    newest = in_use(labeler)
    if labeler.kind == RECORDED:
        if newest is None:
            raise StepRefused(_("%(name)s has no recorded verdicts.") % {"name": labeler.name})
        return newest
    version = new_version(labeler, newest.parameters if newest else {})
    if newest in (None, version):
        return version
    Job.objects.request(labeler.project, Job.Kind.CHECK, key=str(labeler.pk), labeler=labeler.pk)
    return accept(version)


def replaced_by_code(version: LabelerVersion) -> LabelerVersion | None:
    """The version whose place it took because code or prompt files changed, nobody having compared them."""
    earlier = version.labeler.versions.accepted().filter(accepted_at__lt=version.accepted_at)
    before = earlier.order_by("accepted_at", "id").last()
    if before is None or _telling(before.parameters) != _telling(version.parameters):
        return None
    return before if Judgment.objects.filter(rater__labeler_version=before).exists() else None


def candidate(labeler: Labeler) -> LabelerVersion | None:
    """The version that waits for the lead's word, if there is one."""
    return labeler.versions.candidates().first()


def edit(labeler: Labeler, parameters: Mapping[str, Any]) -> LabelerVersion:
    """The version with what the lead changed: a candidate when the labeler has judged, else in use at once.

    Going back to one that was in use before is no candidate either: it was accepted once, and its judgments are there.
    """
    with transaction.atomic():
        key = Labeler.objects.select_for_update(no_key=True).get(pk=labeler.pk).credential_id
        has_judged = Judgment.objects.filter(rater__labeler_version__labeler=labeler).exists()
        if has_judged and in_use(labeler) is not None:
            return _as_candidate(labeler, parameters, key)
        return accept(new_version(labeler, parameters))


def _as_candidate(labeler: Labeler, parameters: Mapping[str, Any], key: int | None) -> LabelerVersion:
    """The only candidate, in the caller's transaction; one that was put aside is taken up with all it has judged.

    `key`: the number of the credential it begins with.
    """
    labeler.versions.candidates().update(discarded_at=now(), credential=None)
    version = new_version(labeler, parameters, accepted=False)
    if version.accepted_at is not None:
        return accept(version)
    LabelerVersion.objects.filter(pk=version.pk).update(discarded_at=None, credential=key)
    version.discarded_at, version.credential_id = None, key
    return version


def succeed(version: LabelerVersion, parameters: Mapping[str, Any]) -> LabelerVersion:
    """What `version` has become by learning anew, with its standing: in use at once, or a candidate as it was."""
    with transaction.atomic():
        Labeler.objects.select_for_update(no_key=True).get(pk=version.labeler_id)
        if version.accepted_at is not None:
            return accept(new_version(version.labeler, parameters))
        return _as_candidate(version.labeler, parameters, version.credential_id)


def of_today(version: LabelerVersion) -> LabelerVersion:
    """`version`, or where code or prompt files have changed since, the one with its parameters and its standing."""
    if version.labeler.kind == RECORDED:
        return version
    if version.accepted_at is not None:
        return new_version(version.labeler, version.parameters)
    with transaction.atomic():
        Labeler.objects.select_for_update(no_key=True).get(pk=version.labeler_id)
        return _as_candidate(version.labeler, version.parameters, version.credential_id)


def asked_for(labeler: Labeler, version_id: int | None) -> LabelerVersion:
    """The version a run is for: the one in use, or the named one, a candidate as a rule. Raises StepRefused."""
    if version_id is None:
        return current_version(labeler)
    version = labeler.versions.filter(pk=version_id, discarded_at=None).first()
    if version is None:
        raise StepRefused(_("This version of %(name)s was put aside.") % {"name": labeler.name})
    return of_today(version)


@transaction.atomic
def accept(version: LabelerVersion) -> LabelerVersion:
    """Take `version` into use: from now on its judgments count, and new ones are its. `check.accept` asks whether.

    What it has judged is counted anew by `aggregate`, some at a time.
    """
    Labeler.objects.select_for_update(no_key=True).get(pk=version.labeler_id)
    version.refresh_from_db(fields=["accepted_at", "discarded_at", "credential"])
    if version.accepted_at is None and version.discarded_at is None:
        _hand_over_key(version)
    if in_use(version.labeler) != version:
        version.accepted_at, version.discarded_at, version.recount_after = now(), None, 0
        version.save(update_fields=["accepted_at", "discarded_at", "recount_after"])
    return version


def _hand_over_key(candidate: LabelerVersion) -> None:
    """The key of a candidate that is accepted is the labeler's from now on."""
    labeler = candidate.labeler
    labeler.credential_id, candidate.credential_id = candidate.credential_id, None
    labeler.save(update_fields=["credential"])
    candidate.save(update_fields=["credential"])
    keys.forget_unused(labeler.project)


@transaction.atomic
def discard(version: LabelerVersion) -> None:
    """Put a candidate aside, with its key. Raises StepRefused when it is in use: then another has to be accepted."""
    waiting = LabelerVersion.objects.filter(pk=version.pk, accepted_at=None)
    if not waiting.update(discarded_at=now(), credential=None):
        raise StepRefused(_("This version is in use. Edit the labeler to replace it."))
    keys.forget_unused(version.labeler.project)


def renew(labeler: Labeler) -> LabelerVersion:
    """A version of a judge with the project's guidelines and protocol of today (see `edit`)."""
    return edit(labeler, judge_parameters(labeler.project, **labeler.version.parameters))


def judge_parameters(project: Project, **chosen: Any) -> dict[str, Any]:
    """What `chosen` and the project's protocol and guidelines make of a judge: its rubric is frozen with it."""
    definition = protocols.read(project.protocol.definition)
    return {
        **chosen,
        "question": definition.question,
        "tie": definition.has_tie,
        "guidelines": project.guidelines,
        "guidelines_version": project.guidelines_version,
        "protocol_version": project.protocol.version,
    }


def is_outdated(version: LabelerVersion) -> bool:
    """Whether the project's guidelines or protocol have changed since the judge was configured."""
    if version.labeler.kind != JUDGE:
        return False
    project = version.labeler.project
    then = (version.parameters.get("guidelines_version"), version.parameters.get("protocol_version"))
    return then != (project.guidelines_version, project.protocol.version)


def prices(labeler: Labeler) -> Prices:
    return Prices(labeler.price_per_call, labeler.price_per_million_input, labeler.price_per_million_output)


def new_labeler(project: Project, kind: str, name: str, price: Prices) -> Labeler:
    """A row of that name, still without a version. Raises StepRefused when the name is taken."""
    labeler, created = Labeler.objects.get_or_create(
        project=project,
        name=name,
        defaults={
            "kind": kind,
            "price_per_call": price.per_call,
            "price_per_million_input": price.per_million_input,
            "price_per_million_output": price.per_million_output,
        },
    )
    if not created:
        raise StepRefused(_("This project already has a labeler named %(name)s.") % {"name": name})
    return labeler


def connection(version: LabelerVersion) -> dict[str, Any]:
    """Key and addresses of its endpoint. Raises StepRefused when either may not be used, in words for the lead."""
    base_url = version.parameters["base_url"]
    addresses = check_endpoint(base_url)
    key = keys.key_for(version, base_url) or api_key(version.parameters.get("api_key_env", ""), base_url)
    return {"api_key": key, "addresses": addresses}


def build(version: LabelerVersion) -> LabelerContract | Asking:
    """The labeler itself. Raises StepRefused when its endpoint or key may not be used, in words for the lead."""
    kind, parameters = version.labeler.kind, dict(version.parameters)
    if kind == JUDGE:
        return unconnected(version, **connection(version))
    if kind in (PROXY, ENSEMBLE) or kind in FIELDS or kind not in labelers.KINDS:  # these: `models.build`, in a worker
        raise StepRefused(_("%(name)s cannot be built from its parameters alone.") % {"name": version.labeler})
    return labelers.load(kind)(**parameters)


def told(version: LabelerVersion) -> dict[str, Any]:
    """The parameters its class is built with."""
    return {name: value for name, value in version.parameters.items() if name not in _BOOKKEEPING}


def unconnected(version: LabelerVersion, **connection: Any) -> Any:
    """A judge without its key and addresses: for what it would send and what that can cost, never for calls."""
    return labelers.load(version.labeler.kind)(**told(version), **{"prices": prices(version.labeler), **connection})


def check_endpoint(base_url: str) -> tuple[str, ...]:
    """The addresses to connect to. Looks the host up, so never inside a transaction. Raises StepRefused."""
    try:
        return endpoint.check(base_url, allow_private=settings.LABELER_PRIVATE_ENDPOINTS)
    except endpoint.EndpointRefused as refusal:
        raise StepRefused(_("This endpoint cannot be used: %(reason)s") % {"reason": refusal}) from None


def api_key(name: str, base_url: str) -> str:
    """The key in the environment variable `name`, only for the host and port the operator named with it.

    Without that rule a lead could have any secret of the site sent to an endpoint of their own, and without https,
    or a way that stays on this machine, anybody on the network could read it.
    """
    if not name:
        return ""
    place, allowed = endpoint.place(base_url), settings.LABELER_KEYS.get(name)
    host = place.removeprefix("http://")
    if not allowed or endpoint.place(f"{urlsplit(base_url).scheme}://{allowed}") != place:
        raise StepRefused(
            _("The key %(name)s may not be sent to %(host)s; the operator allows it: LABELER_KEYS=%(name)s@%(host)s.")
            % {"name": name, "host": host}
        )
    if not endpoint.keeps_secrets(base_url):
        raise StepRefused(
            _("The key %(name)s is not sent to %(host)s without encryption: give an address that begins with https://.")
            % {"name": name, "host": host}
        )
    try:
        key = sendable(os.environ.get(name, ""))
    except ValueError:
        words = _("The environment variable %(name)s holds no key where workers run: visible ASCII without spaces.")
        raise StepRefused(words % {"name": name}) from None
    if not key:
        raise StepRefused(_("The environment variable %(name)s is empty where workers run.") % {"name": name})
    return key


def highest_price(labeler: Asking, pairs: list[Any]) -> Decimal:
    """The most that judging `pairs` can cost when every call passes at the first attempt."""
    return sum((labeler.highest_price(pair, step) for pair in pairs for step in labeler.steps(pair)), Decimal(0))
