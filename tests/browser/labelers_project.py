"""A project with AI labelers in every state: the pages of a judge that was asked, measured, edited and paused.

What one object of every kind (`world`) leaves empty: a report, a candidate, a batch file that is out, a heat map,
responses that a generator wrote.
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

LEAD, READERS = ["lead"], ["lead", "reviewer", "viewer"]
# Nobody answers there, and nothing is looked up to know that it may be called.
ENDPOINT = "http://127.0.0.1:9/v1"
# Judged by a person, and by nobody yet.
COMPARISONS, UNJUDGED = 110, 12
SUBJECTS = ("the number of triangles", "a poem about the sea", "Python code that sorts a list", "why the sky is blue")


def build(users: dict[str, str]) -> list[tuple[str, str, list[str]]]:
    """[(name, address, roles)] of its pages; `users` are names of people by role."""
    from annotator.models import Membership, User
    from annotator.pipeline import ledger
    from tests.builders import make_project

    project = make_project(name="Labelers", guidelines="# What counts\n\nTruth before *style*.\n")
    ledger.set_cap(project, Decimal(100))
    people = {role: User.objects.get(username=name) for role, name in users.items()}
    for role, user in people.items():
        Membership.objects.create(project=project, user=user, role=role)
    comparisons = _comparisons(project, people["annotator"])
    judge = _judge(project, comparisons, people["lead"])
    return [
        *_labelers(project, judge),
        *_models(project),
        *_ensemble(project, judge),
        *_runs(project, judge),
        *_generator(project),
        *_heat_map(project, comparisons[0], people["reviewer"]),
    ]


def _page(name: str, roles: list[str], *args: Any, query: str = "") -> tuple[str, str, list[str]]:
    from django.urls import reverse

    return name, reverse(name, args=args) + query, roles


def _comparisons(project: Any, annotator: Any) -> list[Any]:
    """Comparisons that a person has judged, the longer response mostly the better one."""
    from tests.builders import make_comparison, make_judgment, make_person

    draw, person, made = random.Random(0), make_person(project, annotator), []
    for number in range(COMPARISONS):
        long = "Because short waves scatter more. " * draw.randint(2, 6)
        a_better = draw.random() < 0.5
        a, b = (long, "No idea.") if a_better else ("No idea.", long)
        subject = SUBJECTS[number % len(SUBJECTS)]
        comparison = make_comparison(project, f"Tell me everything about {subject}, case {number}.", a=a, b=b)
        comparison.prompt.text_hash = f"{number:064x}"
        comparison.prompt.save()
        comparison.better = (-1 if a_better else 1) * (1 if draw.random() < 0.8 else -1)
        make_judgment(comparison, person, comparison.better)
        made.append(comparison)
    for number in range(UNJUDGED):
        make_comparison(project, f"What is rain, case {number}?")
    return made


def _said(rater: Any, comparisons: list[Any], right: float) -> None:
    from tests.builders import make_judgment

    draw = random.Random(rater.pk)
    for comparison in comparisons:
        side = comparison.better if draw.random() < right else -comparison.better
        make_judgment(comparison, rater, p_b=0.5 + side * draw.uniform(0.1, 0.49), justification="It says why.")


def _judge(project: Any, comparisons: list[Any], lead: Any) -> Any:
    """Judged everything, measured, edited since; calls of every kind, a file that is out, a stored key."""
    from annotator.models import Labeler
    from annotator.pipeline import appraise, batches, keys, versions
    from tests.builders import make_disclosure, make_labeler

    judge = Labeler.objects.create(project=project, name="A judge", kind="llm_judge", price_per_call=Decimal("0.002"))
    chosen = {"base_url": ENDPOINT, "model": "vendor/a-judge-large-instruct-2507", "temperature": 0.0}
    used = versions.edit(judge, versions.judge_parameters(project, **chosen))
    judge.credential = keys.store(project, ENDPOINT, "only-a-test", by=lead)
    judge.save()
    make_disclosure(project, ENDPOINT)
    _said(used.rater, comparisons, 0.85)
    changed = {**chosen, "variant": "critique", "max_tokens": 1024, "samples": 2, "temperature": 0.7}
    candidate = versions.edit(judge, versions.judge_parameters(project, **changed))
    _said(candidate.rater, comparisons, 0.7)
    _said(make_labeler(project, "An imported judge"), comparisons, 0.6)
    panel = appraise.Panel.of(project)
    appraise.store(used, panel)
    appraise.store(candidate, panel)
    _calls(used, comparisons)
    file, _job = batches.request_file(judge, on="everything", number=5, factor=Decimal("0.5"), most=Decimal(1), by=lead)
    batches.fill(file, lambda *_told: None)
    return judge


def _calls(version: Any, comparisons: list[Any]) -> None:
    from django.utils.timezone import now

    from annotator.models import LabelerCall

    told = {"labeler_version": version, "input_tokens": 812, "output_tokens": 9, "latency_ms": 430, "ended_at": now()}
    long = "429 Too Many Requests: the quota of this key is used up; see https://judge.example/account/limits"
    ended = {"ok": "", "unparsed": "", "failed": long, "lost": "The worker died."}
    for comparison, (status, error) in zip(comparisons, ended.items(), strict=False):
        answer = {} if error else {"text": "A is better, because it says why."}
        LabelerCall.objects.create(
            **told, comparison=comparison, status=status, error=error, answer=answer, cost=Decimal("0.002")
        )


def _labelers(project: Any, judge: Any) -> list[tuple[str, str, list[str]]]:
    here = project.pk, judge.pk
    version = judge.versions.order_by("id").last()
    return [
        _page("labelers", READERS, project.pk),
        _page("labeler", READERS, *here),
        _page("labeler_edit", LEAD, *here),
        _page("labeler_disclosure", LEAD, *here),
        _page("labeler_batches", LEAD, *here),
        _page("labeler_report", READERS, *here),
        _page("labeler_report", READERS, *here, query=f"?version={version.pk}"),
        _page("labeler_measure", LEAD, *here, query="?what=checks"),
        *(_page("labeler_run", LEAD, *here, query=f"?on={on}") for on in ("trial", "people", "everything", "filter")),
        _page("pairs", LEAD, project.pk),
    ]


def _models(project: Any) -> list[tuple[str, str, list[str]]]:
    """The forms of every kind, and a labeler with two models that nothing may leave for yet."""
    from annotator.models import Labeler, LabelerVersion
    from annotator.views import configure

    ratio = Labeler.objects.create(project=project, name="A ratio of two models", kind="density_ratio")
    server = {
        "name": "owner/strong-model",
        "revision": "a" * 40,
        "backend": "vllm",
        "base_url": "http://127.0.0.1:29/v1",
    }
    parameters = {"strong": server, "weak": {"name": "/models/weak"}, "preset": "cdr"}
    LabelerVersion.objects.create(labeler=ratio, parameters=parameters, digest="d" * 64)
    return [
        *(_page("labeler_new", LEAD, project.pk, kind) for kind in configure.KINDS),
        _page("labeler_new", LEAD, project.pk, "llm_judge", query="?preset=attributes"),
        *(_page(name, LEAD, project.pk, ratio.pk) for name in ("labeler", "labeler_edit", "labeler_disclosure")),
    ]


def _ensemble(project: Any, judge: Any) -> list[tuple[str, str, list[str]]]:
    from annotator.pipeline import appraise, combine

    members = [judge, project.labelers.get(name="An imported judge")]
    made = combine.add(project, "Together", combine.setup(project, members, combine.EQUAL, {}))
    version = combine.version_of(made)
    judged = project.comparisons.filter(judgments__rater__kind="person").order_by("pk")
    _said(version.rater, [_better(each) for each in judged], 0.85)
    appraise.store(version, appraise.Panel.of(project))
    here = project.pk, made.pk
    return [
        _page("ensemble_add", LEAD, project.pk),
        *(_page(name, LEAD, *here) for name in ("ensemble_edit", "ensemble_fill", "labeler_report", "labeler")),
    ]


def _better(comparison: Any) -> Any:
    comparison.better = 1 if comparison.judgments.get(rater__kind="person").level > 0 else -1
    return comparison


def _runs(project: Any, judge: Any) -> list[tuple[str, str, list[str]]]:
    """One that is paused and one that is over, with failures."""
    from annotator.models import Job

    failures = {
        "calls": {"busy": 12, "timeout": 3, "unparsed": 1},
        "examples": {"busy": "429 Too Many Requests: slow down; see https://judge.example/account/limits"},
        "given_up": 2,
    }
    run = {"judged": 70, "unparsed": 1, "lost": 1, "failures": failures}
    common = {"project": project, "kind": "label", "parameters": {"labeler": judge.pk}, "total": 110}
    paused = Job.objects.create(**common, key="paused", state="paused", progress=71, result={"run": run})
    over = Job.objects.create(**common, key="over", state="done", progress=110, result={"run": run})
    return [_page("run", READERS, project.pk, job.pk) for job in (paused, over)]


def _generator(project: Any) -> list[tuple[str, str, list[str]]]:
    from annotator.models import LabelerCall, Prompt, Response
    from tests.builders import make_generator

    writer = make_generator(project, ENDPOINT, price_per_call=Decimal("0.01"))
    unheard = make_generator(project, "http://127.0.0.1:19/v1")
    prompt = Prompt.objects.create(
        project=project,
        external_id="a prompt of its own",
        turns=[{"role": "user", "content": "Why is the sky blue, and why is it red in the evening?"}],
        text_hash="e" * 64,
    )
    for place, text in enumerate(("Short waves scatter **more**.\n\n- Blue first\n- Then red", "Nobody knows.")):
        made = {"answered_by": "tiny", "place": "127.0.0.1:9", "seed": 5, "finish_reason": "stop", "temperature": 0.7}
        made |= {"generator": writer.name, "version": writer.version.digest, "written_at": "2026-01-31T12:00:00"}
        made |= {"input_tokens": 21, "output_tokens": 8, "steps": ["0", "1"]}
        Response.objects.create(
            prompt=prompt,
            external_id=f"g{place}",
            text=text,
            model="tiny",
            metadata={"generated": made},
            text_hash=str(place),
        )
        for status in ("ok", "failed"):
            LabelerCall.objects.create(labeler_version=writer.version, prompt=prompt, step=f"{place}", status=status)
    asked = "?scope=waiting&number=2"
    return [
        _page("responses", READERS, project.pk),
        _page("prompt", READERS, project.pk, prompt.pk),
        _page("generator_add", LEAD, project.pk),
        _page("generator", READERS, project.pk, writer.pk),
        _page("generator", READERS, project.pk, unheard.pk),
        _page("generator_run", LEAD, project.pk, writer.pk, query=asked),
    ]


def _heat_map(project: Any, comparison: Any, reviewer: Any) -> list[tuple[str, str, list[str]]]:
    from django.utils.timezone import now

    from annotator.models import HeatMap, Review
    from tests.builders import make_judgment, make_labeler, make_person

    judgment = make_judgment(comparison, make_labeler(project, "Ratio"), p_b=0.8)
    sides = [
        [[at, min(at + 4, len(text)), (-1) ** at * (at % 7 - 3) / 2 + 0.1] for at in range(0, len(text), 4)]
        for text in (comparison.response_a.text, comparison.response_b.text)
    ]
    HeatMap.objects.create(judgment=judgment, side_a=sides[0], side_b=sides[1])
    review = Review.objects.create(
        project=project,
        comparison=comparison,
        reviewer=make_person(project, reviewer),
        a_first=False,
        revealed_at=now(),
    )
    return [
        _page("comparison", READERS, project.pk, comparison.pk),
        _page("review", ["reviewer"], project.pk, review.pk),
    ]
