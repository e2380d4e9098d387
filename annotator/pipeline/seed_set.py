"""The seed set: a random slice of the project that people judge first, with labelers asked about the same slice.

Its plan sends the slice to people with all their votes and nothing else. Whole prompts are drawn, so that no text lies
half inside, wherever enough prompts fit; a project of few large prompts is drawn comparison by comparison.

`Plan.summary["seed_set"]`: {"comparisons", "prompts", "of" (comparisons there were to draw from), "whole_prompts",
"detectable" (`readings.power`), "labelers": [{"labeler": id, "name", "most": money or "", "hindrance": words or ""}]}.
"""

from __future__ import annotations

import random
from collections import defaultdict
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from annotator import money
from annotator.models import Job, Labeler, Plan, Project, Route, User, Webhook
from annotator.pipeline import disclosures, label, scope, versions, work
from annotator.readings import power

# Whole prompts are drawn where at least so many of usual size fit: fewer say little about prompts not seen.
ENOUGH_PROMPTS = 30


def draw(project: Project, size: int, *, seed: int = 0, by: User | None = None, job: Job | None = None) -> Plan:
    """A draft that sends about `size` comparisons, drawn at random, to people; never more than `size`.

    What an earlier seed set has had judged is part of it and not drawn again. Raises StepRefused when there is nothing
    to draw from; JobCancelled, and nothing is stored, when `job` was cancelled meanwhile.
    """
    # Not at the top: it loads scikit-learn, and who asks for a seed set needs none.
    from annotator.pipeline import basis

    earlier = basis.seed_set_of(project)
    kept = list(basis.judged(earlier)) if earlier else []
    prompts = _prompts(project, {each.comparison_id for each in kept})
    there = sum(map(len, prompts.values()))
    if not there or size < 1:
        raise work.StepRefused(_("There is no comparison left to draw a seed set from. Import some first."))
    drawn, whole = _drawn(prompts, size, random.Random(f"seed set {seed}"))
    number = len(drawn) + len(kept)
    told: dict[str, Any] = {
        "comparisons": number,
        "prompts": len({text for text, ids in prompts.items() if not drawn.isdisjoint(ids)}),
        "of": there + len(kept),
        "whole_prompts": whole,
        "detectable": power.detectable(number),
    }
    fields = {"seed": seed, "revises": earlier, "created_by": by}
    with transaction.atomic():
        plan = _plan(project, kept, {pk: len(drawn) / there for pk in sorted(drawn)}, fields)
        plan.summary["seed_set"] = told | {"labelers": _labelers(plan)}
        plan.save(update_fields=["summary"])
        if job:
            job.still_mine()
    return plan


def _plan(project: Project, kept: list[Route], drawn: dict[int, float], fields: dict[str, Any]) -> Plan:
    """The draft with its routes: what is kept, and {comparison: the chance with which it was drawn}.

    Raises StepRefused when it would cost more than can be stored.
    """
    from annotator.pipeline import route

    price = project.price_per_judgment * project.votes
    cost = price * len(drawn) + sum((each.price for each in kept), Decimal(0))
    if cost > money.largest(Plan, "budget") or price > money.largest(Route, "price"):
        raise work.StepRefused(
            _(
                "%(n)s comparisons at %(each)s %(currency)s each, %(votes)s votes at %(price)s, cost more than can be "
                "stored. Draw fewer, or lower the price or the votes in the project's settings."
            )
            % {
                "n": len(drawn) + len(kept),
                "each": price,
                "currency": project.currency,
                "votes": project.votes,
                "price": project.price_per_judgment,
            }
        )
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        plan = Plan.objects.create(
            project=project,
            number=route.next_number(project),
            strategy="random",
            budget=cost.quantize(Decimal("0.000001"), "ROUND_UP"),
            cost=cost,
            summary={"shares": [_share(project, len(drawn) + len(kept), cost)]},
            is_seed_set=True,
            **fields,
        )
        route.store_routes(route.kept_route(plan, each) for each in kept)
        route.store_routes(_route(plan, pk, price, chance) for pk, chance in drawn.items())
        route.count_due(plan)
        route.announce(plan, Webhook.Event.PLANNED)
    return plan


def ask_labelers(plan: Plan, by: User | None) -> list[Job]:
    """Once the plan is at work: its labelers judge the same slice, each for at most what the draft said it may cost."""
    drawn = plan.summary.get("seed_set", {}).get("labelers", [])
    told = {each["labeler"]: each for each in drawn if not each["hindrance"]}
    jobs = []
    for labeler in plan.project.labelers.filter(pk__in=told, enabled=True).order_by("id"):
        most = told[labeler.pk]["most"]
        jobs.append(
            label.request_run(
                labeler,
                scope="filter",
                filter=_slice(plan),
                reserve=Decimal(most) if most and not labeler.is_free else None,
                by=by,
            )
        )
    return jobs


def _slice(plan: Plan) -> dict[str, Any]:
    """The plan's comparisons as a filter of the comparisons page."""
    return {"plan": plan.number, "source": Route.PEOPLE}


def _labelers(plan: Plan) -> list[dict[str, Any]]:
    """Who is asked: what judges anew and is not run on everything by itself, with the most it can cost."""
    elsewhere = (*versions.OWN, versions.RECORDED, versions.ENSEMBLE)
    asked = plan.project.labelers.judging().filter(enabled=True).exclude(kind__in=elsewhere).order_by("id")
    return [_asked(labeler, plan) for labeler in asked]


def _asked(labeler: Labeler, plan: Plan) -> dict[str, Any]:
    told = {"labeler": labeler.pk, "name": labeler.name, "most": "", "hindrance": ""}
    try:
        if disclosures.missing(labeler):
            return told | {"hindrance": _("nobody has confirmed what leaves for it")}
        expected = scope.estimate(labeler, scope.of_filter(plan.project, _slice(plan)))
    except work.StepRefused as refusal:
        return told | {"hindrance": str(refusal)}
    return told | {"most": str(expected.most)}


def _prompts(project: Project, kept: set[int]) -> dict[str, list[int]]:
    """Comparisons that may be drawn, by the text of their prompt, in a fixed order."""
    free = project.comparisons.exclude(pk__in=project.golds.teaching().values("comparison")).order_by("pk")
    found: dict[str, list[int]] = defaultdict(list)
    for pk, text in free.values_list("pk", "prompt__text_hash").iterator(chunk_size=5000):
        if pk not in kept:
            found[text].append(pk)
    return found


def _drawn(prompts: dict[str, list[int]], size: int, chance: random.Random) -> tuple[set[int], bool]:
    """Ids of at most `size` comparisons, and whether whole prompts were drawn."""
    there = sum(map(len, prompts.values()))
    if size >= there:
        return {pk for ids in prompts.values() for pk in ids}, True
    if size * len(prompts) < ENOUGH_PROMPTS * there:
        return set(chance.sample([pk for ids in prompts.values() for pk in ids], size)), False
    drawn: set[int] = set()
    for text in chance.sample(list(prompts), len(prompts)):
        if len(drawn) + len(prompts[text]) <= size:
            drawn.update(prompts[text])
    return drawn, True


def _route(plan: Plan, comparison: int, price: Decimal, chance: float) -> Route:
    return Route(
        plan=plan,
        comparison_id=comparison,
        source=Route.PEOPLE,
        votes=plan.project.votes,
        price=price,
        propensity=chance,
        reason=_("Drawn at random for the seed set."),
    )


def _share(project: Project, count: int, cost: Decimal) -> dict[str, Any]:
    each = str(project.price_per_judgment * project.votes)
    return {"source": Route.PEOPLE, "count": count, "price_each": each, "cost": str(cost), "votes": project.votes}
