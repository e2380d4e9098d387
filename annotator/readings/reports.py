"""A labeler's stored reports, and what one says in a sentence and in notes. Reads what is stored.

`labelers.report` says what is in a report, `pipeline.appraise` what this site adds; `report_diagrams` and
`report_tables` show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator.models import Labeler, LabelerReport, LabelerVersion
from annotator.readings.report_lines import Value

# Fewer comparisons, and the first words of the page are that it rests on little.
FEW = 50


def newest(version: LabelerVersion) -> LabelerReport | None:
    return version.reports.order_by("-id").first()


def versions_of(labeler: Labeler) -> list[LabelerVersion]:
    """Those with a report, and the one in use and the candidate in any case; newest first."""
    every = labeler.versions.order_by("-id").prefetch_related("reports")
    in_use = labeler.versions.accepted().order_by("accepted_at", "id").last()
    return [each for each in every if each == in_use or each.reports.all() or is_candidate(each)]


def is_candidate(version: LabelerVersion) -> bool:
    return version.accepted_at is None and version.discarded_at is None


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
