"""The product starts on what the previous release has left: nothing is lost, and everybody goes on working.

`save_release.py` says how an archive is made; the next release adds its own and names it in RELEASES.
"""

import json
import os
import re
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import psycopg
import pytest
from django.urls import resolve

from tests.operations.save_release import PASSWORD, PEOPLE
from tests.stack import ROOT, Stack, Visitor, open_folder

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]

RELEASES = ["0.1"]
HERE = Path(__file__).parent
# What 0.1 had to read, by the names of its addresses; each must be found by following links, as its people would.
LEADS_PAGES = {
    "projects", "board", "comparisons", "comparison", "plans", "plan", "people", "labelers", "labeler", "labeler_add",
    "exports", "export_download", "project_settings", "import_upload", "annotate", "new_project",
}  # fmt: skip
ANNOTATORS_PAGES = {"projects", "annotate"}
# Followed at most so often for each name: a hundred comparisons are one page.
OFTEN_ENOUGH = 4


class Upgraded:
    """A saved release's database and storage, brought up to date by the real commands and started."""

    def __init__(self, release: str, folder: Path) -> None:
        with tarfile.open(HERE / f"release-{release}.tar.gz") as archive:
            archive.extractall(folder / "var", filter="data")
        self.var = folder / "var"
        self.database = self._load((self.var / "database.sql").read_text())
        self.before = self.rows()
        self.stack = Stack(folder, DATABASE_URL=self.database, DEMO="no", SECRET_KEY_FILE=str(self.var / "secret_key"))
        (self.var / "demo-logins.json").write_text(json.dumps(dict.fromkeys(PEOPLE, PASSWORD)))
        self.command("migrate", "--no-input")
        self.after = self.rows()

    def _load(self, sql: str) -> str:
        server, name = os.environ["DATABASE_URL"], f"upgrade_{os.getpid()}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
        address = server.rpartition("/")[0] + f"/{name}"
        with psycopg.connect(address) as connection:
            connection.execute(sql)
        return address

    def rows(self) -> dict[str, list[dict]]:
        """Every row of every table."""
        tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        with psycopg.connect(self.database) as connection:
            return {
                table: [row for (row,) in connection.execute(f'SELECT to_jsonb(t) FROM "{table}" t')]
                for (table,) in connection.execute(tables).fetchall()
            }

    def ask(self, query: str, *values: object) -> list[tuple]:
        with psycopg.connect(self.database) as connection:
            return connection.execute(query, values).fetchall()

    def command(self, *words: str) -> str:
        environment = self.stack.environment | {"HTTPS": "no", "LOG_LEVEL": "ERROR"}
        command = [sys.executable, "manage.py", *words]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    def labels(self) -> list[tuple]:
        columns = "comparison_id, recipe_id, source, p_b, p_tie, strength, votes"
        return self.ask(f"SELECT {columns} FROM annotator_label ORDER BY comparison_id, recipe_id")

    def seat(self, project: int = 1) -> str:
        return f"/projects/{project}/annotate/"


@pytest.fixture(scope="module", params=RELEASES)
def upgraded(request):
    with open_folder() as folder:
        made = Upgraded(request.param, folder)
        try:
            made.stack.start()
            yield made
        finally:
            made.stack.stop()


def crawled(visitor: Visitor) -> Counter:
    """Names of the addresses reached by links from the first page; each has answered 200."""
    waiting, seen, names = ["/"], set(), Counter()
    while waiting:
        address = waiting.pop(0)
        name = resolve(address.partition("?")[0]).url_name
        if address in seen or names[name] >= OFTEN_ENOUGH:
            continue
        seen.add(address)
        with visitor.opener.open(visitor.stack.url + address, timeout=visitor.patience) as reply:
            assert reply.status == 200 and "/accounts/login" not in reply.url, address
            page = reply.read()
        names[name] += 1
        links = re.findall(r'<a\b[^>]*?\shref="(/[^"#]*)', page.decode(errors="replace"))
        waiting += [link.replace("&amp;", "&") for link in links if not link.startswith(("/admin", "/static"))]
    return names


def test_the_saved_release_holds_what_an_upgrade_could_lose(upgraded):
    """Otherwise the tests below would say nothing: every table of ours has rows, and each kind of answer is there."""
    empty = {table for table, rows in upgraded.before.items() if table.startswith("annotator_") and not rows}
    assert empty <= {"annotator_user_groups", "annotator_user_user_permissions"}
    outcomes = {row["outcome"] for row in upgraded.before["annotator_judgment"]}
    assert outcomes == {"level", "neither_valid", "cannot_judge"}
    assert any(row["revision"] > 1 for row in upgraded.before["annotator_judgment"])
    assert any(row["draft"] for row in upgraded.before["annotator_assignment"])


def test_migrating_keeps_every_row_and_every_value(upgraded):
    for table, before in upgraded.before.items():
        after = {row["id"]: row for row in upgraded.after[table] if "id" in row}
        for old in before:
            if "id" not in old:
                continue
            new = after[old["id"]]
            assert {name: new[name] for name in old if name in new} == {n: v for n, v in old.items() if n in new}, table
        assert len(upgraded.after[table]) >= len(before)


def test_the_models_have_nothing_that_no_migration_makes(upgraded):
    assert "No changes detected" in upgraded.command("makemigrations", "--check", "--dry-run")


def test_recounting_gives_the_labels_there_were(upgraded):
    before = upgraded.labels()
    assert len(before) > 100
    for project in ("1", "2"):
        upgraded.command("aggregate", "--project", project)
    assert upgraded.labels() == before


@pytest.mark.parametrize(("project", "format"), [("1", "multipref"), ("2", "trl_reward")])
def test_an_export_says_what_the_one_before_said(upgraded, tmp_path, project, format):
    (stored,) = (upgraded.var / "storage" / "exports" / project).glob(f"*-{format}-*")
    upgraded.command("export", project, format, "--file-type", "jsonl", "--seed", "1", "--to", str(tmp_path / "new"))

    def read(folder):
        return [json.loads(line) for line in (folder / "default" / "train.jsonl").read_text().splitlines()]

    before, after = read(stored), read(tmp_path / "new")
    assert len(before) == len(after) > 5
    names: dict[str, str] = {}
    for old, new in zip(before, after, strict=True):
        take_names(old, new, names)
        assert {name: new[name] for name in old} == old
    assert len(set(names.values())) == len(names)


def take_names(old, new, names):
    """Put the names of `old` into `new`: an upgrade draws people's names anew, one for one."""
    for given in ("normal_worker_annotations", "expert_worker_annotations"):
        for said, again in zip(old.get(given) or [], new.get(given) or [], strict=True):
            assert names.setdefault(said["evaluator"], again["evaluator"]) == again["evaluator"]
            again["evaluator"] = said["evaluator"]


def test_a_half_written_answer_is_on_the_page_again(upgraded):
    """Its lease ran out long ago; nobody took the place since (the visits below do), so its author
    finds the words."""
    (draft,) = {
        row["draft"]["justification"]
        for row in upgraded.before["annotator_assignment"]
        if row["draft"].get("level") == 1
    }
    page = Visitor(upgraded.stack).login("second").get(upgraded.seat())
    assert draft in page


def test_every_page_of_the_lead_opens(upgraded):
    reached = crawled(Visitor(upgraded.stack).login("lead"))
    assert LEADS_PAGES - set(reached) == set()


@pytest.mark.parametrize("name", ["annotator", "reviewer", "viewer"])
def test_every_page_of_the_others_opens(upgraded, name):
    reached = crawled(Visitor(upgraded.stack).login(name))
    wanted = LEADS_PAGES - {"people", "project_settings", "import_upload", "labeler_add", "new_project", "annotate"}
    assert {"annotator": ANNOTATORS_PAGES, "reviewer": wanted, "viewer": wanted}[name] - set(reached) == set()


def test_an_annotator_goes_on_where_they_were(upgraded):
    annotator = Visitor(upgraded.stack).login("annotator")
    query = "SELECT count(*) FROM annotator_judgment j JOIN annotator_rater r ON r.id = j.rater_id" \
        " JOIN annotator_user u ON u.id = r.user_id WHERE u.username = 'annotator' AND j.is_current"  # fmt: skip
    ((before,),) = upgraded.ask(query)
    client_id = annotator.judge()
    assert upgraded.ask(query) == [(before + 1,)]
    (stored,) = upgraded.ask("SELECT outcome, cost > 0 FROM annotator_judgment WHERE client_id = %s", client_id)
    assert stored == ("cannot_judge", True)
