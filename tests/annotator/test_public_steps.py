"""TRL's trainers take a step on published layouts, as docs/exports.md says to load them."""

import pytest

pytest.importorskip("trl", reason="trainers need torch and trl (MODELS=no)")

from tests.annotator.judged_project import ODD, exported, load, plain, project_for
from tests.annotator.test_trainers_steps import offline, step, tokenizer  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


def test_rewards_are_learnt_from_binarized_chats_without_the_prompt(tokenizer, tmp_path):  # noqa: F811
    folder = exported(plain(), tmp_path / "set", "ultrafeedback_binarized", "parquet")
    rows = load(folder)["train_prefs"].remove_columns(["prompt", "messages"])
    trainer = step("Reward", rows, tokenizer, tmp_path / "out")
    assert len(trainer.train_dataset) == len(rows) > 2
    assert f"{ODD} 0" in tokenizer.decode(trainer.train_dataset[0]["chosen_ids"])


def test_rewards_are_learnt_from_strings_of_human_and_assistant(tokenizer, tmp_path):  # noqa: F811
    rows = load(exported(project_for("hh_rlhf"), tmp_path / "set", "hh_rlhf", "jsonl"))["train"]
    trainer = step("Reward", rows, tokenizer, tmp_path / "out")
    texts = [tokenizer.decode(row["chosen_ids"]) for row in trainer.train_dataset]
    assert len(texts) == len(rows) == 2
    assert all(row["chosen"] in text for row, text in zip(rows, texts, strict=True))


def test_pairs_with_a_goal_are_learnt_from_as_prompt_and_two_answers(tokenizer, tmp_path):  # noqa: F811
    folder = exported(project_for("reward_conditioned"), tmp_path / "set", "reward_conditioned", "parquet")
    rows = load(folder)["train"]
    trainer = step("DPO", rows, tokenizer, tmp_path / "out")
    first, second = (trainer.train_dataset[place] for place in range(2))
    assert first["chosen_ids"] == second["rejected_ids"] and first["rejected_ids"] == second["chosen_ids"]
    goals = [tokenizer.decode(each["prompt_ids"]).partition("score ")[2].split()[0] for each in (first, second)]
    assert [float(goal) for goal in goals] == rows["meta_goal"][:2]
