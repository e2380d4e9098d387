"""Each step is also a command: what a shell shows and stores."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from annotator.models import Assignment, Judgment, Route
from annotator.pipeline import featurise
from tests.builders import (
    make_comparison,
    make_judgment,
    make_labeler,
    make_member,
    make_person,
    make_plan,
    make_project,
)

pytestmark = pytest.mark.django_db


def said(*command: object, **options: object) -> str:
    out = StringIO()
    call_command(*map(str, command), stdout=out, **options)
    return out.getvalue()


def test_show_tells_everything_about_a_comparison_and_lets_no_text_steer_the_terminal():
    project = make_project()
    comparison = make_comparison(project, "Why is the sky blue?", a="Rayleigh.\x1b[2J", b="Because.")
    judge = make_labeler(project, "strict")
    make_judgment(comparison, make_person(project), 1, justification="Shorter.")
    make_judgment(comparison, judge, p_b=0.25)
    make_plan(project, {comparison: judge})
    Route.objects.update(reason="the labelers disagree")
    featurise.featurise(project)
    shown = said("show", project.pk, comparison.external_id)
    for words in ("Why is the sky blue?", "Rayleigh.�[2J", "(model-b)", "Says: Shorter.", "A, with a chance of 0.75"):
        assert words in shown
    assert "strict" in shown and "the labelers disagree" in shown and "--- features\n" in shown
    assert "\x1b" not in shown and said("show", project.pk, comparison.pk) == shown
    with pytest.raises(CommandError, match="has no comparison nowhere"):
        said("show", project.pk, "nowhere")


def test_judge_shows_the_next_comparison_and_stores_the_answer_in_its_own_order():
    project = make_project()
    comparison = make_comparison(project, "Why?", a="First.", b="Second.", votes_wanted=1, places_open=1)
    make_member(project, "annotator", "ada")
    shown = said("judge", project.pk, "ada")
    assert "Why?" in shown and f"--comparison {comparison.pk}" in shown and "model-a" not in shown
    Assignment.objects.update(a_first=False)
    shown = said("judge", project.pk, "ada")
    assert shown.index("Second.") < shown.index("First.") and not Judgment.objects.exists()
    with pytest.raises(CommandError, match="level: .* Nothing was stored"):
        said("judge", project.pk, "ada", level=7)
    with pytest.raises(CommandError, match=f"The next comparison is {comparison.pk}"):
        said("judge", project.pk, "ada", level=1, comparison=comparison.pk + 1)
    answer = json.dumps({"level": -1, "justification": "Shorter."})
    assert "stored" in said("judge", project.pk, "ada", f"--json={answer}", f"--comparison={comparison.pk}")
    stored = Judgment.objects.get()
    assert (stored.level, stored.a_first, stored.justification, stored.rater.user.username) == (
        1,
        False,
        "Shorter.",
        "ada",
    )
    with pytest.raises(CommandError, match="judged or skipped|All comparisons|not approved"):
        said("judge", project.pk, "ada", level=1)


def test_only_those_who_may_annotate_judge():
    project = make_project()
    make_member(project, "viewer", "vera")
    with pytest.raises(CommandError, match="vera may not annotate"):
        said("judge", project.pk, "vera", level=1)
