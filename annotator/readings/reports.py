"""A labeler's report for its page: what it says in one sentence, and its diagrams and tables. Reads what is stored.

`labelers.report` says what is in a report, `pipeline.appraise` what this site adds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator.models import Comparison, Labeler, LabelerReport, LabelerVersion, Project
from annotator.readings import diagrams
from annotator.readings.comparison import excerpt

# Fewer comparisons, and the first words of the page are that it rests on little.
FEW = 50
SUSPECTS_SHOWN = 25
Value = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """A row of a table: a measure in words with its 95% interval; `places` as `kind` wants it shown."""

    words: str
    value: float | None
    low: float | None
    high: float | None
    n: int | None = None
    # "share" (in percent) or "score".
    kind: str = "share"


@dataclass(frozen=True)
class Diagram:
    """What is drawn, and the same as a table."""

    key: str
    title: str
    note: str
    svg: SafeString
    lines: list[Line]


@dataclass(frozen=True)
class Suspect:
    comparison: Comparison
    excerpt: str
    # Share of people's votes for B, and what the labelers together give the side that people took.
    people: float
    chance: float
    labelers: int
    is_raised: bool


def newest(version: LabelerVersion) -> LabelerReport | None:
    return version.reports.order_by("-id").first()


def versions_of(labeler: Labeler) -> list[LabelerVersion]:
    """Those with a report, and the one in use and the candidate in any case; newest first."""
    every = labeler.versions.order_by("-id").prefetch_related("reports")
    in_use = labeler.versions.accepted().order_by("accepted_at", "id").last()
    return [each for each in every if each == in_use or each.reports.all() or is_candidate(each)]


def is_candidate(version: LabelerVersion) -> bool:
    return version.accepted_at is None and version.discarded_at is None


# In one sentence


def sentence(data: Mapping[str, Any]) -> list[str]:
    """What matters most first: against the null that does best, its sureness, its order. Parts of one sentence."""
    parts = [_against_nulls(data), _against_best(data["ensemble"]), _sureness(data), _order(data["swap"])]
    measured = data["comparisons"]["measured"]
    if measured < FEW:
        words = ngettext(
            "only %(n)s comparison that people judged: nothing here is certain",
            "only %(n)s comparisons that people judged: nothing here is certain",
            measured,
        )
        parts.append(words % {"n": measured})
    return [part for part in parts if part]


def best_null(data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    measured = [each for each in data["nulls"] if each["measures"]["raw"]["accuracy"]["value"] is not None]
    return max(measured, key=lambda each: each["measures"]["raw"]["accuracy"]["value"], default=None)


def _against_nulls(data: Mapping[str, Any]) -> str:
    null = best_null(data)
    if null is None or null["difference"]["difference"] is None:
        return _("no comparison that people decided")
    gain = null["difference"]
    values = {"null": null_words(null["kind"]), "points": _points(gain["difference"]), **_ends(gain)}
    if gain["low"] is None:
        return _("%(points)s points against %(null)s, without an interval") % values
    if gain["better"]:
        return _("beats %(null)s by %(points)s points (%(low)s to %(high)s)") % values
    if gain["worse"]:
        values["points"] = _points(-gain["difference"])
        return _("is beaten by %(null)s, which reads nothing, by %(points)s points") % values
    return _("cannot be told from %(null)s, which reads nothing (%(low)s to %(high)s points)") % values


def _against_best(made: Mapping[str, Any] | None) -> str:
    """An ensemble beside its best member, held out: what it is for."""
    if made is None or made["best"]["low"] is None:
        return ""
    gain = made["best"]
    values = {"points": _points(abs(gain["difference"])), **_ends(gain)}
    if gain["worse"]:
        return _("its best member alone is better by %(points)s points: use that one") % values
    if gain["better"]:
        return _("better than its best member by %(points)s points (%(low)s to %(high)s)") % values
    return _("cannot be told from its best member (%(low)s to %(high)s points)") % values


def _ends(gain: Value) -> dict[str, str]:
    return {end: _points(gain[end]) if gain[end] is not None else "" for end in ("low", "high")}


def _points(share: float) -> str:
    return f"{100 * share:.0f}".replace("-", "−")


def _sureness(data: Mapping[str, Any]) -> str:
    """Where bins of what it said lie clear of what was found."""
    bins = data["reliability"]["raw"]
    over = [each for each in bins if each["said"] > each["high"]]
    under = [each for each in bins if each["said"] < each["low"]]
    if not bins:
        return ""
    if len(over) == len(bins):
        return _("over-confident throughout")
    if over:
        return _("over-confident from %(share)s on") % {"share": f"{100 * min(each['said'] for each in over):.0f}%"}
    if under:
        return _("less sure than it could be")
    return _("about as sure as it should be")


def _order(swap: Mapping[str, Any] | None) -> str:
    if swap is None or swap["consistent"]["value"] is None:
        return ""
    other = 1 - swap["consistent"]["value"]
    return _("says the other side in %(share)s when the responses change places") % {"share": f"{100 * other:.0f}%"}


def null_words(kind: str) -> str:
    words = {
        "null_longest": _("“the longer one”"),
        "null_shortest": _("“the shorter one”"),
        "null_random": _("a coin"),
        "null_relevance": _("“the more relevant one by words”"),
    }
    return words.get(kind, kind)


def notes(data: Mapping[str, Any]) -> list[str]:
    """What a reader must not overlook, in words; a note this site does not know yet is shown by its name."""
    known = _note_words()
    said = []
    for note in data["notes"]:
        values = {name: _shown(name, value) for name, value in note["values"].items()}
        said.append(known[note["code"]] % values if note["code"] in known else note["code"])
    return list(dict.fromkeys(said))


def _note_words() -> dict[str, str]:
    return {
        "few_comparisons": _(
            "It rests on %(n)s comparisons that people judged; from %(least)s on it is fairly certain."
        ),
        "few_prompts": _("It rests on %(n)s prompts; from %(least)s on other prompts are likely to look the same."),
        "no_better_than_null": _("It is not clearly better than %(kind)s, which reads nothing: it is not worth money."),
        "worse_than_chance": _("It names the side of people in %(accuracy)s: less often than a coin."),
        "calibration_hurts": _("Calibration makes its probabilities worse on comparisons it was not fitted on."),
        "length_bias": _("Its margin goes with length (correlation %(correlation)s)."),
        "length_decides": _(
            "Where people take the shorter and where they take the longer one, counted alike, it is right in "
            "%(balanced)s: length decides for it."
        ),
        "order_decides": _("It names the same side in both orders in %(consistent)s only: the order decides much."),
        "saturated": _("In %(share)s it says 0, 1 or a tie: its sureness says nothing."),
        "one_group": _("All comparisons are of one domain and language: nothing is known of others."),
        "obeys_attacks": _(
            "Bad responses that tell it what to say win in %(rate)s, without that in %(without)s: whoever writes "
            "responses can steer it."
        ),
    }


def _shown(name: str, value: Any) -> Any:
    if name == "kind":
        return null_words(value)
    if name == "correlation":
        return f"{value:.2f}".replace("-", "−")
    return f"{100 * value:.0f}%" if isinstance(value, float) else value


# Diagrams and tables


def charts(data: Mapping[str, Any], name: str) -> list[Diagram]:
    made = [_accuracies(data, name), _reliability(data), _margins(data), _length(data), _swap(data)]
    return [chart for chart in made if chart is not None]


def _line(words: str, value: Value, kind: str = "share") -> Line:
    return Line(words, value["value"], value["low"], value["high"], value["n"], kind)


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
        _line(name, own["raw"]["accuracy"]),
        _line(_("… calibrated"), own["calibrated"]["accuracy"]),
        _line(_("… without length"), own["length_controlled"]["accuracy"]),
        *(_line(null_words(each["kind"]), each["measures"]["raw"]["accuracy"]) for each in data["nulls"]),
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
        _line(_("names the longer one"), length["names_longer"]),
        _line(_("people take the longer one"), length["people_longer"]),
        _line(_("agrees, lengths alike"), length["matched_accuracy"]),
        _line(_("agrees, either way alike"), length["balanced_accuracy"]),
    ]
    svg = _intervals(lines, title, strong=(lines[0].words, lines[2].words))
    correlation = _line(_("correlation of margin and length"), length["correlation"], "score")
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
        _line(_("names the same side"), swap["consistent"]),
        _line(_("names what is shown first"), swap["first_shown"]),
        _line(_("agrees, where the same"), swap["right_when_consistent"]),
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
        (words, [_line(each, data["measures"][each][name], kind) for each in which])
        for name, (words, kind) in names.items()
    ]


def rows(data: Mapping[str, Any], name: str) -> Iterator[list[Any]]:
    """Every number of the page for a file: (table, row, value, low, high, comparisons)."""
    for chart in charts(data, name):
        for line in chart.lines:
            yield [chart.key, line.words, line.value, line.low, line.high, line.n]
    for words, lines in measures(data):
        for line in lines:
            yield ["measures", f"{words} / {line.words}", line.value, line.low, line.high, line.n]
    for cell in data["slices"]:
        key = f"{cell['domain'] or '–'} / {cell['language'] or '–'}"
        for which in ("raw", "calibrated"):
            value = cell[which]["accuracy"]
            yield ["slices", f"{key} / {which}", value["value"], value["low"], value["high"], value["n"]]
    for check in data["checks"]:
        yield ["checks", check["name"], check["rate"], check["low"], check["high"], check["n"]]
    for line in attacks(data):
        yield ["attacks", line.words, line.value, line.low, line.high, line.n]


# Labels of people that labelers doubt


def suspects(project: Project, data: Mapping[str, Any]) -> list[Suspect]:
    """Those of the report that are still there, the most doubted first; what a reviewer has settled is none."""
    found = {each["comparison"]: each for each in data.get("site", {}).get("suspects", ())}
    rows = Comparison.objects.filter(project=project, pk__in=found).exclude(judgments__purpose="review")
    raised = set(rows.filter(flags__resolved_at=None, flags__isnull=False).values_list("pk", flat=True))
    comparisons = rows.select_related("prompt").in_bulk()
    return [
        Suspect(
            comparisons[pk],
            excerpt(comparisons[pk].prompt),
            each["people"],
            each["mean"],
            each["labelers"],
            pk in raised,
        )
        for pk, each in found.items()
        if pk in comparisons
    ][:SUSPECTS_SHOWN]


# Beside other versions and labelers


@dataclass(frozen=True)
class Other:
    labeler: int | None
    label: str
    c: float | None
    n: int
    line: Line | None


def difference(words: str, found: Value, kind: str = "points") -> Line:
    return Line(words, found["difference"], found["low"], found["high"], found["n"], kind)


def comparison(candidate: LabelerVersion, against: LabelerVersion | None) -> list[Line]:
    """A candidate minus the version in use, of the newest report that compares just these two."""
    reports = candidate.reports.filter(data__site__against=against.pk if against else None)
    found = reports.order_by("-id").first()
    compared = found.data["incumbent"] if found else None
    if not compared:
        return []
    return [
        difference(_("Agrees with people, points"), compared["accuracy"]),
        difference(_("Log loss saved, nats"), compared["log_loss"], "score"),
    ]


def others(data: Mapping[str, Any]) -> list[Other]:
    """Every other labeler of the project: how alike the two judge, and which of them people agree with more."""
    here = data.get("site", {}).get("others", [])
    places = [*here, *[{}] * (len(data["others"]) - len(here))]
    return [
        Other(
            place.get("labeler"),
            other["label"],
            other["c"],
            other["n"],
            difference(other["label"], place["accuracy"]) if "accuracy" in place else None,
        )
        for other, place in zip(data["others"], places, strict=True)
    ]


def slices(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Domain × language: as it says, calibrated, and how far its sureness then is off."""
    return [
        {
            "domain": cell["domain"],
            "language": cell["language"],
            "lines": [
                _line("", cell["raw"]["accuracy"]),
                _line("", cell["calibrated"]["accuracy"]),
                _line("", cell["calibrated"]["ece"], "score"),
            ],
        }
        for cell in sorted(data["slices"], key=lambda cell: -cell["raw"]["accuracy"]["n"])
    ]


def members(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What an ensemble is made of; empty for any other labeler."""
    made = data["ensemble"] or {"members": []}
    return [{**each, "line": _line(each["label"], each["alone"])} for each in made["members"]]


def together(data: Mapping[str, Any]) -> list[Line]:
    """An ensemble out of fold, and what it would be with equal weights."""
    made = data["ensemble"]
    if not made:
        return []
    return [_line(_("together, held out"), made["accuracy"]), _line(_("with equal weights"), made["equal"])]


# Checks


def checks(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    known = _check_words()
    states = {"pass": ("ok", _("passes")), "fail": ("bad", _("fails")), "unsure": ("warn", _("cannot be told yet"))}
    rows = []
    for check in data["checks"]:
        words, meaning = known.get(check["name"], (check["name"], ""))
        state, outcome = states.get(check["outcome"], ("off", check["outcome"]))
        line = Line(words, check["rate"], check["low"], check["high"], check["n"])
        rows.append({**check, "words": words, "meaning": meaning, "state": state, "outcome": outcome, "line": line})
    return rows


def _check_words() -> dict[str, tuple[str, str]]:
    return {
        "swap": (_("Exchange"), _("A and B exchanged: its answer is exchanged too.")),
        "duplicate": (_("Duplicate"), _("A response against itself: a tie, or nearly.")),
        "padding": (_("Padding"), _("A response against itself said twice: the longer one does not win.")),
        "criterion_flip": (_("Criterion"), _("A criterion and its reverse: its answer is reversed.")),
        "contrast": (_("Contrast"), _("Two prompts alike: each prompt's own response wins. Chance: one in four.")),
        "shuffle": (_("Order in a batch"), _("The same pair in another place: the same probability.")),
    }


# Attacks


def attacks(data: Mapping[str, Any]) -> list[Line]:
    """How often a bad response won: with an attack, without one, and by kind of attack, what won most first."""
    found = data.get("attacks")
    if not found:
        return []
    kinds = sorted(found["by_kind"].items(), key=lambda each: -(each[1]["rate"] or 0))
    known = _attack_words()
    return [
        _won(_("all attacks"), found),
        _won(_("the same responses without one"), found["without"]),
        *(_won(known.get(kind, kind), counted) for kind, counted in kinds),
    ]


def _won(words: str, counted: Mapping[str, Any]) -> Line:
    low, high = counted["interval"] if counted["n"] else (None, None)
    return Line(words, counted["rate"], low, high, counted["n"])


def attack_sentence(data: Mapping[str, Any]) -> str:
    """What the attacks came to; "" where there were none."""
    found = data.get("attacks")
    if not found or not found["n"]:
        return ""
    shares = {"rate": found["rate"], "low": found["interval"][0], "high": found["interval"][1]}
    shares["without"] = found["without"]["rate"] or 0.0
    values = {name: f"{100 * share:.0f}%" for name, share in shares.items()}
    values |= {"n": str(found["n"]), "won": str(found["successes"])}
    if not found["successes"]:
        return _("None of %(n)s attacks succeeded; %(high)s of such attacks might at most.") % values
    return (
        _(
            "%(won)s of %(n)s attacks succeeded (%(rate)s, %(low)s to %(high)s); the same bad responses win in "
            "%(without)s when they carry none."
        )
        % values
    )


def _attack_words() -> dict[str, str]:
    return {
        "authority": _("speaks as an authority"),
        "delimiter": _("closes the frame around it"),
        "fake turn": _("plays another turn"),
        "fake verdict": _("gives the verdict itself"),
        "instruction": _("gives an instruction"),
        "language": _("gives it in another language"),
        "padding": _("looks long and thorough"),
        "pressure": _("begs or threatens"),
        "self-praise": _("praises itself"),
    }
