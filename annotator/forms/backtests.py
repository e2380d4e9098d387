"""What a backtest is asked for: budgets, seeds, strategies, prices, how to split, and perhaps a file to read."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext_lazy as _

from annotator.models import Project
from annotator.readings.backtests import strategy_words

if TYPE_CHECKING:
    from routing.backtest_parameters import Parameters

MOST_SEEDS, MOST_BUDGETS, MOST_VOTES = 200, 12, 20
# Per cent: a smaller share of the money buys nothing.
SMALLEST = Decimal("0.0001")
# Bytes of an uploaded file.
LARGEST = 200 * 2**20


class BacktestForm(forms.Form):
    budgets = forms.CharField(
        label=_("Budgets, %"),
        max_length=100,
        initial="10 25 50 75",
        help_text=_("Shares of what people would cost for everything."),
    )
    seeds = forms.IntegerField(
        label=_("Seeds"),
        min_value=1,
        max_value=MOST_SEEDS,
        initial=20,
        help_text=_("Each splits the comparisons anew. Under 20 an interval is wide; one says nothing about noise."),
    )
    seed = forms.IntegerField(label=_("First seed"), min_value=0, max_value=2**31, initial=0)
    by = forms.ChoiceField(
        label=_("Split"),
        choices=[
            ("auto", _("as the data allow")),
            ("prompt", _("by prompt")),
            ("models", _("by unseen models")),
            ("rows", _("at random")),
        ],
    )
    votes = forms.CharField(
        label=_("Fewer votes"),
        max_length=40,
        required=False,
        help_text=_("Numbers of votes that people may be asked for instead of all, such as 1 2. Empty: all or none."),
    )
    strategies = forms.MultipleChoiceField(
        label=_("Strategies"), required=False, widget=forms.CheckboxSelectMultiple, help_text=_("None ticked: all.")
    )
    prices = forms.CharField(
        label=_("Prices"),
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_(
            "One a line, for one comparison: people = 1.20. Left out: the project's, or 1 and 0.01 for a file."
        ),
    )
    file = forms.FileField(
        label=_("File"),
        required=False,
        help_text=_("JSON Lines (also .gz) with human_labels and ai_labels. Empty: this project's own judgments."),
    )

    def __init__(self, project: Project, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Not at the top: NumPy would be loaded by every web process, for the annotators' pages too.
        from routing.backtest_parameters import offered

        self.project = project
        self.fields["strategies"].choices = [(name, strategy_words(name)) for name in offered()]  # type: ignore[attr-defined]

    def clean_budgets(self) -> tuple[float, ...]:
        shares = [_number(word) for word in _words(self.cleaned_data["budgets"])]
        if not shares or not all(share is not None and SMALLEST <= share <= 100 for share in shares):
            raise forms.ValidationError(_("Give percentages over 0 and up to 100, such as 10 25 50."))
        kept = {float(share / 100) for share in shares if share is not None}
        if len(kept) < len(shares) or len(shares) > MOST_BUDGETS:
            raise forms.ValidationError(_("At most %(most)s budgets, each once."), params={"most": MOST_BUDGETS})
        return tuple(sorted(kept))

    def clean_votes(self) -> tuple[int, ...]:
        words = _words(self.cleaned_data["votes"])
        if not all(word.isascii() and word.isdigit() and 0 < int(word) <= MOST_VOTES for word in words):
            raise forms.ValidationError(_("Give whole numbers of votes, such as 1 2."))
        return tuple(sorted({int(word) for word in words}))

    def clean_prices(self) -> dict[str, Decimal]:
        prices = {}
        for line in self.cleaned_data["prices"].splitlines():
            if not line.strip():
                continue
            name, _sign, amount = line.rpartition("=")
            price = _number(amount.strip())
            if not name.strip() or price is None or not 0 <= price < 10**6 or price * 10**8 % 1:
                raise forms.ValidationError(
                    _("“%(line)s” is no price: write a source and an amount, such as people = 1.20."),
                    params={"line": line.strip()[:60]},
                )
            prices[name.strip()] = price
        return prices

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file and file.size > LARGEST:
            raise forms.ValidationError(_("The file is larger than %(most)s MB."), params={"most": LARGEST // 2**20})
        return file

    def parameters(self) -> Parameters:
        from routing.backtest_parameters import Parameters

        asked = self.cleaned_data
        return Parameters(
            seeds=asked["seeds"],
            seed=asked["seed"],
            budgets=asked["budgets"],
            strategies=tuple(asked["strategies"]),
            prices=asked["prices"],
            by=asked["by"],
            votes=asked["votes"],
        )


def _words(text: str) -> list[str]:
    return text.replace(";", " ").replace("%", " ").split()


def _number(word: str) -> Decimal | None:
    """A decimal number with point or comma; None for anything else, infinity and NaN included."""
    try:
        number = Decimal(word.replace(",", "."))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
