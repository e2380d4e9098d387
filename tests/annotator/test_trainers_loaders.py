"""What trainers that are not installed here make of our files, by their documented rules: the text must survive.

The rules below are ours, written from each trainer's documentation; where a trainer loses text it raises nothing, so
each is also shown what another trainer's rows become: the reason why there is one preset for each.
"""

import json
from pathlib import Path

import pytest

from annotator.pipeline import work
from tests.annotator.judged_project import ODD, exported, project_for, stay_offline

pytestmark = [pytest.mark.slow, pytest.mark.django_db]

GOOD, BAD = f"{ODD} A0", f"{ODD} B0"
TURNS = [("user", f"{ODD} 0"), ("assistant", "Yes?"), ("user", "Go on.")]
SYSTEM = ("system", "Be brief.")


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)
    stay_offline(tmp_path, monkeypatch)


@pytest.fixture
def export(tmp_path):
    def make(format, container="jsonl", **options):
        return Path(exported(project_for(format), tmp_path / format, format, container, **options))

    return make


def rows_of(path):
    """As all of them load a file: by its suffix."""
    import datasets

    kind = "parquet" if path.suffix == ".parquet" else "json"
    return list(datasets.load_dataset(kind, data_files=str(path))["train"])


def said(messages):
    return [(turn["role"], turn["content"]) for turn in messages]


# LLaMA-Factory, data/README.md: an entry of dataset_info.json says which columns hold what. Turns alternate, the user
# first; answers are single objects, and a row whose answers are something else is one of plain conversation.
def llama_factory(entry, row):
    """(system, prompt, answers) as its trainers get them; a row that it cannot read becomes empty."""
    roles = {"human": "user", "gpt": "assistant", "user": "user", "assistant": "assistant"}
    columns = entry["columns"]
    turns = [
        (roles[turn.get("from", turn.get("role"))], turn.get("value", turn.get("content")))
        for turn in row[columns["messages"]]
    ]
    system = row[columns["system"]] if "system" in columns else ""
    wanted = ["user", "assistant"] * len(turns)
    if [role for role, _text in turns] != wanted[: len(turns)] or len(turns) % 2 != int(entry["ranking"]):
        return system, [], []
    if entry["ranking"] and all(isinstance(row[columns[name]], dict) for name in ("chosen", "rejected")):
        return system, turns, [row[columns[name]]["value"] for name in ("chosen", "rejected")]
    return system, turns[:-1], [turns[-1][1]]


@pytest.mark.parametrize("container", ["jsonl", "parquet"])
def test_llama_factory_finds_prompt_and_answers_by_its_dataset_info(export, container):
    folder = export("llamafactory", container)
    info = json.loads((folder / "dataset_info.json").read_text())
    assert set(info) == {"preference", "kto"}
    read = [llama_factory(info["preference"], row) for row in rows_of(folder / info["preference"]["file_name"])]
    assert read[0] == ("Be brief.", TURNS, [GOOD, BAD])
    assert all(len(prompt) in (1, 3) and len(answers) == 2 for _system, prompt, answers in read)
    rated = rows_of(folder / info["kto"]["file_name"])
    assert llama_factory(info["kto"], rated[0]) == ("Be brief.", TURNS, [GOOD])
    assert [row["kto_tag"] for row in rated[:2]] == [True, False]


def test_llama_factory_loses_prompt_and_answers_of_trl_rows_without_a_word(export):
    folder = export("trl_preference")
    row = next(row for row in rows_of(folder / "default/train.jsonl") if len(row["prompt"]) == 1)
    entry = {"ranking": True, "columns": {"messages": "prompt", "chosen": "chosen", "rejected": "rejected"}}
    system, prompt, answers = llama_factory(entry, row)
    assert (system, prompt) == ("", [])
    assert answers == [row["prompt"][0]["content"]]


# OpenRLHF: with --data.apply_chat_template a conversation is rendered; with --data.prompt_key the prompt's turns stand
# before the answer's; the column `margin` is read when it is there.
def openrlhf(row, prompt_key=None):
    before = row[prompt_key] if prompt_key else []
    return *(said(before + row[name]) for name in ("chosen", "rejected")), row.get("margin") or 0


@pytest.mark.parametrize(("prompt", "key"), [("recommended", None), ("explicit", "prompt")])
@pytest.mark.parametrize("container", ["jsonl", "parquet"])
def test_openrlhf_gets_whole_conversations_and_the_margin(export, container, prompt, key):
    folder = export("openrlhf", container, prompt=prompt)
    chosen, rejected, margin = openrlhf(rows_of(folder / f"default/train.{container}")[0], key)
    assert chosen == [SYSTEM, *TURNS, ("assistant", GOOD)]
    assert rejected == [SYSTEM, *TURNS, ("assistant", BAD)]
    assert margin == 1


def test_openrlhf_without_the_prompt_key_trains_on_the_answers_of_explicit_rows_alone(export):
    row = rows_of(export("openrlhf", prompt="explicit") / "default/train.jsonl")[0]
    assert openrlhf(row)[0] == [("assistant", GOOD)]


# NeMo RL: PreferenceDataset takes two completions of different rank, the lowest is preferred. BinaryPreferenceDataset
# puts what it finds under its keys into the content of a message; a prompt may be a list of messages.
def nemo_rl_ranked(row):
    first, second = sorted(row["completions"], key=lambda each: each["rank"])
    assert first["rank"] != second["rank"]
    return [said(row["context"] + each["completion"]) for each in (first, second)]


def nemo_rl_binary(row):
    prompt = row["prompt"] if isinstance(row["prompt"], list) else [{"role": "user", "content": row["prompt"]}]
    return [said([*prompt, {"role": "assistant", "content": row[name]}]) for name in ("chosen", "rejected")]


def test_nemo_rl_reads_both_tables_as_the_same_conversations(export):
    folder = export("nemo_rl")
    expected = [[SYSTEM, *TURNS, ("assistant", text)] for text in (GOOD, BAD)]
    ranked, binary = (rows_of(folder / f"{name}/train.jsonl") for name in ("preference", "binary"))
    assert nemo_rl_ranked(ranked[0]) == nemo_rl_binary(binary[0]) == expected
    assert [nemo_rl_ranked(row) for row in ranked] == [nemo_rl_binary(row) for row in binary]


def test_nemo_rl_nests_the_lists_of_trl_rows_inside_a_message(export):
    row = rows_of(export("trl_preference") / "default/train.jsonl")[0]
    chosen, _rejected = nemo_rl_binary(row)
    assert isinstance(chosen[-1][1], list)


# NeMo-Aligner: lines of JSON. Reward models take rows 2k and 2k + 1 as the better and the worse of a pair; regression
# reads nine numbers, -100 where there is none; DPO puts the prompt's text before each answer's.
def test_nemo_aligner_finds_pairs_by_place_and_nine_numbers(export):
    folder = export("nemo_aligner")
    prompt = (
        f"<extra_id_0>System\nBe brief.\n<extra_id_1>User\n{ODD} 0\n<extra_id_1>Assistant\nYes?\n"
        "<extra_id_1>User\nGo on.\n<extra_id_1>Assistant\n"
    )
    dpo = rows_of(folder / "dpo/train.jsonl")
    lines = [row["text"] for row in rows_of(folder / "bradley_terry/train.jsonl")]
    pairs = list(zip(lines[::2], lines[1::2], strict=True))
    assert pairs[0] == (f"{prompt}{GOOD}\n<extra_id_1>", f"{prompt}{BAD}\n<extra_id_1>")
    assert pairs == [tuple(row["prompt"] + row[f"{name}_response"] for name in ("chosen", "rejected")) for row in dpo]
    good, bad = rows_of(folder / "regression/train.jsonl")[:2]
    assert (good["text"], bad["text"]) == (f"{prompt}{GOOD}\n<extra_id_2>", f"{prompt}{BAD}\n<extra_id_2>")
    assert (good["label"], bad["label"]) == ([-100.0] * 4 + [4.0] * 5, [-100.0] * 4 + [0.0] * 5)


# Axolotl: bradley_terry.chat_template makes system (where it is not empty), user and assistant turns of four columns;
# chat_template.default takes messages and an object for each answer.
def axolotl_flat(row):
    system = [("system", row["system"])] if row["system"] else []
    return [[*system, ("user", row["input"]), ("assistant", row[name])] for name in ("chosen", "rejected")]


@pytest.mark.parametrize("container", ["jsonl", "parquet"])
def test_axolotl_reads_single_turns_for_rewards_and_all_for_dpo(export, container):
    folder = export("axolotl", container)
    dpo, flat = (rows_of(folder / f"{name}/train.{container}") for name in ("dpo", "bradley_terry"))
    conversations = [[said([*row["messages"], row[name]]) for name in ("chosen", "rejected")] for row in dpo]
    assert conversations[0] == [[SYSTEM, *TURNS, ("assistant", text)] for text in (GOOD, BAD)]
    assert [axolotl_flat(row) for row in flat] == [pair for pair in conversations if len(pair[0]) == 2] != []


# TRL before 1.14 and Axolotl's stepwise_supervised: the prompt, then each step, a line break after each.
def test_steps_give_the_answer_back_with_a_label_each(export):
    rows = rows_of(export("trl_stepwise") / "default/train.jsonl")
    row = rows[0]
    assert "\n".join(row["completions"]) in (f"{ODD}\n A0", f"{ODD}\n B0")
    assert row["prompt"].startswith(f"<extra_id_0>System\nBe brief.\n<extra_id_1>User\n{ODD} 0\n")
    assert len(row["labels"]) == len(row["completions"]) == 2
    sides = [row["labels"] for row in rows[:2]]
    assert sides == [[True, True], [False, True]]
