"""What bench/strong_weak.py measures with: splits that leak nothing, accuracies, intervals; training with --quick."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.scratch.preferences import Preference, Prompt, generated, preferences, split
from bench.strong_weak import accuracy, hits, interval, worth

ROOT = Path(__file__).resolve().parent.parent


def preference(a, b, sign, group="g"):
    return Preference(Prompt([{"role": "user", "content": "?"}]), a, b, sign, group, group)


def test_a_split_shares_no_group_and_no_text():
    known = generated(80, 0)
    assert len({each.group for each in known}) == 9, "whole domains are held out"
    training, test = split(known, 1 / 3, 0)
    assert training and test and len({each.group for each in test}) == 3
    assert not {each.group for each in training} & {each.group for each in test}
    sides = [{text for each in part for text in (each.a, each.b)} for part in (training, test)]
    assert not sides[0] & sides[1]
    assert split(known, 1 / 3, 0)[1] == test and split(known, 1 / 3, 1)[1] != test


def test_the_majority_decides_and_ties_are_out():
    def row(votes, b="longer"):
        labels = [{"preference": vote} for vote in votes]
        return {"prompt": "?", "response_a": "short", "response_b": b, "human_labels": labels, "meta": {}}

    found = preferences(iter([row([1, 0.5, -1]), row([-1]), row([1, -1]), row([]), row([1], "short")]))
    assert [each.sign for each in found] == [1, -1]
    assert (found[0].chosen, found[0].rejected) == ("longer", "short") == (found[1].rejected, found[1].chosen)


def test_a_margin_without_a_sign_is_half_right():
    test = [preference("a", "b", 1), preference("a", "b", -1), preference("a", "b", 1), preference("a", "b", 1)]
    assert hits(np.array([2.0, 2.0, 0.0, np.nan]), test).tolist() == [1, 0, 0.5, 0.5]
    assert accuracy(np.array([2.0, 2.0, 0.0, np.nan]), test) == 0.5


def test_length_matched_pairs_are_those_within_a_tenth():
    test = [preference("x" * 100, "y" * 109, 1, "a"), preference("x" * 100, "y" * 200, 1, "b")]
    found = worth(np.array([-1.0, 1.0]), test, ["a", "b"])
    assert (found["matched_comparisons"], found["matched"], found["accuracy"]) == (1, 0.0, 0.5)


@pytest.mark.slow
def test_an_interval_is_drawn_over_prompts_and_not_over_rows():
    right = np.tile([1.0, 0.0], 200)
    each_its_own = interval(right, [str(number) for number in range(400)])
    two_prompts = interval(np.repeat([1.0, 0.0], 200), ["a"] * 200 + ["b"] * 200)
    assert each_its_own[0] > 0.44 and each_its_own[1] < 0.56
    assert two_prompts == [0.0, 1.0]
    assert interval(np.array([]), []) is None


@pytest.mark.slow
def test_it_trains_a_pair_and_reports_every_labeler():
    pytest.importorskip("transformers", reason="training needs torch and transformers (MODELS=no)")
    command = [sys.executable, "bench/strong_weak.py", "--quick", "--threads=1", "--json"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=900)
    found = json.loads(done.stdout.splitlines()[-1])
    assert {"versions", "seed", "machine", "comparisons"} <= set(found)
    assert len(found["labelers"]) == 9 and found["tested_on"][0] > 5
    longest, shortest = (found["labelers"][name]["accuracy"] for name in ("longest", "shortest"))
    assert longest + shortest == pytest.approx(1)
    for of in found["labelers"].values():
        assert of["interval"][0] <= of["accuracy"] <= of["interval"][1]


@pytest.mark.slow
def test_preference_tuning_teaches_the_preferences_it_is_given():
    """On what it was tuned on the tuned model must prefer the chosen responses, or the bench would compare noise."""
    pytest.importorskip("transformers", reason="training needs torch and transformers (MODELS=no)")
    from bench.scratch import training
    from labelers.logprobs import Engine, Texts

    size = training.Size(vocabulary=512, width=64, layers=2)
    known = generated(40, 0)
    texts = Texts(training.tokenizer([each.a + each.b for each in known], size), limit=size.limit)
    both = training.pairs(texts, known)
    start = training.model(size, 0).eval()
    tuned = training.preferring(start, both, epochs=4, rate=2e-3, beta=0.1, seed=0)
    after, before = (
        np.array([score.total for score in Engine.around(each, texts, "x").score([t for p in both for t in p])])
        for each in (tuned, start)
    )
    reward = after - before
    assert (reward[::2] > reward[1::2]).mean() > 0.8
