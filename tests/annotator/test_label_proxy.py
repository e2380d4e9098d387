"""The project's own proxy reward model judges like any labeler, and honestly where people have judged too."""

import numpy as np
import pytest

from annotator.models import Features, FeatureSet, Job, Judgment, Labeler
from annotator.pipeline import label, proxy, work
from routing import features
from tests.builders import make_comparison, make_judgment, make_labeler, make_person, make_project

WIDTH = 8


def featurised(project, number, seed=0):
    """Comparisons whose better response is told by one coordinate of the embeddings."""
    rng = np.random.default_rng(seed)
    feature_set = FeatureSet.objects.create(
        project=project, version=1, state="ready", names=list(features.NAMES), digest="d1"
    )
    comparisons = []
    for place in range(number):
        comparison = make_comparison(project, f"Question {place}")
        comparison.prompt.text_hash = f"{place:064x}"
        comparison.prompt.save()
        prompt, a, b = (part / np.linalg.norm(part) for part in rng.normal(size=(3, WIDTH)))
        Features.objects.create(
            feature_set=feature_set,
            comparison=comparison,
            values=[0.0] * len(features.NAMES),
            embedding=np.hstack([prompt, a, b]).astype(np.float32).tobytes(),
        )
        comparison.better = 1 if b[0] > a[0] else -1
        comparisons.append(comparison)
    return comparisons


@pytest.mark.slow
@pytest.mark.django_db
def test_it_learns_from_people_and_judges_what_they_have_not_seen():
    project = make_project()
    comparisons = featurised(project, 160)
    person = make_person(project)
    Labeler.objects.create(project=project, name="own proxy", kind="proxy")
    assert label.request_free(project) == [], "nobody has judged yet"
    for comparison in comparisons[:100]:
        make_judgment(comparison, person, comparison.better)
    (job,) = label.request_free(project)
    work.work(Job.Kind.LABEL, label.label_job)
    job.refresh_from_db()
    assert job.message == "160 comparisons judged"
    said = dict(Judgment.objects.filter(rater__kind="labeler").values_list("comparison_id", "p_b"))
    unseen = np.mean([(said[c.pk] > 0.5) == (c.better > 0) for c in comparisons[100:]])
    assert unseen > 0.8


@pytest.mark.slow
@pytest.mark.django_db
def test_it_learns_anew_only_when_people_have_judged_much_more():
    project = make_project()
    comparisons = featurised(project, 80)
    person = make_person(project)
    labeler = Labeler.objects.create(project=project, name="own proxy", kind="proxy")
    for comparison in comparisons[:60]:
        make_judgment(comparison, person, comparison.better)
    first = proxy.current_version(labeler)
    make_judgment(comparisons[60], person, 1)
    assert proxy.current_version(labeler) == first
    for comparison in comparisons[61:80]:
        make_judgment(comparison, person, 1)
    assert proxy.current_version(labeler) != first
    assert proxy.current_version(labeler).parameters["judged"] == 80


def test_where_people_judged_its_answer_comes_from_a_model_that_did_not_see_the_prompt():
    """With labels that are pure noise, a model that had seen them would look right; this one is right half the time."""
    rng = np.random.default_rng(0)
    n = 400
    X, people = rng.normal(size=(n, 60)), rng.integers(0, 2, n).astype(float)
    p_b = proxy.cross_fitted(X, people, np.ones(n), np.arange(n), seed=0)
    assert abs(np.mean((p_b > 0.5) == (people > 0.5)) - 0.5) < 0.08


@pytest.mark.django_db
def test_a_tie_is_half_a_vote_and_only_answers_of_people_on_the_scale_are_votes():
    project = make_project()
    first, second, third = (make_comparison(project) for _ in range(3))
    for level in (1, 1, 0, -1):
        make_judgment(first, make_person(project), level)
    make_judgment(second, make_person(project), -1)
    make_judgment(second, make_person(project), outcome="neither_valid")
    make_judgment(second, make_labeler(project), p_b=0.9)
    make_judgment(third, make_person(project), outcome="cannot_judge")
    votes = Judgment.objects.effective().levels_of_people().votes_by_comparison()
    assert set(votes) == {(first.pk, 0.625, 4), (second.pk, 0.0, 1)}
