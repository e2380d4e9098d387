"""Pushing an export to a hub: what gets there, once, with a token that goes nowhere else; and what may go wrong."""

import json

import pytest
from django.core.files.storage import default_storage

from annotator.models import Credential, Job, Push
from annotator.pipeline import aggregate, export, hub, keys, push, work
from tests.annotator import hub_stand_in
from tests.builders import make_comparison, make_judgment, make_person, make_project

pytestmark = pytest.mark.django_db
REPOSITORY = "ana/rain"


@pytest.fixture(autouse=True)
def quiet(monkeypatch, settings):
    monkeypatch.setattr(work, "nudge", lambda task: None)
    settings.LABELER_PRIVATE_ENDPOINTS = True


@pytest.fixture
def there():
    with hub_stand_in.running() as running:
        yield running


@pytest.fixture
def made():
    project = make_project(name="Rain")
    make_judgment(make_comparison(project), make_person(project), 1)
    return written(project)


def written(project, **options):
    asked = export.request_export(project, "trl_reward", "parquet", aggregate.recipe(project, "routed"), options, None)[
        0
    ]
    done = export.write_export(asked)
    Job.objects.update(state=Job.State.DONE)
    return done


def pushed(made, there, token=hub_stand_in.TOKEN, **options):
    """Ask for a push and do it; gives the job as it ended."""
    _push, job = push.request_push(made, there.url, REPOSITORY, keys.Key(typed=token), None, **options)
    push.run_pushes()
    job.refresh_from_db()
    return job


@pytest.mark.slow
def test_the_whole_folder_becomes_one_commit_of_a_private_repository(made, there):
    job = pushed(made, there)
    assert (job.state, job.message) == (Job.State.DONE, f"export 1 is in {REPOSITORY}, revision {'0' * 12}")
    repository = there.repositories[REPOSITORY]
    assert repository.private
    assert set(repository.files) == {file["name"] for file in made.files}
    for file in made.files:
        assert repository.files[file["name"]] == default_storage.open(file["address"]).read()
    assert [commit["summary"] for commit in repository.commits] == [f"Export 1: sha256 {made.sha256}"]
    stored = Push.objects.get()
    assert (stored.revision, stored.hub, stored.is_private) == (repository.sha, there.url, True)
    assert stored.completed_at


@pytest.mark.slow
def test_the_same_export_makes_no_second_commit(made, there):
    pushed(made, there)
    with pytest.raises(work.StepRefused, match="in ana/rain already"):
        push.request_push(made, there.url + "/", REPOSITORY, keys.Key(typed="t"), None)
    # As after a worker that died between the commit and writing that down.
    Push.objects.update(completed_at=None, revision="")
    assert pushed(made, there).state == Job.State.DONE
    repository = there.repositories[REPOSITORY]
    assert len(repository.commits) == 1
    assert Push.objects.get().revision == repository.sha


def test_asking_twice_before_it_has_run_asks_once(made, there):
    first, second = (
        push.request_push(made, there.url, REPOSITORY, keys.Key(typed=hub_stand_in.TOKEN), None) for _ in range(2)
    )
    assert first == second
    assert (Push.objects.count(), Credential.objects.count()) == (1, 1)


def test_one_that_is_being_cancelled_is_no_answer(made, there):
    key = keys.Key(typed=hub_stand_in.TOKEN)
    _push, first = push.request_push(made, there.url, REPOSITORY, key, None)
    Job.objects.filter(pk=first.pk).update(state=Job.State.RUNNING, cancel_requested=True)
    _push, second = push.request_push(made, there.url, REPOSITORY, key, None)
    assert second != first
    assert push.request_push(made, there.url, REPOSITORY, key, None)[1] == second


@pytest.mark.slow
def test_a_later_export_takes_away_what_only_an_earlier_one_put_there(made, there):
    pushed(made, there)
    repository = there.repositories[REPOSITORY]
    repository.files["default/old.parquet"] = repository.files["notes.txt"] = b"x"
    made.files = [*made.files, {**made.files[0], "name": "default/old.parquet"}]
    made.save()
    for number in range(8):
        make_judgment(make_comparison(made.project, f"Number {number}?"), make_person(made.project), 1)
    newer = written(made.project, validation=0.5)
    assert pushed(newer, there).state == Job.State.DONE
    assert set(repository.files) == {file["name"] for file in newer.files} | {"notes.txt"}
    assert len(repository.commits) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "status", "words"),
    [
        ("/api/repos/create", 401, "does not know this token (401)"),
        ("/api/repos/create", 403, "does not let this token write"),
        ("/preupload/", 403, "does not let this token write"),
        ("/commit/", 409, "somebody else changed the repository meanwhile (409). Push again."),
        ("/api/repos/create", 500, "answered with an error (500)"),
    ],
)
def test_what_the_hub_refuses_is_told_in_words(made, there, part, status, words):
    there.refuses = (part, status)
    job = pushed(made, there)
    assert job.state == Job.State.FAILED
    assert words in job.message
    assert hub_stand_in.TOKEN not in job.message
    assert not Push.objects.get().completed_at
    there.refuses = None
    assert pushed(made, there).state == Job.State.DONE


@pytest.mark.slow
def test_a_wrong_token_is_told(made, there):
    assert "does not know this token" in pushed(made, there, token="wrong").message


@pytest.mark.slow
def test_a_hub_that_does_not_answer_is_told(made):
    with hub_stand_in.running() as there:
        pass
    job = pushed(made, there)
    assert job.state == Job.State.FAILED
    assert "cannot be reached" in job.message


@pytest.mark.slow
def test_a_repository_that_everybody_reads_gets_nothing_private(made, there):
    there.repositories[REPOSITORY] = hub_stand_in.Repository(private=False)
    job = pushed(made, there)
    assert "everybody can read it" in job.message
    assert there.repositories[REPOSITORY].files == {}
    assert pushed(made, there, private=False).state == Job.State.DONE


@pytest.mark.slow
def test_cancelling_while_files_are_sent_publishes_nothing(made, there, monkeypatch):
    _push, job = push.request_push(made, there.url, REPOSITORY, keys.Key(typed=hub_stand_in.TOKEN), None)
    monkeypatch.setattr(push, "BEAT", 1)

    def cancel(told, name, begin=push._Told.begin):
        begin(told, name)
        if name.endswith(".parquet"):
            Job.objects.get(pk=job.pk).cancel()

    monkeypatch.setattr(push._Told, "begin", cancel)
    push.run_pushes()
    job.refresh_from_db()
    assert job.state == Job.State.CANCELLED
    assert there.repositories[REPOSITORY].commits == []


def test_only_hubs_over_https_or_on_this_machine(made):
    for address, words in (
        ("http://192.0.2.7", "without encryption"),
        ("ftp://hub.example", "begins with https"),
        ("http://169.254.169.254", "never called"),
        ("https://ana:pw@127.0.0.1", "leave user name and password out"),
    ):
        with pytest.raises(work.StepRefused, match=words):
            push.request_push(made, address, REPOSITORY, keys.Key(typed="t"), None)
    assert not Push.objects.exists()
    assert not Credential.objects.exists()


@pytest.mark.slow
def test_a_private_network_needs_the_operators_leave(made, there, settings):
    settings.LABELER_PRIVATE_ENDPOINTS = False
    with pytest.raises(work.StepRefused, match="LABELER_PRIVATE_ENDPOINTS=yes"):
        push.request_push(made, there.url, REPOSITORY, keys.Key(typed="t"), None)


def test_a_repository_has_an_owner_and_a_name(made, there):
    for name in ("ana", "ana/", "../x", "ana/b/c", "ana/b c", "ana/\n", "ä/b"):
        with pytest.raises(work.StepRefused, match="owner/name"):
            push.request_push(made, there.url, name, keys.Key(typed="t"), None)


@pytest.mark.slow
def test_a_hub_cannot_have_files_sent_into_the_operators_network(made, there):
    there.uploads = "http://169.254.169.254/latest"
    assert "without encryption" in pushed(made, there).message
    there.uploads = "https://169.254.169.254/latest"
    assert "never called" in pushed(made, there).message


@pytest.mark.slow
def test_the_token_goes_to_the_hub_alone(made, there):
    with hub_stand_in.running() as elsewhere:
        there.uploads = f"{elsewhere.url}/lfs"
        there.large = elsewhere.large
        assert pushed(made, there).state == Job.State.DONE
    assert {authorization for _method, _path, authorization in elsewhere.asked} == {None}
    assert {authorization for _method, path, authorization in there.asked if path.startswith("/api")} == {
        f"Bearer {hub_stand_in.TOKEN}"
    }


@pytest.mark.slow
def test_a_token_is_kept_sealed_for_its_hub_and_can_be_forgotten(made, there):
    pushed(made, there)
    stored = Credential.objects.get()
    assert hub_stand_in.TOKEN.encode() not in bytes(stored.sealed)
    keys.forget_unused(made.project)
    newer = written(made.project)
    with pytest.raises(work.StepRefused, match="Enter a token"):
        push.request_push(newer, "https://127.0.0.1:1", REPOSITORY, keys.Key(stored=stored), None)
    _push, job = push.request_push(newer, there.url, "ana/other", keys.Key(stored=stored), None)
    push.run_pushes()
    assert Job.objects.get(pk=job.pk).state == Job.State.DONE
    push.forget(stored)
    assert not Credential.objects.exists()
    assert Push.objects.filter(completed_at__isnull=False).count() == 2


@pytest.mark.slow
def test_the_library_has_its_own_connections_again_afterwards(made, there):
    from huggingface_hub import get_session

    pushed(made, there)
    assert not isinstance(get_session()._transport, hub._Guarded)


@pytest.mark.slow
def test_what_is_pushed_loads_by_its_header(made, there, tmp_path):
    pushed(made, there)
    card = there.repositories[REPOSITORY].files["README.md"].decode()
    assert card.startswith("---\nlicense:")
    assert json.loads(there.repositories[REPOSITORY].files["manifest.json"])["export"] == 1
