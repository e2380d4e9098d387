from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from annotator import money
from annotator.forms.prices import check_people
from annotator.models import Account, Project


class GeneralForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Project
        fields = ["name", "description"]
        widgets = {"description": forms.Textarea(attrs={"rows": 2})}


class WorkForm(forms.ModelForm):  # type: ignore[type-arg]
    """What one judgment costs and how the work is handed out."""

    control = forms.DecimalField(
        label=_("Random control, %"),
        max_digits=4,
        decimal_places=1,
        min_value=Decimal(0),
        max_value=Decimal(50),
        help_text=_("Comparisons that a plan hands out by chance, so that its claim can be checked from the data."),
    )
    lease_minutes = forms.IntegerField(
        label=_("Minutes a comparison stays with one annotator"), min_value=1, max_value=24 * 60
    )

    class Meta:
        model = Project
        fields = ["price_per_judgment", "currency", "votes"]

    def __init__(self, data: object = None, *, instance: Project) -> None:
        initial = {
            "price_per_judgment": f"{instance.price_per_judgment.normalize():f}",
            "control": round(100 * instance.control_share, 1),
            "lease_minutes": max(1, round(instance.lease_seconds / 60)),
        }
        super().__init__(data, instance=instance, initial=initial)  # type: ignore[arg-type]
        self.fields["votes"].min_value = 1  # type: ignore[attr-defined]
        self.fields["price_per_judgment"].min_value = Decimal(0)  # type: ignore[attr-defined]

    def clean_votes(self) -> int:
        if not 1 <= self.cleaned_data["votes"] <= 25:
            raise forms.ValidationError(_("between 1 and 25"))
        return int(self.cleaned_data["votes"])

    def clean_price_per_judgment(self) -> Decimal:
        if self.cleaned_data["price_per_judgment"] < 0:
            raise forms.ValidationError(_("a price cannot be negative"))
        return Decimal(self.cleaned_data["price_per_judgment"])

    def clean_currency(self) -> str:
        currency = str(self.cleaned_data["currency"]).upper()
        if len(currency) != 3 or not currency.isalpha() or not currency.isascii():
            raise forms.ValidationError(_("three letters, e.g. USD or EUR"))
        return currency

    def clean(self) -> dict[str, Any]:
        return check_people(self, {**(super().clean() or {}), **self.cleaned_data})

    def save(self, commit: bool = True) -> Project:
        self.instance.control_share = float(self.cleaned_data["control"]) / 100
        self.instance.lease_seconds = 60 * self.cleaned_data["lease_minutes"]
        return super().save(commit)


class CapForm(forms.Form):
    cap = forms.DecimalField(
        label=_("Hard budget"),
        max_digits=14,
        decimal_places=2,
        min_value=Decimal(0),
        max_value=money.largest(Account, "cap").quantize(Decimal("0.01"), ROUND_DOWN),
        help_text=_("People and AI together never cost more than this, whatever is planned."),
    )


class StatusForm(forms.Form):
    status = forms.ChoiceField(choices=Project.Status.choices)
