"""Judged comparisons as writers get them, and what readers make of the rows that were written."""

from datetime import UTC, datetime
from importlib import import_module

import pyarrow as pa
from django.utils.module_loading import import_string

from annotator import protocols
from annotator.formats import READERS, WRITERS
from annotator.formats.source import Judged, Label, Options, Prompt, Response, Vote

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ODD = "naïve\u2028Ω𝄞\t“x”\r\n\n  e\u0301 \u200f שלום \x01 end "


class Source:
    def __init__(self, *comparisons):
        self.comparisons = comparisons

    def judged(self):
        return iter(self.comparisons)


def vote(preference=None, number=1, p_b=None, **said):
    given = {
        **dict.fromkeys(("confidence", "active_ms")),
        **{"aspects": {}, "attributes": {}, "reasons": [], "justification": "", "created_at": NOON},
        **said,
    }
    outcome = given.pop("outcome", "level")
    name = f"person-{number}" if p_b is None else "judge@0123456789ab"
    return Vote(name, p_b is None, False, outcome, preference, p_b, **given)


def judged(*votes, key="c1", prompt="Why?", a="left", b="right", p_b=None, source="people", further=(), **metadata):
    """With the label that the votes make, or an AI labeler's `p_b`."""
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    towards = [each.preference for each in votes if each.preference is not None]
    if p_b is None and towards:
        p_b = sum((1 + (one > 0) - (one < 0)) / 2 for one in towards) / len(towards)
    label = Label(source, p_b, 0.0, sum(towards) / len(towards) if towards else None, 1.0, max(len(towards), 1), 0)
    responses = [Response(name, text, f"model-{name}") for name, text in (("a", a), ("b", b))]
    return Judged(key, Prompt(f"p-{key}", turns), *responses, label, votes, metadata, tuple(further))


def written(format, *comparisons, preset="plain", **options):
    """The rows as files hold them, and what was left out."""
    definition = protocols.PRESETS[preset] if isinstance(preset, str) else preset
    writer = import_string(WRITERS[format])(protocols.read(definition), Options(**options))
    made = list(writer.rows(Source(*comparisons)))
    schemas = {config.name: config.schema for config in writer.configs}
    table = [pa.Table.from_pylist([row.values], schema=schemas[row.config]).to_pylist()[0] for row in made]
    assert all(set(row.values) == set(schemas[row.config].names) for row in made)
    assert writer.notes and all(note.endswith(".") for note in writer.notes)
    return table, dict(writer.left_out)


def entries(reader, rows):
    """What the reader makes of rows as files give them: null and absent are the same."""
    module = import_module(READERS[reader])
    numbered = list(enumerate(({key: value for key, value in row.items() if value is not None} for row in rows), 1))
    assert all(module.claims(row) for _line, row in numbered)
    joined = module.joined(iter(numbered)) if hasattr(module, "joined") else numbered
    return [module.read(row) for _line, row in joined]


def better(entry, number=0):
    """The text that a vote prefers; "" for a tie or neither."""
    given = entry.votes[number]
    comparison = entry.comparisons[given.comparison]
    towards_b = given.preference if given.p_b is None else 2 * given.p_b - 1
    if not towards_b:
        return ""
    return entry.responses[comparison.b if towards_b > 0 else comparison.a].text
