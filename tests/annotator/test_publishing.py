"""What an export holds when it is published: consent as it is then, versions without holes, nothing else in storage."""

import json
import os
from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils.timezone import now

from annotator.models import Export, Job, JobCancelled, Profile
from annotator.pipeline import aggregate, datasets, export, parts, storing, work
from tests.builders import make_comparison, make_judgment, make_person, make_project

pytestmark = pytest.mark.django_db

TOLD = {"age": "25-34", "gender": "woman", "region": "europe"}


@pytest.fixture(autouse=True)
def quiet_broker(monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)


@pytest.fixture
def people():
    """Six people of a project, each of whom judged one comparison and agreed to publish their answers."""
    project = make_project()
    made = [make_person(project) for _number in range(6)]
    for person in made:
        make_judgment(make_comparison(project), person, 1)
        Profile(rater=person).agree(TOLD, "words")
    return made


def asked(project, format="per_rater", filters=None, **options):
    recipe = aggregate.recipe(project, "people")
    return export.request_export(project, format, "jsonl", recipe, options, None, filters)[0]


def on_store(monkeypatch, act, nth=1):
    """`act` happens when the nth file goes into storage."""
    honest, calls = storing.store, []

    def store(address, path):
        calls.append(address)
        stored = honest(address, path)
        if len(calls) == nth:
            act()
        return stored

    monkeypatch.setattr(storing, "store", store)
    return calls


def survey(done):
    (file,) = (file for file in done.files if file["name"].startswith("survey"))
    with default_storage.open(file["address"]) as lines:
        return {json.loads(line)["user_id"] for line in lines}


def lying(project):
    """Addresses of all that lies in storage of the project's exports."""
    return {
        address
        for name in storing._folders(f"exports/{project.pk}")
        for address in storing._files(f"exports/{project.pk}/{name}")
    }


def die():
    raise SystemExit("killed")


def test_who_withdraws_before_a_run_that_died_goes_on_is_not_in_it(people, monkeypatch):
    made = asked(people[0].project)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        on_store(patch, die)
        export.write_export(made)
    assert (parts._root() / str(made.pk) / "checkpoint.json").exists()
    people[0].profile.withdraw()
    assert survey(export.write_export(made)) == {person.pseudonym for person in people[1:]}


@pytest.mark.slow
def test_who_withdraws_while_files_are_stored_is_not_in_it(people, monkeypatch):
    made = asked(people[0].project)
    calls = on_store(monkeypatch, people[0].profile.withdraw, nth=2)
    done = export.write_export(made)
    assert survey(done) == {person.pseudonym for person in people[1:]}
    assert len(calls) == 2 * len(done.files)
    assert lying(done.project) == {file["address"] for file in done.files}


@pytest.mark.slow
def test_who_changes_their_answers_meanwhile_is_told_of_by_the_new_ones(people, monkeypatch):
    made = asked(people[0].project)
    on_store(monkeypatch, lambda: people[0].profile.agree({"age": "65+"}, "words"))
    assert len(survey(export.write_export(made))) == 6
    (text,) = (file for file in made.files if file["name"].startswith("survey"))
    with default_storage.open(text["address"]) as lines:
        told = {row["user_id"]: row["age"] for row in map(json.loads, lines)}
    assert told[people[0].pseudonym] is None  # alone with it


@pytest.mark.slow
def test_a_cancelled_version_leaves_no_hole(people, monkeypatch):
    project = people[0].project
    recipe = aggregate.recipe(project, "people")
    made, first = datasets.begin(
        project, "rain", None, format="trl_reward", container="jsonl", recipe=recipe, options={}, filters={}
    )
    export.run_exports()
    make_judgment(make_comparison(project), people[0], -1)
    cancelled, job = datasets.write_version(made, None)
    job.cancel()
    written, _job = datasets.write_version(made, None)
    export.run_exports()
    for each in (first, cancelled, written):
        each.refresh_from_db()
    assert (first.version, cancelled.version, written.version) == (1, None, 2)
    assert written.manifest["dataset"]["version"] == 2


def test_a_version_that_another_overtook_is_the_next_one(people, monkeypatch):
    project = people[0].project
    recipe = aggregate.recipe(project, "people")
    made, first = datasets.begin(
        project, "rain", None, format="trl_reward", container="jsonl", recipe=recipe, options={}, filters={}
    )
    other = asked(project, "trl_reward", seed=5)
    on_store(monkeypatch, lambda: Export.objects.filter(pk=other.pk).update(dataset=made, version=1))
    done = export.write_export(first)
    assert done.version == done.manifest["dataset"]["version"] == 2


@pytest.mark.slow
def test_the_number_of_an_unchanged_version_is_never_given_again(people):
    project = people[0].project
    recipe = aggregate.recipe(project, "people")
    made, _first = datasets.begin(
        project, "rain", None, format="trl_reward", container="jsonl", recipe=recipe, options={}, filters={}
    )
    export.run_exports()
    same, job = datasets.write_version(made, None)
    export.run_exports()
    job.refresh_from_db()
    assert job.result == {"export": same.number, "unchanged_since": 1}
    assert asked(project, "judgments").number == same.number + 1


@pytest.mark.slow
def test_what_was_stored_goes_when_the_export_is_cancelled_or_fails(people, monkeypatch):
    project = people[0].project
    for act in (lambda: Job.objects.update(cancel_requested=True), lambda: 1 / 0):
        made = asked(project)
        job = Job.objects.claim(Job.Kind.EXPORT)
        with monkeypatch.context() as patch, pytest.raises((JobCancelled, ZeroDivisionError)):
            calls = on_store(patch, act, nth=2)
            export.write_export(made, job)
        assert len(calls) == 2 and lying(project) == set()
        job.finish(Job.State.FAILED)


@pytest.mark.slow
def test_the_sweep_takes_what_no_export_names_and_nothing_else(people):
    project = people[0].project
    done = export.write_export(asked(project))
    named = {file["address"] for file in done.files}
    left = default_storage.save(f"exports/{project.pk}/{done.number}-per_rater-0123456789ab/a/train.jsonl", content())
    fresh = default_storage.save(f"exports/{project.pk}/99-per_rater-0123456789ab/train.jsonl", content())
    strange = default_storage.save(f"exports/{project.pk}/notes/train.jsonl", content())
    old = (now() - timedelta(days=2)).timestamp()
    for address in (*named, left, strange):
        os.utime(default_storage.path(address), (old, old))
    storing.sweep()
    assert lying(project) == {*named, fresh, strange}


def content():
    return ContentFile(b"{}\n")


@pytest.mark.parametrize("format", ["trl_reward", "per_rater"])
def test_an_export_that_filters_leave_empty_hears_of_its_cancellation(people, monkeypatch, format):
    monkeypatch.setattr(parts, "BEAT_SECONDS", -1)
    project = people[0].project
    made = asked(project, format, filters={"votes": 99})
    job = Job.objects.claim(Job.Kind.EXPORT)
    honest, beats = Job.beat, []

    def beat(self, *args):
        beats.append(args)
        if len(beats) == 2:
            Job.objects.update(cancel_requested=True)
        honest(self, *args)

    monkeypatch.setattr(Job, "beat", beat)
    with pytest.raises(JobCancelled):
        export.write_export(made, job)
    assert beats[1][0] == 6  # a page of comparisons, none of which passes


def test_an_export_that_filters_leave_empty_says_so(people):
    with pytest.raises(work.StepRefused, match="by the filters, without which 6 comparisons could go out"):
        export.write_export(asked(people[0].project, "trl_reward", filters={"votes": 99}))
