"""TRL's trainers take a step on exports as they are, on this machine's processor, and read the very text of people."""

import pytest

pytest.importorskip("trl", reason="trainers need torch and trl (MODELS=no)")

from annotator.pipeline import work
from tests.annotator.judged_project import ODD, exported, load, plain, project_for, stay_offline

pytestmark = [pytest.mark.slow, pytest.mark.django_db]

TEMPLATE = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)
    stay_offline(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def tokenizer():
    """Bytes as tokens, so that every text is spelt exactly."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<|im_start|>", "<|im_end|>"]
    inner.train_from_iterator(
        ["One sentence is enough."],
        trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<|im_end|>", chat_template=TEMPLATE
    )


def model(kind, tokenizer):
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, num_labels=1, **SIZES
    )
    return getattr(transformers, f"Qwen2For{kind}")(config)


def step(name, rows, tokenizer, folder):
    """The trainer after one step, which moved the model."""
    import torch
    import trl

    trained = model("SequenceClassification" if name == "Reward" else "CausalLM", tokenizer)
    beside = {} if name == "Reward" else {"ref_model": model("CausalLM", tokenizer)}
    before = {key: value.clone() for key, value in trained.named_parameters()}
    arguments = getattr(trl, f"{name}Config")(
        output_dir=str(folder),
        max_steps=1,
        per_device_train_batch_size=2,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        save_strategy="no",
        learning_rate=0.01,
        disable_tqdm=True,
        max_length=2048,
    )
    trainer = getattr(trl, f"{name}Trainer")(
        model=trained, args=arguments, train_dataset=rows, processing_class=tokenizer, **beside
    )
    result = trainer.train()
    assert result.global_step == 1 and result.training_loss > 0
    assert any(not torch.equal(before[key], value) for key, value in trained.named_parameters())
    return trainer


@pytest.mark.parametrize(
    ("format", "container", "prompt"),
    [("trl_reward", "parquet", "recommended"), ("trl_reward", "jsonl", "explicit"), ("openrlhf", "jsonl", "implicit")],
)
def test_the_reward_trainer_takes_a_step_with_the_margin(format, container, prompt, tokenizer, tmp_path):
    rows = load(exported(plain(), tmp_path / "set", format, container, prompt=prompt))["train"]
    trainer = step("Reward", rows, tokenizer, tmp_path / "out")
    assert len(trainer.train_dataset) == len(rows) and "margin" in trainer.train_dataset.column_names
    text = tokenizer.decode(trainer.train_dataset[0]["chosen_ids"])
    assert rows[0]["chosen"][-1]["content"] in text and f"{ODD} 0" in text and "Be brief." in text


@pytest.mark.parametrize(("container", "prompt"), [("parquet", "recommended"), ("jsonl.gz", "implicit")])
def test_the_dpo_trainer_takes_a_step(container, prompt, tokenizer, tmp_path):
    rows = load(exported(plain(), tmp_path / "set", "trl_preference", container, prompt=prompt))["train"]
    trainer = step("DPO", rows, tokenizer, tmp_path / "out")
    first = trainer.train_dataset[0]
    assert len(trainer.train_dataset) == len(rows)
    assert f"{ODD} 0" in tokenizer.decode(first["prompt_ids"])
    for name in ("chosen", "rejected"):
        assert rows[0][name][-1]["content"] in tokenizer.decode(first[f"{name}_ids"])
        assert "Go on." not in tokenizer.decode(first[f"{name}_ids"])


@pytest.mark.parametrize(("container", "labels"), [("parquet", "ratings"), ("jsonl", "pairs")])
def test_the_kto_trainer_takes_a_step_on_good_and_bad_answers(container, labels, tokenizer, tmp_path):
    project = project_for("trl_kto") if labels == "ratings" else plain()
    rows = load(exported(project, tmp_path / "set", "trl_kto", container, labels=labels))["train"]
    assert set(rows["label"]) == {True, False}
    trainer = step("KTO", rows, tokenizer, tmp_path / "out")
    assert len(trainer.train_dataset) == len(rows)
    assert list(trainer.train_dataset["label"]) == list(rows["label"])
    assert any(rows[0]["completion"][0]["content"] in each for each in decoded(trainer.train_dataset[0], tokenizer))


def decoded(row, tokenizer):
    return [tokenizer.decode(value) for name, value in row.items() if name.endswith("_ids")]
