"""Features: what they measure, that they mirror, that they are quick."""

import json
import math
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from routing import features, tags
from routing.text import entities, words
from tests.examples import examples


def pair(a, b, prompt="What is the capital of France?", turns=None, context=()):
    turns = turns or [{"role": "user", "content": prompt}]
    return SimpleNamespace(
        prompt=SimpleNamespace(turns=turns, context=list(context)),
        response_a=SimpleNamespace(text=a),
        response_b=SimpleNamespace(text=b),
    )


def value(name, *pairs):
    found = features.extract(pairs)[:, features.NAMES.index(name)]
    return found[0] if len(pairs) == 1 else found


texts = some.text(some.sampled_from("abc AB.\n-*#|`$1 2?Ünï漢字かสวัस्ते“I’m sorry"), max_size=120)


@settings(max_examples=examples(60), deadline=None)
@given(texts, texts, texts)
def test_signed_features_flip_under_exchange_and_the_others_stay(prompt, a, b):
    there, back = features.extract([pair(a, b, prompt), pair(b, a, prompt)])
    np.testing.assert_allclose(there[features.SIGNED], -back[features.SIGNED], atol=1e-12)
    np.testing.assert_allclose(there[~features.SIGNED], back[~features.SIGNED], atol=1e-12)
    np.testing.assert_allclose(features.symmetric(there[None]), features.symmetric(back[None]), atol=1e-12)


@settings(max_examples=examples(100), deadline=None)
@given(some.lists(some.sampled_from("abcd"), max_size=30), some.lists(some.sampled_from("abcd"), max_size=30))
def test_rouge_l_is_the_longest_common_subsequence_of_the_textbook(a, b):
    table = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    for i, first in enumerate(a):
        for j, second in enumerate(b):
            longest = max(table[i, j + 1], table[i + 1, j])
            table[i + 1, j + 1] = table[i, j] + 1 if first == second else longest
    expected = 2 * table[-1, -1] / (len(a) + len(b)) if a or b else math.nan
    assert features.rouge_l(a, b) == pytest.approx(expected, nan_ok=True)


def test_rouge_l_depends_on_order_where_rouge_1_does_not():
    assert value("rouge_l_overlap", pair("one two three four", "four three two one")) == 0.25
    assert value("word_jaccard", pair("one two three four", "four three two one")) == 1


def test_entity_overlap_counts_both_sides_in_its_union():
    a, b = "He met Ada Lovelace in London in 1842.", "She met Ada Lovelace there."
    assert value("entity_overlap", pair(a, b)) == pytest.approx(1 / 3)
    assert math.isnan(value("entity_overlap", pair("nothing here", "nor here")))


def test_a_word_that_opens_a_sentence_is_not_an_entity():
    assert entities("Later it rained. Then Paris was wet, and 3.5 days passed.") == {"paris", "3.5"}
    assert entities("Ada Lovelace met him. In New York she did not.") == {"ada lovelace", "new york"}


def test_words_of_scripts_without_spaces_count_by_character_and_vowel_signs_do_not_split():
    assert words("東京へ go") == ["東", "京", "へ", "go"]
    assert words("नमस्ते दुनिया") == ["नमस्ते", "दुनिया"]
    assert words("don’t stop") == ["don’t", "stop"]


def test_format_is_seen_on_either_side():
    formatted = "# Title\n\n- one\n- two\n\n```py\nx = 1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n$x^2 + y_1 = z$"
    row = dict(zip(features.NAMES, features.extract([pair("plain words", formatted)])[0], strict=True))
    assert (row["list_lines_difference"], row["headings_difference"], row["tables_difference"]) == (2, 1, 1)
    assert (row["code_difference"], row["maths_difference"]) == (1, 1)
    assert all(row[f"{name}_either"] == 1 for name in ("lists", "code", "maths", "tables", "headings"))
    assert value("maths_either", pair("it costs $5 or $10", "between $3 and $4")) == 0


def test_language_refusal_and_repetition():
    german = "Die Hauptstadt von Frankreich ist Paris, das an der Seine liegt und sehr alt ist."
    english = "The capital of France is Paris, which lies on the Seine and is very old indeed."
    question = "Please tell me what the capital of France is, and where it lies."
    assert value("language_difference", pair(german, english, question)) == 1
    assert value("language_mismatch", pair(german, english, question)) == 1
    assert math.isnan(value("prompt_english", pair("a", "b", "Hi")))
    assert value("refusal_difference", pair("Sure, here.", "I'm sorry, but I cannot help.")) == 1
    assert value("distinct_difference", pair("a b c d e f", "a b c a b c a b c")) < 0


def test_conversation_features():
    turns = [{"role": role, "content": "hello"} for role in ("system", "user", "assistant", "user")]
    several = pair("a", "b", turns=turns, context=[{"title": "", "text": "long"}])
    row = dict(zip(features.NAMES, features.extract([several])[0], strict=True))
    assert (row["turns"], row["system_turn"], row["context_documents"], row["prompt_words"]) == (3, 1, 1, 3)


def test_lengths_are_ranked_in_the_whole_project_and_not_in_the_subset():
    project = np.arange(100.0)
    ranks = features.percentile_ranks(project[80:], project)
    assert ranks.min() > 0.8
    np.testing.assert_allclose(
        features.percentile_ranks(np.array([1.0, 1.0, np.nan, 5.0])), [1 / 3, 1 / 3, np.nan, 5 / 6]
    )


LONG = "and so it goes on with more words than a short answer has, one after the other, until at last it stops in the"
# One case a feature: (a pair, what it measures there). A feature without a line here fails the test below.
CASES = {
    "prompt_words": (pair("a", "b", "one two three"), 3),
    "shorter_words": (pair("one two", "one two three"), 2),
    "longer_words": (pair("one two", "one two three"), 3),
    "words_difference": (pair("one two", "one two three"), 1),
    "log_length_difference": (pair("one", "one two three"), math.log(2)),
    "words_gap": (pair("one two three", "one two"), 1),
    "length_ratio": (pair("one two", "one two three four"), 0.5),
    "rouge_l_overlap": (pair("one two three four", "four three two one"), 0.25),
    "word_jaccard": (pair("one two", "two three"), 1 / 3),
    "entity_overlap": (pair("He saw Rome and Paris.", "She saw Rome."), 0.5),
    "prompt_overlap_difference": (pair("red blue", "red", "red blue"), -0.5),
    "identical": (pair("same", "same"), 1),
    "list_lines_difference": (pair("- one\n- two", "1. one"), -1),
    "lists_either": (pair("- one", "none"), 1),
    "code_difference": (pair("`x`", "none"), -1),
    "code_either": (pair("none", "```\nx\n```"), 1),
    "maths_difference": (pair("none", "$x^2$ and \\(y\\)"), 2),
    "maths_either": (pair("it costs $5", "or $6"), 0),
    "tables_difference": (pair("none", "| a | b |\n|---|---|\n| 1 | 2 |"), 1),
    "tables_either": (pair("none", "none"), 0),
    "headings_difference": (pair("# One\n## Two", "none"), -2),
    "headings_either": (pair("# One", "none"), 1),
    "emphasis_difference": (pair("a **bold** word", "**two** and __more__, 2**3**4"), 1),
    "links_difference": (pair("https://example.org and www.example.org", "example"), -2),
    "prompt_code": (pair("a", "b", "what is `x`?"), 1),
    "prompt_maths": (pair("a", "b", "solve $x^2 = 4$"), 1),
    "prompt_english": (pair("a", "b", "Please tell me where the capital of France lies."), 1),
    "language_difference": (
        pair(
            "Die Stadt liegt an der Seine und ist alt.",
            "The town lies on the river.",
            "Please tell me where the town lies.",
        ),
        1,
    ),
    "language_mismatch": (
        pair("The town lies on the river.", "It lies on the river and is old.", "Please tell me where the town lies."),
        0,
    ),
    "turns": (pair("a", "b", turns=[{"role": role, "content": "x"} for role in ("system", "user", "assistant")]), 2),
    "system_turn": (pair("a", "b", turns=[{"role": role, "content": "x"} for role in ("system", "user")]), 1),
    "context_documents": (pair("a", "b", context=[{"title": "", "text": "x"}]), 1),
    "prompt_questions": (pair("a", "b", "Who? When? Tell me."), 2),
    "prompt_numbers": (pair("a", "b", "Add 2 and 3.5 and -1."), 3),
    "numbers_difference": (pair("1 2 3", "1"), -2),
    "questions_difference": (pair("So?", "So."), -1),
    "refusal_difference": (pair("I'm sorry, but I cannot help.", "Sure."), -1),
    "refusal_either": (pair("Sure.", "Of course."), 0),
    "distinct_difference": (pair("a b c a b c", "a b c d e f"), 0.25),
    "distinct_least": (pair("a b c a b c", "a b c d e f"), 0.75),
    "unfinished_difference": (pair(LONG * 2 + ".", LONG * 2), 1),
    "unfinished_either": (pair("Paris", "```py\nprint("), 1),
}  # fmt: skip


@pytest.mark.parametrize("name", features.NAMES)
def test_each_feature_measures_what_it_says(name):
    case, expected = CASES[name]
    assert value(name, case) == pytest.approx(expected)


def test_each_measure_of_an_embedding_says_what_it_measures():
    near = features.Nearness(np.array([0.3, 0.9]), np.array([0.8, np.nan]), np.array([[10, 20], [0, 5]]))
    for source in (features.TFIDF, features.SENTENCES):
        cosine, aligned, damped = features.measure(near, source).T
        assert cosine.tolist() == [0.3, 0.9] and aligned[0] == 0.8 and math.isnan(aligned[1])
        assert damped[0] == pytest.approx(0.8 * math.exp(-1)) and math.isnan(damped[1])
        assert not features.signed(features.measured(source)).any()


def test_columns_of_other_kinds_are_known_by_their_names():
    names = ("words_difference", "tag_safety_high", "words_gap", "of another release")
    assert features.signed(names).tolist() == [True, False, False, False]
    assert features.symmetric(np.array([[-3.0, 1.0, 2.0, -1.0]]), names).tolist() == [[3.0, 1.0, 2.0, -1.0]]
    assert features.version(names) != features.version(names[:3]) != features.VERSION


def test_every_feature_has_words_and_nan_is_said():
    for name in (*features.FEATURES, *tags.NAMES):
        for number in (-2.0, 0.0, 0.5, 1.0, 300.0):
            assert features.describe(name, number)
    assert features.describe("rouge_l_overlap", 0.4) == "responses 40% alike (word order)"
    assert features.describe("prompt_words", 900).startswith("long prompt")
    assert features.describe("prompt_words", 900, (1000, 2000)).startswith("short prompt")
    assert "not defined" in features.describe("entity_overlap", math.nan)


def test_stored_features_keep_their_meaning_until_the_version_changes():
    """Golden values. When this fails because a function changed on purpose, bump features.CODE_VERSION."""
    mixed = pair(
        "- One apple\n- Two pears in Rome", "I'm sorry, I can't say. Is it 3?", "Name `fruit` from Rome: 2 kinds?"
    )
    found = dict(zip(features.NAMES, features.extract([mixed])[0].round(4).tolist(), strict=True))
    golden = {
        "prompt_words": 6, "shorter_words": 6, "longer_words": 8, "words_difference": 2, "words_gap": 2,
        "length_ratio": 0.75, "rouge_l_overlap": 0, "word_jaccard": 0, "entity_overlap": 0,
        "list_lines_difference": -2, "lists_either": 1, "prompt_code": 1, "turns": 1, "prompt_questions": 1,
        "prompt_numbers": 1, "numbers_difference": 1, "questions_difference": 1, "refusal_difference": 1,
        "distinct_difference": 0, "distinct_least": 1, "identical": 0,
    }  # fmt: skip
    assert {name: found[name] for name in golden} == golden
    assert features.CODE_VERSION == 2


def test_pages_can_describe_features_without_loading_models():
    code = (
        "import sys, json; from routing.features import describe; describe('turns', 2);"
        "from routing.strategies import STRATEGIES;"
        "print(json.dumps([name for name in ('sklearn', 'lightgbm', 'py3langid', 'django') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.slow
def test_three_hundred_long_comparisons_take_at_most_five_seconds_of_cpu():
    import time

    long = " ".join(f"word{number % 97}" for number in range(300))
    pairs = [
        pair(f"{long} {number}", f"{number} {long[::-1]}", f"prompt {number} asks something") for number in range(300)
    ]
    started = time.process_time()
    assert features.extract(pairs).shape == (300, len(features.NAMES))
    assert time.process_time() - started < 5
