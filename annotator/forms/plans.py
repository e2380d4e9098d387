from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from django import forms
from django.utils.translation import gettext_lazy as _

from annotator import money
from annotator.models import Account, Plan, Project
from annotator.readings import performance

CENT = Decimal("0.01")

WORDS = {
    "auto": _("the cheapest that is predicted as good as the best"),
    "all_people": _("people for everything"),
    "all_ai": _("AI for everything"),
    "random": _("random mixture"),
    "disagreement": _("people where labelers are most probably wrong"),
    "uncertainty": _("people where a labeler is unsure"),
    "threshold": _("people below a threshold of the labeler's sureness"),
    "value": _("what each judgment is worth for its money"),
    "value_lower": _("what each judgment is surely worth for its money"),
    "hyper_simulated": _("the paper's search among simulated mixtures"),
    "hyper_top_k": _("the paper's gain of each comparison"),
}


class PlanForm(forms.Form):
    """Money in, plan out. Five fields; all but the first are filled in."""

    budget = forms.DecimalField(
        label=_("Budget"),
        max_digits=14,
        decimal_places=2,
        min_value=Decimal("0"),
        max_value=money.largest(Plan, "budget").quantize(CENT, ROUND_DOWN),
    )
    cap = forms.DecimalField(
        label=_("Hard budget of the project"),
        max_digits=14,
        decimal_places=2,
        min_value=Decimal("0"),
        max_value=money.largest(Account, "cap").quantize(CENT, ROUND_DOWN),
    )
    strategy = forms.ChoiceField(label=_("Choose by"))
    control = forms.DecimalField(
        label=_("Random control, %"), max_digits=4, decimal_places=1, min_value=Decimal("0"), max_value=Decimal("50")
    )
    seed = forms.IntegerField(label=_("Seed"), min_value=0, max_value=2**31)

    def __init__(self, data: object, project: Project, account: Account | None, initial: dict[str, object]) -> None:
        super().__init__(
            data,  # type: ignore[arg-type]
            initial={
                "cap": account.cap.quantize(Decimal("0.01")) if account else None,
                "strategy": "auto",
                "control": round(100 * project.control_share, 1),
                "seed": 0,
                **initial,
            },
        )
        self.account = account
        offered = self.strategies(project)
        self.fields["strategy"].choices = offered  # type: ignore[attr-defined]
        if self.initial["strategy"] not in dict(offered):
            self.initial["strategy"] = "auto"
        if project.plans.filter(status=Plan.Status.APPROVED, is_seed_set=False).exists():
            self.fields["budget"].help_text = _(
                "For all of it together: what the plan at work has spent is part of it."
            )

    @staticmethod
    def strategies(project: Project | None = None) -> list[tuple[str, object]]:
        """(name, words) of what makes plans; of a project, the paper's only where its model has the paper's."""
        # Not at the top: NumPy and scikit-learn would be loaded by every web process, for the annotators' pages too.
        from routing.backtest_parameters import VARIANTS
        from routing.strategies import OF_THE_PAPER, STRATEGIES

        hidden = OF_THE_PAPER if project and not _knows_the_paper(project) else ()
        names = [name for name in ("auto", *STRATEGIES, *VARIANTS) if name not in hidden]
        return [(name, WORDS.get(name, name.replace("_", " "))) for name in names]

    def clean_cap(self) -> Decimal:
        cap = Decimal(self.cleaned_data["cap"])
        bound = self.account.spent + self.account.reserved if self.account else Decimal(0)
        if cap < bound:
            raise forms.ValidationError(
                _("%(bound)s are spent or set aside already: the hard budget cannot be lower."),
                params={"bound": f"{bound:.2f}"},
            )
        return cap


def _knows_the_paper(project: Project) -> bool:
    """Whether the performance model in use was fitted with the published one beside it."""
    model = performance.pinned(project) or project.performance_models.order_by("-version").first()
    return bool(model and model.metrics.get("paper"))


class CompareForm(forms.Form):
    """Which two plans to set side by side."""

    before = forms.TypedChoiceField(label=_("Plan"), coerce=int)
    after = forms.TypedChoiceField(label=_("beside plan"), coerce=int)

    def __init__(self, data: object, numbers: list[int]) -> None:
        super().__init__(data)  # type: ignore[arg-type]
        choices = [(number, number) for number in numbers]
        for name in ("before", "after"):
            self.fields[name].choices = choices  # type: ignore[attr-defined]
