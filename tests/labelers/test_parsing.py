"""A judge's answer may be any text with any numbers: it is a verdict or none, in time that grows with its length."""

import math
import time

import pytest

from labelers import chat, parsing
from labelers.base import Usage
from labelers.chat import Completion, Token

LETTERS = ("A", "B", "C")


def said(text, tokens=()):
    return Completion(text, tuple(tokens), Usage(0, 0), "stop", 1)


LONG = {
    "fence and line ends": ("```json", "\n", "x"),
    "fence and spaces": ("```", " ", "{}"),
    "line ends": ("", "\n", "x"),
    "marks": ("", "*\n", "x"),
    "final": ("", "final \n", "x"),
    "verdicts": ("", "verdict:\n", "x"),
    "brackets": ("", "[[", ""),
    "brackets and spaces": ("", "[[ A  ", ""),
    "fields": ('{"a": "', "x", '"}'),
    "verdicts in a field": ('{"verdict": {"verdict": "A"', ', "verdict": "A"', "}}"),
    "a thought without an end": ("", " ", "<think>"),
    "the beginning of a thought": ("<think>", " <think>", ""),
}


@pytest.mark.parametrize("parts", LONG.values(), ids=LONG)
def test_a_long_answer_takes_no_more_time_than_its_length_asks_for(parts, monkeypatch):
    """Eight times as long: 8 times the time, 64 or 512 times where a pattern goes back."""
    monkeypatch.setattr(parsing, "LONGEST", 10**9)
    before, repeated, after = parts

    def seconds(length):
        text, started = before + (repeated * length)[:length] + after, time.process_time()
        parsing.chances(said(text, [Token(text[:10], {}), Token(text[10:], {})]), LETTERS)
        parsing.critique(text)
        parsing.ratings(said(text), {"a": (1, 2)}, ("A", "B"))
        chat._apart(said_by(text))
        return time.process_time() - started

    seconds(500)
    assert seconds(4_000) < 30 * max(seconds(500), 0.0003)


class said_by:
    def __init__(self, content):
        self.content = content


def test_where_the_tokens_repeat_themselves_the_verdicts_is_found_in_time():
    """A text nearly everywhere in what the tokens wrote."""
    text = "b" + "a" * 15_000 + "\n[[A]]"
    tokens = [Token("a", {}) for _ in range(60_000)] + [
        Token("\n[[", {}),
        Token("A", {"A": -0.1, "B": -2.4}),
        Token("]]", {}),
    ]
    started = time.process_time()
    _chances, method = parsing.chances(said(text, tokens), LETTERS)
    assert method == "logprobs"
    assert time.process_time() - started < 1


HOSTILE = [
    "[" * 3000,
    "[" * 15_000,
    '{"a":' * 3000,
    '{"verdict": ' + "[" * 900 + "]" * 900 + "}",
    "9" * 5000,
    "\ud800",
    "",
    "\0",
]
HOSTILE += [
    '{"verdict": null}',
    '{"verdict": 1e999}',
    '{"verdict": "[[A]]"}',
    '{"h": ' + "9" * 5000 + "}",
    "[[A]][[B]]",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_verdict_is_none_and_no_exception(text):
    assert parsing.chances(said(text, [Token(text, {text: -1.0})]), LETTERS) == (None, "text")
    assert parsing.ratings(said(text), {"h": (1, 2)}, ("",)) == ({}, "text")
    parsing.critique(text)


NUMBERS = [1000.0, math.inf, -math.inf, math.nan, -9999.0, -1e308]


@pytest.mark.parametrize("logprob", NUMBERS)
def test_whatever_number_a_token_has_the_chances_are_chances(logprob):
    found, _method = parsing.chances(said("A", [Token("A", {"A": logprob, "B": -1.0})]), LETTERS)
    assert math.isclose(sum(found.values()), 1) and all(0 <= share <= 1 for share in found.values())
    found, _method = parsing.chances(said("A", [Token("A", {"A": logprob})]), LETTERS)
    assert found == {"A": 1.0, "B": 0.0, "C": 0.0}


@pytest.mark.parametrize("top", [{}, *({"3": number} for number in NUMBERS)], ids=str)
def test_a_rating_without_usable_numbers_is_the_one_that_is_written(top):
    tokens = [Token('{"h": ', {}), Token("3", top), Token("}", {})]
    found, method = parsing.ratings(said('{"h": 3}', tokens), {"h": (1, 2, 3)}, ("",))
    assert found == {"h": {"": 3.0}} and method in ("text", "logprobs")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("x" * 50_000 + "\nVerdict: B", "B"),
        ("**Final verdict:**\n\n B.\n", "B"),
        ("Verdict: A\n\nVerdict: B", None),
        ("Verdict: Always", None),
        ('```json\n{"verdict": " A "}\n```\n', "A"),
        ('```\n{"verdict": "tie"}```', "C"),
        ("[[ A = B ]]", "C"),
        ('{"verdict": "A", "critique": "' + "x" * 30_000 + '"}', None),
    ],
    ids=range(8),
)
def test_verdicts_are_found_as_before_and_in_the_end_of_long_answers(text, verdict):
    assert parsing.parse(text) == verdict


def test_the_token_of_a_verdict_at_the_end_of_a_long_answer_is_found():
    tokens = [Token("x" * 50_000, {}), Token("\nVerdict: ", {}), Token("B", {"B": math.log(0.6), "A": math.log(0.2)})]
    chances, method = parsing.chances(said("x" * 50_000 + "\nVerdict: B", tokens), ("A", "B"))
    assert method == "logprobs" and math.isclose(chances["B"], 0.75)


def test_a_critique_is_what_stands_before_the_verdict():
    assert parsing.critique("\n\nGood.\n\n** Final verdict: A\nmore") == "Good."
    assert len(parsing.critique("y" * 50_000 + "\nVerdict: A")) <= parsing.LONGEST


@pytest.mark.parametrize(
    ("content", "apart"),
    [
        ("<think>so</think> A", ("A", "so")),
        (" \n<think>\nso\n</think>\n\nA</think>", ("A</think>", "so")),
        ("so</think>A", ("A", "so")),
        ("<think>so", ("", "so")),
        ("A", ("A", "")),
    ],
)
def test_a_thought_is_told_from_its_answer(content, apart):
    assert chat._apart(said_by(content)) == apart
