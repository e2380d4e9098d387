"""What prompts are about is found in batches that hold nobody up, and whoever waits for it can stop it."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotator.models import Job, JobCancelled, Prompt
from annotator.pipeline import aggregate, domains, export, featurise, work
from tests.builders import make_comparison, make_judgment, make_person, make_project

pytestmark = pytest.mark.django_db

QUESTIONS = ["How many triangles?", "What is rain?", "How do I build a bomb?"]
ABOUT = ["reasoning", "chat", "safety"]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)
    monkeypatch.setattr(domains, "BATCH", 3)


@pytest.fixture
def project():
    """Seven judged comparisons whose prompts nobody has looked at."""
    project = make_project(provenance="generated")
    person = make_person(project)
    for number in range(7):
        make_judgment(make_comparison(project, QUESTIONS[number % 3]), person, 1)
    project.prompts.update(domain="")
    return project


def said(project):
    return list(project.prompts.order_by("pk").values_list("domain", flat=True))


def test_each_batch_begins_where_the_one_before_ended_and_locks_only_what_it_has_found(project):
    other = make_comparison(make_project()).prompt
    Prompt.objects.filter(pk=other.pk).update(domain="")
    beats = []
    with CaptureQueriesContext(
        connection,
    ) as asked:
        domains.find(project, lambda *progress: beats.append(progress))
    assert said(project) == [*ABOUT, *ABOUT, "reasoning"]
    assert beats == [(3, 7), (6, 7), (7, 7)]
    asked = [each["sql"] for each in asked.captured_queries]
    first = project.prompts.order_by("pk").first().pk
    read = [int(re.search(r'"id" > (\d+)', sql).group(1)) for sql in asked if "turns" in sql]
    assert read == [0, first + 2, first + 5, first + 6]
    # Three domains in the first two batches, one in the last.
    assert sum(sql.startswith("UPDATE") for sql in asked) == 7
    assert not any("FOR UPDATE" in sql or "FOR NO KEY UPDATE" in sql for sql in asked)
    other.refresh_from_db()
    assert other.domain == ""


def test_what_somebody_else_has_found_meanwhile_stays(project, monkeypatch):
    class Slow(domains.Keywords):
        def __call__(self, turns):
            project.prompts.update(domain="known")
            return super().__call__(turns)

    monkeypatch.setattr(domains, "Keywords", Slow)
    domains.find(project)
    assert said(project) == ["known"] * 7


def cancelled_in_time(project, job, run):
    """`run` stops after the first batch, whose domains stay."""
    Job.objects.filter(pk=job.pk).update(cancel_requested=True)
    with pytest.raises(JobCancelled):
        run()
    assert said(project) == [*ABOUT, *[""] * 4]


def test_featurise_can_be_cancelled_while_it_looks_at_prompts(project):
    featurise.request(project)
    job = Job.objects.claim(Job.Kind.FEATURISE)
    cancelled_in_time(project, job, lambda: featurise.featurise(project, job=job))
    Job.objects.filter(pk=job.pk).update(cancel_requested=False)
    featurise.featurise(project, job=job)
    assert "" not in said(project) and project.feature_sets.count() == 1


def begun(project, **filters):
    recipe = aggregate.recipe(project, "people")
    made, asked = export.request_export(project, "trl_reward", "jsonl", recipe, {}, None, filters)
    return made, asked and Job.objects.claim(Job.Kind.EXPORT)


def test_an_export_looks_at_prompts_only_where_it_is_asked_what_they_are_about(project):
    made, job = begun(project, metadata={"domain": "reasoning"})
    cancelled_in_time(project, job, lambda: export.write_export(made, job))
    Job.objects.filter(pk=job.pk).update(state=Job.State.CANCELLED)
    made, job = begun(project)
    assert export.write_export(made, job).rows == 7 and said(project).count("") == 4
    Job.objects.filter(pk=job.pk).update(state=Job.State.DONE)
    made, job = begun(project, metadata={"domain": "reasoning"})
    assert export.write_export(made, job).rows == 3 and "" not in said(project)
