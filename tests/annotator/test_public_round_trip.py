"""What a published layout can say comes back as it went out: texts, sides where the layout has them, winners."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.formats.published import preference_rows
from tests.annotator.public_rows import ODD, better, entries, judged, vote, written
from tests.examples import examples

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "llmfao.jsonl.gz"
# Writer, its reader, preset and options, and whether the layout has sides of its own.
FORMATS = {
    "ultrafeedback_binarized": ("ultrafeedback_binarized", "plain", {}, False),
    "hh_rlhf": ("hh_rlhf", "plain", {}, False),
    "rewardbench": ("rewardbench", "plain", {}, False),
    "rewardbench2": ("rewardbench2", "plain", {}, False),
    "shp": ("shp", "plain", {}, True),
    "arena": ("arena", "arena", {}, True),
    "summarize": ("summarize", "summarize9", {}, True),
    "trl_reward": ("trl_rows", "plain", {"prompt": "implicit"}, False),
    "trl_preference": ("trl_rows", "plain", {"prompt": "explicit"}, False),
}
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)
SPOKEN = TEXT.filter(str.strip)


def there_and_back(format, comparison):
    reader, preset, options, has_sides = FORMATS[format]
    rows, _left = written(format, comparison, preset=preset, **options)
    (entry,) = entries(reader, rows)
    texts = [response.text for response in entry.responses]
    sides = [comparison.response_a.text, comparison.response_b.text]
    assert json.loads(entry.prompt.turns) == comparison.prompt.messages
    assert texts == sides if has_sides else sorted(texts) == sorted(sides)
    assert {each.model for each in entry.responses} == {"model-a", "model-b"}
    return entry


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=examples(20), deadline=None)
@given(prompt=TEXT, a=SPOKEN, b=SPOKEN, is_b=st.booleans())
def test_every_text_and_winner_comes_back(format, prompt, a, b, is_b):
    if a != b:
        comparison = judged(vote(1.0 if is_b else -1.0), prompt=prompt, a=a, b=b)
        assert better(there_and_back(format, comparison)) == (b if is_b else a)


@pytest.mark.parametrize("format", ["ultrafeedback_binarized", "hh_rlhf", "arena", "trl_reward", "trl_preference"])
def test_conversations_come_back_turn_by_turn(format):
    turns = [{"role": role, "content": f"{ODD}{place}"} for place, role in enumerate(("user", "assistant", "user"))]
    there_and_back(format, judged(vote(1.0), prompt=turns, a=f"{ODD}a", b=f"{ODD}b"))


@pytest.mark.parametrize("format", ["ultrafeedback_binarized", "arena", "trl_reward", "trl_preference"])
def test_a_system_turn_comes_back_where_the_layout_has_one(format):
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ODD}]
    there_and_back(format, judged(vote(1.0), prompt=turns))


@pytest.mark.parametrize("format", [name for name in FORMATS if name not in ("summarize", "arena")])
def test_what_an_ai_labeler_judged_stays_its_judgment(format):
    entry = there_and_back(format, judged(p_b=0.8, source="judge-1"))
    (given,) = entry.votes
    assert (given.is_ai, given.rater, better(entry)) == (True, "judge-1", "right")
    if format not in ("rewardbench2",):
        assert max(given.p_b, 1 - given.p_b) == pytest.approx(0.8)


def test_the_arena_keeps_every_vote_with_its_person_strength_and_time():
    votes = [vote(0.5, 1), vote(0.0, 2), vote(None, 3, outcome="neither_valid"), vote(p_b=0.3)]
    rows, _left = written("arena", judged(*votes), judged(vote(-1.0), key="c2"), ai="keep")
    assert [row["winner"] for row in rows] == ["model_b", "tie", "tie (bothbad)", "model_a", "model_a"]
    first, second = entries("arena", rows)
    assert [(each.rater, each.is_ai, each.preference, each.p_b) for each in first.votes] == [
        ("person-1", False, 0.5, None),
        ("person-2", False, 0.0, None),
        ("person-3", False, None, None),
        ("judge@0123456789ab", True, None, 0.3),
    ]
    assert first.votes[2].answer == {"outcome": "neither_valid"}
    assert {each.created_at for each in first.votes} == {votes[0].created_at}
    assert (second.comparisons[0].external_id, len(second.votes)) == ("c2", 1)


@pytest.mark.parametrize("level", [-4, -1, 1, 4])
def test_summaries_keep_how_sure_somebody_was(level):
    rows, _left = written("summarize", judged(vote(level / 4), vote(level / 4, 2)), preset="summarize9")
    (entry,) = entries("summarize", rows)
    assert [(each.rater, each.preference) for each in entry.votes] == [
        ("person-1", level / 4),
        ("person-2", level / 4),
    ]


@pytest.mark.skipif(not DATA.exists(), reason="the real comparisons of ../shared/data are not here")
@pytest.mark.parametrize("format", FORMATS)
def test_real_texts_come_back(format):
    with gzip.open(DATA, "rt") as file:
        given = [preference_rows.read(json.loads(next(file))) for _row in range(60)]
    pairs = [(json.loads(each.prompt.turns)[0]["content"], *(one.text for one in each.responses)) for each in given]
    kept = [(prompt, a, b) for prompt, a, b in pairs if a != b and a.strip() and b.strip()]
    assert len(kept) > 40
    for number, (prompt, a, b) in enumerate(kept):
        comparison = judged(vote(1.0 if number % 2 else -1.0), prompt=prompt, a=a, b=b)
        assert better(there_and_back(format, comparison)) == (b if number % 2 else a)
