"""Tags of prompts: what is made of an answer, the columns, and tags by words."""

import json

import numpy as np
import pytest

from routing import tag_keywords, tags

WHOLE = {
    "subject": ["law", "medicine"], "expertise": "basic", "language": ["english", "other"], "openness": "high",
    "safety": "safe", "complexity": "complex", "material": "no", "format": "yes",
}  # fmt: skip


def columns(**changed):
    found = tags.columns([WHOLE | changed])[0]
    return dict(zip(tags.NAMES, found.tolist(), strict=True))


def test_there_are_the_papers_sixty_three_columns():
    assert len(tags.NAMES) == len(set(tags.NAMES)) == 63
    assert [len(dimension.columns) for dimension in tags.DIMENSIONS] == [46, 3, 1, 4, 4, 3, 1, 1]


def test_columns_are_one_hot_and_nan_where_a_tag_failed():
    found = columns()
    held = [name for name, value in found.items() if value == 1]
    assert held == [
        "tag_subject_law", "tag_subject_medicine", "tag_expertise_basic", "tag_language_english", "tag_openness_high",
        "tag_safety_safe", "tag_complexity_complex", "tag_format_yes",
    ]  # fmt: skip
    assert found["tag_material_yes"] == 0
    failed = columns(safety=None)
    assert [name for name, value in failed.items() if np.isnan(value)] == tags.BY_KEY["safety"].columns
    assert columns(subject=[])["tag_subject_law"] == 0
    assert np.isnan(tags.columns([None, {}])).all() and tags.columns([]).shape == (0, 63)


@pytest.mark.parametrize("form", ["{}", "```json\n{}\n```", "  {}\n", "```\n{}```"])
def test_an_answer_is_one_json_object(form):
    assert tags.parse(form.replace("{}", json.dumps(WHOLE))) == WHOLE


@pytest.mark.parametrize(
    "text", ["", "law", "[1]", "{", "{} and more", '{"safety": "safe", "safety": "high"}', "[" * 9999]
)
def test_what_is_no_object_says_nothing(text):
    assert tags.parse(text) is None


@pytest.mark.parametrize(
    ("key", "given", "expected"),
    [
        ("safety", "safe area view", None),
        ("safety", "HIGH ", "high"),
        ("safety", ["high"], None),
        ("safety", 3, None),
        ("subject", "Computer science", ["computer_science"]),
        ("subject", ["Gender-Studies"], ["gender_studies"]),
        ("subject", ["law", "law"], ["law"]),
        ("subject", ["law", "sorcery"], None),
        ("subject", ["law", "history", "physics", "logic"], None),
        ("subject", None, None),
        ("subject", [], []),
        ("material", True, "yes"),
        ("format", False, "no"),
    ],
)
def test_stray_values_become_null_and_spelling_is_forgiven(key, given, expected):
    assert tags.parse(json.dumps(WHOLE | {key: given}))[key] == expected
    missing = {name: value for name, value in WHOLE.items() if name != key}
    assert tags.parse(json.dumps(missing))[key] is None


def test_the_schema_allows_what_the_parser_takes_and_nothing_else():
    schema = tags.schema()
    assert set(schema["required"]) == set(WHOLE) and not schema["additionalProperties"]
    for dimension in tags.DIMENSIONS:
        allowed = schema["properties"][dimension.key]
        options = allowed["items"]["enum"] if dimension.most > 1 else allowed["enum"]
        assert options == [option.key for option in dimension.options]
        assert all(f'"{option}"' in tags.instructions() for option in options)


def test_any_word_of_a_definition_changes_the_version(monkeypatch):
    before = tags.version()
    monkeypatch.setattr(tags, "DIMENSIONS", tags.DIMENSIONS[1:])
    assert tags.version() != before


def by_words(text, context=(), **more):
    return tag_keywords.tag(
        [{"role": "system", "content": "Poems about bombs."}, {"role": "user", "content": text}], context
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Who was the first president of France?", {"openness": "no", "safety": "safe", "complexity": "simple"}),
        ("Write a poem about my garden in 12 lines.", {"openness": "high", "format": "yes", "material": "no"}),
        ("How do I launder money with a phishing site?", {"safety": "high", "language": ["english"]}),
        ("Prove the theorem by an asymptotic argument.", {"expertise": "expert", "subject": ["mathematics"]}),
        ("Summarize the following text: it rained all day long.", {"material": "yes"}),
        ("Explain this. Then list three examples, and compare them. Why?", {"complexity": "complex"}),
    ],
)
def test_words_of_the_prompt_and_not_of_the_system_decide(text, expected):
    found = by_words(text)
    assert {key: found[key] for key in expected} == expected
    assert set(found) == set(WHOLE)


def test_of_another_language_words_know_little_and_of_a_short_text_not_even_that():
    german = by_words("Schreibe bitte ein kurzes Gedicht über meine Katze und den Mond.", [{"title": "", "text": "x"}])
    assert german["language"] == ["other"] and german["material"] == "yes" and german["safety"] is None
    assert by_words("Hi")["language"] is None


def test_tags_by_words_fit_the_columns():
    found = tags.columns([by_words("Is this contract void under the statute of the court?")])
    assert dict(zip(tags.NAMES, found[0], strict=True))["tag_subject_law"] == 1
    assert not np.isnan(found).any()
    assert set(tag_keywords._WORDS_OF) == set(tags.SUBJECTS)


def test_an_answer_of_endless_spaces_is_none_at_once():
    """A regular expression took minutes for a thousandth of it."""
    assert tags.parse("```json" + " " * 3_000_000) is None
    assert tags.parse('```json\n{"safety": "safe"}\n```\n') == tags.parse('{"safety": "safe"}') is not None
