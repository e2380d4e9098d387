"""The client of client/ and its examples, against a live server and real receivers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.db import connections

from annotator.models import Export, KeptAnswer, Labeler
from annotator.pipeline import aggregate, export, ingest, label, versions, webhooks, work
from tests.api.program import lead_program, row
from tests.builders import make_project

CLIENT = Path(__file__).parents[2] / "client"
sys.path.insert(0, str(CLIENT))

from switchyard_client import Client, Conflict, JobFailed, NotFound, Refused, Unreachable, Unverified  # noqa: E402
from switchyard_client import webhooks as received  # noqa: E402

SECRET = "swh_secret"


@pytest.fixture
def worker(monkeypatch):
    """Does what is asked for at once, as a worker of the site would."""
    tasks = {"ingest": ingest.run_ingests, "export": export.run_exports, "aggregate": aggregate.run_aggregates}
    tasks["run_labels"] = label.run_labels

    def run(task: str) -> None:
        done = next((step for name, step in tasks.items() if name in task), None)
        if done:
            thread = threading.Thread(target=lambda: (done(), connections.close_all()))
            thread.start()
            thread.join(20)

    monkeypatch.setattr(work, "nudge", run)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_program_brings_rows_and_a_file_and_takes_an_export(live_server, worker, tmp_path, monkeypatch):
    project = make_project()
    aggregate.default_recipe(project)
    text = lead_program(project).text
    client = Client(live_server.url, text, attempts=1)
    assert [found["id"] for found in client.projects()] == [project.pk]
    judged = [row(number, judgments=[{"kind": "person", "level": 1}]) for number in range(3)]
    monkeypatch.setattr("switchyard_client.client.ROWS", 2)
    added = client.add_comparisons(project.pk, iter(judged), key="rain")
    assert (added["comparisons"], added["judgments"], KeptAnswer.objects.count()) == (3, 3, 2)
    assert client.add_comparisons(project.pk, judged, key="rain") == added
    assert client.add_comparisons(project.pk, judged)["skipped_existing"] == 3
    assert [found["external_id"] for found in client.comparisons(project.pk)] == ["q0", "q1", "q2"]
    aggregate.aggregate()

    file = tmp_path / "fog.jsonl"
    file.write_text(json.dumps(row(9)) + "\n")
    environment = {**os.environ, "SITE": live_server.url, "TOKEN": text, "PYTHONPATH": str(CLIENT)}
    ran = run_example("import_file.py", str(project.pk), str(file), env=environment)
    assert "1 comparisons wait for a label" in ran
    file.write_text(json.dumps(row(10, response_a=5)) + "\n")
    with pytest.raises(JobFailed, match="Nothing was imported") as failed:
        client.import_file(project.pk, file)
    assert failed.value.job["result"]["errors"]

    ran = run_example("export_and_train.py", str(project.pk), str(tmp_path / "pairs"), env=environment)
    made = Export.objects.get()
    assert made.sha256 in ran
    written = client.get(f"/projects/{project.pk}/exports/{made.number}")
    paths = client.download(written, tmp_path / "pairs")
    assert {path.relative_to(tmp_path / "pairs").as_posix() for path in paths} == {each["name"] for each in made.files}
    paths[0].write_bytes(b"damaged")
    client.download(written, tmp_path / "pairs")
    assert paths[0].read_bytes() != b"damaged"
    assert list(client.datasets(project.pk)) == list(client.plans(project.pk)) == []

    with pytest.raises(NotFound):
        client.get("/projects/999999")
    with pytest.raises(Refused) as refused:
        client.add_comparisons(project.pk, [row(20), {"id": "no"}])
    assert refused.value.status == 422 and refused.value.faults[0].row == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_a_program_runs_a_labeler_takes_links_back_and_switches_webhooks(live_server, worker, tmp_path):
    project = make_project()
    free = Labeler.objects.create(project=project, name="longest", kind="null_longest")
    versions.new_version(free, {})
    hook, _secret = webhooks.add(project, "https://hooks.example/", ["plan.made"], None)
    client = Client(live_server.url, lead_program(project).text, attempts=1)
    client.add_comparisons(project.pk, [row(1), row(2, judgments=[{"kind": "person", "level": 1}])])
    [listed] = [each for each in client.labelers(project.pk) if each["kind"] == "null_longest"]
    done = client.run_labeler(project.pk, listed["id"], on="everything", key="night")
    assert (done["state"], done["judged"], done["spent"]) == ("done", 2, "0")
    [kept] = [each for each in client.runs(project.pk, labeler=free.pk) if each["id"] == done["id"]]
    assert kept == done
    with pytest.raises(Conflict):
        client.cancel_run(project.pk, done["id"])
    with pytest.raises(Conflict, match="nothing of this"):
        client.run_labeler(project.pk, free.pk, on="filter", filter={"people": "yes"})

    aggregate.aggregate()
    number = client.export(project.pk, "trl_reward", container="jsonl", source="people")["number"]
    link = client.link(project.pk, number)
    assert [each["id"] for each in client.links(project.pk, number)] == [link["id"]]
    client.take_back(project.pk, number, link["id"])
    assert list(client.links(project.pk, number)) == []

    assert client.switch_webhook(project.pk, hook.pk, False)["is_active"] is False
    assert [each["is_active"] for each in client.webhooks(project.pk)] == [False]


def run_example(name: str, *given: str, env: dict[str, str]) -> str:
    command = [sys.executable, str(CLIENT / "examples" / name), *given]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


# What goes wrong on the way


class Faulty(BaseHTTPRequestHandler):
    """Answers as it is told: (status, headers), or None to hang up."""

    answers: list[tuple[int, dict[str, str], bytes] | None] = []
    seen: list[tuple[str, str | None, bytes]] = []

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.seen.append((self.path, self.headers["Idempotency-Key"], content))
        answer = self.answers.pop(0)
        if answer is None:
            self.close_connection = True
            return
        status, headers, content = answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def faulty(monkeypatch):
    monkeypatch.setattr(Faulty, "answers", [])
    monkeypatch.setattr(Faulty, "seen", [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Faulty)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def slept(monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr("switchyard_client.client.time.sleep", pauses.append)
    return pauses


def test_what_was_not_answered_is_asked_again_with_the_same_key(faulty, slept, tmp_path):
    busy = (429, {"Retry-After": "7"}, b"busy")
    Faulty.answers += [None, (502, {}, b"<html>"), busy, (409, {"Retry-After": "1"}, b"{}"), (200, {}, b'{"a": 1}')]
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"rows")
    assert Client(faulty, "sw_x").import_file(1, file, wait=False) == {"a": 1}
    assert len({key for _path, key, _content in Faulty.seen}) == 1
    assert {content for _path, _key, content in Faulty.seen} == {b"rows"}
    assert slept[2:] == [7.0, 1.0]


def test_a_refusal_is_not_asked_again_and_an_answer_that_never_comes_is_told(faulty, slept):
    Faulty.answers += [(422, {}, b"not a problem"), None, None]
    with pytest.raises(Refused, match="422"):
        Client(faulty, "sw_x").post("/x", {})
    with pytest.raises(Unreachable):
        Client(faulty, "sw_x", attempts=2).get("/x")
    assert len(Faulty.seen) == 3


def test_the_token_goes_nowhere_else_and_files_stay_in_their_folder(faulty, slept, tmp_path):
    Faulty.answers += [(302, {"Location": faulty + "/elsewhere"}, b"")]
    client = Client(faulty, "sw_x")
    with pytest.raises(Refused, match="302"):
        client.get("/x")
    assert len(Faulty.seen) == 1
    for name in ("../x", "/x", "a\\..\\x"):
        with pytest.raises(ValueError, match="outside"):
            client.download({"files": [{"name": name, "sha256": "", "url": "/x"}]}, tmp_path)  # type: ignore[typeddict-item]


def test_a_file_that_comes_damaged_is_fetched_again(faulty, slept, tmp_path):
    sha256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
    Faulty.answers += [(200, {}, b"fo"), (200, {}, b"foo")]
    file = {"name": "a/b.txt", "sha256": sha256, "url": "/x"}
    [path] = Client(faulty, "sw_x").download({"files": [file]}, tmp_path)  # type: ignore[typeddict-item]
    assert path.read_bytes() == b"foo" and len(Faulty.seen) == 2


# Webhooks


def signed(content: bytes = b'{"event": "test"}', at: float | None = None) -> dict[str, str]:
    timestamp = str(int(time.time() if at is None else at))
    return {"switchyard-timestamp": timestamp, "Switchyard-Signature": webhooks.sign(SECRET, timestamp, content)}


def test_a_call_of_the_site_is_known_and_no_other():
    content = b'{"event": "test"}'
    assert received.verify(content, signed(), SECRET)["event"] == "test"
    for body, headers, secret in (
        (content + b" ", signed(), SECRET),
        (content, signed(), "swh_other"),
        (content, {**signed(), "switchyard-timestamp": str(int(time.time()) + 1)}, SECRET),
        (content, signed(at=time.time() - 301), SECRET),
        (content, {"Switchyard-Signature": "v1=é"}, SECRET),
        (content, {}, SECRET),
    ):
        with pytest.raises(Unverified):
            received.verify(body, headers, secret)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_example_receives_what_the_site_sends(monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)
    project = make_project()
    with ThreadingHTTPServer(("127.0.0.1", 0), Faulty) as free:
        port = free.server_port
    webhook, secret = webhooks.add(project, f"http://127.0.0.1:{port}/", ["plan.made"], None)
    environment = {**os.environ, "SECRET": secret, "PYTHONPATH": str(CLIENT)}
    command = [sys.executable, str(CLIENT / "examples" / "receive_webhook.py"), str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as receiver:
        try:
            assert receiver.stdout is not None
            delivery = webhooks.send_test(webhook)
            for _attempt in range(100):
                webhooks.run_deliveries()
                delivery.refresh_from_db()
                if delivery.state == "delivered":
                    break
                time.sleep(0.05)
                webhooks.send_again(delivery)
            assert delivery.status == 204
            assert "test" in receiver.stdout.readline()
        finally:
            receiver.kill()
