"""The written comparisons are complete, varied, and do not give their answer away by side or length."""

import json
import re
from pathlib import Path

import pytest

from annotator.formats import native
from annotator.formats.rows import BETTER, HARMS, USES

DEMO = Path(__file__).parents[2] / "demo"
# File -> how its ids begin, how many rows it has at least.
LEAST = {
    "written": ("written", 110),
    "rag": ("rag", 14),
    "summaries": ("summary", 10),
    "criteria": ("criteria", 10),
    "ranking": ("ranking", 10),
    "errors": ("error", 10),
}
FILES = {
    name: [json.loads(line) for line in (DEMO / f"{name}.jsonl").read_text("utf-8").splitlines()] for name in LEAST
}
ROWS = [row for rows in FILES.values() for row in rows]
GOLD = [row for row in ROWS if "gold" in row]
# Gold that says "either will do" or "neither" has no better side.
SIDED = [row for row in GOLD if row["gold"]["better"] in (["a"], ["b"])]
TRAPS = {
    *("confident error", "padding", "right refusal", "wrong refusal", "wrong language", "ignores a constraint"),
    *("fabricated source", "sycophancy", "unsafe detail", "format over substance", "half an answer"),
}
DOMAINS = {
    *("science", "medicine", "law", "finance", "travel", "cooking", "history", "writing", "work e-mail"),
    *("parenting", "hardware", "data", "code", "maths", "safety"),
}
RIGHT_TO_LEFT = {"ar", "he"}


def texts(row):
    return [response["text"] for response in row["responses"]]


def told(row):
    """What the row's metadata call better; every row has it, gold or not."""
    return row["metadata"]["better"]


def longer(row):
    a, b = map(len, texts(row)[:2])
    return "a" if a > b else "b"


def values(key):
    return {row["metadata"][key] for row in ROWS}


@pytest.mark.parametrize("name", LEAST)
def test_every_row_of_a_file_can_be_read_and_there_are_enough(name):
    prefix, least = LEAST[name]
    assert len(FILES[name]) >= least
    for place, row in enumerate(FILES[name], start=1):
        assert len(native.read(row).comparisons) == 1
        assert row["id"].startswith(f"{prefix}-{place:02}-")


def test_there_are_150_written_comparisons():
    assert len(ROWS) >= 150 and values("provenance") == {"written for the demo"}


def test_ids_are_unique_over_all_files():
    ids = [row["id"] for row in ROWS]
    assert len(ids) == len(set(ids))


def test_no_two_responses_of_a_row_are_equal():
    assert all(len(set(texts(row))) == len(texts(row)) for row in ROWS)


def test_every_domain_and_trap_is_there():
    assert values("domain") >= DOMAINS
    # Two creative or doubly right rows have no trap: either choice is fine.
    assert values("trap") == TRAPS | {"none"}
    assert all(row["metadata"]["trap"] != "none" or told(row) == "either" for row in ROWS)


def test_many_languages_and_a_right_to_left_one():
    spoken = [row["metadata"]["language"] for row in ROWS]
    assert len(set(spoken)) >= 8 and sum(one != "en" for one in spoken) >= 28
    assert sum(one in RIGHT_TO_LEFT for one in spoken) >= 6


def test_there_are_conversations_code_formulas_and_a_very_long_response():
    assert sum(isinstance(row["prompt"], list) and 3 <= len(row["prompt"]) <= 7 for row in ROWS) >= 14
    assert sum(any("```" in text for text in texts(row)) for row in ROWS) >= 16
    assert sum(any("$" in text for text in texts(row)) and row["metadata"]["domain"] == "maths" for row in ROWS) >= 12
    assert max(len(text.split()) for row in ROWS for text in texts(row)) >= 5000
    assert all((DEMO / f"{name}.jsonl").stat().st_size < 900_000 for name in FILES)


def test_documents_criteria_rankings_and_posts_are_as_their_files_promise():
    for row in FILES["rag"]:
        assert 2 <= len(row["context"]) <= 4 and all(one["text"] for one in row["context"]), row["id"]
    assert all(len(row["criterion"].split()) >= 8 for row in FILES["criteria"])
    assert {len(row["responses"]) for row in FILES["ranking"]} >= {3, 4, 5, 7}
    assert all(row["rank"] is True for row in FILES["ranking"])
    for row in FILES["summaries"]:
        assert 150 <= len(row["prompt"].split()) <= 400, row["id"]
        for response in row["responses"]:
            better = told(row) in (response["id"], "either")
            assert len(response["text"].split()) <= 48 or not better, row["id"]


def test_touchy_subjects_are_named():
    assert all(row["harms"] and set(row["harms"]) <= set(HARMS) for row in ROWS if "harms" in row)
    assert sum("harms" in row for row in ROWS) >= 10
    assert all("harms" in row for row in ROWS if row["metadata"]["trap"] == "right refusal")


def test_known_answers_are_well_formed_and_teach():
    for row in GOLD:
        gold = row["gold"]
        assert gold["use"] in USES and gold["better"] and set(gold["better"]) <= set(BETTER), row["id"]
        assert 40 <= len(gold["explanation"]) <= 600, row["id"]
        assert told(row) in (*gold["better"], "either", "neither"), row["id"]


def test_there_are_enough_known_answers_of_each_use():
    uses = [row["gold"]["use"] for row in FILES["written"] if "gold" in row]
    assert uses.count("tutorial") >= 4 and uses.count("qualification") >= 8 and uses.count("hidden") >= 12
    for name in FILES.keys() - {"written"}:
        assert [row["gold"]["use"] for row in FILES[name] if "gold" in row].count("tutorial") >= 2, name


@pytest.mark.parametrize("rows", [ROWS, SIDED], ids=["all", "gold"])
def test_neither_side_nor_length_gives_the_answer_away(rows):
    sided = [row for row in rows if told(row) in ("a", "b")]
    assert 0.35 <= sum(told(row) == "a" for row in sided) / len(sided) <= 0.65
    assert 0.35 <= sum(told(row) == longer(row) for row in sided) / len(sided) <= 0.65


def test_no_model_is_known_for_good_responses():
    wins, shown = {}, {}
    for row in ROWS:
        if told(row) not in ("a", "b") or len(row["responses"]) > 2:
            continue
        for response in row["responses"]:
            shown[response["model"]] = shown.get(response["model"], 0) + 1
            wins[response["model"]] = wins.get(response["model"], 0) + (response["id"] == told(row))
    assert len(shown) >= 4
    for model, count in shown.items():
        assert wins[model] / count == pytest.approx(0.5, abs=0.15), model


def test_explanations_do_not_count_on_a_side_of_the_screen():
    """Which response stands first is drawn for everybody, so "the second one" would be the wrong one for half."""
    for row in ROWS:
        words = (row.get("gold") or {}).get("explanation", "")
        assert not re.search(r"\b(first|second) (response|plan|one|answer|summary)\b", words, re.I), row["id"]
