"""Performance models: their history, the report of one with its charts and files, and restoring an earlier one."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.urls import reverse

from annotator.models import FeatureSet, Loop, PerformanceModel
from annotator.readings import performance, performance_diagrams
from tests.builders import make_member, make_project
from tests.plan_samples import METRICS


@pytest.fixture
def project(db):
    return make_project()


@pytest.fixture
def lead(project, client):
    user = make_member(project, "lead")
    client.force_login(user)
    return user


def trained(project, version: int, **changes: Any) -> PerformanceModel:
    features, _made = FeatureSet.objects.get_or_create(project=project, version=1, defaults={"names": ["x"]})
    return PerformanceModel.objects.create(
        project=project, version=version, kind="ridge", metrics={**METRICS, **changes}, feature_set=features
    )


def text(response) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).replace("&nbsp;", " ").split())


def test_the_history_says_which_version_plans_use(project, lead, client):
    trained(project, 1, skill=False, beats_budget=False)
    trained(project, 2)
    said = text(client.get(reverse("performance_models", args=[project.pk])))
    assert "Plans use performance model 2 , the newest" in said
    assert "Version 2 in use linear (ridge) says how much and where 0.51 [0.40, 0.60] 91% 200 500" in said
    assert said.index("Version 2") < said.index("Version 1")


def test_an_earlier_version_is_restored_and_let_go_again(project, lead, client):
    first, second = trained(project, 1), trained(project, 2)
    client.post(reverse("performance_model_restore", args=[project.pk, 1]))
    assert Loop.objects.get(project=project).performance_model == first
    assert performance.pinned(project) == first
    said = text(client.get(reverse("performance_models", args=[project.pk])))
    assert "Plans use performance model 1 , because a lead chose it" in said
    assert "Use the newest from now on" in text(client.get(reverse("performance_model", args=[project.pk, 2])))
    client.post(reverse("performance_model_restore", args=[project.pk, second.version]))
    assert Loop.objects.get(project=project).performance_model is None


def test_restoring_keeps_what_else_the_loop_is_set_to(project, lead, client):
    trained(project, 1), trained(project, 2)
    Loop.objects.create(project=project, refit_after_judgments=77)
    client.post(reverse("performance_model_restore", args=[project.pk, 1]))
    loop = Loop.objects.get(project=project)
    assert loop.refit_after_judgments == 77 and loop.performance_model.version == 1


def test_the_report_shows_what_was_measured(project, lead, client):
    trained(project, 1)
    response = client.get(reverse("performance_model", args=[project.pk, 1]))
    said = text(response)
    assert "with a rank correlation of 0.51 [0.40, 0.60] ; noise allows 0.80 at most" in said
    assert "1 0.660 [0.630, 0.690] 0.650 2 0.700 [0.670, 0.730] 0.760" in said
    assert "length length high +0.94 [+0.61, +1.27]" in said
    assert "reward models trained here 20 0.72 [0.44, 0.87]" in said
    assert "quadratic (ridge) as published 0.0200 0.31" in said
    assert response.content.count(b'<svg class="chart big"') == 2 and b" style=" not in response.content


def test_a_version_of_an_earlier_release_has_less_to_tell_and_no_error(project, lead, client):
    model = trained(project, 1)
    PerformanceModel.objects.filter(pk=model.pk).update(metrics={})
    response = client.get(reverse("performance_model", args=[project.pk, 1]))
    assert response.status_code == 200 and "has no skill" in text(response)
    assert client.get(reverse("performance_models", args=[project.pk])).status_code == 200
    assert client.get(reverse("plans", args=[project.pk])).status_code == 200


def test_only_a_lead_is_offered_another_version(project, client):
    trained(project, 1), trained(project, 2)
    client.force_login(make_member(project, "viewer"))
    assert b"Let plans use this one" not in client.get(reverse("performance_model", args=[project.pk, 1])).content


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("observed", "0.66,0.65,0.63,0.69"),
        ("effects", "length,2,3,0.94,0.61,1.27,length,high"),
        ("kinds", "mean,0.01,0.001,0.0,0.46,0.68"),
        ("fidelities", "proxy,200,,,,"),
    ],
)
def test_every_chart_has_its_numbers_as_a_file(project, lead, client, name, line):
    trained(project, 1)
    response = client.get(reverse("performance_sheet", args=[project.pk, 1, name]))
    assert response.content.decode().splitlines()[1] == line


def test_there_is_no_file_of_what_the_report_does_not_have(project, lead, client):
    trained(project, 1)
    assert client.get(reverse("performance_sheet", args=[project.pk, 1, "secrets"])).status_code == 404


# Charts


def rows(*numbers: tuple[float, float]) -> list[performance.Observed]:
    return [performance.Observed(predicted, seen, predicted - 0.02, predicted + 0.02) for predicted, seen in numbers]


def test_what_was_measured_higher_is_drawn_higher():
    drawn = performance_diagrams.scatter(rows((0.6, 0.6), (0.7, 0.75)), title="T", x_words="x", y_words="y")
    (x1, y1), (x2, y2) = (map(float, each) for each in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawn))
    assert x1 < x2 and y2 < y1
    assert drawn.count('class="mixture outside"') == 1


@pytest.mark.parametrize("numbers", [[(0.5, 0.5), (0.5, 0.5)], [(0, 1), (1, 0)], [(-3.2, 8.9), (700, 3)]])
def test_any_scores_can_be_drawn(numbers):
    drawn = performance_diagrams.scatter(rows(*numbers), title="", x_words="", y_words="")
    assert "nan" not in drawn and "inf" not in drawn
    assert performance_diagrams.scatter(rows((0.5, 0.5)), title="", x_words="", y_words="") == ""


def test_an_effect_that_may_be_none_is_hollow_and_names_are_escaped():
    sure = performance.Effect("<b>", 0, 3, 0.9, 0.6, 1.2)
    unsure = performance.Effect("x", 1, 3, -0.1, -0.4, 0.2)
    drawn = performance_diagrams.effects([sure, unsure], title="T")
    assert drawn.count('class="mixture outside"') == 1 and "<b>" not in drawn
    assert performance_diagrams.effects([], title="T") == ""


@pytest.mark.parametrize(
    ("bin", "bins", "words"), [(0, 2, "low"), (2, 3, "high"), (3, 4, "highest quarter"), (4, 5, "part 5 of 5")]
)
def test_a_bin_is_told_in_words(bin, bins, words):
    assert performance.Effect("x", bin, bins, 0, 0, 0).where == words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("labeler_wrong", "chance that the best labeler is wrong"),
        ("labelers_disagree", "labelers who contradict the majority of labelers"),
        ("tag_subject_law", "about law"),
        ("prompt_words", "Words of all turns but the system turn"),
        ("prompt_code", "the prompt has fenced or inline code"),
        ("words_difference", "Words: difference"),
        ("code_difference", "Fenced blocks and inline code: difference"),
        ("of_another_release", "of another release"),
    ],
)
def test_a_feature_is_told_in_words(name, words):
    assert performance.trait_words(name) == words


def test_every_feature_and_every_kind_has_words_of_its_own():
    from routing import performance as science
    from routing import traits

    words = [performance.trait_words(name) for name in traits.NAMES]
    assert len(set(words)) == len(words) and not any("_" in each for each in words)
    assert not {performance.kind_words(kind) for kind in science.KINDS} & (set(science.KINDS) - {"linear"})


def test_a_part_of_what_only_holds_or_not_is_yes_or_no(project):
    effect = {"name": "tag_subject_law", "bin": 1, "bins": 2, "effect": 1, "low": 0, "high": 2}
    model = trained(project, 1, effects=[effect], bins={"names": ["tag_subject_law"], "edges": [[1.0]]})
    (told,) = performance.skill(model).effects
    assert (told.words, told.where) == ("about law", "yes")
