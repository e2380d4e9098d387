from __future__ import annotations

from django.db import models

from annotator.models.jobs import Job
from annotator.models.people import User
from annotator.models.projects import Project


class Backtest(models.Model):
    """What each strategy would have cost and achieved on what is recorded: budgets x strategies x seeds.

    Every seed is stored when it is done, so that a run that stopped goes on where it was. `report` is made of all
    seeds; empty until the last one is there.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="backtests")
    number = models.PositiveIntegerField()
    # Strategies, budgets, seeds, first seed, prices, how it splits (see routing.backtest.backtest).
    parameters = models.JSONField(default=dict)
    # Which judgments it reads: what comes later does not change a run under way.
    last_judgment = models.PositiveBigIntegerField(default=0)
    report = models.JSONField(default=dict)
    job = models.ForeignKey(Job, models.SET_NULL, null=True, related_name="+")
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="backtest_number_once")]

    def __str__(self) -> str:
        return f"backtest {self.number}"


class BacktestSeed(models.Model):
    """The outcome of one seed, complete (see routing.backtest)."""

    backtest = models.ForeignKey(Backtest, models.CASCADE, related_name="seeds")
    seed = models.PositiveBigIntegerField()
    outcome = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["backtest", "seed"], name="backtest_seed_once")]

    def __str__(self) -> str:
        return f"{self.backtest}, seed {self.seed}"
