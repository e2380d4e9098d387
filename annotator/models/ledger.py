from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from annotator.models.judgments import Judgment
from annotator.models.labelers import LabelerCall
from annotator.models.projects import Project
from annotator.models.routes import Plan


class Account(models.Model):
    """A project's money. `spent + reserved <= cap` is a constraint of the database, so no race can pass it."""

    project = models.OneToOneField(Project, models.CASCADE, related_name="account")
    cap = models.DecimalField(_("hard budget"), max_digits=14, decimal_places=6, default=0)
    reserved = models.DecimalField(max_digits=18, decimal_places=8, default=0)
    spent = models.DecimalField(max_digits=18, decimal_places=8, default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(cap__gte=F("spent") + F("reserved")), name="account_within_cap"),
            models.CheckConstraint(condition=Q(reserved__gte=0, spent__gte=0), name="account_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.spent} spent and {self.reserved} reserved of {self.cap}"


class Reservation(models.Model):
    """Money set aside before it can be spent. Closing it refunds what was not committed."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="reservations")
    # Makes a repeated reserve the same reservation, e.g. "plan:3:people".
    key = models.CharField(max_length=120)
    plan = models.ForeignKey(Plan, models.SET_NULL, null=True, related_name="reservations")
    source = models.CharField(max_length=100)
    amount = models.DecimalField(max_digits=18, decimal_places=8)
    # Sum of this reservation's entries at the last settling; entries are the truth.
    committed = models.DecimalField(max_digits=18, decimal_places=8, default=0)
    # Given back to the account: the reservation still holds amount - refunded - committed.
    refunded = models.DecimalField(max_digits=18, decimal_places=8, default=0)
    is_open = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "key"], name="reservation_key_once"),
            models.CheckConstraint(
                condition=Q(amount__gte=F("committed") + F("refunded")), name="reservation_not_passed"
            ),
            models.CheckConstraint(condition=Q(amount__gte=0), name="reservation_not_negative"),
        ]
        indexes = [models.Index(fields=["id"], name="reservation_open", condition=Q(is_open=True))]

    def __str__(self) -> str:
        return f"{self.key}: {self.committed} of {self.amount}"


class LedgerEntry(models.Model):
    """One cost that was paid: a person's judgment or a labeler's call. Never edited."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="entries")
    reservation = models.ForeignKey(Reservation, models.PROTECT, null=True, related_name="entries")
    amount = models.DecimalField(max_digits=18, decimal_places=8)
    judgment = models.OneToOneField(Judgment, models.PROTECT, null=True, related_name="entry")
    call = models.OneToOneField(LabelerCall, models.PROTECT, null=True, related_name="entry")
    note = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    # False until it is counted in its reservation and account (the tick settles; see pipeline/ledger.py).
    settled = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(judgment__isnull=False, call__isnull=True) | Q(judgment__isnull=True, call__isnull=False),
                name="entry_has_one_cause",
            )
        ]
        indexes = [models.Index(fields=["id"], name="entry_unsettled", condition=Q(settled=False))]
        verbose_name_plural = "ledger entries"

    def __str__(self) -> str:
        return f"{self.amount}"
