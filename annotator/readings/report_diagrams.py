"""The diagrams of a labeler's report, each with the same as numbers, and all of its numbers for a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from annotator.readings import diagrams
from annotator.readings.report_lines import Line, line
from annotator.readings.report_tables import attacks
from annotator.readings.reports import null_words


@dataclass(frozen=True)
class Diagram:
    """What is drawn, and the same as a table."""

    key: str
    title: str
    note: str
    svg: SafeString
    lines: list[Line]


def charts(data: Mapping[str, Any], name: str) -> list[Diagram]:
    made = [_accuracies(data, name), _reliability(data), _margins(data), _length(data), _swap(data)]
    return [chart for chart in made if chart is not None]


def _intervals(lines: Sequence[Line], title: str, mark: float = 0.5, strong: Sequence[str] = ()) -> SafeString:
    rows = [
        diagrams.Interval(each.words, each.value, each.low, each.high, "judge" if each.words in strong else "other")
        for each in lines
        if each.value is not None
    ]
    return diagrams.intervals(rows, mark=mark, title=title)


def _accuracies(data: Mapping[str, Any], name: str) -> Diagram:
    title = _("Agrees with people")
    own = data["measures"]
    lines = [
        line(name, own["raw"]["accuracy"]),
        line(_("… calibrated"), own["calibrated"]["accuracy"]),
        line(_("… without length"), own["length_controlled"]["accuracy"]),
        *(line(null_words(each["kind"]), each["measures"]["raw"]["accuracy"]) for each in data["nulls"]),
    ]
    note = _("Share of comparisons on which it names the side of people's majority; its ties count half.")
    return Diagram("accuracy", title, note, _intervals(lines, title, strong=(name,)), lines)


def _reliability(data: Mapping[str, Any]) -> Diagram:
    title = _("As sure as it should be?")
    bins = data["reliability"]
    raw, calibrated = ([_bin(each) for each in bins[which]] for which in ("raw", "calibrated"))
    svg = diagrams.reliability(
        raw, calibrated, title=title, x_words=_("sure, as it says"), y_words=_("people of one mind with it")
    )
    lines = [
        Line(
            _("%(which)s, sure to %(said)s") % {"which": words, "said": f"{100 * each['said']:.0f}%"},
            each["found"],
            each["low"],
            each["high"],
            each["n"],
        )
        for which, words in (("raw", _("as it says")), ("calibrated", _("calibrated")))
        for each in bins[which]
    ]
    note = _(
        "On the dotted line its sureness is what it says; grey: after calibration, held out. Larger points hold more."
    )
    return Diagram("reliability", title, note, svg, lines)


def _bin(row: Mapping[str, Any]) -> diagrams.Point:
    return diagrams.Point(row["said"], row["found"], row["low"], row["high"], row["n"])


def _margins(data: Mapping[str, Any]) -> Diagram | None:
    bars = data.get("site", {}).get("margins")
    if not bars:
        return None
    title = _("What it says, from A to B")
    right, wrong = bars["right"], bars["wrong"]
    svg = diagrams.histogram(right, wrong, title=title, x_words=_("its probability for B"))
    step = 1 / len(right)
    lines = [
        Line(
            f"{100 * number * step:.0f}–{100 * (number + 1) * step:.0f}%",
            same / (same + other),
            None,
            None,
            round(same + other),
        )
        for number, (same, other) in enumerate(zip(right, wrong, strict=True))
        if same + other
    ]
    note = _("Comparisons by its probability for B; grey: people say the other side. The table: share of one mind.")
    return Diagram("margins", title, note, svg, lines)


def _length(data: Mapping[str, Any]) -> Diagram:
    title = _("What length has to do with it")
    length = data["length"]
    lines = [
        line(_("names the longer one"), length["names_longer"]),
        line(_("people take the longer one"), length["people_longer"]),
        line(_("agrees, lengths alike"), length["matched_accuracy"]),
        line(_("agrees, either way alike"), length["balanced_accuracy"]),
    ]
    svg = _intervals(lines, title, strong=(lines[0].words, lines[2].words))
    correlation = line(_("correlation of margin and length"), length["correlation"], "score")
    note = _(
        "Lengths are alike within %(within)s. “Either way alike”: the mean of its agreement where people took the "
        "longer and where they took the shorter one; 50%% is what length alone gets."
    ) % {"within": f"{100 * length['matched_within']:.0f}%"}
    return Diagram("length", title, note, svg, [*lines, correlation])


def _swap(data: Mapping[str, Any]) -> Diagram | None:
    swap = data["swap"]
    if swap is None:
        return None
    title = _("When the responses change places")
    lines = [
        line(_("names the same side"), swap["consistent"]),
        line(_("names what is shown first"), swap["first_shown"]),
        line(_("agrees, where the same"), swap["right_when_consistent"]),
    ]
    note = _("Naming the same side is no sign of being right: weak judges are consistent and wrong.")
    return Diagram("swap", title, note, _intervals(lines, title, strong=(lines[0].words,)), lines)


def measures(data: Mapping[str, Any]) -> list[tuple[str, list[Line]]]:
    """(measure in words, as it says / calibrated / without length)."""
    names = {
        "accuracy": (_("Agrees with people"), "share"),
        "auc": (_("Order of its probabilities (AUC)"), "score"),
        "log_loss": (_("Log loss, nats"), "score"),
        "brier": (_("Brier score"), "score"),
        "ece": (_("Distance of said and true sureness (ECE)"), "score"),
    }
    which = ("raw", "calibrated", "length_controlled")
    return [
        (words, [line(each, data["measures"][each][name], kind) for each in which])
        for name, (words, kind) in names.items()
    ]


def rows(data: Mapping[str, Any], name: str) -> Iterator[list[Any]]:
    """Every number of the page for a file: (table, row, value, low, high, comparisons)."""
    for chart in charts(data, name):
        for each in chart.lines:
            yield _row(chart.key, each.words, each)
    for words, lines in measures(data):
        for each in lines:
            yield _row("measures", f"{words} / {each.words}", each)
    for cell in data["slices"]:
        key = f"{cell['domain'] or '–'} / {cell['language'] or '–'}"
        for which in ("raw", "calibrated"):
            yield _row("slices", f"{key} / {which}", line("", cell[which]["accuracy"]))
    for check in data["checks"]:
        yield ["checks", check["name"], check["rate"], check["low"], check["high"], check["n"]]
    for each in attacks(data):
        yield _row("attacks", each.words, each)


def _row(table: str, words: str, shown: Line) -> list[Any]:
    return [table, words, shown.value, shown.low, shown.high, shown.n]
