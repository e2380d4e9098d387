"""“About you”: what is told, agreed to and taken back; and what of it an export may hold."""

import pytest
from django.test import Client
from django.urls import reverse
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.formats import source
from annotator.formats.published import per_rater
from annotator.forms import profile as form
from annotator.models import Profile
from annotator.pipeline import aggregate
from annotator.readings.raters import pseudonym
from annotator.readings.snapshot import Snapshot
from tests.builders import make_comparison, make_judgment, make_member, make_person, make_project

pytestmark = pytest.mark.django_db

TOLD = {"age": "25-34", "gender": "woman", "languages": ["sw", "en"]}


def somebody(role="annotator", project=None):
    project = project or make_project()
    user = make_member(project, role)
    client = Client()
    client.force_login(user)
    return project, user, client


def save(client, project, **given):
    given = {"words": form.digest(), "consent": "on", **TOLD, **given}
    return client.post(reverse("my_profile", args=[project.pk]), {k: v for k, v in given.items() if v is not None})


def test_answers_are_kept_with_the_words_that_were_agreed_to():
    project, user, client = somebody()
    assert save(client, project).status_code == 302
    kept = Profile.objects.get(rater__user=user)
    assert (kept.about, kept.consent, kept.is_agreed) == (TOLD, str(form.CONSENT), True)
    page = client.get(reverse("my_profile", args=[project.pk])).content.decode()
    assert 'value="25-34" selected' in page and "Withdraw and delete my answers" in page


def test_nothing_is_kept_without_consent_and_every_question_may_stay_empty():
    project, _user, client = somebody()
    refused = save(client, project, consent=None)
    assert refused.status_code == 422
    assert "Without your consent nothing is kept" in refused.content.decode()
    assert not Profile.objects.exists()
    client.post(reverse("my_profile", args=[project.pk]), {"words": form.digest(), "consent": "on"})
    assert Profile.objects.get().about == {}


@pytest.mark.parametrize("wrong", [{"age": "33"}, {"languages": ["xx"]}, {"words": "others"}])
def test_answers_outside_the_bins_and_other_words_are_refused(wrong):
    project, _user, client = somebody()
    assert save(client, project, **wrong).status_code == 422
    assert not Profile.objects.exists()


def test_withdrawing_deletes_the_answers_at_once_and_twice_is_once():
    project, _user, client = somebody()
    save(client, project)
    for _time in range(2):
        client.post(reverse("my_profile_withdraw", args=[project.pk]))
    kept = Profile.objects.get()
    assert (kept.about, kept.is_agreed, kept.consent) == ({}, False, str(form.CONSENT))
    assert "withdrawn on" in client.get(reverse("my_profile", args=[project.pk])).content.decode()
    save(client, project)
    assert Profile.objects.get().is_agreed


def test_one_s_own_answers_are_nobody_else_s():
    project, _user, client = somebody()
    save(client, project)
    _project, _lead, of_lead = somebody("lead", project)
    page = of_lead.get(reverse("my_profile", args=[project.pk])).content.decode()
    assert "nothing is kept" in page and 'value="25-34" selected' not in page
    of_lead.post(reverse("my_profile_withdraw", args=[project.pk]))
    assert Profile.objects.get().is_agreed


def test_the_page_is_in_the_menu_of_those_who_judge():
    project, _user, client = somebody()
    assert (
        reverse("my_profile", args=[project.pk]) in client.get(reverse("annotate", args=[project.pk])).content.decode()
    )


def test_an_export_reads_only_what_was_agreed_to():
    project = make_project()
    people = [make_person(project) for _number in range(3)]
    agreed, withdrawn, undecided = (Profile(rater=person, about=TOLD) for person in people)
    undecided.save()
    for each in (agreed, withdrawn):
        each.agree(TOLD, "words")
    withdrawn.withdraw()
    for person in people:
        make_judgment(make_comparison(project), person, 1)
    snapshot = Snapshot.take(project, aggregate.default_recipe(project), source.Filters())
    assert snapshot.profiles() == {pseudonym(people[0]): TOLD}


def test_the_questions_of_the_page_are_those_of_the_export():
    assert set(form.ProfileForm(profile=None).fields) == {*per_rater.QUESTIONS, "words", "consent"}


ANSWERS = st.fixed_dictionaries(
    {question: st.sampled_from(["x", "y", None]) for question in per_rater.QUESTIONS if question != "languages"}
    | {"languages": st.sampled_from([["en"], ["en", "sw"], None])}
)


@given(st.lists(ANSWERS, max_size=30), st.integers(2, 5))
@settings(max_examples=30, deadline=None)
def test_no_combination_of_answers_is_told_of_too_few(answers, smallest):
    told = {f"person-{number}": each for number, each in enumerate(answers)}
    kept = per_rater.in_crowds(told, smallest)
    # Whatever is known of somebody, as many others cannot be told from them by it.
    for each in kept.values():
        said = {question: value for question, value in each.items() if value is not None}
        if said:
            assert sum(said.items() <= dict(other).items() for other in kept.values()) >= smallest
    assert all(kept[who][question] in (each[question], None) for who, each in told.items() for question in each)


def test_a_crowd_that_is_large_enough_keeps_every_answer():
    about = {**dict.fromkeys(per_rater.QUESTIONS, "x"), "languages": ["en"]}
    told = {f"person-{number}": dict(about) for number in range(per_rater.SMALLEST)}
    assert per_rater.in_crowds(told) == told


def test_the_words_of_the_consent_promise_what_the_export_keeps():
    assert ("five people" in str(form.CONSENT), per_rater.SMALLEST) == (True, 5)
