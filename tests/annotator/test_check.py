"""Reports are computed from what people and labelers said, once for the same judgments, and gate candidates."""

from decimal import Decimal

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now
from scipy.special import logit

import labelers
from annotator import tick
from annotator.models import Job, Judgment, Label, Labeler, LabelerCall, LabelerReport, Project
from annotator.pipeline import aggregate, appraise, check, evidence, label, probes, signals, versions, work
from annotator.readings import report_tables, reports
from annotator.views import jobs
from labelers import compare
from tests.builders import make_comparison, make_judgment, make_labeler, make_member, make_person, make_project

pytestmark = pytest.mark.django_db


def judged_by(rater, comparisons, right, rng, sure=0.9):
    """Judgments of a labeler that is right in a share `right` of what people said, and says to be `sure`."""
    for comparison in comparisons:
        side = comparison.better if rng.random() < right else -comparison.better
        make_judgment(comparison, rater, p_b=sure if side > 0 else 1 - sure)


def project_with_people(number=60, seed=0):
    rng = np.random.default_rng(seed)
    project = make_project()
    person = make_person(project)
    comparisons = []
    for place in range(number):
        long = "word " * int(rng.integers(3, 40))
        comparison = make_comparison(
            project, f"Please tell me everything about subject {place}.", a=long + ".", b="No."
        )
        comparison.prompt.text_hash = f"{place:064x}"
        comparison.prompt.save()
        comparison.better = 1 if rng.random() < 0.5 else -1
        make_judgment(comparison, person, comparison.better)
        comparisons.append(comparison)
    return project, comparisons, rng


def run(kind, step):
    work.work(kind, step)
    return Job.objects.filter(kind=kind).latest("id")


def test_the_report_says_how_much_better_than_the_nulls_a_labeler_is():
    project, comparisons, rng = project_with_people()
    rater = make_labeler(project, "good judge")
    judged_by(rater, comparisons, 0.95, rng)
    check.request(rater.labeler_version.labeler)
    job = run(Job.Kind.CHECK, check.check_job)
    assert (job.state, job.message) == ("done", "1 report computed")
    data = LabelerReport.objects.get().data
    right = sum((j.p_b > 0.5) == (j.comparison.better > 0) for j in _with_better(rater, comparisons)) / 60
    assert data["measures"]["raw"]["accuracy"]["value"] == pytest.approx(right)
    assert {each["kind"] for each in data["nulls"]} == {"null_longest", "null_shortest"}
    assert reports.best_null(data)["difference"]["better"]
    assert reports.sentence(data)[0].startswith("beats “the ")
    assert sum(data["site"]["margins"]["right"]) == pytest.approx(60 * right)


def _with_better(rater, comparisons):
    better = {each.pk: each.better for each in comparisons}
    found = list(Judgment.objects.filter(rater=rater).select_related("comparison"))
    for judgment in found:
        judgment.comparison.better = better[judgment.comparison_id]
    return found


@pytest.mark.slow
def test_the_same_judgments_make_no_second_report_and_a_new_one_does():
    project, comparisons, rng = project_with_people(30)
    rater = make_labeler(project)
    judged_by(rater, comparisons, 0.8, rng)
    panel = appraise.Panel.of(project)
    assert appraise.store(rater.labeler_version, panel) is True
    assert appraise.store(rater.labeler_version, appraise.Panel.of(project)) is False
    make_judgment(comparisons[0], make_person(project), -comparisons[0].better)
    assert appraise.store(rater.labeler_version, appraise.Panel.of(project)) is True
    assert LabelerReport.objects.count() == 2


@pytest.mark.slow
def test_what_nobody_added_to_is_not_read_again(monkeypatch):
    project, comparisons, rng = project_with_people(30)
    rater = make_labeler(project)
    judged_by(rater, comparisons, 0.8, rng)
    Job.objects.request(project, Job.Kind.CHECK, labeler=None)
    assert run(Job.Kind.CHECK, check.check_job).message == "1 report computed"
    reads = []
    monkeypatch.setattr(evidence, "load", lambda project, load=evidence.load: reads.append(project) or load(project))
    Job.objects.request(project, Job.Kind.CHECK, labeler=None)
    assert run(Job.Kind.CHECK, check.check_job).message.endswith("1 unchanged") and not reads
    make_judgment(comparisons[0], make_person(project), -comparisons[0].better)
    Job.objects.request(project, Job.Kind.CHECK, labeler=None)
    assert run(Job.Kind.CHECK, check.check_job).message == "1 report computed" and reads


def test_only_what_was_said_of_the_sample_is_read():
    project, comparisons, rng = project_with_people(12)
    rater = make_labeler(project)
    judged_by(rater, comparisons, 1, rng)
    whole, known = evidence.load(project), evidence.load(project, 5)
    drawn = sorted(sorted((each.pk for each in comparisons), key=evidence._drawn)[:5])
    assert known.ids.tolist() == drawn and len(whole) == 12
    with CaptureQueriesContext(connection) as asked:
        said = evidence.answers(rater.labeler_version, known)
    assert said.count == 5 and asked.captured_queries
    assert all("comparison_id" in each["sql"].split("WHERE")[1] for each in asked.captured_queries)


@pytest.mark.slow
def test_the_tick_asks_when_somebody_has_judged_since_and_then_waits():
    project, comparisons, rng = project_with_people(10)
    assert check.request_due() == 0, "there is no labeler yet"
    rater = make_labeler(project)
    judged_by(rater, comparisons, 0.8, rng)
    assert check.request_due() == 1 and check.request_due() == 0
    run(Job.Kind.CHECK, check.check_job)
    Job.objects.update(created_at=now() - check.LONGEST * 2)
    assert check.request_due() == 0, "nobody has judged since"
    make_judgment(comparisons[0], make_person(project), 1)
    for status in (Project.Status.PAUSED, Project.Status.CLOSED):
        Project.objects.update(status=status)
        assert check.request_due() == 0
    Project.objects.update(status=Project.Status.ACTIVE)
    assert check.request_due() == 1


@pytest.mark.slow
def test_many_labelers_and_a_burst_of_judgments_are_one_report_job_a_project():
    project, comparisons, rng = project_with_people(5)
    for number in range(12):
        judged_by(make_labeler(project, f"judge {number}"), comparisons, 0.8, rng)
    assert check.request_due() == 1
    run(Job.Kind.CHECK, check.check_job)
    for comparison in comparisons:
        make_judgment(comparison, make_person(project), 1)
        assert check.request_due() == 0, "too soon after the last ones"
    Job.objects.update(created_at=now() - check.SHORTEST * 2)
    assert check.request_due() == 0, "somebody judges just now"
    Judgment.objects.update(created_at=now() - check.SILENCE * 2)
    assert check.request_due() == 1 and check.request_due() == 0
    assert Job.objects.filter(kind=Job.Kind.CHECK).count() == 2


def test_reports_that_failed_are_not_tried_again_and_again():
    project, comparisons, rng = project_with_people(5)
    judged_by(make_labeler(project), comparisons, 0.8, rng)
    check.request_due()
    work.work(Job.Kind.CHECK, lambda job: 1 / 0)
    assert Job.objects.get().state == Job.State.FAILED
    long_ago = now() - check.LONGEST * 3
    Job.objects.update(created_at=long_ago)
    Judgment.objects.update(created_at=long_ago - check.LONGEST)
    assert check.request_due() == 0, "the same judgments would fail again"
    make_judgment(comparisons[0], make_person(project), 1)
    assert check.request_due() == 1


@pytest.mark.slow
def test_scores_are_kept_so_that_the_margin_is_their_difference():
    project, comparisons, _rng = project_with_people(6)
    labeler = Labeler.objects.create(project=project, name="longest", kind="null_longest")
    label.request_run(labeler, scope="everything")
    run(Job.Kind.LABEL, label.label_job)
    known = evidence.load(project)
    said = evidence.answers(versions.in_use(labeler), known)
    np.testing.assert_array_equal(said.scores, known.lengths)
    np.testing.assert_array_equal(known.judged(said).margin, known.lengths[:, 1] - known.lengths[:, 0])


# Candidates


def edited(project, comparisons, rng, *, before=0.7, after=0.7):
    """A labeler that has judged, and its candidate, which has judged the same."""
    labeler = Labeler.objects.create(project=project, name="coin", kind="null_random")
    first = versions.edit(labeler, {"seed": 1})
    judged_by(first.rater, comparisons, before, rng)
    second = versions.edit(labeler, {"seed": 2})
    judged_by(second.rater, comparisons, after, rng)
    return labeler, first, second


def test_an_edit_of_a_labeler_that_has_judged_waits_as_a_candidate():
    project, comparisons, rng = project_with_people(4)
    labeler, first, second = edited(project, comparisons, rng)
    assert first.accepted_at and second.accepted_at is None
    assert versions.current_version(labeler) == first and labeler.version == first
    assert versions.candidate(labeler) == second
    third = versions.edit(labeler, {"seed": 3})
    assert versions.candidate(labeler) == third, "a newer candidate puts the older one aside"
    assert versions.edit(labeler, {"seed": 2}) == second == versions.candidate(labeler), "taken up again"
    assert second.rater.judgments.count() == 4
    assert versions.edit(labeler, {"seed": 1}) == first and versions.candidate(labeler) is None


def test_how_an_endpoint_is_asked_is_no_other_version():
    project, comparisons, rng = project_with_people(2)
    judge = Labeler.objects.create(project=project, name="judge", kind="llm_judge")
    first = versions.edit(judge, {"model": "m1", "concurrency": 4, "calls_per_minute": None})
    judged_by(first.rater, comparisons, 1, rng)
    slower = versions.edit(judge, {"model": "m1", "concurrency": 2, "calls_per_minute": 60})
    assert slower == first and versions.candidate(judge) is None
    assert versions.current_version(judge).parameters["calls_per_minute"] == 60
    assert versions.edit(judge, {"model": "m2", "concurrency": 2}) != first


@pytest.mark.slow
def test_a_version_that_our_code_made_is_checked_by_itself_and_the_page_says_so(client, monkeypatch):
    project, comparisons, rng = project_with_people(40)
    labeler = Labeler.objects.create(project=project, name="coin", kind="null_random")
    first = versions.current_version(labeler)
    judged_by(first.rater, comparisons, 0.7, rng)
    assert versions.replaced_by_code(first) is None and not Job.objects.filter(kind=Job.Kind.CHECK).exists()
    monkeypatch.setattr(labelers.load("null_random"), "CODE_VERSION", 99)
    second = versions.current_version(labeler)
    assert versions.in_use(labeler) == second != first and versions.replaced_by_code(second) == first
    assert Job.objects.get(kind=Job.Kind.CHECK).parameters["labeler"] == labeler.pk
    judged_by(second.rater, comparisons, 0.7, rng)
    run(Job.Kind.CHECK, check.check_job)
    (beside,) = report_tables.others(LabelerReport.objects.get(version=second).data)
    assert (beside.labeler, beside.label, beside.n) == (labeler.pk, str(first), 40)
    client.force_login(make_member(project, "lead"))
    assert "took the place of" in client.get(f"/projects/{project.pk}/labelers/{labeler.pk}/").content.decode()


def test_what_a_candidate_says_counts_only_once_it_is_accepted():
    project, comparisons, rng = project_with_people(3)
    pooled = aggregate.recipe(project, "pooled")
    judge = Labeler.objects.create(project=project, name="judge", kind="llm_judge")
    first = versions.new_version(judge, {"model": "m1"})
    second = versions.new_version(judge, {"model": "m2"}, accepted=False)
    make_judgment(comparisons[0], first.rater, p_b=0.2)
    make_judgment(comparisons[0], second.rater, p_b=0.9)
    ids = np.array([comparisons[0].pk])
    person = float(comparisons[0].better > 0)

    def labelled():
        Judgment.objects.filter(effective_at__gt=now()).update(effective_at=now())
        while aggregate.aggregate():
            pass
        return Label.objects.get(comparison=comparisons[0], recipe=pooled).p_b

    assert labelled() == pytest.approx((person + 0.2) / 2)
    assert signals._answers(judge, ids).tolist() == [0.2]
    versions.accept(second)
    assert labelled() == pytest.approx((person + 0.9) / 2)
    assert signals._answers(judge, ids).tolist() == [0.9]


def test_what_an_accepted_version_has_judged_is_counted_anew_some_at_a_time():
    project, comparisons, rng = project_with_people(5)
    _labeler, first, second = edited(project, comparisons, rng)
    Judgment.objects.update(aggregated=True)
    versions.accept(second)
    waiting = Judgment.objects.filter(aggregated=False)
    assert not waiting.exists(), "nobody waits for a page that updates them all"
    assert tick.due()[tick.AGGREGATE] == -second.pk
    counted = [aggregate.aggregate(2), aggregate.aggregate(2), aggregate.aggregate(2), aggregate.aggregate(2)]
    assert counted == [2, 2, 1, 0] and not waiting.exists() and tick.AGGREGATE not in tick.due()


@pytest.mark.slow
def test_a_worse_candidate_is_accepted_only_by_confirmation():
    project, comparisons, rng = project_with_people(80)
    labeler, first, second = edited(project, comparisons, rng, before=0.95, after=0.5)
    with pytest.raises(check.NeedsConfirmation, match="not been compared"):
        check.accept(second)
    check.request(labeler)
    run(Job.Kind.CHECK, check.check_job)
    with pytest.raises(check.NeedsConfirmation, match="contradict it more often"):
        check.accept(second)
    assert versions.current_version(labeler) == first
    check.accept(second, confirmed=True)
    assert versions.current_version(labeler) == second


@pytest.mark.slow
def test_a_candidate_that_is_no_worse_needs_no_confirmation_and_one_put_aside_cannot_be_accepted():
    project, comparisons, rng = project_with_people(80)
    labeler, first, second = edited(project, comparisons, rng, before=0.6, after=0.97)
    check.request(labeler)
    run(Job.Kind.CHECK, check.check_job)
    lines = report_tables.comparison(second, first)
    assert lines[0].value > 0 and lines[0].n == 80
    versions.discard(second)
    with pytest.raises(work.StepRefused, match="put aside"):
        check.accept(second)
    versions.edit(labeler, {"seed": 2})
    second.refresh_from_db()
    check.accept(second)
    assert versions.current_version(labeler) == second
    with pytest.raises(work.StepRefused, match="in use"):
        versions.discard(second)


def test_a_run_for_a_candidate_judges_as_the_candidate():
    project, comparisons, rng = project_with_people(5)
    labeler = Labeler.objects.create(project=project, name="coin", kind="null_random")
    first = versions.edit(labeler, {"seed": 1})
    judged_by(first.rater, comparisons[:1], 1, rng)
    second = versions.edit(labeler, {"seed": 2})
    label.request_run(labeler, scope="people", version=second)
    job = run(Job.Kind.LABEL, label.label_job)
    assert job.state == "done" and second.rater.judgments.count() == 5 and first.rater.judgments.count() == 1


def compared(candidate, against, *, n=80, prompts=80, low=-0.05, checks=(), notes=()):
    """A stored report of the candidate that has just what the gate reads."""
    gain = {"difference": 0.0, "low": low, "high": 0.1, "worse": False, "better": False, "n": n}
    data = {
        "incumbent": {"label": "", "accuracy": gain, "log_loss": gain, "prompts": prompts},
        "checks": list(checks),
        "notes": list(notes),
        "site": {"against": against.pk},
    }
    LabelerReport.objects.create(version=candidate, digest=str(LabelerReport.objects.count()), data=data)


def test_no_worse_takes_an_interval_on_enough_prompts():
    project, comparisons, rng = project_with_people(2)
    _labeler, first, second = edited(project, comparisons, rng)
    for few in ({"n": 1, "prompts": 1, "low": None}, {"prompts": check.LEAST_PROMPTS - 1}):
        compared(second, first, **few)
        with pytest.raises(check.NeedsConfirmation, match="takes 30 that people judged"):
            check.accept(second)
    compared(second, first, prompts=check.LEAST_PROMPTS)
    assert check.hindrances(second) == []


def test_a_judge_is_not_used_unchecked_and_nothing_is_that_fails_a_check_without_a_word_for_it():
    project, comparisons, rng = project_with_people(2)
    judge = Labeler.objects.create(project=project, name="judge", kind="llm_judge")
    first = versions.edit(judge, {"model": "m1"})
    judged_by(first.rater, comparisons, 1, rng)
    second = versions.edit(judge, {"model": "m2"})
    compared(second, first)
    assert check.hindrances(second) == ["Its checks have not been run: run them first."]
    passed = {"name": "duplicate", "n": 40, "rate": 1.0, "low": 0.9, "high": 1.0, "outcome": "pass"}
    failed = {"name": "padding", "n": 40, "rate": 0.1, "low": 0.0, "high": 0.2, "outcome": "fail"}
    compared(second, first, checks=[passed])
    assert check.hindrances(second) == []
    compared(second, first, checks=[passed, failed], notes=[{"code": "obeys_attacks", "values": {}}])
    padding, attacks = check.hindrances(second)
    assert "“Padding”" in padding and "tell it what to say" in attacks
    with pytest.raises(check.NeedsConfirmation, match="Padding"):
        check.accept(second)


def test_checks_are_run_on_a_candidate(client):
    project, comparisons, rng = project_with_people(12)
    labeler, first, second = edited(project, comparisons, rng)
    client.force_login(make_member(project, "lead"))
    address = f"/projects/{project.pk}/labelers/{labeler.pk}/measure"
    assert client.post(address, {"what": "candidate_checks", "most": "0"}).status_code == 302
    job = run(Job.Kind.LABEL, label.label_job)
    assert job.state == "done", job.message
    assert LabelerCall.objects.filter(labeler_version=second, step__startswith="check:").exists()
    assert not LabelerCall.objects.filter(labeler_version=first).exists()


# Suspects


@pytest.mark.slow
def test_labels_that_calibrated_labelers_agree_on_against_people_are_suspects():
    project, comparisons, rng = project_with_people(150)
    raters = [make_labeler(project, name) for name in ("one", "two", "three")]
    wrong = comparisons[0]
    for rater in raters:
        judged_by(rater, comparisons[1:], 0.93, rng, sure=0.95)
        make_judgment(wrong, rater, p_b=0.05 if wrong.better > 0 else 0.95)
    panel = appraise.Panel.of(project)
    found = appraise.suspects(raters[0].labeler_version, panel)
    assert wrong.pk in {each["comparison"] for each in found} and len(found) < 10
    log_odds = logit(np.column_stack(list(panel.calibrated.values())))
    documented = {int(panel.known.ids[each.place]) for each in compare.suspects(log_odds, panel.known.people)}
    assert {each["comparison"] for each in found} <= documented, "one rule, that of the library"
    alone = appraise.Panel(project, panel.known)
    alone.in_use = [raters[0].labeler_version]
    assert appraise.suspects(raters[0].labeler_version, alone) == [], "one labeler is not several"
    one = [each for each in found if each["comparison"] == wrong.pk][0]
    data = {"site": {"suspects": [one]}}
    (shown,) = report_tables.suspects(project, data)
    assert not shown.is_raised
    check.raise_suspect(wrong, make_person(project))
    assert report_tables.suspects(project, data)[0].is_raised


# Checks by made pairs


@pytest.mark.slow
def test_checks_are_calls_and_no_judgments_and_nothing_is_asked_twice():
    project, comparisons, _rng = project_with_people(12)
    labeler = Labeler.objects.create(project=project, name="longest", kind="null_longest")
    version = versions.current_version(labeler)
    number, most = probes.estimate(version)
    assert number > 20 and most == Decimal(0)
    label.request_run(labeler, scope="checks")
    job = run(Job.Kind.LABEL, label.label_job)
    assert job.state == "done", job.message
    assert not Judgment.objects.filter(rater__labeler_version=version).exists()
    calls = LabelerCall.objects.filter(labeler_version=version)
    assert calls.count() == number and not calls.exclude(step__startswith="check:").exists()
    assert probes.estimate(version) == (0, Decimal(0))
    outcomes = {each["name"]: each for each in probes.results(version)}
    assert outcomes["padding"]["outcome"] == "fail" and outcomes["padding"]["rate"] == 0
    assert outcomes["duplicate"]["outcome"] != "fail" and outcomes["duplicate"]["rate"] == 1
    assert outcomes["swap"]["rate"] == 1


# The page


def test_a_job_that_measured_leads_to_the_report_it_made():
    project = make_project()
    one = {"project": project, "state": Job.State.DONE}
    alone = Job(**one, kind=Job.Kind.CHECK, parameters={"labeler": 7})
    assert jobs.result_url(alone) == f"/projects/{project.pk}/labelers/7/report"
    probed = Job(**one, kind=Job.Kind.LABEL, parameters={"labeler": 7, "scope": "checks"})
    assert jobs.result_url(probed) == f"/projects/{project.pk}/labelers/7/report"
    judged = Job(**one, kind=Job.Kind.LABEL, parameters={"labeler": 7, "scope": "people"})
    assert jobs.result_url(judged) == reverse("comparisons", args=[project.pk])
    every = Job(**one, kind=Job.Kind.CHECK, parameters={"labeler": None})
    assert jobs.result_url(every) == reverse("labelers", args=[project.pk])


@pytest.mark.slow
def test_the_page_opens_from_what_is_stored(client, django_assert_max_num_queries):
    project, comparisons, rng = project_with_people(60)
    rater = make_labeler(project, "good judge")
    judged_by(rater, comparisons, 0.9, rng)
    labeler = rater.labeler_version.labeler
    client.force_login(make_member(project, "lead"))
    address = f"/projects/{project.pk}/labelers/{labeler.pk}/report"
    assert "has no report yet" in client.get(address).content.decode()
    appraise.store(rater.labeler_version, appraise.Panel.of(project))
    with django_assert_max_num_queries(30):
        page = client.get(address).content.decode()
    assert "<td>English</td>" in page and "<td>en</td>" not in page
    assert "beats “the" in page and page.count("<svg") >= 4 and "As sure as it should be?" in page
    csv = client.get(address + ".csv").content.decode().splitlines()
    assert csv[0] == "table,row,value,low,high,comparisons" and any(
        line.startswith("accuracy,good judge,") for line in csv
    )


@pytest.mark.slow
def test_what_labelers_said_of_comparisons_is_for_leads_only(client, monkeypatch):
    project, comparisons, rng = project_with_people(2)
    rater = make_labeler(project, "good judge")
    labeler = rater.labeler_version.labeler
    said = {"labeler_version": rater.labeler_version, "comparison": comparisons[0], "status": "ok"}
    LabelerCall.objects.create(**said, answer={"text": "Verdict: B, because it is short."})
    judged_by(rater, comparisons, 1, rng)
    appraise.store(rater.labeler_version, appraise.Panel.of(project))
    report = LabelerReport.objects.get()
    doubted = {"comparison": comparisons[0].pk, "people": 1.0, "mean": 0.1, "spread": 0.1, "against": 2, "labelers": 2}
    report.data["site"]["suspects"] = [doubted]
    report.save()
    address = f"/projects/{project.pk}/labelers/{labeler.pk}"
    shown = {}
    for role in ("lead", "reviewer", "viewer"):
        client.force_login(make_member(project, role))
        page, numbers = (client.get(address + end).content.decode() for end in ("/", "/report"))
        shown[role] = ("Verdict: B" in page, "Chance that people are right" in numbers)
    assert shown == {"lead": (True, True), "reviewer": (False, False), "viewer": (False, False)}


@pytest.mark.slow
def test_a_lead_accepts_a_worse_candidate_on_the_page_only_with_the_box_ticked(client):
    project, comparisons, rng = project_with_people(60)
    labeler, first, second = edited(project, comparisons, rng, before=0.97, after=0.4)
    appraise.store(second, appraise.Panel.of(project))
    client.force_login(make_member(project, "lead"))
    address = f"/projects/{project.pk}/labelers/{labeler.pk}/"
    given = {"version": second.pk, "decision": "accept"}
    refused = client.post(address + "decide", given)
    assert refused.status_code == 422 and "Tick the box" in refused.content.decode()
    assert versions.in_use(labeler) == first
    assert client.post(address + "decide", {**given, "confirmed": "1"}).status_code == 302
    assert versions.in_use(labeler) == second
