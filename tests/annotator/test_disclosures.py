"""Disclosures: nothing leaves without a lead's word, and the word can be taken back."""

import pytest
from django.urls import reverse

from annotator.models import Disclosure, Labeler
from annotator.pipeline import disclosures, versions
from tests.builders import make_disclosure, make_labeler, make_member, make_project

pytestmark = pytest.mark.django_db

HERE = "http://127.0.0.1:9/v1"


@pytest.fixture
def project():
    return make_project(guidelines="Prefer the truth.")


@pytest.fixture
def judge(project):
    labeler = Labeler.objects.create(project=project, name="judge", kind="llm_judge")
    versions.new_version(labeler, versions.judge_parameters(project, base_url=HERE, model="m"))
    return labeler


def test_a_judge_needs_a_word_for_what_it_sends(project, judge):
    parts = ["prompt", "documents", "responses", "guidelines"]
    assert disclosures.missing(judge) == ("127.0.0.1:9", parts)
    disclosures.confirm(project, "127.0.0.1:9", ["prompt", "documents"], make_member(project, "lead"))
    assert disclosures.missing(judge) == ("127.0.0.1:9", parts)
    disclosures.confirm(project, "127.0.0.1:9", ["responses", "guidelines"], make_member(project, "lead"))
    assert disclosures.missing(judge) is None


def test_a_word_for_https_is_none_for_the_same_host_in_clear(project, judge):
    version = versions.new_version(judge, {**judge.version.parameters, "base_url": "http://judge.example/v1"})
    make_disclosure(project, "https://judge.example/v1")
    assert disclosures.missing(judge, version) == ("http://judge.example", disclosures.parts_of(version))
    make_disclosure(project, "http://judge.example/v1")
    assert disclosures.missing(judge, version) is None


def test_examples_from_known_answers_need_a_word_of_their_own(project, judge):
    make_disclosure(project, HERE, "prompt", "documents", "responses", "guidelines")
    exemplars = [{"prompt": "p", "a": "a", "b": "b", "verdict": "A", "reason": ""}]
    version = versions.new_version(judge, {**judge.version.parameters, "exemplars": exemplars})
    place, parts = disclosures.missing(judge, version)
    assert "judgments" in parts


def test_a_word_holds_for_its_project_and_its_place_and_until_it_is_withdrawn(project, judge):
    make_disclosure(make_project(), HERE)
    make_disclosure(project, "http://127.0.0.1:10/v1")
    assert disclosures.missing(judge)
    make_disclosure(project, HERE)
    make_disclosure(project, HERE)
    assert disclosures.missing(judge) is None
    assert disclosures.withdraw(project, "127.0.0.1:9") == 2
    assert disclosures.missing(judge)
    assert Disclosure.objects.filter(withdrawn_at=None).count() == 2, "the others' stay"


def test_what_stays_here_needs_no_word(project):
    longest = make_labeler(project, kind="null_longest").labeler_version.labeler
    local = make_labeler(project, kind="reward_model").labeler_version.labeler
    local.versions.update(parameters={"model": {"name": "/models/tiny", "revision": "main"}})
    assert disclosures.missing(longest) is None and disclosures.missing(local) is None


def test_models_behind_an_address_need_a_word_for_each_place(project):
    labeler = make_labeler(project, kind="density_ratio").labeler_version.labeler
    labeler.versions.update(
        parameters={
            "strong": {"name": "s", "backend": "vllm", "base_url": "https://one.example/v1"},
            "weak": {"name": "w", "backend": "vllm", "base_url": "https://two.example/v1"},
        }
    )
    make_disclosure(project, "https://one.example/v1")
    assert disclosures.missing(labeler) == ("two.example", ["prompt", "documents", "responses"])


def test_a_part_there_is_not_is_refused(project):
    with pytest.raises(ValueError, match="no such part: names"):
        disclosures.confirm(project, "one.example", ["names"], None)


@pytest.mark.parametrize("place", ["\0", "elsewhere.example", ""])
def test_a_place_that_nobody_allowed_is_told_and_changes_nothing(client, project, judge, place):
    make_disclosure(project, HERE)
    client.force_login(make_member(project, "lead"))
    address = reverse("disclosure_withdraw", args=[project.pk, judge.pk])
    page = client.post(address, {"place": place}, follow=True)
    assert b"Nothing was allowed to leave for such a place." in page.content
    assert disclosures.missing(judge) is None
    client.post(address, {"place": "127.0.0.1:9"})
    assert disclosures.missing(judge)
