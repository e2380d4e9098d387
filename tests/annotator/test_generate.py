"""Models write responses to prompts: paid call by call, stored as received, nothing bought twice; then comparisons."""

import functools
from decimal import Decimal

import pytest

from annotator.models import (
    Comparison,
    Job,
    Labeler,
    LabelerCall,
    LedgerEntry,
    Prompt,
    Rater,
    Reservation,
    Response,
)
from annotator.pipeline import calls, compare, disclosures, generate, ledger, lost, work
from annotator.pipeline.work import StepRefused
from labelers import generator
from labelers.base import Prices
from labelers.chat import Retries
from labelers.endpoint import place
from tests.builders import make_comparison, make_project
from tests.labelers.conftest import one_server, server  # noqa: F401

pytestmark = pytest.mark.django_db
FREE = Prices()
PRICE = Prices(per_call=Decimal("0.01"), per_million_output=Decimal(1000))


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(generator, "Retries", functools.partial(Retries, first=0.01, longest=0.02))


@pytest.fixture
def project():
    project = make_project()
    ledger.set_cap(project, Decimal(100))
    return project


def prompts(project, number=2):
    return [
        Prompt.objects.create(
            project=project,
            external_id=f"p{n}",
            turns=[{"role": "user", "content": f"Say {n}."}],
            text_hash=f"{n}",
            metadata={"domain": "numbers"},
        )
        for n in range(number)
    ]


def writer(project, server, price=PRICE, **chosen):  # noqa: F811
    parameters = {"base_url": server.url, "models": ["tiny"], "temperatures": [0.7], "max_tokens": 4, "concurrency": 1}
    name = f"writer {project.labelers.count()}"
    labeler = generate.add_generator(project, name, price, {**parameters, "timeout": 5.0, **chosen})
    parts = disclosures.parts_of(labeler.version)
    disclosures.confirm(project, place(server.url), parts, None)
    return labeler


def run(labeler, number=1, scope="waiting", reserve=Decimal(1), **more):
    money = None if labeler.is_free else reserve
    job = generate.request_run(labeler, scope, number, reserve=money, by=None, **more)
    return worked(job)


def worked(job):
    work.work(Job.Kind.GENERATE, generate.generate_job)
    job.refresh_from_db()
    return job


def test_each_prompt_gets_n_responses_with_where_they_come_from(project, server):  # noqa: F811
    server.script.extend(["text:One.", "text:Two.", "text:Three.", "text:Four."])
    labeler = writer(project, server, system="Be brief.", seed=5)
    first, second = prompts(project)
    job = run(labeler, number=2)
    assert (job.state, job.message) == (Job.State.DONE, "4 new responses")
    said = list(first.responses.order_by("id"))
    assert [response.text for response in said] == ["One.", "Two."]
    assert {response.model for response in said} == {"tiny"}
    provenance = said[1].metadata["generated"]
    assert (provenance["temperature"], provenance["seed"], provenance["steps"]) == (0.7, 6, ["1:0.7#2"])
    assert provenance["place"] == place(server.url) and len(provenance["system_sha256"]) == 64
    assert provenance["version"] == labeler.version.digest and provenance["answered_by"].startswith("tiny")
    assert [request["seed"] for request in server.requests] == [5, 6, 5, 6]
    assert server.requests[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert set(LabelerCall.objects.values_list("comparison", "prompt", "status")) == {
        (None, first.pk, "ok"),
        (None, second.pk, "ok"),
    }
    assert not Rater.objects.exists(), "it judges nothing"


@pytest.mark.slow
def test_what_it_cost_is_in_the_ledger_and_the_rest_of_the_money_goes_back(project, server):  # noqa: F811
    labeler = writer(project, server)
    prompts(project)
    whole = generate.estimate(labeler, generate.waiting(project), 2)
    assert (whole.prompts, whole.calls) == (2, 4)
    assert run(labeler, number=2, reserve=whole.most).state == Job.State.DONE
    expected = sum(Decimal("0.01") + Decimal(call.output_tokens) / 1000 for call in LabelerCall.objects.all())
    ledger.settle()
    account = ledger.account_of(project)
    assert (account.spent, account.reserved) == (expected, 0)
    assert expected <= whole.most
    again = generate.estimate(labeler, generate.waiting(project), 2)
    assert (again.calls, again.most) == (0, 0)


@pytest.mark.slow
def test_more_samples_later_buy_only_what_is_missing(project, server):  # noqa: F811
    labeler = writer(project, server)
    prompts(project)
    run(labeler, number=1)
    assert len(server.requests) == 2
    assert generate.estimate(labeler, generate.waiting(project), 3).calls == 4
    run(labeler, number=3)
    assert len(server.requests) == 6
    run(labeler, number=3)
    assert len(server.requests) == 6


@pytest.mark.slow
def test_answers_without_responses_of_a_worker_that_died_become_responses(project, server, monkeypatch):  # noqa: F811
    labeler = writer(project, server)
    _answered, unanswered = prompts(project)
    monkeypatch.setattr(generate, "store", lambda *given: (_ for _ in ()).throw(MemoryError))
    assert run(labeler).state == Job.State.FAILED
    assert not Response.objects.exists()
    monkeypatch.undo()
    LabelerCall.objects.create(labeler_version=labeler.version, prompt=unanswered, step="1:0.7#1")
    job = run(labeler)
    assert job.message == "2 new responses; 1 call of an earlier run was lost and is counted as paid"
    assert len(server.requests) == 2, "the one in flight is asked again, the stored one is not"


def test_the_money_stops_it_and_what_was_paid_is_kept(project, server):  # noqa: F811
    labeler = writer(project, server, Prices(per_call=Decimal(1)))
    prompts(project, 3)
    job = run(labeler, reserve=Decimal(2))
    assert job.state == Job.State.FAILED
    assert "is used up" in job.message and "2 new responses" in job.message
    assert Response.objects.count() == len(server.requests) == LedgerEntry.objects.count() == 2
    assert not Reservation.objects.filter(is_open=True).exists()


def test_a_generator_with_a_price_does_nothing_without_money(project, server):  # noqa: F811
    labeler = writer(project, server)
    prompts(project)
    assert "none was set aside" in run(labeler, reserve=None).message
    assert server.requests == []


def test_nothing_leaves_before_a_lead_said_so_nor_after_that_was_withdrawn(project, server, monkeypatch):  # noqa: F811
    monkeypatch.setattr(disclosures, "HEARD", 0.0)
    monkeypatch.setattr(calls, "HANDFUL", 1)
    labeler = writer(project, server, FREE)
    prompts(project)
    disclosures.withdraw(project, place(server.url))
    job = run(labeler)
    assert job.state == Job.State.FAILED and "Texts may not leave" in job.message
    assert server.requests == []
    disclosures.confirm(project, place(server.url), ["prompt", "documents"], None)
    real = generate.store
    monkeypatch.setattr(
        generate, "store", lambda *given: (real(*given), disclosures.withdraw(project, place(server.url)))
    )
    assert run(labeler).state == Job.State.FAILED
    assert len(server.requests) == Response.objects.count() == 1


def test_cancelling_keeps_what_was_paid_and_gives_the_money_back(project, server, monkeypatch):  # noqa: F811
    when_stored(monkeypatch, Job.cancel)
    labeler = writer(project, server)
    prompts(project, 3)
    job = run(labeler)
    assert job.state == Job.State.CANCELLED
    assert Response.objects.count() == len(server.requests) == 1
    assert not Reservation.objects.filter(is_open=True).exists()


def when_stored(monkeypatch, stop):
    """After each response that is stored, its job is told to stop."""
    monkeypatch.setattr(calls, "HANDFUL", 1)
    monkeypatch.setattr(generate, "BEAT", 0.0)
    real = generate.store

    def stopped(*given):
        real(*given)
        stop(Job.objects.get())

    monkeypatch.setattr(generate, "store", stopped)


@pytest.mark.slow
def test_a_pause_keeps_the_money_and_going_on_buys_what_is_left(project, server, monkeypatch):  # noqa: F811
    labeler = writer(project, server)
    prompts(project, 3)
    with monkeypatch.context() as meanwhile:
        when_stored(meanwhile, Job.pause)
        job = run(labeler)
    assert job.state == Job.State.PAUSED and Response.objects.count() == len(server.requests) == 1
    assert Reservation.objects.filter(is_open=True).count() == 1
    assert job.resume()
    job = worked(job)
    assert job.state == Job.State.DONE and Response.objects.count() == len(server.requests) == 3
    assert not Reservation.objects.filter(is_open=True).exists()


@pytest.mark.slow
def test_prompts_are_asked_in_one_stream_and_failures_are_told_by_kind(project, server, monkeypatch):  # noqa: F811
    """A call that is asked again later holds nothing up, wherever the prompts were cut to be read."""
    monkeypatch.setattr(generate, "BATCH", 1)
    labeler = writer(project, server)
    made = prompts(project, 3)
    server.script.extend(["500", "text:Two.", "text:Three.", "text:One."])
    job = run(labeler)
    assert [each.responses.get().text for each in made] == ["One.", "Two.", "Three."]
    assert job.result["run"]["failures"]["calls"] == {"server": 1}


@pytest.mark.slow
def test_what_cannot_be_a_response_is_paid_and_told_and_never_bought_again(project, server):  # noqa: F811
    labeler = writer(project, server)
    (prompt,) = prompts(project, 1)
    server.script.extend(["text:", "text:a\0b", "text:\ud800", "text:  fine \r\n"])
    job = run(labeler, number=4)
    assert "1 new response; 3 answers are no responses" in job.message
    assert "NUL" in job.message and "empty" in job.message and "Unicode" in job.message
    assert prompt.responses.get().text == "  fine \r\n", "exactly as received"
    assert LabelerCall.objects.filter(status="unparsed", cost__gte=Decimal("0.01")).count() == 3
    run(labeler, number=4)
    assert len(server.requests) == 4


@pytest.mark.slow
def test_the_same_text_of_a_model_is_kept_once_and_counted(project, server):  # noqa: F811
    labeler = writer(project, server, models=["tiny", "other"])
    (prompt,) = prompts(project, 1)
    server.always = "text:Yes."
    job = run(labeler, number=2)
    assert job.message == "2 new responses; 2 said the same again and are kept once"
    kept = {response.model: response.metadata["generated"]["steps"] for response in prompt.responses.all()}
    assert kept == {"tiny": ["1:0.7#1", "1:0.7#2"], "other": ["2:0.7#1", "2:0.7#2"]}
    run(labeler, number=3)
    assert prompt.responses.get(model="tiny").metadata["generated"]["steps"][-1] == "1:0.7#3"
    assert prompt.responses.count() == 2


@pytest.mark.slow
def test_a_failure_that_cannot_pass_is_told_and_the_others_go_on(project, server):  # noqa: F811
    labeler = writer(project, server)
    prompts(project)
    server.script.extend(["404", "429", "text:Two.", "text:Three.", "text:Four."])
    job = run(labeler, number=2)
    assert job.message.startswith("3 new responses; 1 call failed, with: HTTP 404")
    assert len(server.requests) == 5, "the other response to the same prompt is still wanted"
    run(labeler, number=2)
    assert (Response.objects.count(), len(server.requests)) == (4, 6)


def test_a_trial_writes_to_the_prompts_that_wait_first(project, server):  # noqa: F811
    make_comparison(project)
    waiting = prompts(project, 4)
    labeler = writer(project, server)
    trial = generate.trial_prompts(labeler)
    assert trial == [prompt.pk for prompt in waiting[:3]]
    run(labeler, scope="trial", prompts=trial)
    assert generate.trial_prompts(labeler) == [
        waiting[3].pk,
        Prompt.objects.get(external_id__startswith="p", comparisons__isnull=False).pk,
    ]


def test_a_generator_is_no_labeler_that_judges(project, server):  # noqa: F811
    labeler = writer(project, server, FREE)
    assert labeler not in Labeler.objects.judging()
    assert not project.labelers.judging().exists()


def test_a_name_that_is_taken_is_refused(project, server):  # noqa: F811
    labeler = writer(project, server)
    with pytest.raises(StepRefused, match="already has a labeler named"):
        generate.add_generator(project, labeler.name, FREE, labeler.version.parameters)


def written(prompt, *texts):
    for number, text in enumerate(texts):
        Response.objects.create(
            prompt=prompt, external_id=f"{number}", text=text, model=f"m{number}", text_hash=f"{hash(text):x}"
        )


@pytest.mark.parametrize(("rule", "each"), [("all", 3), ("first", 1), ("random", 1)])
def test_a_rule_makes_comparisons_once(project, rule, each):
    for prompt in prompts(project, 4):
        written(prompt, "One.", "Two.", "Three.")
    assert compare.compare(project, rule, 3).comparisons == 4 * each
    made = Comparison.objects.first()
    assert made.metadata == {"domain": "numbers", "pair_rule": rule, "pair_seed": 3}
    assert compare.compare(project, rule, 3).comparisons == 0
    everything = compare.compare(project, "all", 9)
    assert everything.comparisons == 4 * (3 - each), "a pair is compared once, whatever rule it came by"


@pytest.mark.django_db(transaction=True)
def test_comparisons_are_made_by_a_job_and_features_follow():
    project = make_project()
    for prompt in prompts(project, 2):
        written(prompt, "One.", "Two.")
    job = worked(compare.request(project, "all", 1, by=None))
    assert (job.state, job.result) == (Job.State.DONE, {"comparisons": 2})
    assert Job.objects.filter(kind=Job.Kind.FEATURISE).count() == 1


def test_sides_are_drawn_by_the_seed_and_equal_texts_are_not_compared(project):
    asked = prompts(project, 30)
    for prompt in asked:
        written(prompt, "One.", "Two.")
    sides = [[pair[0].model for pair in compare.pairs(prompt, "first", 1)] for prompt in asked]
    assert {side for (side,) in sides} == {"m0", "m1"}
    assert sides == [[pair[0].model for pair in compare.pairs(prompt, "first", 1)] for prompt in asked]
    assert sides != [[pair[0].model for pair in compare.pairs(prompt, "first", 2)] for prompt in asked]
    (alone,) = prompts(make_project(), 1)
    written(alone, "Same.", "Same.")
    assert compare.pairs(alone, "all", 1) == []


def test_lost_calls_of_a_generator_are_counted_like_a_judges(project, server):  # noqa: F811
    labeler = writer(project, server)
    (prompt,) = prompts(project, 1)
    LabelerCall.objects.create(labeler_version=labeler.version, prompt=prompt, step="1:0.7#1")
    assert lost.count_lost(labeler) == 1


def test_one_of_each_is_told_as_one():
    assert generate.Tally(new=1, again=1, cut=1, refused=["too long"]).words() == (
        "1 new response; 1 said the same again and is kept once; 1 was cut off at the most tokens; "
        "1 answer is no response: too long"
    )
