"""Approvals, revisions and pay at once never pass the hard budget."""

from __future__ import annotations

import random
import threading
from decimal import Decimal

import pytest
from django.db import connection

from annotator.models import Plan
from annotator.pipeline import ledger, loop, route, work
from tests.annotator.loop_samples import with_features
from tests.builders import make_judgment, make_person, make_project


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_no_race_of_approvals_and_revisions_passes_the_cap():
    """Threads approve, revise and pay at once, in an order drawn anew; the ledger's sums are checked after each."""
    project = make_project(price_per_judgment=Decimal("0.5"), votes=2)
    ledger.set_cap(project, Decimal(40))
    made = with_features(project, 40, 20)
    plans = [route.make_plan(project, Decimal(b), strategy="random", seed=b) for b in (12, 25, 38)]
    faults: list[str] = []

    def act(number: int) -> None:
        chance = random.Random(number)
        try:
            for turn in range(4):
                plan = chance.choice(plans)
                try:
                    if chance.random() < 0.5:
                        route.approve(Plan.objects.get(pk=plan.pk), None)
                    else:
                        at_work = Plan.objects.filter(project=project, status="approved").first()
                        if at_work:
                            route.approve(loop.replan(at_work, f"{number}:{turn}"), None)
                except work.StepRefused:
                    pass
                comparison, level = made[(7 * number + turn) % len(made)]
                at_work = Plan.objects.filter(project=project, status="approved").first()
                said = make_judgment(comparison, make_person(project), level, plan=at_work)
                ledger.pay(said, Decimal("0.5"), plan_id=at_work.pk if at_work else None)
                account = ledger.account_of(project)
                if account.spent + account.reserved > account.cap:
                    faults.append(f"{account}")
        except Exception as error:  # a thread's failure must fail the test
            faults.append(repr(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=act, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.settle()
    account = ledger.account_of(project)
    assert faults == []
    assert account.spent + account.reserved <= account.cap == 40
    assert account.reserved == sum(each.amount - each.refunded - each.committed for each in account.reservations.all())
    assert Plan.objects.filter(project=project, status="approved").count() <= 1
    for plan in Plan.objects.filter(project=project):
        assert plan.routes.count() == plan.routes.values("comparison").distinct().count()
