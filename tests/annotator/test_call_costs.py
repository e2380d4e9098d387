"""What calls did cost and why they failed is told without reading every call there is."""

from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotator import readings
from annotator.models import Labeler, LabelerCall, LedgerEntry
from annotator.pipeline import label, ledger, versions
from tests.builders import make_comparison, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    project = make_project()
    ledger.set_cap(project, Decimal(10))
    return project


def test_what_a_run_spent_is_read_from_its_reservation_and_not_from_its_calls(project):
    labeler = Labeler.objects.create(project=project, name="judge", kind="null_random")
    version, job = versions.current_version(labeler), label.request_run(labeler)
    held = ledger.reserve(project, f"job:{job.pk}", Decimal(5), source="judge")
    about = {"labeler_version": version, "comparison": make_comparison(project), "reservation": held}
    paid = LabelerCall.objects.create(**about, status="ok", cost=Decimal("0.25"))
    LabelerCall.objects.create(**about, status="in_flight", cost=Decimal("0.5"))
    entry = LedgerEntry.objects.create(account=held.account, reservation=held, amount=Decimal("0.25"), call=paid)
    for settled in (False, True):
        LedgerEntry.objects.filter(pk=entry.pk).update(settled=settled)
        type(held).objects.filter(pk=held.pk).update(committed=Decimal("0.25") if settled else 0)
        with CaptureQueriesContext(connection) as asked:
            run = readings.runs.of_job(job)
        assert (run.spent, run.held) == (Decimal("0.25"), Decimal("0.5"))
        of_calls = [each["sql"] for each in asked if "annotator_labelercall" in each["sql"]]
        assert of_calls and all("'in_flight'" in sql.rsplit("WHERE", 1)[1] for sql in of_calls)


def test_failures_are_told_of_the_newest_calls_and_costs_of_all_versions(project, monkeypatch):
    labeler = Labeler.objects.create(project=project, name="coin", kind="null_random")
    old, new = (versions.new_version(labeler, {"seed": seed}) for seed in (1, 2))
    comparison = make_comparison(project)
    for version, error in ((old, "long ago"), (old, "late"), (new, "late")):
        told = {"status": "failed", "error": error, "cost": Decimal("0.1")}
        LabelerCall.objects.create(labeler_version=version, comparison=comparison, **told)
    monkeypatch.setattr(readings.labelers, "FAILURES_SEEN", 2)
    assert [(each["error"], each["n"]) for each in readings.labelers.failures(labeler)] == [("late", 2)]
    (row,) = [row for row in readings.labelers.rows(project) if row.labeler == labeler]
    assert (row.cost, row.failed) == (Decimal("0.3"), 3)
    (ended,) = readings.labelers.call_statuses(labeler)
    assert (ended["status"], ended["n"]) == ("failed", 3)
