"""An export is of one moment: what is corrected, withdrawn or committed while it is written changes nothing in it."""

import json
import threading
from datetime import timedelta

import pytest
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.utils.timezone import now

from annotator.formats.source import Filters
from annotator.models import Job, Judgment, Membership, Purpose
from annotator.models.votes import as_text
from annotator.pipeline import aggregate, domains, export, ingest, parts, work
from annotator.readings import under_way
from annotator.readings.lossless import WholeSnapshot
from annotator.readings.snapshot import Snapshot
from labelers.domains import Keywords
from tests.builders import make_comparison, make_judgment, make_member, make_person, make_plan, make_project


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)
    monkeypatch.setattr(parts, "PART_ROWS", 3)


@pytest.fixture
def judged(db):
    """A project with eight judged comparisons, and their judgments."""
    project = make_project(provenance="generated")
    person = make_person(project)
    return project, [make_judgment(make_comparison(project), person, 1) for _ in range(8)]


def correct(judgment, level):
    """As `pipeline.revise` does."""
    Judgment.objects.filter(pk=judgment.pk).update(is_current=False)
    said = {"revision": judgment.revision + 1, "provenance": {"revises": judgment.pk}}
    return make_judgment(judgment.comparison, judgment.rater, level, **said)


def write(project, format="trl_reward", filters=None, after_first_part=None, monkeypatch=None):
    """The bytes of the data files by name."""
    made, _job = export.request_export(
        project, format, "jsonl", aggregate.recipe(project, "people"), {}, None, filters or {}
    )
    if after_first_part:
        moved_on, waiting = Snapshot.next_part, [after_first_part]

        def next_part(snapshot):
            found = moved_on(snapshot)
            if waiting:
                waiting.pop()()
            return found

        monkeypatch.setattr(Snapshot, "next_part", next_part)
    done = export.write_export(made)
    Job.objects.update(state=Job.State.DONE)
    return {file["name"]: default_storage.open(file["address"]).read() for file in done.files if file["rows"]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "filters"), [("trl_reward", {}), ("trl_reward", {"status": "settled"}), ("judgments", {})]
)
def test_an_answer_corrected_meanwhile_counts_as_it_was(judged, monkeypatch, format, filters):
    project, judgments = judged
    project.comparisons.update(votes_wanted=1)
    before = write(project, format, filters)

    def twice():
        correct(correct(judgments[7], -1), 0)
        correct(judgments[0], -1)

    assert write(project, format, filters, twice, monkeypatch) == before
    monkeypatch.undo()
    monkeypatch.setattr(work, "nudge", lambda task: None)
    assert write(project, format, filters) != before


@pytest.mark.slow
def test_an_export_during_which_other_votes_are_wanted_is_written_anew(judged, monkeypatch):
    project, _judgments = judged
    project.comparisons.update(votes_wanted=1)

    def more_are_wanted():
        # Three of the four are in the first part, which has been written by then.
        project.comparisons.filter(pk__lte=project.comparisons.order_by("pk")[3].pk).update(votes_wanted=2)

    meanwhile = write(project, filters={"status": "settled"}, after_first_part=more_are_wanted, monkeypatch=monkeypatch)
    (rows,) = meanwhile.values()
    assert len(rows.splitlines()) == 4
    manifest = project.exports.latest("pk").manifest
    assert manifest["filters"]["votes_wanted"] == {"1": 4, "2": 4}
    assert write(project, filters={"status": "settled"}) == meanwhile


@pytest.mark.slow
def test_a_domain_that_is_found_meanwhile_lets_no_row_in_late(judged, monkeypatch):
    project, judgments = judged
    project.prompts.update(domain="")
    asked = {"metadata": {"domain": judgments[0].comparison.prompt.domain or Keywords()(project.prompts.first().turns)}}
    rows = write(project, filters=asked, after_first_part=lambda: domains.find(project), monkeypatch=monkeypatch)
    assert len(b"".join(rows.values()).splitlines()) == 8
    assert write(project, filters=asked) == rows


VOTE = [{"rater": "ann", "kind": "person", "level": 1}]
ENGLISH = {"metadata": {"language": "en"}}


def file_of(tmp_path, *numbers, **fields):
    """Rows of comparisons that one person has judged; the same number is the same comparison."""
    sides = {"response_a": "So.", "response_b": "Because."}
    rows = [{"id": f"q{n}", "prompt": f"Why {n}?", **sides, "judgments": VOTE, **fields} for n in numbers]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def imported(request, tmp_path):
    """A project into which eight judged comparisons were imported; only the last is said to be English."""
    request.getfixturevalue("transactional_db" if "held_import" in request.fixturenames else "db")
    project = make_project(provenance="generated")
    ingest.ingest_file(project, file_of(tmp_path, *range(7)))
    ingest.ingest_file(project, file_of(tmp_path, 7, **ENGLISH))
    return project


@pytest.fixture
def taken(monkeypatch):
    """A list of the snapshots that exports have taken."""
    take, found = Snapshot.take.__func__, []

    def noting(cls, *given):
        found.append(take(cls, *given))
        return found[-1]

    monkeypatch.setattr(Snapshot, "take", classmethod(noting))
    return found


def test_metadata_that_are_added_meanwhile_let_rows_in_from_the_first_part_on(imported, taken, tmp_path, monkeypatch):
    def again():
        assert ingest.ingest_file(imported, file_of(tmp_path, *range(8), **ENGLISH)).supplemented == 7

    (rows,) = write(imported, filters=ENGLISH, after_first_part=again, monkeypatch=monkeypatch).values()
    assert len(rows.splitlines()) == 8 and len(taken) == 2


@pytest.fixture
def held_import(monkeypatch):
    """Begins an import in another session, which stops before it is recorded; gives what lets it go on."""
    record, reached, go, threads = ingest.Staged.record, threading.Event(), threading.Event(), []

    def held(staged, *given):
        reached.set()
        assert go.wait(20)
        record(staged, *given)

    def run(project, path):
        try:
            ingest.ingest_file(project, path)
        finally:
            connection.close()

    def begin(project, path):
        monkeypatch.setattr(ingest.Staged, "record", held)
        threads.append(threading.Thread(target=run, args=(project, path)))
        threads[0].start()
        assert reached.wait(20)
        return go.set

    yield begin
    go.set()
    for thread in threads:
        thread.join()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_an_export_that_waits_for_an_import_that_adds_metadata_is_written_once(
    imported, held_import, taken, tmp_path, monkeypatch
):
    go_on = held_import(imported, file_of(tmp_path, *range(8), **ENGLISH))
    look, waited = under_way._writing, []

    def writing(*given):
        found = look(*given)
        waited.append(bool(found))
        go_on()
        return found

    monkeypatch.setattr(under_way, "_writing", writing)
    (rows,) = write(imported, filters=ENGLISH).values()
    assert waited[0] and len(rows.splitlines()) == 8
    latest = imported.imports.latest("pk")
    assert latest.report["supplemented"] == 7 and latest.created_at > taken[0].seen
    assert len(taken) == 1


def test_a_run_that_goes_on_knows_which_imports_came_before_it(imported):
    recipe, filters = aggregate.recipe(imported, "people"), Filters(metadata={"language": "en"})
    kept = json.loads(json.dumps(Snapshot.take(imported, recipe, filters).kept()))
    newest = imported.imports.latest("pk").pk
    imported.imports.create(filename="later.jsonl", bytes=1, rows=1)
    assert Snapshot.again(imported, recipe, filters, kept).last_import == newest


def test_a_settlement_withdrawn_meanwhile_counts_as_it_was_and_not_later(judged):
    project, judgments = judged
    reviewer = make_person(project, make_member(project, "reviewer"))
    settled = make_judgment(judgments[0].comparison, reviewer, -1, purpose=Purpose.REVIEW, round=1001)
    recipe = aggregate.recipe(project, "people")
    snapshot = WholeSnapshot.take(project, recipe, Filters())
    withdrawn = {"review": 1, "withdrawn": as_text(now())}
    Judgment.objects.filter(pk=settled.pk).update(is_current=False, provenance=withdrawn)
    assert next(snapshot.judged()).label.source == "review"
    row = list(snapshot.table("judgments"))[-1]
    assert (row["is_current"], row["provenance"]) == (True, '{"review": 1}')
    later = WholeSnapshot.take(project, recipe, Filters())
    assert next(later.judged()).label.source == "people"
    assert list(later.table("judgments"))[-1]["is_current"] is False
    # Before the time was written down the mark said true: it was withdrawn at some time, and does not count.
    Judgment.objects.filter(pk=settled.pk).update(provenance={"withdrawn": True})
    assert next(snapshot.judged()).label.source == "people"


def test_a_second_answer_or_what_was_undone_never_counts_for_another(judged):
    project, judgments = judged
    first = judgments[0]
    snapshot = Snapshot.take(project, aggregate.recipe(project, "people"), Filters())
    Judgment.objects.filter(pk=first.pk).update(is_current=False)
    marked = {"revision": 2, "is_current": False, "provenance": {"second_answer_to": first.pk}}
    make_judgment(first.comparison, first.rater, -1, **marked)
    assert len(list(snapshot.judged())) == 7


def test_who_is_an_expert_and_which_plan_routes_are_those_of_the_moment(judged):
    project, judgments = judged
    reviewer = make_member(project, "reviewer")
    make_judgment(judgments[0].comparison, make_person(project, reviewer), 1)
    plan = make_plan(project, {judgments[0].comparison: None}).pk
    recipe = aggregate.recipe(project, "people")
    taken = Snapshot.take(project, recipe, Filters())
    Membership.objects.filter(user=reviewer).delete()
    project.plans.all().delete()
    again = Snapshot.again(project, recipe, Filters(), json.loads(json.dumps(taken.kept())))
    assert [vote.is_expert for vote in next(again.judged()).votes] == [False, True]
    assert again.plan_id == plan


@pytest.fixture
def slow_write():
    """Begins a transaction in another session that stores judgments; gives what ends it."""
    ends = []

    def begin(write):
        started, go = threading.Event(), threading.Event()

        def run():
            with transaction.atomic():
                write()
                started.set()
                go.wait(20)
            connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        assert started.wait(20)
        ends.append((go, thread))
        return go.set

    yield begin
    for go, thread in ends:
        go.set()
        thread.join()


@pytest.mark.django_db(transaction=True)
def test_what_is_under_way_is_waited_for(slow_write, monkeypatch):
    monkeypatch.setattr(under_way, "LONG", 0.05)
    project = make_project()
    comparisons = [make_comparison(project) for _ in range(3)]
    people = [make_person(project), make_person(project)]
    commit = slow_write(lambda: make_judgment(comparisons[0], people[0], 1))
    make_judgment(comparisons[1], people[1], 1)
    asked = []

    def waiting():
        asked.append(1)
        commit()

    recipe = aggregate.recipe(project, "people")
    snapshot = Snapshot.take(project, recipe, Filters(), waiting)
    assert asked
    keys = [each.external_id for each in comparisons[:2]]
    assert [each.key for each in snapshot.judged()] == keys
    # What begins later is above the boundary and nobody waits for it.
    make_judgment(comparisons[2], people[0], 1)
    again = Snapshot.again(project, recipe, Filters(), {**snapshot.kept(), "passes": {}})
    assert [each.key for each in again.judged()] == keys


@pytest.mark.django_db(transaction=True)
def test_the_import_of_another_project_is_not_waited_for_and_nothing_is_for_ever(slow_write, monkeypatch):
    monkeypatch.setattr(under_way, "MOST_SECONDS", 0.1)
    project, other = make_project(), make_project()
    theirs = make_comparison(other)

    def store(of=None):
        if of:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(hashtext('switchyard ingest'), %s)", [of.pk])
        make_judgment(theirs, make_person(other), 1)

    slow_write(lambda: store(other))
    recipe = aggregate.recipe(project, "people")
    Snapshot.take(project, recipe, Filters())
    with pytest.raises(under_way.StillWriting):
        Snapshot.take(other, aggregate.recipe(other, "people"), Filters())
    slow_write(store)
    make_judgment(make_comparison(project), make_person(project), 1)
    with pytest.raises(work.StepRefused, match="ask again"):
        write(project)


def test_what_becomes_effective_between_the_two_reads_of_the_boundary_is_not_in_it(judged):
    project, judgments = judged
    snapshot = Snapshot.take(project, aggregate.recipe(project, "people"), Filters())
    newer = correct(judgments[0], -1)
    Judgment.objects.filter(pk=newer.pk).update(effective_at=snapshot.seen + timedelta(seconds=1))
    snapshot.last["judgments"] = newer.pk
    assert next(snapshot.judged()).label.p_b == 1


@pytest.mark.slow
@pytest.mark.parametrize("format", ["rewardbench2", "ultrafeedback"])
def test_comparisons_of_one_prompt_are_one_row_whenever_they_came(db, format):
    """The second import of a prompt turns over what the first alone says."""
    project = make_project("helpsteer2", provenance="generated")
    person = make_person(project)
    first = make_comparison(project, prompt="Which?", a="one", b="two")
    other = make_comparison(project, prompt="And this?")
    second = make_comparison(project, prompt="Which?", a="three", b="four")
    second.prompt = first.prompt
    second.response_b = first.response_a
    second.response_a.prompt, second.response_a.external_id = first.prompt, "c"
    second.response_a.save()
    second.save()
    for comparison in (first, other, second):
        make_judgment(comparison, person, -1, attributes={"helpfulness": {"a": 4, "b": 1}})
    (name,) = write(project, format)
    rows = [json.loads(line) for line in write(project, format)[name].splitlines()]
    assert len(rows) == 2
    if format == "rewardbench2":
        assert (rows[0]["chosen"], rows[0]["rejected"]) == (["three"], ["one", "two"])
    assert rows[0]["meta_comparison_ids"] == [first.external_id, second.external_id]
    assert rows[1]["meta_comparison_ids"] == [other.external_id]


@pytest.mark.slow
def test_texts_stay_in_the_split_that_they_were_imported_with(judged):
    project, judgments = judged
    comparisons = [judgment.comparison for judgment in judgments]
    for comparison, split in zip(comparisons, ["test", "val", "Train", "dev", "else", "", 3, None], strict=True):
        comparison.metadata = {"split": split}
        comparison.save()
    comparisons[7].prompt.metadata, comparisons[7].metadata = {"split": "test"}, {"split": "train"}
    comparisons[7].prompt.save()
    comparisons[7].save()

    def splits(**options):
        made, _job = export.request_export(
            project, "trl_reward", "jsonl", aggregate.recipe(project, "people"), options, None
        )
        files = export.write_export(made).files
        Job.objects.update(state=Job.State.DONE)
        return {file["name"]: file["rows"] for file in files if file["rows"]}

    imported = {"default/test.jsonl": 2, "default/train.jsonl": 4, "default/validation.jsonl": 2}
    assert splits(splits="imported") == imported
    assert splits() == {"default/train.jsonl": 8}
