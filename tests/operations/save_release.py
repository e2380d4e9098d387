"""Saves a small site as a release leaves it, for the upgrade test: database and storage in one archive.

Run once for each release, in a checkout of it (the release's own code makes the data, through its own doors):

    git worktree add /tmp/release 195f011 && cd /tmp/release
    /path/to/.venv/bin/python /path/to/tests/operations/save_release.py /path/to/tests/operations/release-0.1.tar.gz

The archive has `database.sql` (plain statements that any PostgreSQL from 15 on reads, without psql), `storage/` but
for the embeddings (each is larger than all the rest), and `secret_key`, which signed what is in it. Everybody's
password is PASSWORD. A later release adds to `fill` what it has and earlier ones had not, so that its own archive
holds a row of every table.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

PASSWORD = "only-for-tests-7"
SECRET_KEY = "of-the-saved-release-only-0123456789abcdef0123456789"
PEOPLE = {"lead": "lead", "annotator": "annotator", "second": "annotator", "reviewer": "reviewer", "viewer": "viewer"}
ROWS = 20  # of the written comparisons: enough for every kind of answer, small enough for a repository
# What other versions of PostgreSQL would refuse.
NEWER_ONLY = ("\\restrict", "\\unrestrict", "SET transaction_timeout")


def main(archive: Path) -> None:
    sys.path.insert(0, os.getcwd())
    from annotator.cluster import Cluster

    with tempfile.TemporaryDirectory(prefix="switchyard-release-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        cluster = Cluster(folder / "pg", fast=True)
        cluster.start()
        try:
            os.environ |= {
                "DATABASE_URL": cluster.url,
                "SWITCHYARD_VAR": str(folder / "var"),
                "SECRET_KEY": SECRET_KEY,
                "HTTPS": "no",
                "LOG_LEVEL": "ERROR",
                "DJANGO_SETTINGS_MODULE": "annotator.settings",
            }
            fill(folder)
            save(archive, dump(cluster), folder / "var" / "storage")
        finally:
            cluster.stop()


def fill(folder: Path) -> None:
    import django

    django.setup()
    from django.core.management import call_command

    from annotator.models import User

    call_command("prepare")
    for name in PEOPLE:
        user = User.objects.create_user(name, f"{name}@demo.invalid", PASSWORD, display_name=f"{name.title()} Saved")
        user.is_staff = user.is_superuser = name == "lead"
        user.save()
    written = _project("Written", "multipref", "--votes", "2", "--price", "0.90", "--cap", "200")
    judged(written, folder)
    generated = _project("Generated", "plain", "--price", "0.60", "--cap", "500")
    routed(generated, folder)
    time.sleep(11)  # what was judged last can be undone for ten seconds
    from annotator import tick
    from annotator.pipeline import aggregate

    tick.round_of(tick.Nudges(lambda task: None))
    aggregate.run_aggregates()
    for project, format in ((written, "multipref"), (written, "judgments"), (generated, "trl_reward")):
        call_command("export", project, format, "--file-type", "jsonl", "--seed", "1")


def _project(name: str, preset: str, *more: str) -> int:
    from django.core.management import call_command

    said = io.StringIO()
    call_command("create_project", name, "--lead", "lead", "--preset", preset, *more, stdout=said)
    project = int(said.getvalue())
    for person, role in PEOPLE.items():
        if person != "lead":
            call_command("invite", project, person, "--role", role)
    return project


def judged(project: int, folder: Path) -> None:
    """People at work: judgments of every outcome, an undo with a revision, a skip, a flag, two drafts."""
    from django.core.management import call_command

    file = folder / "written.jsonl"
    rows = Path("demo/written.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(rows[:ROWS]), encoding="utf-8")
    call_command("ingest", project, str(file))
    call_command("featurise", project)
    call_command("plan", project, "100", "--strategy", "all_people")
    call_command("approve", project, 1)
    call_command("label", project)
    for name, levels in (("annotator", (-2, -1, 0, 1, 2, 1)), ("second", (-2, 1, 0, 2, 1)), ("reviewer", (1, -1))):
        seat = Seat(name, project)
        for level in levels:
            seat.judge(level=level, confidence=2, justification=f"{name}: because, “{level}” — naïve…")
        seat.judge(outcome="neither_valid")
        seat.judge(outcome="cannot_judge", justification="not my field")
        seat.post("skip", reason="not my language")
        seat.post("flag", reason="names a person")
        undone = seat.judge(level=2, confidence=3)
        seat.post("undo", assignment=undone)
        seat.judge(level=-2, confidence=1, justification="on second thoughts")
        seat.post("draft", level=1, justification="half a thought", active_ms=700)


def routed(project: int, folder: Path) -> None:
    """A budget at work: recorded judges, people on most, a trained model, a judge that is called, a mixed plan."""
    from django.core.management import call_command

    from annotator.models import Labeler, Project
    from annotator.pipeline import aggregate, label, retrain, versions, work
    from labelers.base import Prices
    from tests.labelers.judge_server import JudgeServer

    file = folder / "generated.jsonl"
    command = [sys.executable, "demo/generated.py", str(file), "--count", "125", "--people", "105", "--votes", "1"]
    subprocess.run(command, check=True)
    call_command("ingest", project, str(file))
    found = Project.objects.get(pk=project)
    Labeler.objects.filter(project=found, kind="recorded").update(price_per_call="0.01")
    call_command("featurise", project)
    call_command("label", project)
    aggregate.run_aggregates()
    retrain.MIXTURES = 40  # a small model is a model, too
    call_command("retrain", project)
    server = JudgeServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    prices = Prices("0.01", "1", "2")
    judge = versions.add_judge(
        found, "called", prices, base_url=server.url, model="tiny", constrain=True, timeout=10.0, concurrency=2
    )
    label.request_run(judge, scope="trial", comparisons=label.trial_comparisons(judge), reserve=5)
    work.work("label", label.label_job)
    server.shutdown()
    call_command("plan", project, "40", "--strategy", "random")
    call_command("approve", project, 1)
    Seat("annotator", project).judge(level=1)


class Seat:
    """A person at the annotator's page, through the site's own addresses."""

    def __init__(self, name: str, project: int) -> None:
        from django.test import Client

        self.client = Client(SERVER_NAME="localhost")
        assert self.client.login(username=name, password=PASSWORD)
        self.page = f"/projects/{project}/annotate/"

    @property
    def assignment(self) -> int:
        return int(self.client.get(self.page).headers["Seat-Assignment"])

    def post(self, what: str, assignment: int | None = None, **fields: object) -> int:
        assignment = assignment or self.assignment
        reply = self.client.post(f"/assignments/{assignment}/{what}", fields)
        assert reply.status_code in (200, 204), (what, reply.status_code, reply.content.decode()[:2000])
        return assignment

    def judge(self, **answer: object) -> int:
        return self.post("judgment", client_id=uuid4(), active_ms=4200, **answer)


def dump(cluster: object) -> bytes:
    command = [cluster.binaries / "pg_dump", "--dbname", cluster.url, "--schema", "public"]
    options = ["--no-owner", "--no-privileges", "--exclude-table-data", "django_session"]
    options += ["--inserts", "--rows-per-insert", "200"]
    done = subprocess.run([*command, *options], check=True, capture_output=True, cwd="/")
    return b"".join(_portable(done.stdout))


def _portable(sql: bytes) -> Iterator[bytes]:
    """Without what only the newest PostgreSQL understands; the schema `public` is in every new database."""
    for line in sql.splitlines(keepends=True):
        if not line.startswith(tuple(word.encode() for word in (*NEWER_ONLY, "CREATE SCHEMA public", "COMMENT ON SC"))):
            yield line


def save(archive: Path, sql: bytes, storage: Path) -> None:
    with tarfile.open(archive, "w:gz", compresslevel=9) as tar:
        for name, content in (("database.sql", sql), ("secret_key", SECRET_KEY.encode())):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        tar.add(storage, "storage", filter=lambda member: None if "/embedding-" in member.name else member)
    print(f"{archive}: {archive.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
