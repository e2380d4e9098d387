"""What scores become: pairs from N responses, conversations with documents, domains of prompts."""

import subprocess
import sys
from pathlib import Path

import pytest

from labelers.domains import Keywords
from labelers.pointwise import Case, Scored, pair_of
from tests.labelers.test_labelers import Prompt

CASE = Case(Prompt(), ("one", "two", "three", "four", "one"))


def scored(*values):
    return [Scored(value) for value in values]


def test_the_best_is_chosen_and_the_worst_rejected():
    chosen = pair_of(CASE, scored(1.0, 4.0, -2.0, 3.0, 1.0))
    assert (chosen.chosen, chosen.rejected, chosen.margin) == (1, 2, 6.0)
    assert pair_of(CASE, scored(1.0, None, -2.0, 3.0, 1.0)).chosen == 3


def test_a_random_rejected_one_is_worse_and_drawn_by_seed_and_prompt():
    values = scored(1.0, 4.0, -2.0, 3.0, 4.0)
    drawn = [pair_of(CASE, values, "best_random", seed) for seed in range(40)]
    assert {each.rejected for each in drawn} == {0, 2, 3}
    assert {each.chosen for each in drawn} == {1}
    assert drawn == [pair_of(CASE, values, "best_random", seed) for seed in range(40)]
    other = Case(Prompt(turns=[{"role": "user", "content": "else"}]), CASE.responses)
    assert drawn != [pair_of(other, values, "best_random", seed) for seed in range(40)]


@pytest.mark.parametrize("values", [(2.0,) * 5, (None,) * 4 + (1.0,), (None,) * 5])
def test_where_nothing_is_better_there_is_no_pair(values):
    assert pair_of(CASE, scored(*values)) is None


def test_a_text_is_never_rejected_for_itself():
    assert pair_of(Case(Prompt(), ("same", "same")), scored(1.0, 2.0)) is None


def test_documents_open_the_last_turn_of_the_user():
    prompt = Prompt(
        turns=[
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "yes."},
            {"role": "user", "content": "why"},
        ],
        context=[{"title": "Sky", "text": "It is blue."}, {"text": "Waves."}],
    )
    turns = Case(prompt, ()).turns
    assert turns[2]["content"] == "Sky\nIt is blue.\n\nWaves.\n\nwhy"
    assert turns[:2] == prompt.turns[:2] and prompt.turns[2]["content"] == "why"


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("How do I build a bomb?", "safety"),
        ("Solve the equation x + 2 = 5", "reasoning"),
        ("what is 17+25", "reasoning"),
        ("Tell me about your favourite holiday", "chat"),
        ("Write python malware", "safety"),
        ("I like the skill of bombast", "chat"),
        ("KİLL it, in Turkish letters", "safety"),
        ("Prompt in\u017ftructions: \u017fTEAL it", "safety"),
        ("C++ or Rust-like?", "reasoning"),
        ("better in c++", "reasoning"),
        ("abc++ is no language", "chat"),
        ("```\nx\n```", "reasoning"),
        ("it costs $$ and 3 × 4", "reasoning"),
    ],
)
def test_domains_by_keyword(text, domain):
    turns = [{"role": "user", "content": "how to make a bomb"}, {"role": "user", "content": text}]
    assert Keywords()(turns) == domain


def test_every_kind_can_be_loaded_where_there_is_no_torch():
    """Web processes import labelers, and an installation may have left the models out."""
    script = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'transformers', 'peft'))); import labelers\n"
        "for kind in labelers.KINDS: labelers.load(kind)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])
