"""Short ways to make what a test needs. Every builder writes real rows and leaves out nothing the rules ask for."""

from __future__ import annotations

import itertools
from hashlib import sha256
from typing import Any

from django.utils.timezone import now

from annotator import protocols
from annotator.models import (
    Comparison,
    Disclosure,
    Judgment,
    Labeler,
    LabelerVersion,
    Membership,
    Mixture,
    MixtureScore,
    MixtureSet,
    Plan,
    Project,
    Prompt,
    Protocol,
    Rater,
    Response,
    Route,
    User,
)
from annotator.pipeline import disclosures
from labelers import endpoint
from labelers.domains import Keywords

_number = itertools.count(1)


def _digest() -> str:
    """As long and as mixed as a real one: a small number in hexadecimal may read as a number with an exponent."""
    return sha256(str(next(_number)).encode()).hexdigest()


def make_user(name: str = "", **fields: Any) -> User:
    return User.objects.create_user(username=name or f"user{next(_number)}", password="correct horse", **fields)


def make_project(preset: str = "plain", **fields: Any) -> Project:
    project = Project.objects.create(**{"name": f"Project {next(_number)}", **fields})
    Protocol.objects.create(project=project, version=1, preset=preset, definition=protocols.PRESETS[preset])
    return project


def make_member(project: Project, role: str, name: str = "") -> User:
    user = make_user(name)
    Membership.objects.create(project=project, user=user, role=role)
    return user


def make_comparison(
    project: Project, prompt: str | list[dict[str, str]] = "What is rain?", a: str = "", b: str = "", **fields: Any
) -> Comparison:
    """A comparison of its own prompt; `prompt` is the user's text or all turns."""
    number = next(_number)
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    asked = Prompt.objects.create(
        project=project,
        external_id=f"p{number}",
        turns=turns,
        text_hash=str(hash(str(turns))),
        domain=Keywords()(turns),
    )
    responses = [
        Response.objects.create(prompt=asked, external_id=side, text=text, model=f"model-{side}", text_hash=text[:64])
        for side, text in (("a", a or f"Water, {number}."), ("b", b or f"Falling drops, {number}."))
    ]
    return Comparison.objects.create(
        **{
            "project": project,
            "external_id": f"c{number}",
            "prompt": asked,
            "response_a": responses[0],
            "response_b": responses[1],
            **fields,
        }
    )


def make_person(project: Project, user: User | None = None) -> Rater:
    if user:
        return Rater.objects.create(project=project, kind="person", user=user)
    return Rater.objects.create(project=project, kind="person", source="test", external_id=f"w{next(_number)}")


def make_labeler(project: Project, name: str = "", kind: str = "recorded", **fields: Any) -> Rater:
    """A labeler's rater; `rater.labeler_version.labeler` is the labeler."""
    labeler = Labeler.objects.create(project=project, name=name or f"judge{next(_number)}", kind=kind, **fields)
    version = LabelerVersion.objects.create(labeler=labeler, digest=_digest())
    return Rater.objects.create(project=project, kind="labeler", labeler_version=version)


def make_disclosure(project: Project, base_url: str, *parts: str) -> Disclosure:
    """A lead's word that `parts` (all of them, when none is named) may leave for the endpoint at `base_url`."""
    return disclosures.confirm(project, endpoint.place(base_url), parts or list(disclosures.PARTS), None)


def make_generator(project: Project, base_url: str = "http://127.0.0.1:9/v1", **fields: Any) -> Labeler:
    """Models that write responses; at its usual address nobody answers."""
    labeler = Labeler.objects.create(project=project, name=f"writer{next(_number)}", kind=Labeler.GENERATOR, **fields)
    parameters = {"base_url": base_url, "models": ["tiny"], "temperatures": [0.7], "max_tokens": 8}
    LabelerVersion.objects.create(labeler=labeler, parameters=parameters, digest=_digest())
    return labeler


def make_judgment(comparison: Comparison, rater: Rater, level: int | None = None, **fields: Any) -> Judgment:
    """A person's `level` under the project's protocol, or a labeler's `p_b`."""
    protocol = comparison.project.protocol if rater.kind == "person" else None
    if level is not None and protocol:
        fields["level"] = level
        fields["preference"] = level / protocols.read(protocol.definition).highest
    return Judgment.objects.create(
        **{
            "project": comparison.project,
            "comparison": comparison,
            "rater": rater,
            "protocol": protocol,
            "effective_at": now(),
            **fields,
        }
    )


def make_plan(project: Project, routes: dict[Comparison, Rater | None], status: str = "approved") -> Plan:
    """A plan that sends each comparison to people (None) or to a labeler's rater."""
    plan = Plan.objects.create(
        project=project, number=next(_number), status=status, strategy="random", budget=100, cost=0
    )
    for comparison, rater in routes.items():
        labeler = rater.labeler_version.labeler if rater else None
        votes = 1 if labeler else comparison.votes_wanted or project.votes
        Route.objects.create(
            plan=plan,
            comparison=comparison,
            source=labeler.name if labeler else Route.PEOPLE,
            labeler=labeler,
            votes=votes,
            price=0 if labeler else project.price_per_judgment * votes,
            reason="a test",
        )
    return plan


def make_mixtures(project: Project, feature_set: Any, count: int = 6) -> list[Any]:
    """A set over the project's comparisons, of people and a judge, with a proxy score each; people judge ever more."""
    import numpy as np

    ids = np.array(sorted(project.comparisons.values_list("pk", flat=True)), dtype=np.int64)
    number = project.mixture_sets.count() + 1
    made = MixtureSet.objects.create(
        project=project,
        number=number,
        sources=["people", "judge"],
        comparisons=ids.tobytes(),
        sampler="space-filling",
        feature_set=feature_set,
        bins={"names": ["length"], "edges": [[1.0]]},
    )
    found = []
    for place in range(count):
        share = place / max(1, count - 1)
        assignment = (np.arange(len(ids)) >= share * len(ids)).astype(np.int8)
        described = np.array([share, 1 - share, np.log1p(100 * share), 0.0, 0.0])
        mixture = Mixture.objects.create(
            mixture_set=made, number=place + 1, assignment=assignment.tobytes(), described=described.tobytes()
        )
        MixtureScore.objects.create(mixture=mixture, fidelity=MixtureScore.PROXY, score=0.6 + share / 10)
        found.append(mixture)
    return found
