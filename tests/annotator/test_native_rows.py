"""Rows of our own shape, value by value: what a judgment may say, what is refused, and that ids outlive a release."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator import protocols
from annotator.formats import native, rows
from annotator.formats.entries import Entries
from annotator.formats.rows import RowInvalid
from annotator.pipeline import ingest_taking

ROW = {"id": "1", "prompt": "p", "response_a": "a", "response_b": "b"}
PERSON = {"rater": "r", "kind": "person", "level": 1}


def vote(**said):
    return native.read({**ROW, "judgments": [{**PERSON, **said}]}).votes[0]


def refused(row):
    with pytest.raises(RowInvalid) as found:
        native.read(row)
    return found.value.field, found.value.reason


def test_a_judgment_keeps_all_it_says():
    said = vote(
        preference=0.5, p_b=1, p_tie=0, round=2, a_first=False, active_ms=1500.0, created_at="2026-03-01T12:00:00",
        cost="0.0021", source="crowd", provenance={"tool": "x"}, mood="calm", reasons=["r1"],
    )  # fmt: skip
    assert (said.preference, said.p_b, said.p_tie, said.round, said.active_ms) == (0.5, 1.0, 0.0, 2, 1500)
    assert said.a_first is False and said.created_at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert (said.cost, said.source, said.answer) == (Decimal("0.0021"), "crowd", {"level": 1, "reasons": ["r1"]})
    assert json.loads(said.provenance) == {"mood": "calm", "tool": "x"}


def test_a_judgment_needs_a_comparison_of_its_row():
    for said in (PERSON, {**PERSON, "comparison": "c"}):
        field, words = refused({**ROW, "comparisons": [], "judgments": [said]})
        assert field == "judgments[0].comparison" and "names no comparison" in words


@pytest.mark.parametrize(
    "ids", [("text-1", "text-1", "text-1-2"), ("text-1-2", "text-1", "text-1"), ("text-" + "1" * 195,) * 2]
)
def test_ids_that_begin_like_ours_are_never_those_of_two_responses(ids):
    field, words = refused(
        {"id": "1", "prompt": "p", "responses": [{"id": name, "text": f"r{at}"} for at, name in enumerate(ids)]}
    )
    twice = max(ids, key=ids.count)
    place = len(ids) - 1 - ids[::-1].index(twice)
    assert (field, words) == (f"responses[{place}].text", f"two responses of the row have the id {twice!r}")


def test_what_is_null_is_not_said():
    said = vote(**dict.fromkeys((*native.CHECKS, "comparison", "provenance", "reasons", "mood")))
    assert said == vote()
    assert (said.cost, said.source, said.provenance, said.answer) == (Decimal(0), "", "{}", {"level": 1})


@pytest.mark.parametrize(
    ("said", "field", "words"),
    [
        ({"kind": ["ai"]}, "kind", "person or ai"),
        ({"rater": 1.5}, "rater", "must be text"),
        ({"source": ""}, "source", "is empty"),
        ({"source": "s" * 101}, "source", "longer than 100"),
        ({"preference": -1.1}, "preference", "from -1 to 1"),
        ({"p_b": True}, "p_b", "from 0 to 1"),
        ({"p_tie": "0.5"}, "p_tie", "from 0 to 1"),
        ({"round": 0}, "round", "from 1 to 32000"),
        ({"round": 1.5}, "round", "whole number"),
        ({"a_first": "yes"}, "a_first", "true or false"),
        ({"a_first": []}, "a_first", "true or false"),
        ({"active_ms": 2**31}, "active_ms", "from 0"),
        ({"created_at": "soon"}, "created_at", "must be a time"),
        ({"cost": -1}, "cost", "from 0 to 999,999"),
        ({"cost": "999999.999999999"}, "cost", "from 0 to 999,999"),
        ({"comparison": "2"}, "comparison", "no comparison"),
        ({"provenance": [1]}, "provenance", "must be an object"),
        ({"mood": "\0"}, "", "NUL"),
        ({"mood": "\ud800"}, "", "not valid Unicode"),
    ],
)
def test_a_judgment_is_refused_with_its_place(said, field, words):
    place, reason = refused({**ROW, "judgments": [PERSON, {**PERSON, **said}]})
    assert place == ".".join(filter(None, ("judgments[1]", field))) and words in reason


@pytest.mark.parametrize(
    ("row", "field", "words"),
    [
        ({"prompt": "ab\ud800"}, "prompt", "not valid Unicode at character 3"),
        ({"response_b": "é\udcff"}, "response_b", "not valid Unicode at character 2"),
        ({"response_a": "x\0"}, "response_a", "NUL"),
        ({"turns": [{"role": "user", "content": "é\ud800"}]}, "prompt[0].content", "not valid Unicode at character 2"),
        ({"turns": [{"role": ["user"], "content": "x"}]}, "prompt[0].role", "must be one of"),
    ],
)
def test_text_that_cannot_be_stored_is_refused_with_its_place(row, field, words):
    place, reason = refused({**ROW, **row})
    assert place == field and words in reason


def turn(role, content):
    return {"role": role, "content": content.replace("\0", "x")}


turns = st.builds(turn, st.sampled_from(rows.ROLES), st.text(min_size=1, max_size=20))


@settings(max_examples=40, deadline=None)
@given(st.lists(turns, max_size=4))
def test_turns_are_stored_as_any_json_is(said):
    said = [*said, turn("user", '\\ " \u2028 \x7f')]
    assert rows.prompt_row(None, said, []).turns == rows.as_json(said, "prompt")


def test_ids_and_hashes_are_those_of_every_release_before():
    """A file that comes again after an upgrade must find what it brought."""
    entry = native.read({**ROW, "prompt": "Grüße\n", "response_a": "é", "model_a": "m", "response_b": "b" * 3000})
    assert (entry.prompt.external_id, entry.prompt.text_hash) == (
        "text-299de1ec4f3eff81cf43d2f6ae194dd7",
        "299de1ec4f3eff81cf43d2f6ae194dd7f62b9002939d4c168702b4e58bbcdd3d",
    )
    assert [(one.external_id, one.text_hash) for one in entry.responses] == [
        (
            "text-a1b4b7bd5b66c7b5c235ec98035e513e",
            "2f23c71856587c2a6ffdb64f0e11e9940b35da318947308f6a02ee01898e6107",
        ),
        (
            "text-e4f54eb416e82362a14dfe90efc7a7dd",
            "5b4ba94835c4bd14596cb59416cea0f96ec013d56c6928651a47728e95fc8efb",
        ),
    ]


def test_answers_that_are_checked_once_are_not_taken_for_each_other(monkeypatch):
    monkeypatch.setattr(ingest_taking, "PLAIN_KEPT", 3)
    project = SimpleNamespace(protocol=SimpleNamespace(definition=protocols.PRESETS["multipref"]))
    people = [{"preference": said} for said in (1, 0.5, 0, -0.5, -1)] + [{"level": said} for said in (1, 0, -1)]
    votes = [{**one, "rater": "r", "kind": "person"} for one in people]
    votes += [{"rater": "j", "kind": "ai", "p_b": 0.5}, {"rater": "j", "kind": "ai", "level": 2}]
    taking = ingest_taking.Taking(project.protocol.definition, Entries([]))
    for _again in range(2):
        _entry, answers = taking.take(native.read({**ROW, "judgments": votes}))
        assert [one.level for one in answers] == [2, 1, 0, -1, -2, 1, 0, -1, None, None]
