"""Ensembles: several labelers as one, learnt from what people judged, judging what the members have judged."""

import numpy as np
import pytest

from annotator.models import Job, Judgment
from annotator.pipeline import combine, label, signals, versions, work
from annotator.pipeline.work import StepRefused
from tests.annotator.test_check import judged_by, project_with_people, run
from tests.builders import make_comparison, make_judgment, make_labeler, make_member, make_person

pytestmark = pytest.mark.django_db


def panel(number=80, skills=(0.9, 0.55, 0.55)):
    project, comparisons, rng = project_with_people(number)
    raters = [make_labeler(project, f"judge {place}") for place in range(len(skills))]
    for rater, skill in zip(raters, skills, strict=True):
        judged_by(rater, comparisons, skill, rng)
    return project, comparisons, raters


def ensemble_of(project, raters, method=combine.WEIGHTED, domains=None):
    members = [rater.labeler_version.labeler for rater in raters]
    return combine.add(project, "together", combine.setup(project, members, method, domains or {}))


def judged(labeler):
    label.request_run(labeler)
    job = run(Job.Kind.LABEL, label.label_job)
    assert job.state == "done", job.message
    return dict(Judgment.objects.filter(rater__labeler_version__labeler=labeler).values_list("comparison", "p_b"))


@pytest.mark.slow
def test_learnt_weights_give_the_one_who_knows_the_say():
    project, comparisons, raters = panel()
    ensemble = ensemble_of(project, raters)
    said = judged(ensemble)
    assert set(said) == {each.pk for each in comparisons}
    weights = versions.in_use(ensemble).parameters["learnt"]["weights"]
    best = dict(Judgment.objects.filter(rater=raters[0]).values_list("comparison", "p_b"))
    same = np.mean([(said[pk] > 0.5) == (best[pk] > 0.5) for pk in said])
    assert same > 0.85, weights
    assert np.column_stack([signals._answers(ensemble, np.array(sorted(said)))]).shape == (80, 1)


@pytest.mark.slow
def test_it_judges_what_all_members_have_judged_and_runs_by_itself_when_a_member_has():
    project, comparisons, raters = panel(60, (0.9, 0.8))
    ensemble = ensemble_of(project, raters)
    late = make_comparison(project, "A question that came late, in English words.")
    make_judgment(late, raters[0], p_b=0.9)
    assert late.pk not in judged(ensemble)
    make_judgment(late, raters[1], p_b=0.8)
    assert combine.with_member(raters[1].labeler_version.labeler) == [ensemble]
    assert judged(ensemble)[late.pk] > 0.5


@pytest.mark.slow
def test_where_people_judged_its_answer_comes_from_weights_that_never_saw_the_prompt():
    """With members that only toss coins, answers fitted on the same labels would look better than a coin."""
    project, comparisons, raters = panel(120, (0.5, 0.5, 0.5))
    said = judged(ensemble_of(project, raters))
    right = np.mean([(said[each.pk] > 0.5) == (each.better > 0) for each in comparisons])
    assert right < 0.62


@pytest.mark.slow
def test_it_learns_anew_when_people_have_judged_much_more_and_that_is_no_candidate():
    project, comparisons, raters = panel(50, (0.9, 0.8))
    ensemble = ensemble_of(project, raters)
    first = combine.version_of(ensemble)
    assert combine.version_of(ensemble) == first == versions.in_use(ensemble)
    rng = np.random.default_rng(1)
    more = project_with_more(project, 15, rng)
    for rater in raters:
        judged_by(rater, more, 0.9, rng)
    second = combine.version_of(ensemble)
    assert second != first and second.accepted_at and second.parameters["judged"] == 65


def project_with_more(project, number, rng):
    person, made = make_person(project), []
    for place in range(number):
        comparison = make_comparison(project, f"Another question, number {place}, please.")
        comparison.better = 1 if rng.random() < 0.5 else -1
        make_judgment(comparison, person, comparison.better)
        made.append(comparison)
    return made


def test_too_little_to_learn_from_is_refused_in_words_and_equal_weights_need_nobody():
    project, comparisons, raters = panel(10, (0.9, 0.8))
    with pytest.raises(StepRefused, match="it needs 40, and there are 10"):
        combine.version_of(ensemble_of(project, raters))
    members = [rater.labeler_version.labeler for rater in raters]
    equal = combine.add(project, "equal", combine.setup(project, members, combine.EQUAL, {}))
    said = judged(equal)
    one, two = (dict(Judgment.objects.filter(rater=rater).values_list("comparison", "p_b")) for rater in raters)
    assert said == pytest.approx({pk: (one[pk] + two[pk]) / 2 for pk in one})


@pytest.mark.slow
def test_one_member_a_domain_and_another_edit_is_a_candidate():
    project, comparisons, raters = panel(60, (0.9, 0.6))
    good, poor = (rater.labeler_version.labeler for rater in raters)
    domains = {"chat": good, "reasoning": poor, "safety": poor}
    ensemble = combine.add(project, "experts", combine.setup(project, [], combine.BY_DOMAIN, domains))
    said = judged(ensemble)
    best = dict(Judgment.objects.filter(rater=raters[0]).values_list("comparison", "p_b"))
    assert np.mean([(said[pk] > 0.5) == (best[pk] > 0.5) for pk in said]) > 0.95, "all prompts are chat"
    edited = versions.edit(ensemble, combine.setup(project, [good, poor], combine.EQUAL, {}))
    assert edited.accepted_at is None
    label.request_run(ensemble, scope="people", version=edited)
    assert run(Job.Kind.LABEL, label.label_job).state == "done"
    waiting = versions.candidate(ensemble)
    assert waiting.parameters["versions"] and waiting.rater.judgments.count() == 60


def test_nonsense_is_no_ensemble():
    project, comparisons, raters = panel(2, (0.9, 0.8))
    members = [rater.labeler_version.labeler for rater in raters]
    foreign = make_labeler(project_with_people(1)[0]).labeler_version.labeler
    for wrong in (
        lambda: combine.setup(project, members[:1], combine.WEIGHTED, {}),
        lambda: combine.setup(project, [members[0], foreign], combine.EQUAL, {}),
        lambda: combine.setup(project, members, combine.BY_DOMAIN, {"chat": members[0]}),
        lambda: combine.setup(project, members, "vote", {}),
        lambda: combine.add(project, "people", combine.setup(project, members, combine.EQUAL, {})),
    ):
        with pytest.raises(work.StepRefused):
            wrong()


@pytest.mark.slow
def test_a_lead_makes_one_in_the_browser_and_fills_in_what_is_missing(client):
    project, comparisons, raters = panel(50, (0.9, 0.8))
    members = [rater.labeler_version.labeler for rater in raters]
    client.force_login(make_member(project, "lead"))
    address = f"/projects/{project.pk}/labelers/"
    refused = client.post(address + "ensemble", {"name": "x", "method": "weighted", "members": [members[0].pk]})
    assert refused.status_code == 422 and "two members" in refused.content.decode()
    given = {"name": "x", "method": "weighted", "members": [member.pk for member in members]}
    assert client.post(address + "ensemble", given).status_code == 302
    ensemble = project.labelers.get(name="x")
    fill = f"{address}{ensemble.pk}/fill"
    page = client.get(f"{address}{ensemble.pk}/").content.decode()
    assert f'href="{fill}"' in page and f'href="{address}{ensemble.pk}/ensemble"' in page
    assert client.get(f"{address}{ensemble.pk}/run", {"on": "people"}).url == fill + "?on=people"
    assert client.post(f"{address}{ensemble.pk}/run", {"on": "everything"}).url == fill + "?on=people"
    assert "judge 0" in client.get(fill).content.decode()
    assert client.post(fill, {"on": "people", "most": "0"}).status_code == 302
    assert run(Job.Kind.LABEL, label.label_job).state == "done"
    assert Judgment.objects.filter(rater__labeler_version__labeler=ensemble).count() == 50
