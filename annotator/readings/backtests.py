"""A backtest as its pages read it: what may be said in a sentence, its table, and the lines that are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator.models import Backtest
from annotator.readings import backtest_chart
from annotator.readings.performance import kind_words

# More lines at once cannot be told apart.
MOST_LINES = 5
AUTO, RANDOM = "auto", "random"
# Drawn first where nobody has chosen, as far as they ran.
FIRST = (AUTO, "value", RANDOM, "disagreement", "hyper_top_k")
CSV = (
    "strategy", "budget", "seeds", "people_share", "accuracy", "accuracy_low", "accuracy_high",
    "over_random", "over_random_low", "over_random_high", "regret", "regret_low", "regret_high",
    "label_accuracy", "money", "money_with_seed_set",
)  # fmt: skip


@dataclass(frozen=True)
class Value:
    """A mean with its 95% interval; None where one seed, or none, says nothing."""

    mean: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """One strategy at one budget (None: it has none). `seed_set` is money that was spent before it."""

    strategy: str
    budget: float | None
    accuracy: Value
    over_random: Value
    regret: Value
    label_accuracy: float | None
    people: float
    money: float
    seed_set: float
    seeds: int

    @property
    def words(self) -> str:
        return strategy_words(self.strategy)

    @property
    def with_seed_set(self) -> float:
        """A random mixture and a source alone need no seed set."""
        return self.money + self.seed_set


@dataclass(frozen=True)
class Choice:
    """A strategy that can be drawn: whether it is, its number among those drawn, and the query that changes that."""

    words: str
    is_drawn: bool
    number: int
    query: str


@dataclass(frozen=True)
class Reading:
    """`headline` and `more` are sentences; `facts` what is needed to read the table, as (words, value)."""

    headline: str = ""
    is_noise: bool = True
    more: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seed_set_money: float = 0.0


def strategy_words(name: str) -> str:
    known = {
        AUTO: _("chosen on the seed set"),
        "all_people": _("people for everything"),
        "all_ai": _("the labeler that agrees best"),
        RANDOM: _("random mixture"),
        "disagreement": _("people where labelers are most probably wrong"),
        "uncertainty": _("people where a labeler is unsure"),
        "threshold": _("people below a threshold of sureness"),
        "value": _("worth for its money"),
        "value_lower": _("worth for its money, cautious"),
        "hyper_simulated": _("HyPER, simulated mixtures"),
        "hyper_top_k": _("HyPER, largest gains"),
    }
    if name.startswith("all_ai "):
        return _("%(labeler)s alone") % {"labeler": name.removeprefix("all_ai ")}
    return known.get(name, name.replace("_", " "))


def read(backtest: Backtest) -> Reading | None:
    """None until its last seed is done."""
    stored = backtest.report
    if not stored:
        return None
    money = float(stored["seed_set_money"]) + float(stored["seed_set_labelers_money"])
    verdict = stored["verdict"]
    return Reading(
        headline=_headline(verdict, int(stored["seeds"])),
        is_noise=not verdict["winner"] or bool(verdict["winner"]["is_noise"]),
        more=_more(verdict),
        rows=[_row(row, money) for row in stored["rows"]],
        facts=_facts(stored),
        notes=list(stored["notes"]),
        seed_set_money=money,
    )


def _row(row: dict[str, Any], seed_set: float) -> Row:
    # Chance needs to know nothing, nor does a source alone that somebody names.
    needs_none = row["strategy"] in (RANDOM, "all_people") or row["strategy"].startswith("all_ai ")
    return Row(
        row["strategy"],
        row["budget"],
        Value(row["mean"], row["low"], row["high"]),
        Value(row["difference"], row["difference_low"], row["difference_high"]),
        Value(row["regret"], row["regret_low"], row["regret_high"]),
        row["label_accuracy"],
        row["people"],
        row["money"],
        0.0 if needs_none else seed_set,
        row["seeds"],
    )


# Sentences


def points(value: float | None) -> str:
    """A difference of accuracies in points of a hundred, with its sign."""
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def _between(told: dict[str, Any]) -> str:
    if told["low"] is None:
        return ""
    return " " + _("(between %(low)s and %(high)s)") % {"low": points(told["low"]), "high": points(told["high"])}


def _headline(verdict: dict[str, Any], seeds: int) -> str:
    told = verdict["winner"]
    if told is None:
        return _("No strategy with a budget could be compared.")
    named = {"winner": strategy_words(told["strategy"]), "gap": points(told["mean"]), "n": verdict["compared"]}
    named["between"] = _between(told)
    if told["low"] is None:
        words = _("One seed says nothing about noise: on it, “%(winner)s” is %(gap)s points against random.")
    elif told["high"] < 0:
        words = _("Random is best: of %(n)s strategies even “%(winner)s” is %(gap)s points against it%(between)s.")
    elif told["is_noise"]:
        words = _(
            "No strategy beats random beyond noise: the best of %(n)s, “%(winner)s”, is %(gap)s points against it"
            "%(between)s."
        )
    else:
        words = _("“%(winner)s” wins: %(gap)s points against random for the same money%(between)s.")
    return words % named


def _more(verdict: dict[str, Any]) -> list[str]:
    """What the lead decides from, besides the winner."""
    said = [_chosen(verdict["auto"]), _people(verdict["people_over_labelers"]), _over(verdict["over_labelers"])]
    return [words for words in [*said, _second(verdict["second"])] if words]


def _chosen(told: dict[str, Any] | None) -> str:
    if not told or told["mean"] is None:
        return ""
    if told["is_noise"]:
        words = _("What the seed set alone chooses is %(gap)s points against random%(between)s: within noise.")
    else:
        words = _("What the seed set alone chooses is %(gap)s points against random%(between)s.")
    return words % {"gap": points(told["mean"]), "between": _between(told)}


def _people(told: dict[str, Any] | None) -> str:
    if not told or told["mean"] is None:
        return ""
    if told["is_noise"] or told["mean"] <= 0:
        words = _(
            "People for everything train no better reward model than the best labeler alone, beyond noise: %(gap)s "
            "points%(between)s. Nothing here speaks for spending much on people."
        )
    else:
        words = _("People for everything are worth %(gap)s points over the best labeler alone%(between)s.")
    return words % {"gap": points(told["mean"]), "between": _between(told)}


def _over(told: dict[str, Any] | None) -> str:
    if not told or told["mean"] is None:
        return ""
    words = _("“%(winner)s” is %(gap)s points against that labeler alone%(between)s%(noise)s.")
    noise = _(", within noise") if told["is_noise"] else ""
    named = {"winner": strategy_words(told["strategy"]), "gap": points(told["mean"]), "between": _between(told)}
    return words % {**named, "noise": noise}


def _second(told: dict[str, Any] | None) -> str:
    if not told or told["mean"] is None:
        return ""
    words = _("The next best, “%(next)s”, is %(gap)s points behind%(between)s%(noise)s.")
    noise = _(", within noise") if told["is_noise"] else ""
    named = {"next": strategy_words(told["against"]), "gap": points(told["mean"]).lstrip("+"), "noise": noise}
    return words % {**named, "between": _between(told)}


# Facts


def _facts(stored: dict[str, Any]) -> list[tuple[str, str]]:
    sizes = {name: round(size) for name, size in stored["sizes"].items()}
    ways = {
        "prompt": _("by prompt: no prompt is in two parts"),
        "models": _("by model: the test holds models that nothing was learnt from"),
        "rows": _("at random: the test holds more of the same"),
    }
    facts = [
        (_("Split"), ways.get(stored["split"], stored["split"])),
        (_("Comparisons routed, seed set, test"), f"{sizes['fit']} · {sizes['select']} · {sizes['test']}"),
        (_("Performance models that were chosen"), _counts({kind_words(k): n for k, n in stored["models"].items()})),
        (_("Seeds whose model had skill"), f"{stored['skilled']} / {stored['seeds']}"),
        (_("Plans that the seed set chose"), _counts({strategy_words(k): n for k, n in stored["plans"].items()})),
        (_("Rank correlation on unseen mixtures"), _score(stored["model_correlation"])),
        (_("… that noise would allow at most"), _score(stored["noise_correlation"])),
        (_("The same mixture trained anew"), "± " + _score(stored["noise_deviation"], 3)),
        (_("Mixtures that regret is measured against"), f"{stored['mixtures']:.0f}"),
    ]
    if sizes.get("dropped"):
        facts.insert(2, (_("Left out, as they mix both sides"), str(sizes["dropped"])))
    return facts


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {ngettext('%(n)s time', '%(n)s times', n) % {'n': n}}" for name, n in counts.items())


def _score(value: float | None, places: int = 2) -> str:
    return "–" if value is None else f"{value:.{places}f}"


# Lines


def drawable(reading: Reading) -> list[str]:
    """Strategies with a budget, in the order of the table."""
    return list(dict.fromkeys(row.strategy for row in reading.rows if row.budget is not None))


def drawn(reading: Reading, asked: Sequence[str]) -> list[str]:
    """Which lines are drawn: those asked for, else the first that say most; five at most."""
    known = drawable(reading)
    wanted = [name for name in dict.fromkeys(asked) if name in known] or [name for name in FIRST if name in known]
    return (wanted or known)[:MOST_LINES]


def choices(reading: Reading, lines: Sequence[str], show: str) -> list[Choice]:
    """Every strategy that can be drawn, with the query of the page that draws it too, or no longer.

    Where five are drawn, a further one takes the place of the last.
    """
    found = []
    for name in drawable(reading):
        is_drawn = name in lines
        after = [line for line in lines if line != name] if is_drawn else [*lines[: MOST_LINES - 1], name]
        query = "&".join([*(f"line={line}" for line in after), *([f"show={show}"] if show else [])])
        found.append(Choice(strategy_words(name), is_drawn, lines.index(name) if is_drawn else -1, query))
    return found


def chart(reading: Reading, lines: Sequence[str], show: str) -> SafeString:
    """The lines against the share of the money, as accuracy or as difference to random."""
    is_paired = show == "difference"
    found = [_line(reading, name, is_paired) for name in lines]
    levels = [] if is_paired else _levels(reading)
    title = _("Accuracy against the share of what people would cost; the table has the same numbers.")
    if is_paired:
        title = _("Difference to a random mixture for the same money; the table has the same numbers.")
    return backtest_chart.lines([line for line in found if line.points], levels, title=title, is_signed=is_paired)


def _line(reading: Reading, name: str, is_paired: bool) -> backtest_chart.Line:
    found = []
    for row in reading.rows:
        value = row.over_random if is_paired else row.accuracy
        if row.strategy == name and row.budget is not None and value.mean is not None:
            low, high = value.mean if value.low is None else value.low, value.mean if value.high is None else value.high
            found.append(backtest_chart.Point(row.budget, value.mean, low, high))
    return backtest_chart.Line(strategy_words(name), found)


def _levels(reading: Reading) -> list[tuple[str, float]]:
    """People for everything and the best labeler, whatever the budget."""
    wanted = {"all_people", "all_ai"}
    return [(row.words, row.accuracy.mean) for row in reading.rows if row.strategy in wanted and row.accuracy.mean]


def sheet(reading: Reading) -> list[list[Any]]:
    """Rows under `CSV`."""
    return [
        [
            row.strategy, row.budget, row.seeds, row.people,
            row.accuracy.mean, row.accuracy.low, row.accuracy.high,
            row.over_random.mean, row.over_random.low, row.over_random.high,
            row.regret.mean, row.regret.low, row.regret.high,
            row.label_accuracy, row.money, row.with_seed_set,
        ]
        for row in reading.rows
    ]  # fmt: skip
