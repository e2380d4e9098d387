"""What a protocol asks, in words; what two versions ask differently; and whose work a new version meets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.db.models import Count, Q
from django.utils.translation import gettext as _

from annotator import protocols
from annotator.models import Assignment, Judgment, Project, Protocol
from annotator.protocols import Choice, Definition, Level


@dataclass(frozen=True)
class Line:
    """One thing that is asked. `key` says that lines of two versions are about the same thing."""

    key: tuple[str, ...]
    name: str
    words: str
    # The name of the list that it is a row of, "" when it stands alone.
    of: str = ""


@dataclass(frozen=True)
class Change:
    """One thing that is asked differently; "" where it was not asked, or is not any more."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Running:
    """Work that a new version meets: judgments of the one in force, open leases, drafts with something in them."""

    judgments: int
    leases: int
    drafts: int


def running(project: Project, protocol: Protocol | None) -> Running:
    judgments = Judgment.objects.filter(project=project, protocol=protocol, is_current=True).count() if protocol else 0
    open_now = Assignment.objects.filter(project=project, state=Assignment.State.LEASED)
    counts = open_now.aggregate(leases=Count("pk"), drafts=Count("pk", filter=~Q(draft={})))
    return Running(judgments, counts["leases"], counts["drafts"])


def sample(project: Project, definition: Definition) -> int | None:
    """A comparison to show the form with: with several responses where they are ranked, with a criterion if shown."""
    comparisons = project.comparisons.order_by("pk")
    wanted = comparisons
    if definition.ranks:
        wanted = wanted.filter(candidates_count__gt=0)
    if definition.criterion:
        wanted = wanted.exclude(criterion="")
    found = wanted.values_list("pk", flat=True).first()
    return found if found is not None or wanted is comparisons else comparisons.values_list("pk", flat=True).first()


def changes(old: Definition, new: Definition) -> list[Change]:
    """In the order of the new version; what is gone comes last."""
    before, after = ({line.key: line for line in lines(each)} for each in (old, new))
    changed = [
        (line.of, Change(line.name, before[key].words if key in before else "", line.words))
        for key, line in after.items()
        if key not in before or (before[key].name, before[key].words) != (line.name, line.words)
    ]
    gone = [(line.of, Change(line.name, line.words, "")) for key, line in before.items() if key not in after]
    return _together([*changed, *gone])


def _together(changed: Sequence[tuple[str, Change]]) -> list[Change]:
    """Rows of one list that all came or all went are one change."""
    found: list[tuple[str, Change]] = []
    for of, change in changed:
        last_of, last = found[-1] if found else ("", change)
        came, went = not (last.before or change.before), not (last.after or change.after)
        if found and of and of == last_of and (came or went):
            before, after = (last.before, change.before), (last.after, change.after)
            found[-1] = (of, Change(of, *("\n".join(filter(None, words)) for words in (before, after))))
        else:
            found.append((of, change))
    return [change for _of, change in found]


def summary(definition: Definition) -> list[tuple[str, list[str]]]:
    """What is asked, for reading: (name, words), the rows of a list together."""
    found: list[tuple[str, list[str]]] = []
    for line in lines(definition):
        if line.of and found and found[-1][0] == line.of:
            found[-1][1].append(line.words)
        else:
            found.append((line.of or line.name, [line.words]))
    return found


def lines(definition: Definition) -> Iterator[Line]:
    """Everything that `definition` asks, line by line."""
    yield Line(("question",), _("Question"), definition.question)
    if definition.help:
        yield Line(("help",), _("Help"), definition.help)
    if definition.criterion:
        yield Line(("criterion",), _("Criterion"), _("the comparison's own is shown above the question"))
    if definition.ranks:
        words = _("all responses in order") if definition.ranking == "full" else _("the best and the worst")
        yield Line(("ranking",), _("Ranking"), words)
    yield from _levels(definition.levels, ("levels",), _("Level"), _("Levels"))
    yield from _others(definition)
    yield from _choices(definition.reasons, ("reasons",), _("Reason"), _("Reasons"))
    for aspect in definition.aspects:
        yield from _aspect(aspect)
    for attribute in definition.attributes:
        yield from _attribute(attribute)
    yield from _marks(definition)
    yield from _written(definition)
    yield from _choices(definition.flags, ("flags",), _("Flag"), _("Flags"))


def _others(definition: Definition) -> Iterator[Line]:
    if definition.confidence:
        yield Line(("confidence",), _("Confidence"), _("how sure they are is asked"))
    if definition.neither_valid:
        yield Line(("neither",), _("Other answer"), definition.neither_words or _("neither valid"))
    if definition.cannot_judge:
        yield Line(("cannot",), _("Other answer"), _("cannot judge"))


def _levels(levels: Sequence[Level], key: tuple[str, ...], name: str, of: str) -> Iterator[Line]:
    for level in levels:
        words = [words for words in (level.label, level.meaning, level.example) if words]
        number = f"{level.value:+d}".replace("-", "−") if level.value else "0"
        yield Line((*key, str(level.value)), f"{name} {number}", "\n".join(words), of)


def _choices(choices: Sequence[Choice], key: tuple[str, ...], name: str, of: str) -> Iterator[Line]:
    for choice in choices:
        yield Line((*key, choice.key), name, choice.label, of)


def _aspect(aspect: protocols.Aspect) -> Iterator[Line]:
    key, name = ("aspect", aspect.key), _("Aspect “%(label)s”") % {"label": aspect.label}
    yield Line(key, name, _asked(aspect.required, aspect.confidence, aspect.help))
    yield from _levels(
        aspect.levels, (*key, "levels"), _("%(name)s, level") % {"name": name}, _("%(name)s, levels") % {"name": name}
    )
    yield from _choices(
        aspect.reasons,
        (*key, "reasons"),
        _("%(name)s, reason") % {"name": name},
        _("%(name)s, reasons") % {"name": name},
    )


def _attribute(attribute: protocols.Attribute) -> Iterator[Line]:
    key, name = ("attribute", attribute.key), _("Rating “%(label)s”") % {"label": attribute.label}
    numbers = _("%(low)d to %(high)d") % {"low": attribute.minimum, "high": attribute.maximum}
    yield Line(key, name, "\n".join([numbers, _asked(attribute.required, False, attribute.help)]))
    for level in attribute.anchors:
        words = [words for words in (level.label, level.meaning, level.example) if words]
        of = _("%(name)s, levels") % {"name": name}
        yield Line((*key, str(level.value)), f"{name}, {level.value}", f"{level.value} " + "\n".join(words), of)


def _asked(required: bool, confidence: bool, help: str) -> str:
    words = [_("required") if required else _("optional")]
    if confidence:
        words.append(_("with confidence"))
    return "\n".join([", ".join(words), help] if help else [", ".join(words)])


def _marks(definition: Definition) -> Iterator[Line]:
    if definition.spans is None:
        return
    words = _("with a comment") if definition.spans.comment else _("without a comment")
    yield Line(("spans",), _("Marked passages"), words)
    yield from _choices(definition.spans.types, ("spans", "types"), _("Type of error"), _("Types of error"))
    yield from _choices(definition.spans.severities, ("spans", "severities"), _("Severity"), _("Severities"))


def _written(definition: Definition) -> Iterator[Line]:
    asked = (
        ("justification", _("Justification"), definition.justification, definition.justification_min),
        ("feedback", _("Feedback on each response"), definition.feedback, definition.feedback_min),
        ("edit", _("The better response, edited"), definition.edit, 0),
    )
    words = {"optional": _("optional"), "required": _("required")}
    for key, name, how, least in asked:
        if how == "required" and least:
            yield Line((key,), name, _("required, at least %(n)d characters") % {"n": least})
        elif how != "none":
            yield Line((key,), name, words[how])
