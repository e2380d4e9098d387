"""A lossless store goes out, comes in and goes out again: the same bytes, and clear words where it cannot."""

import hashlib
import itertools
import json
import shutil
import zipfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.utils.timezone import now
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotator import protocols
from annotator.formats import store_rows
from annotator.formats.rows import RowInvalid
from annotator.models import (
    Candidate,
    Export,
    Import,
    Job,
    Judgment,
    LabelerVersion,
    Membership,
    Protocol,
    Rater,
    Reservation,
    Response,
    Route,
)
from annotator.pipeline import aggregate, export, ingest, start, work
from annotator.pipeline.restore import Restoration
from tests.builders import (
    make_comparison,
    make_judgment,
    make_labeler,
    make_member,
    make_person,
    make_plan,
    make_project,
    make_user,
)
from tests.examples import examples

pytestmark = pytest.mark.django_db

ODD = "naïve\u2028Ω𝄞\t“x”\r\n\n  e\u0301 lone \r \u200f שלום \x01 end "
YESTERDAY = datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)
_digests = itertools.count()


@pytest.fixture(autouse=True)
def quiet_broker(monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)


def labeler(project, name, *versions, kind="llm_judge"):
    """Raters of a labeler's versions, each (accepted at or None, parameters)."""
    first = make_labeler(project, name, kind)
    first.labeler_version.labeler.versions.all().exclude(pk=first.labeler_version_id).delete()
    raters = []
    for accepted_at, parameters in versions:
        digest = hashlib.sha256(f"{next(_digests)}".encode()).hexdigest()
        made = LabelerVersion.objects.create(
            labeler=first.labeler_version.labeler, digest=digest, parameters=parameters, accepted_at=accepted_at
        )
        raters.append(Rater.objects.create(project=project, kind="labeler", labeler_version=made))
    return raters


@pytest.fixture
def project():
    """Everything that a project can hold of judgments, and answers that were taken back."""
    made = make_project("helpsteer3", provenance="generated")
    definition = {**protocols.PRESETS["helpsteer3"], "help": ODD}
    Protocol.objects.create(project=made, version=2, preset="own", definition=definition)
    expert = Rater.objects.create(project=made, kind="person", user=make_member(made, "reviewer"))
    people = [make_person(made), make_person(made)]
    nobody = [Rater.objects.create(project=made, kind="person", source=f"{n}", external_id="") for n in "xy"]
    old, new, never = labeler(
        made,
        f"judge, {ODD[:5]}",
        (YESTERDAY, {"model": "m", "base_url": "http://10.0.0.1", "seed": 1}),
        (YESTERDAY + timedelta(hours=1), {"model": "m", "temperature": 0.1, "nested": {"b": [1, None], "a": 1e-9}}),
        (None, {"model": "n"}),
    )
    (longest,) = labeler(made, "longest", (YESTERDAY, {}), kind="null_longest")
    odd = make_comparison(
        made,
        [{"role": "system", "content": ODD}, {"role": "user", "content": ODD}],
        ODD + "A",
        ODD + "B",
        criterion=ODD,
        harms=["violence", "hate"],
        metadata={"z": 1, "a": [ODD, None, 1.5, True], "": {}},
        candidates_count=2,
    )
    prompt = odd.prompt
    prompt.context = [{"title": "", "text": ODD}, {"title": "t", "text": "x"}]
    prompt.metadata = {"split": "train", "deep": {"x": {"y": []}}}
    prompt.save()
    for place in (2, 3):
        more = Response.objects.create(prompt=prompt, external_id=f"more-{place}", text=f"{ODD}{place}", model="m")
        Candidate.objects.create(comparison=odd, response=more, place=place)
    plain, gold, empty = (make_comparison(made) for _ in range(3))
    said = {
        "created_at": YESTERDAY,
        "effective_at": YESTERDAY + timedelta(seconds=10),
        "aspects": {"b": {"level": 1, "confidence": None, "reasons": ["x"]}},
        "attributes": {"helpfulness": {"a": 3, "b": 4}},
        "reasons": ["more-correct"],
        "justification": ODD,
        "feedback": {"a": ODD, "b": "good"},
        "edit": {"side": "b", "text": ODD},
        "spans": [{"side": "a", "start": 0, "end": 3, "type": "x", "severity": "", "comment": ODD, "text": "naï"}],
        "ranking": {"ranks": [1, 3, 2, 2]},
        "flags": ["pii"],
        "a_first": False,
        "active_ms": 61_000,
        "cost": Decimal("0.12345678"),
        "guidelines_version": 3,
        "provenance": {"shown": {"order": [1, 0]}},
        "confidence": 0.7,
    }
    make_judgment(odd, people[0], 2, revision=1, is_current=False, **said)
    make_judgment(odd, people[0], -1, revision=2, **{**said, "provenance": {"revises": 1}})
    make_judgment(odd, people[0], 1, round=2, purpose="repeat")
    make_judgment(odd, people[1], outcome="ranked", ranking={"best": 0, "worst": 2}, is_surplus=True)
    make_judgment(odd, nobody[0], 0)
    make_judgment(odd, nobody[0], 1, round=2)
    make_judgment(odd, nobody[1], outcome="neither_valid")
    make_judgment(plain, people[1], 3, provenance={"undone": True}, is_current=False)
    make_judgment(plain, people[0], outcome="cannot_judge", justification="")
    make_judgment(plain, people[1], -3, revision=2, protocol=made.protocols.get(version=1))
    make_judgment(plain, expert, 2, purpose="review")
    make_judgment(gold, people[0], 1, purpose="gold")
    make_judgment(gold, people[1], 1, effective_at=now() + timedelta(minutes=5))
    for rater, p_b in ((old, 0.1), (new, 0.30000000000000004), (never, 0.99), (longest, 1.0)):
        make_judgment(gold, rater, p_b=p_b, p_tie=0.0, cost=Decimal("0.00000001"))
        make_judgment(odd, rater, p_b=1 - p_b)
    earlier = make_plan(made, {}, status="superseded")
    plan = make_plan(made, {odd: None, gold: new, empty: longest})
    Route.objects.filter(plan=plan, comparison=gold).update(gain=0.123, reason=ODD, propensity=0.25, is_control=True)
    Judgment.objects.filter(comparison=plain).update(plan=earlier)
    Judgment.objects.filter(comparison=gold).update(plan=plan)
    return made


def write(project, container="jsonl", source="routed"):
    asked, _job = export.request_export(project, "judgments", container, aggregate.recipe(project, source), {}, None)
    done = export.write_export(asked)
    Job.objects.update(state=Job.State.DONE)
    return done


def folder_of(done, folder):
    """The export as a local folder."""
    for file in done.files:
        path = folder / file["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        with default_storage.open(file["address"]) as content:
            path.write_bytes(content.read())
    return folder


def data(done):
    return {file["name"]: file["sha256"] for file in done.files if file["rows"] is not None}


def fresh():
    return start.create_project("Restored", lead=make_user(), guidelines="Mine")


def zipped(folder):
    path = folder.parent / "store.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(one for one in folder.rglob("*") if one.is_file()):
            packed.write(file, file.relative_to(folder))
    return path


@pytest.mark.parametrize(("container", "source"), [("parquet", "routed"), ("jsonl", "pooled"), ("jsonl.gz", "people")])
def test_what_goes_out_comes_in_and_goes_out_with_the_same_bytes(project, tmp_path, container, source):
    first = write(project, container, source)
    assert len(data(first)) == 8
    restored = fresh()
    report = ingest.ingest_file(restored, zipped(folder_of(first, tmp_path / "store")))
    assert (report.comparisons, report.judgments) == (4, 19)
    second = write(restored, container, source)
    assert data(second) == data(first)
    third_project = fresh()
    ingest.ingest_file(third_project, folder_of(second, tmp_path / "again"))
    assert data(write(third_project, container, source)) == data(first)


@pytest.mark.slow
def test_what_was_restored_is_history_and_asks_nobody_for_anything(project, tmp_path):
    folder = folder_of(write(project), tmp_path / "store")
    restored = fresh()
    said = str(ingest.ingest_file(restored, folder))
    assert "19 judgments of 4 comparisons restored" in said and "switched off: shortest, random, relevance" in said
    assert not Reservation.objects.filter(account__project=restored).exists()
    assert not restored.comparisons.filter(places_open__gt=0).exists()
    assert set(restored.labelers.filter(enabled=True).values_list("kind", flat=True)) == {"recorded"}
    assert restored.labelers.get(name="longest").restored_kind == "null_longest"
    assert [plan.status for plan in restored.plans.order_by("number")] == ["superseded", "approved"]
    # The store's guidelines are not in it: their numbers stay, and this project's text comes after them.
    restored.refresh_from_db()
    assert (restored.guidelines_version, restored.guidelines_versions.get().version) == (4, 4)
    assert [each.version for each in restored.protocols.order_by("version")] == [1, 2]


def test_one_of_each_is_told_as_one():
    one = str(Restoration({"judgments": 1, "comparisons": 1, "protocols": 1}))
    assert one.startswith("1 judgment of 1 comparison restored, with 1 version of the protocol. ")
    more = str(Restoration({"judgments": 1, "comparisons": 2, "protocols": 3}))
    assert more.startswith("1 judgment of 2 comparisons restored, with 3 versions of the protocol. ")


@pytest.mark.slow
def test_labels_are_counted_as_before(project, tmp_path):
    restored = fresh()
    ingest.ingest_file(restored, folder_of(write(project), tmp_path / "store"))
    for source in ("routed", "people", "pooled"):
        for each in (project, restored):
            aggregate.recipe(each, source)
    while aggregate.aggregate():
        pass

    def labels(each):
        return list(
            each.recipes.exclude(labels=None)
            .order_by("source", "labels__comparison__external_id")
            .values_list(
                "source", "labels__comparison__external_id", "labels__p_b", "labels__agreement", "labels__source"
            )
        )

    assert labels(project) == labels(restored) and len(labels(project)) > 5


@pytest.mark.slow
def test_new_judgments_and_people_get_ids_of_their_own(project, tmp_path):
    first = write(project)
    folder = folder_of(first, tmp_path / "store")
    judgments = [json.loads(line) for line in (folder / "judgments/train.jsonl").read_text().split("\n") if line]
    restored = fresh()
    ingest.ingest_file(restored, folder)
    make_judgment(restored.comparisons.last(), make_person(restored), 1)
    again = folder_of(write(restored), tmp_path / "again")
    rows = [json.loads(line) for line in (again / "judgments/train.jsonl").read_text().split("\n") if line]
    assert rows[:-1] == judgments
    assert rows[-1]["judgment_id"] > max(row["judgment_id"] for row in judgments)
    assert rows[-1]["rater"] not in {row["rater"] for row in judgments}


@pytest.mark.slow
def test_the_same_store_again_changes_nothing_and_says_so(project, tmp_path):
    folder = folder_of(write(project), tmp_path / "store")
    restored = fresh()
    ingest.ingest_file(restored, folder)
    again = ingest.ingest_file(restored, zipped(folder))
    assert str(again) == "This project came from the same store: nothing was changed" and not again.anything_new
    assert restored.judgments.count() == 19 and Import.objects.filter(project=restored).count() == 1


def test_a_dry_run_checks_all_and_stores_nothing(project, tmp_path, capsys):
    folder = folder_of(write(project, "parquet"), tmp_path / "store")
    restored = fresh()
    call_command("ingest", restored.pk, folder, dry_run=True)
    assert not restored.comparisons.exists() and not Import.objects.filter(project=restored).exists()
    assert restored.protocols.get().preset == "plain"
    call_command("ingest", restored.pk, folder)
    assert restored.judgments.count() == 19


@pytest.mark.slow
def test_a_project_with_comparisons_takes_no_store(project, tmp_path):
    folder = folder_of(write(project), tmp_path / "store")
    busy = make_project()
    make_comparison(busy)
    with pytest.raises(work.StepRefused, match="a lossless store is a whole project"):
        ingest.ingest_file(busy, folder)


@pytest.mark.slow
def test_a_changed_file_is_refused_by_its_hash(project, tmp_path):
    folder = folder_of(write(project), tmp_path / "store")
    path = folder / "responses/train.jsonl"
    path.write_text(path.read_text().replace("naïve", "naive", 1))
    with pytest.raises(work.StepRefused, match=r"responses/train.jsonl is not the file that the store's manifest.json"):
        ingest.ingest_file(fresh(), folder)
    path.unlink()
    with pytest.raises(work.StepRefused, match="has no table responses"):
        ingest.ingest_file(fresh(), folder)
    (folder / "manifest.json").write_text("{")
    path.write_text("{}")
    with pytest.raises(work.StepRefused, match="the store's manifest.json cannot be read"):
        ingest.ingest_file(fresh(), folder)


def test_a_missing_file_is_told_by_the_manifest(project, tmp_path):
    folder = folder_of(write(project), tmp_path / "store")
    shutil.rmtree(folder / "routes")
    with pytest.raises(work.StepRefused, match="routes/train.jsonl is missing"):
        ingest.ingest_file(fresh(), folder)


def edited(folder, table, edit):
    """The store without its manifest, with rows of a table changed by `edit` (a list of them, in place)."""
    (folder / "manifest.json").unlink(missing_ok=True)
    path = folder / table / "train.jsonl"
    rows = [json.loads(line) for line in path.read_text().split("\n") if line]
    edit(rows)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


def setting(name, value, place=0):
    return lambda rows: rows[place].update({name: value})


WRONG = [
    ("judgments", setting("preference", 1.5), "preference: must be a number from -1 to 1"),
    ("judgments", setting("cost", "NaN"), "cost: must be an amount"),
    ("judgments", setting("attributes", '{"help": {"a": "much"}}'), "attributes: is not shaped"),
    ("judgments", setting("spans", '[{"side": "z", "start": 0, "end": 1}]'), "spans: is not shaped"),
    ("judgments", setting("provenance", "[" * 90 + "]" * 90), "provenance: must be JSON, an object"),
    ("judgments", setting("provenance", '{"a":' * 90 + "1" + "}" * 90), "provenance: is nested more than 64"),
    ("judgments", setting("justification", "a\0b"), "justification: contains a NUL"),
    ("judgments", setting("provenance", '{"a": "\\u0000"}'), "provenance: contains a NUL"),
    ("judgments", setting("judgment_id", 10**16), "judgment_id: must be a number"),
    ("judgments", setting("secret", 1), "secret: is no column of this table"),
    ("judgments", setting("created_at", "yesterday"), "created_at: must be a time"),
    ("comparisons", setting("further_response_ids", ["b", 5]), "further_response_ids: must be text"),
    ("prompts", setting("turns", []), "turns: are missing"),
    ("prompts", setting("turns", [{"role": "judge", "content": "x"}]), r"turns\[0\].role: must be one of"),
    ("responses", setting("text", None), "text: is missing"),
    ("raters", setting("rater", "Anna"), "rater: must be a pseudonym"),
    ("raters", setting("labeler", "people", -1), "rater: must be the labeler's name"),
    ("protocols", setting("definition", '{"question": 1}'), "definition: cannot be used as a protocol"),
    ("routes", setting("source", "people:2"), "source: 'people:2' is what plans call people"),
]
BROKEN = [
    (
        "judgments",
        setting("comparison_id", "nowhere"),
        "comparison_id: 'nowhere' is in no row of the table comparisons",
    ),
    ("judgments", setting("rater", "person-none"), "rater: 'person-none' is in no row of the table raters"),
    ("judgments", setting("protocol_version", 9), "protocol_version: 9 is in no row of the table protocols"),
    ("judgments", setting("outcome", "won"), "outcome: must be one of level, ranked"),
    ("judgments", setting("provenance", '{"a":' * 100_000), "provenance: is nested too deeply"),
    ("judgments", setting("provenance", "{"), "provenance: is not valid JSON: Expecting property name"),
    (
        "judgments",
        lambda rows: rows[1].update(judgment_id=rows[0]["judgment_id"]),
        "row 2, judgment_id: is there twice",
    ),
    ("judgments", lambda rows: rows[1].update(revision=1), "row 2, revision: is there twice"),
    ("judgments", setting("is_current", True), "is_current: is true for two revisions"),
    ("comparisons", setting("response_b_id", "gone"), "response_b_id: 'gone' is in no row of the table responses"),
    ("comparisons", lambda rows: rows.append(rows[0]), "row 5, comparison_id: is there twice"),
    ("prompts", lambda rows: rows.append(rows[0]), "row 5, prompt_id: is there twice"),
    ("responses", setting("prompt_id", "gone"), "prompt_id: 'gone' is in no row of the table prompts"),
    ("raters", lambda rows: rows.append(rows[0]), "rater: is there twice"),
    ("protocols", lambda rows: rows.append(rows[0]), "version: is there twice"),
    ("routes", lambda rows: rows[1].update(plan=rows[0]["plan"] + 1), "plan: is another"),
    ("routes", lambda rows: rows.append(rows[0]), "comparison_id: has two routes"),
]


def test_values_that_no_export_has_are_refused_by_field(project, tmp_path):
    folder = folder_of(write(project), tmp_path / "store")
    for table, edit, words in WRONG:
        rows = [json.loads(line) for line in (folder / table / "train.jsonl").read_text().split("\n") if line]
        assert all(store_rows.checked(table, row) for row in rows)
        edit(rows)
        with pytest.raises(RowInvalid, match=words):
            for row in rows:
                store_rows.checked(table, row)


@pytest.mark.slow
def test_what_is_broken_is_named_by_table_row_and_field(project, tmp_path):
    store = folder_of(write(project), tmp_path / "store")
    restored = fresh()
    for number, (table, edit, words) in enumerate(BROKEN):
        folder = edited(shutil.copytree(store, tmp_path / str(number)), table, edit)
        with pytest.raises(work.StepRefused, match=words) as refused:
            ingest.ingest_file(restored, folder)
        assert f"table {table}, row " in str(refused.value)
        (error,) = refused.value.result["errors"]
        assert error["file"].startswith(f"{table}/train.jsonl, ")
        assert not restored.prompts.exists() and restored.protocols.get().preset == "plain"


@pytest.mark.slow
def test_a_store_without_its_manifest_is_known_by_its_tables(project, tmp_path):
    first = write(project)
    folder = edited(folder_of(first, tmp_path / "store"), "routes", lambda rows: None)
    restored = fresh()
    ingest.ingest_file(restored, folder)
    assert data(write(restored)) == data(first)


def test_a_member_who_would_share_a_pseudonym_is_no_guess(project, tmp_path):
    folder = folder_of(write(project), tmp_path / "store")
    restored = fresh()
    member = Rater.objects.create(project=restored, kind="person", user=make_member(restored, "annotator"))

    def renamed(rows):
        for row in rows:
            if row["rater"] == renamed.old:
                row["rater"] = member.pseudonym

    raters = [json.loads(line) for line in (folder / "raters/train.jsonl").read_text().split("\n") if line]
    renamed.old = raters[0]["rater"]
    edited(folder, "raters", renamed)
    edited(folder, "judgments", renamed)
    with pytest.raises(work.StepRefused, match="rater: is what exports of this project call one of its members"):
        ingest.ingest_file(restored, folder)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_lead_sees_what_it_is_and_restores_it_from_the_browser(project, tmp_path, client):
    path = zipped(folder_of(write(project, "parquet"), tmp_path / "store"))
    restored = fresh()
    lead = Membership.objects.get(project=restored, role="lead").user
    client.force_login(lead)
    with path.open("rb") as file:
        response = client.post(f"/projects/{restored.pk}/import/", {"file": file, "source": ""})
    page = client.get(response["Location"])
    assert "This is a lossless store" in page.content.decode()
    client.post(response["Location"], {"act": "import"})
    ingest.run_ingests()
    job = Job.objects.filter(project=restored, kind=Job.Kind.INGEST).last()
    assert (job.state, job.project.judgments.count()) == (Job.State.DONE, 19), job.message
    plan, comparison = restored.plans.latest("number"), restored.comparisons.first()
    pages = [f"labelers/{each.pk}/" for each in restored.labelers.all()]
    pages += ["", "plans/", f"plans/{plan.number}/", "labelers/", "protocol/", "exports/", "quality/", "comparisons/"]
    for name in (*pages, f"comparisons/{comparison.pk}/"):
        assert client.get(f"/projects/{restored.pk}/{name}").status_code == 200, name
    with path.open("rb") as file:
        response = client.post(f"/projects/{restored.pk}/import/", {"file": file, "source": ""})
    assert "Import the whole file" in client.get(response["Location"]).content.decode()


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
ANY = st.one_of(st.just(""), TEXT, st.sampled_from(["\r", "\u2028", "e\u0301", "𝄞", "\u202eאב", "\ufeff", "\x85"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False) | ANY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(TEXT, ANY, ANY, st.dictionaries(ANY, VALUES, max_size=3), st.integers(-3, 3), ANY, TEXT),
        min_size=1,
        max_size=4,
    ),
    container=st.sampled_from(["parquet", "jsonl"]),
)
def test_any_text_and_metadata_come_back_with_the_same_bytes(tmp_path, rows, container):
    Export.objects.all().delete()
    made = make_project("helpsteer3")
    person = make_person(made)
    for number, (prompt, a, b, metadata, level, words, key) in enumerate(rows):
        comparison = make_comparison(made, prompt, metadata=metadata, criterion=words)
        Response.objects.filter(pk=comparison.response_a_id).update(text=a, metadata=metadata, model=words)
        Response.objects.filter(pk=comparison.response_b_id).update(text=b)
        comparison.external_id = f"{key}{number}"
        comparison.save()
        make_judgment(comparison, person, level, justification=words, feedback={"a": words}, provenance=metadata)
    first = write(made, container)
    folder = folder_of(first, tmp_path / f"{next(_digests)}")
    restored = fresh()
    ingest.ingest_file(restored, folder)
    assert data(write(restored, container)) == data(first)
