"""Webhooks against a real receiver: signed, tried again, never twice as two, never into the operator's network."""

import hashlib
import hmac
import json
import time
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction
from django.urls import resolve, reverse
from django.utils.http import http_date
from django.utils.timezone import now

from annotator import tick
from annotator.models import Delivery, Job, Judgment, KeptAnswer, Webhook
from annotator.models.jobs import MAX_ATTEMPTS
from annotator.pipeline import aggregate, export, ingest, ingest_tables, keys, route, webhooks, work
from labelers import endpoint
from tests.api.program import assert_problem, lead_program, row
from tests.api.receiver import receiving
from tests.builders import make_comparison, make_judgment, make_member, make_person, make_plan, make_project

pytestmark = pytest.mark.django_db
EVENTS = list(Webhook.Event.values)


@pytest.fixture(autouse=True)
def quiet_broker(monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)


@pytest.fixture(scope="module")
def server():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def receiver(server):
    server.answers, server.pause = [], 0.0
    server.calls.clear()
    return server


@pytest.fixture
def project():
    return make_project()


@pytest.fixture
def hook(project, receiver):
    return webhooks.add(project, receiver.url, EVENTS, None)[0]


def told(project, event="job.failed", **data):
    assert webhooks.announce(project, event, {"job": 7, **data}) == 1
    return Delivery.objects.latest("pk")


def make_due(delivery):
    Delivery.objects.filter(pk=delivery.pk).update(next_at=now())


def test_a_call_is_signed_and_its_secret_is_stored_sealed(project, receiver):
    webhook, secret = webhooks.add(project, receiver.url, EVENTS, None)
    delivery = told(project)
    assert webhooks.run_deliveries() == 1
    [(path, headers, content)] = receiver.calls
    signed = hmac.new(secret.encode(), headers["Switchyard-Timestamp"].encode() + b"." + content, hashlib.sha256)
    assert headers["Switchyard-Signature"] == f"v1={signed.hexdigest()}"
    assert (path, headers["Switchyard-Event"]) == ("/hook", "job.failed")
    assert headers["Switchyard-Delivery"] == str(delivery.key) == json.loads(content)["delivery"]
    assert json.loads(content)["data"] == {"job": 7} and json.loads(content)["project"] == project.pk
    delivery.refresh_from_db()
    assert (delivery.state, delivery.status, delivery.attempts) == ("delivered", 200, 1)
    assert secret.encode() not in bytes(webhook.sealed) and secret not in content.decode()
    assert webhooks.run_deliveries() == 0


def test_a_failure_is_tried_again_with_growing_pauses_and_the_same_key(project, hook, receiver):
    receiver.answers = [(500, {}), (503, {})]
    delivery = told(project)
    for pause in (10, 60):
        webhooks.run_deliveries()
        delivery.refresh_from_db()
        assert delivery.state == "waiting" and delivery.error.startswith("answered 50")
        waits = (delivery.next_at - now()).total_seconds()
        assert pause - 1 < waits <= pause * 1.2
        assert webhooks.run_deliveries() == 0
        make_due(delivery)
    webhooks.run_deliveries()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, delivery.error) == ("delivered", 3, "")
    assert len({headers["Switchyard-Delivery"] for _path, headers, _content in receiver.calls}) == 1
    assert len({content for _path, _headers, content in receiver.calls}) == 1


def test_it_is_given_up_after_about_two_days_and_shown_as_failing(project, hook):
    for _number in range(webhooks.FAILING):
        assert not webhooks.is_failing(hook)
        delivery, waited = told(project), timedelta(0)
        for attempt in range(1, webhooks.ATTEMPTS + 1):
            delivery.attempts = attempt
            webhooks.store(delivery, webhooks.Outcome(500, "answered 500"))
            stored = Delivery.objects.get(pk=delivery.pk)
            waited += stored.next_at - now() if stored.state == "waiting" else timedelta(0)
            delivery.next_at = stored.next_at
        assert stored.state == "given_up" and timedelta(days=1.5) < waited < timedelta(days=2.1)
    assert webhooks.is_failing(hook)
    hook.refresh_from_db()
    assert hook.is_active
    told(project)
    webhooks.run_deliveries()
    assert not webhooks.is_failing(hook)


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        ("600", 599, 720),
        ("99999999999999", 86399, 1.2 * 86400),
        ("2", 9, 12),
        ("soon", 9, 12),
        ("-5", 9, 12),
        ("", 9, 12),
    ],
)
def test_a_receiver_that_asks_for_rest_gets_it_within_bounds(project, hook, receiver, asked, least, most):
    receiver.answers = [(429, {"Retry-After": asked})]
    delivery = told(project)
    webhooks.run_deliveries()
    delivery.refresh_from_db()
    assert least < (delivery.next_at - now()).total_seconds() <= most


def test_a_receiver_may_ask_for_rest_until_a_date(project, hook, receiver):
    receiver.answers = [(503, {"Retry-After": http_date(time.time() + 900)}), (503, {"Retry-After": http_date(1e9)})]
    delivery = told(project)
    for least, most in ((890, 1080), (59, 72)):
        webhooks.run_deliveries()
        delivery.refresh_from_db()
        assert least < (delivery.next_at - now()).total_seconds() <= most
        make_due(delivery)


def test_one_that_is_switched_off_is_not_called_and_what_waited_goes_out_afterwards(project, hook, receiver):
    waited = told(project)
    webhooks.switch(hook, False)
    assert webhooks.run_deliveries() == 0 and tick.DELIVERIES not in tick.due()
    assert webhooks.announce(project, "job.failed", {"job": 8}) == 0
    webhooks.switch(hook, True)
    assert webhooks.run_deliveries() == 1
    assert [headers["Switchyard-Delivery"] for _path, headers, _content in receiver.calls] == [str(waited.key)]


def test_a_program_switches_it_off_and_on(project, hook, receiver):
    program = lead_program(project)
    address = f"/projects/{project.pk}/webhooks"
    assert program.get(address).json()["items"][0]["is_active"] is True
    waiting = told(project)
    for on in (False, False, True):
        answer = program.patch(f"{address}/{hook.pk}", {"is_active": on})
        assert (answer.status_code, answer.json()["is_active"]) == (200, on)
        assert webhooks.run_deliveries() == on
    waiting.refresh_from_db()
    assert waiting.state == "delivered"
    for wrong in ({}, {"is_active": "no"}, {"is_active": None}, {"is_active": True, "url": "https://other.example/"}):
        assert_problem(program.patch(f"{address}/{hook.pk}", wrong), 422)
    hook.refresh_from_db()
    assert hook.is_active


def test_judgments_are_not_added_to_what_waits_for_one_that_is_switched_off(project, hook, receiver):
    webhooks.add(project, receiver.url, EVENTS, None)
    make_judgment(make_comparison(project), make_person(project), 1)
    aggregate.aggregate()
    webhooks.switch(hook, False)
    make_judgment(make_comparison(project), make_person(project), 1)
    aggregate.aggregate()
    told_of = sorted((each.webhook_id == hook.pk, each.payload["judgments"]) for each in Delivery.objects.all())
    assert told_of == [(False, 2), (True, 1)]


def test_ended_deliveries_are_forgotten_after_a_while_and_waiting_ones_never(project, hook, monkeypatch):
    kept = []
    for state, days in (("delivered", 31), ("given_up", 91), ("delivered", 29), ("given_up", 89), ("waiting", 400)):
        delivery = told(project)
        Delivery.objects.filter(pk=delivery.pk).update(state=state, next_at=now() - timedelta(days=days))
        kept += [delivery.pk] if (state, days) not in (("delivered", 31), ("given_up", 91)) else []
    monkeypatch.setattr(tick, "close_old_connections", lambda: None)
    tick.round_of(tick.Nudges(lambda task: None), seldom=False, rarely=False)
    assert Delivery.objects.count() == 5
    tick.round_of(tick.Nudges(lambda task: None), seldom=False)
    assert list(Delivery.objects.order_by("pk").values_list("pk", flat=True)) == kept


def test_a_redirect_is_not_followed(project, hook, receiver):
    receiver.answers = [(302, {"Location": receiver.url + "/elsewhere"})]
    delivery = told(project)
    webhooks.run_deliveries()
    delivery.refresh_from_db()
    assert len(receiver.calls) == 1 and delivery.state == "waiting"
    assert delivery.status == 302 and "redirect" in delivery.error


def test_a_slow_receiver_is_let_go(project, hook, receiver, monkeypatch):
    monkeypatch.setattr(webhooks, "TIMEOUT", 0.1)
    receiver.pause = 0.3
    delivery = told(project)
    webhooks.run_deliveries()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.status, delivery.error) == ("waiting", None, "no answer within 0.1 seconds")


def test_the_operators_network_is_not_called(project, hook, receiver, settings):
    settings.LABELER_PRIVATE_ENDPOINTS = False
    delivery = told(project)
    webhooks.run_deliveries()
    delivery.refresh_from_db()
    assert receiver.calls == [] and delivery.state == "waiting" and "inside this site's own network" in delivery.error


def test_a_name_that_turns_to_a_metadata_address_is_not_called(project, receiver, monkeypatch):
    Webhook.objects.create(project=project, url="http://hooks.example/x", events=EVENTS, sealed=keys.seal("s"))
    monkeypatch.setattr(endpoint, "_addresses", lambda host, port: ("169.254.169.254",))
    delivery = told(project)
    webhooks.run_deliveries()
    delivery.refresh_from_db()
    assert "never called" in delivery.error and receiver.calls == []


@pytest.mark.parametrize("url", ["ftp://x.example", "https://", "https://u:p@x.example/", "https://x.example:99999/"])
def test_an_address_that_cannot_be_one_is_refused(project, url):
    with pytest.raises(work.StepRefused):
        webhooks.add(project, url, EVENTS, None)
    assert not Webhook.objects.exists()


def test_a_crash_between_posting_and_storing_posts_again_with_the_same_key(project, hook, receiver, monkeypatch):
    delivery = told(project)
    with monkeypatch.context() as patched:
        patched.setattr(webhooks, "store", lambda *given: (_ for _ in ()).throw(MemoryError("gone")))
        with pytest.raises(MemoryError):
            webhooks.run_deliveries()
    assert len(receiver.calls) == 1 and webhooks.run_deliveries() == 0
    delivery.refresh_from_db()
    assert now() < delivery.next_at <= now() + webhooks.LEASE
    make_due(delivery)
    assert webhooks.run_deliveries() == 1
    first, second = (headers["Switchyard-Delivery"] for _path, headers, _content in receiver.calls)
    assert first == second == str(delivery.key)


def test_what_a_late_worker_says_does_not_count(project, hook):
    told(project)
    [late] = webhooks.claim()
    make_due(late)
    [mine] = webhooks.claim()
    webhooks.store(mine, webhooks.Outcome(200))
    webhooks.store(late, webhooks.Outcome(500, "answered 500"))
    assert Delivery.objects.get().state == "delivered"


def test_it_is_sent_again_on_request_with_the_same_key(project, hook, receiver):
    delivery = told(project)
    webhooks.run_deliveries()
    webhooks.send_again(delivery)
    assert webhooks.run_deliveries() == 1
    (_path, one, first), (_path, two, second) = receiver.calls
    assert one["Switchyard-Delivery"] == two["Switchyard-Delivery"] and first == second


def test_one_receiver_that_hangs_does_not_keep_another_waiting(project, hook, receiver):
    other = webhooks.add(project, receiver.url, EVENTS, None)[0]
    for _number in range(3):
        webhooks.announce(project, "job.failed", {})
    assert {delivery.webhook_id for delivery in webhooks.claim()} == {hook.pk, other.pk}


def test_only_what_was_asked_for_is_told_and_only_when_it_becomes_true(project, receiver):
    webhooks.add(project, receiver.url, ["plan.made"], None)
    assert webhooks.announce(project, "job.failed", {}) == 0
    assert webhooks.announce(make_project(), "plan.made", {}) == 0
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        webhooks.announce(project, "plan.made", {})
        raise ZeroDivisionError
    assert not Delivery.objects.exists()


def test_the_tick_asks_for_what_is_due(project, hook):
    delivery = told(project)
    assert tick.due()[tick.DELIVERIES] == delivery.pk
    webhooks.claim()
    assert tick.DELIVERIES not in tick.due()


def test_the_secret_is_sealed_anew_with_a_new_key(project, receiver, settings):
    webhook, secret = webhooks.add(project, receiver.url, EVENTS, None)
    settings.ENCRYPTION_KEYS = ["a-new-key-of-this-site-that-is-long-enough"]
    assert keys.rotate() == 1
    settings.SECRET_KEY = "x" * 60
    webhook.refresh_from_db()
    assert keys.open_sealed(webhook.sealed) == secret


# What is told


@pytest.fixture
def same_connection(monkeypatch):
    """An import beats from a connection of its own, which does not see the test's transaction."""
    monkeypatch.setattr(ingest_tables.Heart, "beat", lambda self, *told: None)


def payloads(event):
    found = [each.payload for each in Delivery.objects.filter(event=event).order_by("pk")]
    for data in found:
        assert resolve(data["url"].partition("?")[0]).view_name.startswith("api:")
    return found


@pytest.mark.slow
def test_an_import_and_an_export_are_told_with_counts_and_no_text(project, hook, tmp_path, same_connection):
    file = tmp_path / "rain.jsonl"
    file.write_text(json.dumps(row(1, judgments=[{"kind": "person", "level": 1}])))
    job = Job.objects.create(project=project, kind="ingest", state="running")
    ingest.ingest_file(project, file, job=job)
    [data] = payloads("import.done")
    assert (data["job"], data["comparisons"], data["judgments"]) == (job.pk, 1, 1)
    aggregate.aggregate()
    made, job = export.request_export(project, "judgments", "jsonl", aggregate.default_recipe(project), {}, None)
    export.run_exports()
    [data] = payloads("export.done")
    made.refresh_from_db()
    assert (data["export"], data["sha256"], data["job"]) == (made.number, made.sha256, job.pk)
    assert "rain" not in json.dumps(list(Delivery.objects.values_list("payload", flat=True)))


def test_a_dry_run_and_a_file_that_is_refused_are_no_imports(project, hook, tmp_path, same_connection):
    file = tmp_path / "rain.jsonl"
    file.write_text(json.dumps(row(1)))
    job = Job.objects.create(project=project, kind="ingest", state="running")
    ingest.check_file(project, ingest.Coming(file), job=job)
    file.write_text('{"id": 1}')
    with pytest.raises(work.StepRefused):
        ingest.ingest_file(project, file, job=job)
    assert payloads("import.done") == []


def test_judgments_are_told_together_by_range(project, hook):
    comparison, rater = make_comparison(project), make_person(project)
    first = make_judgment(comparison, rater, 1)
    aggregate.aggregate()
    last = make_judgment(make_comparison(project), rater, -1)
    aggregate.aggregate()
    [data] = payloads("judgments.final")
    assert (data["judgments"], data["first"], data["last"]) == (2, first.pk, last.pk)
    assert webhooks.run_deliveries() == 0
    Delivery.objects.update(next_at=now())
    assert webhooks.run_deliveries() == 1
    Judgment.objects.filter(pk=last.pk).update(aggregated=False)
    aggregate.aggregate()
    assert [data["judgments"] for data in payloads("judgments.final")] == [2, 1]


def test_what_is_sent_again_keeps_its_content(project, hook):
    """Its key says that it is the same."""
    make_judgment(make_comparison(project), make_person(project), 1)
    aggregate.aggregate()
    Delivery.objects.update(next_at=now())
    webhooks.run_deliveries()
    webhooks.send_again(Delivery.objects.get())
    make_judgment(make_comparison(project), make_person(project), 1)
    aggregate.aggregate()
    assert [data["judgments"] for data in payloads("judgments.final")] == [1, 1]


def test_a_plan_is_told_when_it_is_approved(project, hook):
    plan = make_plan(project, {make_comparison(project): None}, status="draft")
    route.approve(plan, None)
    route.approve(plan, None)
    assert [data["plan"] for data in payloads("plan.approved")] == [plan.number]


def test_a_job_that_fails_is_told_and_so_is_one_that_is_given_up(project, hook, monkeypatch):
    def fails(job):
        raise work.StepRefused("The text of the project.")

    Job.objects.create(project=project, kind="export")
    work.work("export", fails)
    past = now() - timedelta(minutes=1)
    dead = Job.objects.create(project=project, kind="ingest", state="running", attempts=MAX_ATTEMPTS, lease_until=past)
    work.work("ingest", fails)
    assert [data["kind"] for data in payloads("job.failed")] == ["export", "ingest"]
    dead.refresh_from_db()
    assert dead.state == "failed"
    assert "text" not in str(payloads("job.failed"))


# The page


@pytest.fixture
def lead(client, project):
    client.force_login(make_member(project, "lead"))
    return client


def test_the_secret_is_shown_once(lead, project, receiver):
    page = lead.post(reverse("webhooks", args=[project.pk]), {"url": receiver.url, "events": ["plan.made"]})
    webhook = Webhook.objects.get()
    assert f'value="{page.context["secret"]}"' in page.content.decode()
    assert "no-store" in page.headers["Cache-Control"]
    for name, args in (("webhooks", [project.pk]), ("webhook", [project.pk, webhook.pk])):
        assert "swh_" not in lead.get(reverse(name, args=args)).content.decode()


def test_what_cannot_be_called_is_said_and_nothing_is_added(lead, project, settings):
    settings.LABELER_PRIVATE_ENDPOINTS = False
    for url in ("http://127.0.0.1:9/", "http://169.254.169.254/x", "ftp://x.example/"):
        page = lead.post(reverse("webhooks", args=[project.pk]), {"url": url, "events": ["plan.made"]})
        assert page.status_code == 422 and page.context["form"].errors["url"]
    assert not Webhook.objects.exists()


def test_a_lead_tries_sends_again_and_removes(lead, project, hook, receiver):
    one = reverse("webhook", args=[project.pk, hook.pk])
    assert lead.post(one + "test").status_code == 302
    webhooks.run_deliveries()
    delivery = Delivery.objects.get()
    assert "answered 200" in lead.get(one).content.decode()
    lead.post(reverse("delivery_again", args=[project.pk, hook.pk, delivery.pk]))
    webhooks.run_deliveries()
    assert [headers["Switchyard-Event"] for _path, headers, _content in receiver.calls] == ["test", "test"]
    Delivery.objects.update(state="given_up", error="answered 500 Internal Server Error")
    for _number in range(webhooks.FAILING - 1):
        Delivery.objects.create(webhook=hook, event="test", key=uuid4(), payload={}, next_at=now(), state="given_up")
    assert "is failing" in lead.get(one).content.decode()
    assert "Failing" in lead.get(reverse("webhooks", args=[project.pk])).content.decode()
    assert lead.post(one + "remove").status_code == 302
    assert not Webhook.objects.exists() and not Delivery.objects.exists()


def test_a_lead_switches_it_off_and_on(lead, project, hook, receiver):
    one = reverse("webhook", args=[project.pk, hook.pk])
    for word, active, shown in (("no", False, "is switched off"), ("no", False, "Switch it on"), ("yes", True, "off")):
        assert lead.post(reverse("webhook_switch", args=[project.pk, hook.pk]), {"on": word}).status_code == 302
        hook.refresh_from_db()
        assert hook.is_active is active and shown in lead.get(one).content.decode()
        listed = lead.get(reverse("webhooks", args=[project.pk])).content.decode()
        assert ("Switched off" in listed) is not active


def test_older_deliveries_stand_on_the_next_page(lead, project, hook):
    for _number in range(51):
        webhooks.send_test(hook)
    one = reverse("webhook", args=[project.pk, hook.pk])
    first = lead.get(one)
    second = lead.get(one, {"before": first.context["before"]})
    assert (len(first.context["deliveries"]), len(second.context["deliveries"])) == (50, 1)


# The program interface


def test_a_program_adds_tries_replays_and_removes(project, receiver):
    program = lead_program(project, "webhooks")
    into = f"/projects/{project.pk}/webhooks"
    asked = {"url": receiver.url, "events": ["plan.made"]}
    made = program.post(into, asked, key="k").json()
    webhook = Webhook.objects.get()
    assert made["secret"] == keys.open_sealed(webhook.sealed)
    again = program.post(into, asked, key="k")
    assert again.json() == {**made, "secret": None} and made["secret"] not in str(KeptAnswer.objects.values())
    assert "secret" not in program.get(into).json()["items"][0]
    tried = program.post(f"{into}/{webhook.pk}/test").json()
    webhooks.run_deliveries()
    [delivery] = program.get(f"{into}/{webhook.pk}/deliveries", state="delivered").json()["items"]
    assert (delivery["key"], delivery["status"]) == (tried["key"], 200)
    program.post(f"{into}/{webhook.pk}/deliveries/{delivery['id']}/replay")
    assert webhooks.run_deliveries() == 1
    assert program.delete(f"{into}/{webhook.pk}").status_code == 204
    assert not Webhook.objects.exists()


def test_a_program_is_told_what_is_wrong_with_an_address(project):
    program = lead_program(project, "webhooks")
    into = f"/projects/{project.pk}/webhooks"
    for url in ("gopher://x.example", "https://u:p@x.example/"):
        problem = assert_problem(program.post(into, {"url": url, "events": ["plan.made"]}), 422)
        assert problem["errors"][0]["field"].endswith("url")
    for _number in range(webhooks.MOST_WEBHOOKS):
        webhooks.add(project, "https://x.example/", ["plan.made"], None)
    assert_problem(program.post(into, {"url": "https://x.example/", "events": ["plan.made"]}), 409)
