"""A reward model trained by TRL on a mixture's rows: pinned, repeatable, and as good as its labels."""

import os
import random

import pytest

from routing.reward_trainer import Held, Recipe, UnfitRecipe, exact, train
from tests.routing import tiny_encoder

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

GOOD, BAD = "yes this is right and short", "well perhaps one might say many things"


def conversations(number, flipped=False):
    asked = [{"role": "user", "content": f"What is {number} ?"}]
    sides = [[*asked, {"role": "assistant", "content": text}] for text in (GOOD, BAD)]
    return sides[::-1] if flipped else sides


def rows(count, wrong):
    flips = random.Random(0)
    pairs = [conversations(number, flips.random() < wrong) for number in range(count)]
    return [{"chosen": chosen, "rejected": rejected, "margin": 0.5, "meta_x": 1} for chosen, rejected in pairs]


HELD = [Held(*conversations(number), p_b=0.0, votes=1 + number % 3) for number in range(100, 110)]
HELD.append(Held(*conversations(111, flipped=True), p_b=1.0))


def test_what_can_change_under_its_name_is_refused():
    for revision in ("", "main", "v1.0", "A" * 40):
        with pytest.raises(UnfitRecipe, match="needs its commit"):
            exact(Recipe("owner/encoder", revision))
    assert exact(Recipe("owner/encoder", "a" * 40)) == f"owner/encoder@{'a' * 40}"


def test_a_folder_is_named_by_what_its_files_hold(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    before = exact(Recipe(str(tmp_path)))
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert before.startswith(f"{tmp_path.name}@sha256:") and exact(Recipe(str(tmp_path))) != before


def test_without_rows_or_without_a_majority_there_is_nothing_to_learn_or_to_score():
    even = [Held(*conversations(1), p_b=0.5)]
    for given, held in ([], HELD), (rows(2, 0), even):
        with pytest.raises(ValueError, match="held-out comparisons with a majority"):
            train(given, held, Recipe("owner/encoder", "a" * 40))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    texts = [GOOD, BAD, "What is ?", *(str(number) for number in range(120))]
    return tiny_encoder.save(tmp_path_factory.mktemp("encoder"), texts)


@pytest.mark.slow
def test_it_learns_what_the_labels_say_right_or_wrong_and_repeats_itself(folder):
    recipe = Recipe(folder, epochs=2, rate=3e-3, batch=16)
    shares = []
    right = train(rows(96, 0.0), HELD, recipe, seed=3, beat=shares.append)
    assert right.accuracy == 1.0 and shares == sorted(shares) and shares[-1] == 1.0
    assert right.detail["rows"] == 96 and right.detail["too_long"] == right.detail["cut"] == 0
    assert right.detail["seed"] == 3 and right.detail["recipe"]["rate"] == 3e-3
    assert set(right.detail["versions"]) == {"torch", "transformers", "trl", "datasets"}
    assert train(rows(96, 1.0), HELD, recipe, seed=3).accuracy == 0.0
    noisy = [train(rows(96, 0.5), HELD, recipe, seed=3).accuracy for _ in range(2)]
    assert noisy[0] == noisy[1]


@pytest.mark.slow
def test_what_is_too_long_is_left_out_of_training_and_cut_when_scored_and_both_are_told(folder):
    long = [{"role": "user", "content": "What is 1 ? " * 30}]
    pair = [[*long, {"role": "assistant", "content": text}] for text in (GOOD, BAD)]
    recipe = Recipe(folder, epochs=2, rate=3e-3, longest=40)
    given = [*rows(96, 0.0), {"chosen": pair[0], "rejected": pair[1], "margin": 0.5}]
    found = train(given, [*HELD, Held(*pair, p_b=0.0)], recipe)
    assert (found.detail["rows"], found.detail["too_long"], found.detail["cut"]) == (96, 1, 2)
    assert found.accuracy > 0.9  # the response is not what was cut off
    with pytest.raises(UnfitRecipe, match="at most 5 tokens"):
        train(given, HELD, Recipe(folder, longest=5))


@pytest.mark.slow
def test_a_beat_that_raises_stops_the_training(folder):
    def stop(share):
        raise InterruptedError(share)

    with pytest.raises(InterruptedError):
        train(rows(32, 0.0), HELD, Recipe(folder), beat=stop)


@pytest.mark.slow
def test_weights_that_are_no_safetensors_are_refused(folder, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")
    with pytest.raises(UnfitRecipe, match="cannot be read"):
        train(rows(4, 0.0), HELD, Recipe(str(tmp_path / "pickled")))
