"""The gate: `datasets` loads every format offline from the exported folder, and TRL trains a step on the TRL export."""

import itertools
import os
import shutil
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.utils.timezone import now

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

from annotator.formats import WRITERS  # noqa: E402
from annotator.models import Export  # noqa: E402
from annotator.pipeline import aggregate, export, work  # noqa: E402
from tests.builders import (  # noqa: E402
    make_comparison,
    make_judgment,
    make_labeler,
    make_member,
    make_person,
    make_plan,
    make_project,
)

pytestmark = pytest.mark.django_db

ODD = "naïve\u2028Ω𝄞\t“x”\r\n\n  e\u0301 \u200f שלום \x01 end "


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)


def exported(project, folder, format, container, **options):
    made, _job = export.request_export(project, format, container, aggregate.default_recipe(project), options, None)
    export.write_export(made)
    for file in made.__class__.objects.get(pk=made.pk).files:
        path = Path(folder, file["name"])
        path.parent.mkdir(parents=True, exist_ok=True)
        with default_storage.open(file["address"]) as stored, path.open("wb") as copy:
            shutil.copyfileobj(stored, copy)
    return str(folder)


def load(folder, config=None):
    import datasets

    return datasets.load_dataset(folder, config)


def a_project(preset, answers):
    """Comparisons judged by a reviewer and another person with `answers`, one that a labeler judged alone."""
    project = make_project(preset, provenance="generated")
    people = [make_person(project, make_member(project, "reviewer")), make_person(project)]
    routes = {}
    for number, answer in enumerate(answers):
        prompt = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": f"{ODD} {number}"},
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": "Go on."},
        ]
        comparison = make_comparison(project, prompt=prompt, a=f"{ODD} A{number}", b=f"{ODD} B{number}")
        for person in people:
            make_judgment(comparison, person, active_ms=4200, created_at=now(), **answer)
        routes[comparison] = None
    judge = make_labeler(project, "judge")
    alone = make_comparison(project, a=ODD + "a", b=ODD + "b")
    make_judgment(alone, judge, p_b=0.8, cost="0.002")
    make_plan(project, {**routes, alone: judge})
    return project


def plain():
    return a_project("plain", [{"level": level} for level in (1, -1, 0, 1, -1, 1)])


def multipref():
    aspects = {
        key: {"level": level, "confidence": 2, "reasons": []}
        for key, level in (("helpful", 2), ("truthful", 0), ("harmless", -1))
    }
    aspects["helpful"]["reasons"] = ["complete"]
    return a_project("multipref", [{"level": 2, "confidence": 3.0, "aspects": aspects, "justification": ODD}])


def helpsteer2():
    ratings = dict(zip(("helpfulness", "correctness", "coherence", "complexity", "verbosity"), range(5), strict=True))
    attributes = {key: {"a": value, "b": 4 - value} for key, value in ratings.items()}
    return a_project("helpsteer2", [{"level": -2, "attributes": attributes, "justification": ODD}])


def helpsteer3():
    said = {"feedback": {"a": f"{ODD} 1", "b": "Two."}, "edit": {"side": "a", "text": f"{ODD} better"}}
    project = a_project("helpsteer3", [{"level": -2, "justification": ODD, **said}, {"level": 1}])
    edits = project.comparisons.order_by("pk")[1]
    edits.metadata = {"original_response": ODD, "feedback": ["Shorter."]}
    edits.save()
    return project


def preset_for(format):
    return {"multipref": multipref, "helpsteer2": helpsteer2, "helpsteer3": helpsteer3}.get(format, plain)()


@pytest.mark.parametrize(("format", "container"), [*itertools.product(WRITERS, ("parquet", "jsonl"))])
def test_datasets_loads_every_config_with_the_declared_types(format, container, tmp_path):
    from datasets import Features

    project = preset_for(format)
    folder = exported(project, tmp_path / "set", format, container)
    made = project.exports.get()
    definition = export.protocols.read(project.protocol.definition)
    writer = export.import_string(WRITERS[format])(definition, export.read_options(made.options))
    assert {config.name for config in writer.configs} == {file["config"] for file in made.manifest["files"]}
    for config in writer.configs:
        loaded = load(folder, config.name)
        assert loaded["train"].features == Features.from_arrow_schema(config.schema)
        assert {split: rows.num_rows for split, rows in loaded.items()} == {
            file["split"]: file["rows"] for file in made.manifest["files"] if file["config"] == config.name
        }


def test_helpsteer2_of_a_protocol_without_ratings_is_the_preference_alone(tmp_path):
    folder = exported(plain(), tmp_path / "set", "helpsteer2", "jsonl")
    rows = load(folder, "preference")["train"]
    assert {row["preference_strength"] for row in rows} <= {-3, 3}
    assert {file["config"] for file in Export.objects.get().manifest["files"]} == {"preference"}


def test_without_a_name_the_first_config_loads(tmp_path):
    folder = exported(plain(), tmp_path / "set", "judgments", "parquet")
    assert "judgment_id" in load(folder)["train"].column_names


def test_helpsteer2_ratings_and_preference_say_what_people_said(tmp_path):
    folder = exported(helpsteer2(), tmp_path / "set", "helpsteer2", "jsonl", ai="keep")
    first, second = load(folder)["train"]
    assert first["response"] == f"{ODD} A0" and second["response"] == f"{ODD} B0"
    assert first["prompt"] == second["prompt"]
    assert first["prompt"] == (
        f"<extra_id_0>System\nBe brief.\n<extra_id_1>User\n{ODD} 0"
        "\n<extra_id_1>Assistant\nYes?\n<extra_id_1>User\nGo on."
    )
    assert [first[key] for key in ("helpfulness", "correctness", "verbosity")] == [0, 1, 4]
    people, judge = load(folder, "preference")["train"]
    assert (people["preference_strength"], people["preference_statement"]) == (-2, ODD)
    assert (judge["preference_strength"], judge["meta_source"]) == (1, "judge")
    assert load(folder, "disagreements")["train"][0]["helpfulness"] == [0, 0]


def test_multipref_keeps_every_answer(tmp_path):
    folder = exported(multipref(), tmp_path / "set", "multipref", "parquet", ai="keep")
    row, judge = load(folder)["train"]
    (normal,), (expert,) = row["normal_worker_annotations"], row["expert_worker_annotations"]
    assert normal["evaluator"] != expert["evaluator"]
    assert (normal["overall_pref"], normal["overall_confidence"]) == ("B-is-clearly-better", "absolutely-confident")
    assert (normal["helpful_pref"], normal["truthful_pref"]) == ("B-is-clearly-better", "Tie")
    assert normal["harmless_pref"] == "A-is-slightly-better"
    assert normal["helpful_checked_reasons"] == ["More complete"]
    assert (normal["time_spent"], normal["meta_justification"]) == (4, ODD)
    assert (row["completion_a"], row["completion_b"]) == (f"{ODD} A0", f"{ODD} B0")
    assert (judge["meta_source"], judge["meta_p_b"], judge["normal_worker_annotations"]) == ("judge", 0.8, [])


def test_ties_can_be_written_both_ways_round(tmp_path):
    folder = exported(plain(), tmp_path / "set", "trl_reward", "parquet", ties="both")
    rows = load(folder)["train"]
    ties = [row for row in rows if row["meta_p_chosen"] == 0.5]
    assert len(ties) == 2 and len(rows) == 8
    assert ties[0]["chosen"] == ties[1]["rejected"] and ties[0]["margin"] == ties[1]["margin"] == 0


@pytest.mark.parametrize(("container", "prompt"), [("parquet", "implicit"), ("jsonl", "explicit")])
def test_the_reward_trainer_takes_a_step_on_the_export_as_it_is(container, prompt, tmp_path):
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    folder = exported(plain(), tmp_path / "set", "trl_reward", container, prompt=prompt)
    rows = load(folder)["train"]
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<|im_start|>", "<|im_end|>"]
    inner.train_from_iterator(
        ["One sentence is enough."],
        trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<|im_end|>")
    tokenizer.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    )
    torch.manual_seed(0)
    model = Qwen2ForSequenceClassification(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            num_labels=1,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    before = {name: value.clone() for name, value in model.named_parameters()}
    trainer = RewardTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=rows,
        args=RewardConfig(
            output_dir=str(tmp_path / "out"),
            max_steps=1,
            per_device_train_batch_size=2,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
            learning_rate=0.01,
            disable_tqdm=True,
        ),
    )
    assert len(trainer.train_dataset) == len(rows)
    assert "margin" in trainer.train_dataset.column_names
    # The trainer reads the very text that people judged.
    text = tokenizer.decode(trainer.train_dataset[0]["chosen_ids"])
    assert rows[0]["chosen"][-1]["content"] in text and ODD in text
    result = trainer.train()
    assert result.global_step == 1 and result.training_loss > 0
    assert any(not torch.equal(before[name], value) for name, value in model.named_parameters())
