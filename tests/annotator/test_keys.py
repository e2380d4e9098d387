"""Keys of endpoints: sealed in the database, opened only to be sent where they were entered for, never shown."""

import logging

import pytest
from django.core.management import CommandError, call_command

from annotator.models import Credential, Labeler
from annotator.pipeline import keys, versions
from annotator.pipeline.work import StepRefused
from tests.builders import make_member, make_project

pytestmark = pytest.mark.django_db

KEY = "sk-a-key-nobody-may-see"
HERE = "http://127.0.0.1:9/v1"


@pytest.fixture
def project():
    return make_project()


def judge_with_key(project, base_url=HERE, place=None):
    credential = keys.store(project, place or base_url, KEY, by=None)
    labeler = Labeler.objects.create(project=project, name="judge", kind="llm_judge", credential=credential)
    versions.new_version(labeler, versions.judge_parameters(project, base_url=base_url, model="m"))
    return labeler


def test_what_is_sealed_opens_again_and_shows_nothing():
    sealed = keys.seal(KEY)
    assert keys.open_sealed(sealed) == KEY
    assert KEY.encode() not in sealed and keys.seal(KEY) != sealed


def test_the_database_holds_no_key_in_clear_and_the_labeler_is_built_with_it(project):
    labeler = judge_with_key(project)
    stored = Credential.objects.get()
    assert KEY.encode() not in bytes(stored.sealed)
    assert KEY not in f"{stored!r}{stored}{labeler.version.parameters}"
    built = versions.build(labeler.version)
    assert built.chat._secret == KEY
    assert KEY not in repr(built) + repr(built.chat)


def test_a_key_is_stored_without_what_stands_around_it_and_what_is_none_is_refused_unseen(project):
    sealed = keys.store(project, HERE, f" {KEY}\n", by=None).sealed
    assert keys.open_sealed(sealed) == KEY
    with pytest.raises(StepRefused, match="no key") as refusal:
        keys.store(project, HERE, f"{KEY}\nx", by=None)
    assert KEY not in str(refusal.value) and Credential.objects.count() == 1


def test_a_key_goes_to_the_place_it_was_entered_for_and_nowhere_else(project):
    labeler = judge_with_key(project, base_url="http://127.0.0.1:10/v1", place=HERE)
    with pytest.raises(StepRefused, match="entered for 127.0.0.1:9 and is not sent to 127.0.0.1:10"):
        versions.build(labeler.version)


def test_of_two_endpoints_only_the_keys_own_gets_it(project):
    labeler = judge_with_key(project)
    pair = {"strong": {"base_url": HERE}, "weak": {"base_url": "https://other.example/v1"}}
    version = labeler.versions.create(parameters=pair, digest="2" * 64)
    assert keys.key_for(version, HERE) == KEY
    assert keys.key_for(version, "https://other.example/v1") == ""


def test_a_key_does_not_travel_in_clear_unless_the_operator_says_so(project, settings):
    with pytest.raises(StepRefused, match="LABELER_KEYS_UNENCRYPTED"):
        keys.store(project, "http://judge.example/v1", KEY, by=None)
    settings.LABELER_KEYS_UNENCRYPTED = True
    assert keys.store(project, "http://judge.example/v1", KEY, by=None).place == "http://judge.example"
    settings.LABELER_KEYS_UNENCRYPTED = False
    labeler = Labeler.objects.create(project=project, name="j", kind="llm_judge", credential=Credential.objects.get())
    version = labeler.versions.create(parameters={"base_url": "http://judge.example/v1"}, digest="3" * 64)
    with pytest.raises(StepRefused, match="without encryption"):
        keys.key_for(version, "http://judge.example/v1")


def test_keys_are_changed_newest_first_while_the_old_ones_still_open(project, settings):
    judge_with_key(project)
    settings.ENCRYPTION_KEYS = ["n" * 40]
    assert keys.open_sealed(Credential.objects.get().sealed) == KEY, "SECRET_KEY still opens what it sealed"
    call_command("rotate_keys")
    settings.SECRET_KEY = "another" * 8
    assert keys.open_sealed(Credential.objects.get().sealed) == KEY
    settings.ENCRYPTION_KEYS = ["m" * 40, "n" * 40]
    call_command("rotate_keys")
    settings.ENCRYPTION_KEYS = ["m" * 40]
    assert keys.open_sealed(Credential.objects.get().sealed) == KEY


def test_a_lost_encryption_key_is_said_and_rotation_then_changes_nothing(project, settings):
    labeler = judge_with_key(project)
    before = bytes(Credential.objects.get().sealed)
    settings.SECRET_KEY = "another" * 8
    with pytest.raises(StepRefused, match="enter the key of the endpoint again"):
        versions.build(labeler.version)
    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("rotate_keys")
    assert bytes(Credential.objects.get().sealed) == before


def test_an_unused_key_is_forgotten(project):
    labeler = judge_with_key(project)
    assert keys.forget_unused(project) == 0
    labeler.credential = None
    labeler.save()
    assert keys.forget_unused(project) == 1


def test_neither_the_administration_nor_the_logs_show_a_key(project, client, caplog):
    caplog.set_level(logging.DEBUG)
    judge_with_key(project)
    staff = make_member(project, "lead")
    staff.is_staff = staff.is_superuser = True
    staff.save()
    client.force_login(staff)
    assert b"redential" not in client.get("/admin/").content
    assert KEY not in caplog.text
