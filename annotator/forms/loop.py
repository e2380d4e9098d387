"""What a lead says of the loop: how large the seed set is, when routing learns again, what a plan may choose from."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator
from django.utils.translation import gettext_lazy as _

from annotator import money
from annotator.models import Loop, Project
from annotator.readings import plan


class SeedSetForm(forms.Form):
    """How many comparisons people judge first."""

    size = forms.IntegerField(label=_("Comparisons"), min_value=1)
    seed = forms.IntegerField(label=_("Seed"), min_value=0, max_value=2**31)

    def __init__(self, data: object, there: int, proposed: int) -> None:
        super().__init__(data, initial={"size": proposed, "seed": 0})  # type: ignore[arg-type]
        size = self.fields["size"]
        size.validators.append(MaxValueValidator(there))
        size.widget.attrs["max"] = there


class LoopForm(forms.ModelForm):  # type: ignore[type-arg]
    """Schedule and policy. What is left empty does not happen by itself."""

    seed_percent = forms.DecimalField(
        label=_("Seed set, % of the comparisons"),
        max_digits=4,
        decimal_places=1,
        min_value=Decimal(0),
        max_value=Decimal(100),
    )
    votes_offered = forms.CharField(
        label=_("Votes a plan may choose from"),
        required=False,
        max_length=60,
        help_text=_("Numbers below the project's own votes, e.g. 1: people then also judge with fewer votes each."),
    )

    class Meta:
        model = Loop
        fields = ["seed_at_least", "refit_after_judgments", "refit_every_hours", "replan", "point_price"]
        labels = {
            "seed_at_least": _("Seed set, comparisons at least"),
            "refit_after_judgments": _("Train again after so many new judgments"),
            "refit_every_hours": _("Train again after so many hours, if anything is new"),
            "replan": _("A new plan for what is not yet judged"),
            "point_price": _("What one point (0.01) of accuracy is worth, in money"),
        }
        help_texts = {
            "refit_after_judgments": _("Empty: not by itself."),
            "replan": _("After a training, and when labelers or money leave the plan."),
            "point_price": _("When a point costs more than this, the page suggests to stop. Empty: never."),
        }

    field_order = ["seed_percent", "seed_at_least", "refit_after_judgments", "refit_every_hours", "replan"]

    def __init__(self, data: object, *, instance: Loop, sources: list[str]) -> None:
        price = instance.point_price
        initial: dict[str, Any] = {
            "seed_percent": round(100 * instance.seed_share, 1),
            "votes_offered": ", ".join(str(each) for each in instance.votes),
            "point_price": None if price is None else f"{price.normalize():f}",
        }
        super().__init__(data, instance=instance, initial=initial)  # type: ignore[arg-type]
        self.project: Project = instance.project
        self.sources = dict(zip((f"cap_{number}" for number in range(len(sources))), sources, strict=True))
        for name, source in self.sources.items():
            cap = instance.caps.get(source)
            self.fields[name] = forms.DecimalField(
                label=_("%(source)s: at most % of the comparisons").replace("%(source)s", plan.words(source)),
                required=False,
                max_digits=4,
                decimal_places=1,
                min_value=Decimal(0),
                max_value=Decimal(100),
                initial=None if cap is None else round(100 * cap, 1),
            )
        for name in ("refit_after_judgments", "refit_every_hours"):
            self.fields[name].required = False
            self.fields[name].widget.attrs["min"] = 1
        self.fields["point_price"].widget.attrs["min"] = 0
        self.fields["replan"].choices = Loop.Replan.choices  # type: ignore[attr-defined]

    def clean_refit_after_judgments(self) -> int | None:
        return self._at_least_one("refit_after_judgments")

    def clean_refit_every_hours(self) -> int | None:
        return self._at_least_one("refit_every_hours")

    def _at_least_one(self, name: str) -> int | None:
        value = self.cleaned_data[name]
        if value is not None and value < 1:
            raise forms.ValidationError(_("at least 1, or empty"))
        return None if value is None else int(value)

    def clean_point_price(self) -> Decimal | None:
        price = self.cleaned_data["point_price"]
        if price is not None and not 0 <= price <= money.largest(Loop, "point_price"):
            raise forms.ValidationError(_("an amount of money, at least 0"))
        return price

    def clean_votes_offered(self) -> list[int]:
        words = self.cleaned_data["votes_offered"].replace(",", " ").split()
        most = self.project.votes
        if not all(word.isdecimal() and word.isascii() and 1 <= int(word) <= most for word in words):
            raise forms.ValidationError(
                _("whole numbers from 1 to %(most)s, with commas between"), params={"most": most}
            )
        return sorted({int(word) for word in words})

    def save(self, commit: bool = True) -> Loop:
        given = self.cleaned_data
        self.instance.seed_share = float(given["seed_percent"]) / 100
        self.instance.votes = given["votes_offered"]
        caps = {source: given[name] for name, source in self.sources.items() if given[name] is not None}
        self.instance.caps = {source: float(percent) / 100 for source, percent in caps.items()}
        return super().save(commit)
