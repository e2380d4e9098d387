"""The page Responses: from prompts alone, through a generator and its run, to comparisons."""

from decimal import Decimal

import pytest
from django.urls import reverse

from annotator.models import Disclosure, Job, Labeler
from annotator.pipeline import generate, ledger, work
from labelers.endpoint import place
from tests.annotator.test_generate import prompts, written
from tests.builders import make_comparison, make_generator, make_member, make_project
from tests.labelers.conftest import one_server, server  # noqa: F401

pytestmark = pytest.mark.django_db

FORM = {
    "name": "two models",
    "models": "tiny\nother\ntiny",
    "temperatures": "0 0.7",
    "max_tokens": "4",
    "system": "Be brief.",
    "seed": "5",
    "concurrency": "1",
    "timeout": "5",
    "price_per_call": "0.01",
    "price_per_million_input": "0",
    "price_per_million_output": "0",
}


@pytest.fixture
def project():
    project = make_project()
    ledger.set_cap(project, Decimal(10))
    return project


@pytest.fixture
def lead(client, project):
    client.force_login(make_member(project, "lead"))
    return client


def words(response):
    return response.content.decode()


def test_a_lead_adds_a_generator_confirms_what_leaves_and_lets_it_write(lead, project, server):  # noqa: F811
    prompts(project, 2)
    added = lead.post(reverse("generator_add", args=[project.pk]), {**FORM, "base_url": server.url})
    labeler = Labeler.objects.get(kind=Labeler.GENERATOR)
    assert added.headers["Location"] == reverse("generator", args=[project.pk, labeler.pk])
    assert labeler.version.parameters["models"] == ["tiny", "other"]
    assert labeler.version.parameters["temperatures"] == [0, 0.7]
    here = [project.pk, labeler.pk]

    run = reverse("generator_run", args=here)
    refused = lead.get(run, {"scope": "waiting", "number": 2}, follow=True)
    assert "confirm what leaves before it writes" in words(refused)
    page = words(lead.get(reverse("generator", args=here)))
    assert f"They may leave for {place(server.url)}" in page and "Say 0." in page and "Be brief." in page
    lead.post(
        reverse("generator_disclosure", args=here),
        {"place": place(server.url), "parts": ["prompt", "documents"], "answer": "confirm"},
    )
    assert Disclosure.objects.get().confirmed_by.username

    offered = words(lead.get(run, {"scope": "waiting", "number": 2}))
    # Two prompts × two models × (temperature 0 once, 0.7 twice), 0.01 each.
    assert "Writing <b>12 responses</b> can cost at most <b>0.12" in offered
    assert lead.post(run, {"scope": "waiting", "number": 2, "most": "0.11"}).status_code == 422
    ordered = lead.post(run, {"scope": "waiting", "number": 2, "most": "0.12"})
    job = Job.objects.get(kind=Job.Kind.GENERATE)
    assert ordered.headers["Location"] == reverse("job", args=[project.pk, job.pk])
    work.work(Job.Kind.GENERATE, generate.generate_job)
    assert len(server.requests) == 12
    assert "There is nothing left for it to write" in words(lead.get(run, {"scope": "waiting", "number": 2}))
    assert "12 answers" in words(lead.get(reverse("generator", args=here)))


@pytest.mark.slow
def test_what_failed_in_a_run_is_shown_by_kind_beside_the_run_and_the_generator(lead, project, server):  # noqa: F811
    prompts(project, 2)
    labeler = make_generator(project, server.url)
    Disclosure.objects.create(project=project, place=place(server.url), parts=["prompt", "documents"])
    server.script.append("404")
    job = generate.request_run(labeler, "waiting", 1, reserve=None if labeler.is_free else Decimal(9), by=None)
    work.work(Job.Kind.GENERATE, generate.generate_job)
    for page in (reverse("job", args=[project.pk, job.pk]), reverse("generator", args=[project.pk, labeler.pk])):
        assert "refused (4xx)" in words(lead.get(page)) and "HTTP 404 Not Found" in words(lead.get(page))


def test_more_than_the_budget_has_is_not_begun(lead, project, server):  # noqa: F811
    prompts(project, 2)
    labeler = make_generator(project, server.url, price_per_call=6)
    Disclosure.objects.create(project=project, place=place(server.url), parts=["prompt", "documents"])
    answer = lead.post(
        reverse("generator_run", args=[project.pk, labeler.pk]), {"scope": "waiting", "number": 1, "most": "99"}
    )
    assert answer.status_code == 422 and "The budget does not cover it" in words(answer)
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"models": "x" * 201}, "their names at most 200 characters"),
        ({"temperatures": "warm"}, "Numbers from 0 to 2"),
        ({"temperatures": "0.5 3"}, "Numbers from 0 to 2"),
        ({"base_url": "http://169.254.169.254/v1"}, "This endpoint cannot be used"),
    ],
)
def test_what_cannot_be_is_said_at_its_field(lead, project, wrong, field):
    answer = lead.post(
        reverse("generator_add", args=[project.pk]), {**FORM, "base_url": "http://127.0.0.1:9/v1", **wrong}
    )
    assert answer.status_code == 422 and field in words(answer)
    assert not Labeler.objects.exists()


def test_a_typed_key_is_stored_sealed_and_shown_nowhere(lead, project):
    lead.post(
        reverse("generator_add", args=[project.pk]),
        {**FORM, "base_url": "http://127.0.0.1:9/v1", "api_key": "sk-very-secret"},
    )
    labeler = Labeler.objects.get()
    assert labeler.credential.place == "127.0.0.1:9" and b"secret" not in bytes(labeler.credential.sealed)
    assert "sk-very" not in words(lead.get(reverse("generator", args=[project.pk, labeler.pk])))


def test_withdrawing_closes_the_door_again(lead, project):
    labeler = make_generator(project)
    address = reverse("generator_disclosure", args=[project.pk, labeler.pk])
    lead.post(address, {"place": "127.0.0.1:9", "parts": ["prompt", "documents"], "answer": "confirm"})
    assert "Let it write" in words(lead.get(reverse("generator", args=[project.pk, labeler.pk])))
    lead.post(address, {"place": "127.0.0.1:9", "answer": "withdraw"})
    assert "Let it write" not in words(lead.get(reverse("generator", args=[project.pk, labeler.pk])))


def test_a_word_about_parts_that_changed_meanwhile_confirms_nothing(lead, project):
    labeler = make_generator(project)
    address = reverse("generator_disclosure", args=[project.pk, labeler.pk])
    lead.post(address, {"place": "127.0.0.1:9", "parts": ["prompt"], "answer": "confirm"})
    lead.post(address, {"place": "elsewhere", "parts": ["prompt", "documents"], "answer": "confirm"})
    assert not Disclosure.objects.exists()


def test_prompts_are_listed_with_their_responses_and_paged(lead, project, monkeypatch, django_assert_max_num_queries):
    monkeypatch.setattr("annotator.views.generate.PAGE", 2)
    asked = prompts(project, 3)
    written(asked[0], "One.", "Two.")
    make_comparison(project, "What is hail?")
    address = reverse("responses", args=[project.pk])
    with django_assert_max_num_queries(25):
        page = words(lead.get(address))
    assert "<b>3</b> of 4 prompts stand in no comparison yet" in page and "1 of them have two responses" in page
    assert "Say 0." in page and "Say 2." not in page and f"?after={asked[1].pk}" in page
    following = words(lead.get(address, {"after": asked[1].pk, "only": "waiting"}))
    assert "Say 2." in following and "hail" not in following
    shown = words(lead.get(reverse("prompt", args=[project.pk, asked[0].pk])))
    assert "One." in shown and "came with a file" in shown


def test_responses_are_shown_with_where_they_come_from(lead, project, server):  # noqa: F811
    (prompt,) = prompts(project, 1)
    labeler = make_generator(project, server.url)
    Disclosure.objects.create(project=project, place=place(server.url), parts=["prompt", "documents"])
    server.always = "text:<b>Yes</b>, *always*."
    generate.request_run(labeler, "waiting", 2, reserve=None, by=None)
    work.work(Job.Kind.GENERATE, generate.generate_job)
    shown = words(lead.get(reverse("prompt", args=[project.pk, prompt.pk])))
    assert "<em>always</em>" in shown and "<b>Yes</b>" not in shown, "rendered as an annotator's text is"
    assert "said 2 times" in shown and place(server.url) in shown and "temperature 0.7" in shown


def test_making_comparisons_is_a_job_and_a_rule_there_is_not_is_refused(lead, project):
    (prompt,) = prompts(project, 1)
    written(prompt, "One.", "Two.")
    address = reverse("responses_compare", args=[project.pk])
    assert lead.post(address, {"rule": "best", "seed": 0}).status_code == 422
    lead.post(address, {"rule": "all", "seed": 7})
    assert Job.objects.get().parameters == {"rule": "all", "seed": 7}


def test_a_generator_is_on_no_page_of_labelers(lead, project):
    labeler = make_generator(project)
    assert labeler.name not in words(lead.get(reverse("labelers", args=[project.pk])))
    for name in ("labeler", "labeler_edit", "labeler_disclosure"):
        assert lead.get(reverse(name, args=[project.pk, labeler.pk])).status_code == 404
    assert labeler.name not in words(lead.get(reverse("plans", args=[project.pk])))


def test_switching_off_cancels_its_run_and_its_prices_can_be_changed(lead, project):
    labeler = make_generator(project)
    job = generate.request_run(labeler, "waiting", 1, reserve=None, by=None)
    lead.post(reverse("generator_toggle", args=[project.pk, labeler.pk]))
    job.refresh_from_db()
    labeler.refresh_from_db()
    assert (job.state, labeler.enabled) == (Job.State.CANCELLED, False)
    prices = reverse("generator_prices", args=[project.pk, labeler.pk])
    given = {"price_per_call": "0.5", "price_per_million_input": "1", "price_per_million_output": "2"}
    assert lead.post(prices, {**given, "price_per_call": "-1"}).status_code == 422
    lead.post(prices, given)
    labeler.refresh_from_db()
    assert labeler.price_per_call == Decimal("0.5")


def test_the_form_of_a_generator_shows_every_field_that_it_needs(lead, project):
    page = lead.get(reverse("generator_add", args=[project.pk]))
    needed = [name for name, field in page.context["form"].fields.items() if field.required]
    assert "name" in needed and [name for name in needed if f'name="{name}"' not in words(page)] == []
