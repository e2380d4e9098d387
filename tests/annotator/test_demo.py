"""The demo loads once, again without change, and says everywhere that it is a demo."""

import importlib.util
import json
import stat
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from annotator.management.commands import load_demo
from annotator.models import Comparison, Judgment, Project, Rater, User
from tests.builders import make_user

DEMO = Path(__file__).parents[2] / "demo"
TELLS = {"written for the demo", "generated"}


def recipe():
    spec = importlib.util.spec_from_file_location("demo_generated", DEMO / "generated.py")
    sys.modules["demo_generated"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def var(tmp_path, settings, monkeypatch):
    monkeypatch.delenv("DEMO_PASSWORD", raising=False)
    settings.VAR_DIR = tmp_path
    return tmp_path


@pytest.mark.slow
@pytest.mark.django_db
def test_the_demo_loads_and_loading_it_again_changes_nothing(var):
    call_command("load_demo")
    logins = load_demo.logins_file().read_text()
    written, *_others = all_written = Project.objects.filter(provenance=load_demo.WRITTEN).order_by("-id")
    generated = Project.objects.get(provenance=load_demo.GENERATED)
    assert written.name == "Written for the demo"
    assert written.comparisons.count() == 110 and generated.comparisons.count() == 1500
    assert sum(project.comparisons.count() for project in all_written) >= 150
    assert {project.provenance for project in all_written} | {generated.provenance} == TELLS
    assert {project.protocol.preset for project in all_written} >= {"multipref", "rag", "ranking", "fine-grained"}
    assert set(Comparison.objects.values_list("metadata__provenance", flat=True)) == TELLS
    for project in all_written:
        # What teaches is not judged, and costs nothing.
        taught = project.golds.teaching().values("comparison")
        to_judge = project.comparisons.exclude(pk__in=taught)
        assert project.comparisons.filter(pk__in=taught, votes_wanted=0).count() == taught.count() > 0
        assert not to_judge.exclude(places_open=project.votes, votes_wanted=project.votes).exists()
        assert project.plans.get().status == "approved"
        assert project.account.reserved == Decimal("0.90") * project.votes * to_judge.count()
    assert generated.labelers.filter(kind="recorded", price_per_call__gt=0).count() == 2
    people = Judgment.objects.filter(project=generated, rater__kind=Rater.Kind.PERSON)
    assert people.count() == 1500 and people.values("comparison").distinct().count() == 500
    before = [model.objects.count() for model in (Project, Comparison, Judgment, Rater, User)]
    call_command("load_demo")
    assert [model.objects.count() for model in (Project, Comparison, Judgment, Rater, User)] == before
    assert load_demo.logins_file().read_text() == logins


@pytest.mark.django_db
def test_the_logins_work_and_only_the_owner_may_read_them(var, client):
    load_demo._users()
    file = load_demo.logins_file()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for name, password in json.loads(file.read_text()).items():
        assert client.login(username=name, password=password)


@pytest.mark.django_db
def test_the_demo_does_not_take_over_a_real_user(var):
    make_user("lead")
    with pytest.raises(CommandError, match="not the demo's"):
        load_demo._users()


def test_the_same_seed_generates_the_same_rows_and_another_seed_others():
    generated = recipe()
    first, again, other = ([*generated.comparisons(30, seed=seed)] for seed in (3, 3, 4))
    assert first == again and first != other


def test_simulated_raters_have_their_planted_accuracy():
    generated = recipe()
    hits, seen = dict.fromkeys(generated.PEOPLE, 0), dict.fromkeys(generated.PEOPLE, 0)
    for row in generated.comparisons(1500, seed=1, people_on=None):
        difference = row["metadata"]["planted_difference"]
        truth = 0 if abs(difference) < generated.TIE_BELOW else (1 if difference > 0 else -1)
        for said in row["judgments"]:
            if said["kind"] == "person":
                seen[said["rater"]] += 1
                hits[said["rater"]] += said["level"] == truth
    for name, accuracy in generated.PEOPLE.items():
        # Four standard errors of a share over some 900 votes.
        assert hits[name] / seen[name] == pytest.approx(accuracy, abs=0.06)


def test_every_written_comparison_is_complete():
    rows = [json.loads(line) for line in (DEMO / "written.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len({row["id"] for row in rows}) == 110
    assert {row["metadata"]["provenance"] for row in rows} == {"written for the demo"}
    assert {"de", "es", "ja", "ar", "fr", "zh", "en"} <= {row["metadata"]["language"] for row in rows}
    assert all(row["metadata"]["trap"] and row["metadata"]["domain"] for row in rows)
