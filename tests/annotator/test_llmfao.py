"""The whole path on recorded people and recorded GPT-4 / GPT-3.5 (llmfao): file in, plans, labels, all exports out."""

from decimal import Decimal
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.db import connection

from annotator.formats import WRITERS
from annotator.formats.source import Options
from annotator.models import Judgment, Label, Route
from annotator.pipeline import aggregate, export, featurise, ingest, ledger, retrain, route, start, work
from tests.builders import make_user

# What needs answers that people were not asked for here: marked passages, comments on each response and the like.
UNFIT = {"fine_grained", "trl_stepwise", "trl_kto", "summarize", "ultrafeedback"}
FILE = Path(__file__).parents[3] / "shared" / "data" / "llmfao.jsonl.gz"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db,
    pytest.mark.skipif(not FILE.exists(), reason=f"needs the recorded judgments in {FILE}, which are not shipped"),
]


def test_recorded_people_and_judges_become_plans_labels_and_datasets():
    project = start.create_project(
        "llmfao", lead=make_user(), preset="multipref", price_per_judgment=Decimal("0.25"), votes=4, cap=Decimal(2000)
    )
    report = ingest.ingest_file(project, FILE)
    assert report.comparisons == 1850
    project.labelers.filter(name="gpt-4").update(price_per_call=Decimal("0.02"))
    project.labelers.filter(name="gpt-3.5-turbo-instruct").update(price_per_call=Decimal("0.002"))
    while aggregate.aggregate():
        pass
    assert featurise.featurise(project) == 1850
    # All of it lies in the test's own transaction, which autovacuum cannot count: queries would be planned for nothing.
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")

    model = retrain.retrain(project)
    assert model.kind in model.metrics["scores"]
    assert set(model.metrics["sources"]) == {"people", "gpt-4", "gpt-3.5-turbo-instruct"}

    for share in (Decimal("0.25"), Decimal("0.50")):
        budget = share * 1850 * 4 * Decimal("0.25")
        plan = route.make_plan(project, budget, strategy="disagreement")
        assert plan.cost <= budget
        assert plan.routes.count() == 1850
        assert plan.predicted and plan.low <= plan.predicted <= plan.high
        route.approve(plan, None)
        assert ledger.account_of(project).reserved <= plan.cost_to_pay
        aggregate.relabel(project)
        _labels_follow_the_routes(project, plan)

    assert {name for name in WRITERS if not _exported(project, name)} == UNFIT


def _exported(project, name):
    """Whether the format fits the project; its rows, if it does."""
    try:
        writer = export.writer_for(project, name, Options())
    except work.StepRefused:
        return False
    container = "jsonl" if "jsonl" in writer.containers else writer.containers[0]
    recipe = aggregate.default_recipe(project)
    made, _job = export.request_export(project, name, container, recipe, {}, make_user())
    export.write_export(made)
    made.refresh_from_db()
    assert made.rows and made.sha256, name
    assert all(default_storage.exists(part["address"]) for part in made.files)
    return True


def _labels_follow_the_routes(project, plan):
    """Recorded judgments that the plan did not choose stay hidden to its labels."""
    labels = Label.objects.filter(recipe=aggregate.default_recipe(project))
    to_people = set(plan.routes.filter(source=Route.PEOPLE).values_list("comparison_id", flat=True))
    for label in labels.select_related("comparison")[:300]:
        assert (label.source == Route.PEOPLE) == (label.comparison_id in to_people)
    judge = plan.routes.filter(labeler__name="gpt-4").values_list("comparison_id", flat=True).first()
    said = Judgment.objects.get(comparison=judge, rater__labeler_version__labeler__name="gpt-4")
    assert labels.get(comparison=judge).p_b == pytest.approx(said.p_b)
