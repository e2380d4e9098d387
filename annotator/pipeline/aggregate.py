"""Judgments become labels: one label a comparison and recipe, always recomputed from all its judgments."""

from __future__ import annotations

from celery import shared_task
from django.db import connection, transaction
from django.db.models import Exists, OuterRef
from django.utils.timezone import now

from annotator.models import Comparison, Job, Judgment, Label, LabelerVersion, Project, Recipe
from annotator.models.votes import Scope, approved_plan, store
from annotator.pipeline import quality, webhooks

BATCH = 2000
# An advisory lock of ours: two workers that count one comparison at once could store the older count last.
LOCK = 0x5317C4


def default_recipe(project: Project) -> Recipe:
    """The recipe every project has: the routed source's majority, as a soft label. Made with the project."""
    return recipe(project, Recipe.Source.ROUTED)


def recipe(project: Project, source: str) -> Recipe:
    """The project's majority recipe for `source`, made when first asked for."""
    names = {Recipe.Source.ROUTED: "majority", Recipe.Source.PEOPLE: "people", Recipe.Source.POOLED: "pooled"}
    found, _created = Recipe.objects.get_or_create(
        project=project,
        name=names[Recipe.Source(source)],
        version=1,
        defaults={"source": source, "method": "majority", "is_default": source == Recipe.Source.ROUTED},
    )
    return found


def aggregate(limit: int = BATCH) -> int:
    """Bring the labels of up to `limit` new judgments up to date; gives how many judgments it took in.

    Only judgments read here are marked as seen, so one that arrives meanwhile waits for the next call. Revisions
    that were replaced before they were seen are taken in too: their comparison is counted without them.
    """
    with transaction.atomic():
        _one_at_a_time()
        marked = _take_up(limit)
        waiting = Judgment.objects.final().filter(aggregated=False).order_by("effective_at", "id")
        # No key update: the ledger may point at these rows meanwhile.
        columns = ("id", "project_id", "comparison_id", "assignment_id")
        taken = list(waiting.select_for_update(no_key=True, skip_locked=True).values_list(*columns)[:limit])
        seen = now()  # after reading them and after waiting for the lock: what was taken must be counted
        for project_id in sorted({project for _pk, project, *_rest in taken}):
            comparisons = {comparison for _pk, project, comparison, _seat in taken if project == project_id}
            plan = approved_plan(project_id)
            for each in Recipe.objects.filter(project=project_id).order_by("id"):
                store(Scope(each, plan, seen), sorted(comparisons))
            webhooks.announce_judgments(project_id, [pk for pk, project, *_rest in taken if project == project_id])
        Judgment.objects.filter(pk__in=[pk for pk, *_rest in taken]).update(aggregated=True)
        # In the same transaction: what was given in the seat is looked at exactly when it is marked as seen.
        if in_seat := [pk for pk, *_rest, assignment in taken if assignment]:
            quality.take_in(in_seat)
    return len(taken) or marked


def _take_up(limit: int) -> int:
    """Mark the next `limit` judgments of a version that was taken into use, to be counted anew; gives how many.

    In the caller's transaction, one at a time.
    """
    accepted = LabelerVersion.objects.filter(recount_after__isnull=False).order_by("pk")
    version = accepted.select_for_update(no_key=True, skip_locked=True).first()
    if version is None:
        return 0
    left = Judgment.objects.filter(rater__labeler_version=version, pk__gt=version.recount_after).order_by("pk")
    ids = list(left.values_list("pk", flat=True)[:limit])
    Judgment.objects.filter(pk__in=ids).update(aggregated=False)
    version.recount_after = ids[-1] if len(ids) == limit else None
    version.save(update_fields=["recount_after"])
    return len(ids)


def relabel(project: Project, recipe: Recipe | None = None, job: Job | None = None) -> int:
    """Recount every judged comparison of the project, under `recipe` or all its recipes; gives how many.

    Needed when what counts has changed: a plan was approved, a recipe was added. Safe beside `aggregate`.
    """
    default_recipe(project)
    recipes = [recipe] if recipe else list(project.recipes.order_by("id"))
    total = project.comparisons.count() if job else 0
    last, done = 0, 0
    while batch := _judged_after(project, last):
        with transaction.atomic():
            _one_at_a_time()
            plan = approved_plan(project.pk)
            for each in recipes:
                store(Scope(each, plan, now()), batch)
        last, done = batch[-1], done + len(batch)
        if job:
            job.beat(done, total, "labels")
    return done


def _judged_after(project: Project, last: int) -> list[int]:
    """The next comparisons by id that have judgments or a label left from earlier ones."""
    judged = Judgment.objects.filter(comparison=OuterRef("pk"))
    labelled = Label.objects.filter(comparison=OuterRef("pk"))
    comparisons = Comparison.objects.filter(Exists(judged) | Exists(labelled), project=project, pk__gt=last)
    return list(comparisons.order_by("pk").values_list("pk", flat=True)[:BATCH])


def _one_at_a_time() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


@shared_task(name="annotator.pipeline.aggregate.run_aggregates")
def run_aggregates() -> int:
    """Take in judgments until none waits; the tick sends this when there are any."""
    done = 0
    while taken := aggregate():
        done += taken
    return done
