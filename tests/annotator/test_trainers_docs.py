"""docs/train.md is followed to the letter: its exports, its scripts, its commands."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest
import yaml
from django.conf import settings
from django.core.management import call_command
from django.urls import reverse
from hypothesis import strategies as st

from annotator.formats import WRITERS
from annotator.formats.published.glued import turns_of
from annotator.formats.source import Prompt
from annotator.models import Role
from annotator.pipeline import work
from tests.annotator.judged_project import ODD, conversation
from tests.builders import make_comparison, make_judgment, make_member, make_person, make_project

TEXT = (settings.BASE_DIR / "docs/train.md").read_text()
WITH_PYTHON = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
MANAGE, PYTHON = ".venv/bin/python manage.py ", ".venv/bin/python "
HUB_MODEL = "Qwen/Qwen3-0.6B"
# DPO and KTO start from a model that writes.
WRITER = """
from transformers import AutoModelForCausalLM, AutoTokenizer
AutoModelForCausalLM.from_pretrained("reward-model").save_pretrained("tiny")
AutoTokenizer.from_pretrained("reward-model").save_pretrained("tiny")
"""
# Runs scripts one after the other in one process, as each would be run by itself.
DRIVER = (
    "import json, runpy, sys\nfor sys.argv in json.loads(sys.argv[1]): runpy.run_path(sys.argv[0], run_name='__main__')"
)


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def commands(start):
    """The lines of shell blocks that begin with `start`, without it."""
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [line.removeprefix(start).split("  #")[0] for line in lines if line.startswith(start)]


def exports():
    return [line for line in commands(MANAGE) if line.startswith("export ")]


def test_the_documented_packages_are_those_that_are_tested():
    pinned = dict(re.findall(r"^(\S+?)==(\S+)", (settings.BASE_DIR / "requirements.txt").read_text(), re.MULTILINE))
    (line,) = commands("training/bin/pip install ")
    assert all(pinned[name] == version for name, version in (each.split("==") for each in line.split()))


def test_every_trainer_stands_in_the_table_and_every_set_that_is_used_is_exported():
    table = set(re.findall(r"^\|.*\| `(\w+)`", TEXT, re.MULTILINE))
    trainers = {name for name, path in WRITERS.items() if ".trainers." in path}
    assert trainers <= table <= set(WRITERS)
    made = {shlex.split(line)[-1] for line in exports()}
    assert set(re.findall(r"\b[a-z0-9-]+-set\b", TEXT)) == made


def a_helpsteer2_project():
    project = make_project("helpsteer2", provenance="generated")
    person = make_person(project)
    for number in range(40):
        turns = conversation(number) if number % 2 else [{"role": "user", "content": f"Why is {number} odd? {ODD}"}]
        comparison = make_comparison(project, prompt=turns, a=f"{ODD} A{number}", b=f"{ODD} B{number}")
        good, bad = ("a", "b") if number % 3 else ("b", "a")
        make_judgment(
            comparison,
            person,
            (-1) ** (good == "a") * (1 + number % 3),
            attributes={key: {good: 4, bad: number % 3} for key in ("helpfulness", "correctness", "coherence")}
            | {key: {good: 2, bad: 2} for key in ("complexity", "verbosity")},
            justification=ODD,
        )
    return project


def turns_of_the_script():
    (own,) = [
        node
        for node in ast.parse(blocks("python")[0]).body
        if isinstance(node, ast.FunctionDef) and node.name == "turns"
    ]
    names = {"re": re}
    exec(compile(ast.Module([own], []), "train_reward.py", "exec"), names)
    return names["turns"]


SPOKEN = st.lists(
    st.text(max_size=9) | st.sampled_from(["<extra_id_1>User\n", "\n<extra_id_1>Assistant\n"]), max_size=5
)


@pytest.mark.slow
@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(spoken=SPOKEN, has_system=st.booleans())
def test_the_script_takes_glued_conversations_apart_as_our_reader_does(spoken, has_system):
    said = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate([*spoken, "Why?"])]
    glued = Prompt("p", [{"role": "system", "content": "Be brief."}] * has_system + said).text
    assert turns_of_the_script()(glued) == turns_of(glued)


def test_a_conversation_reaches_the_chat_template_turn_by_turn_without_tags():
    glued = Prompt("p", conversation(1)).text
    assert "<extra_id_1>Assistant" in glued
    assert turns_of_the_script()(glued) == conversation(1)
    (script, *_others) = blocks("python")
    assert '*turns(row["prompt"])' in script and '"content": row["prompt"]' not in script


@pytest.fixture
def exported(tmp_path, monkeypatch):
    """A folder in which every export of the document has been made as it stands there, but for the project's number."""
    monkeypatch.setattr(work, "nudge", lambda task: None)
    monkeypatch.chdir(tmp_path)
    project = a_helpsteer2_project()
    for line in exports():
        command, number, *rest = shlex.split(line)
        assert number == "1"
        call_command(command, str(project.pk), *rest)
    return tmp_path


def downloaded(client, made):
    """All files of an export as the browser saves them: in this folder, under the name that the site gives."""
    answer = client.get(reverse("export_download", args=[made.project_id, made.number]))
    (name,) = re.findall(r'filename="(.+)"', answer["Content-Disposition"])
    Path(name).write_bytes(b"".join(answer.streaming_content))
    return Path(name)


def contents(folder):
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.mark.slow
@pytest.mark.django_db
def test_what_the_browser_downloads_is_unpacked_as_documented_the_first_time_and_the_next(
    client, tmp_path, monkeypatch
):
    monkeypatch.setattr(work, "nudge", lambda task: None)
    monkeypatch.chdir(tmp_path)
    project = a_helpsteer2_project()
    (project.name,) = re.findall(r"open \*\*(.+?)\*\*", TEXT)
    project.save()
    client.force_login(make_member(project, Role.LEAD))
    (steps,) = blocks("sh")
    numbers = []
    for more in ([], ["--seed", "7"]):
        command, _number, *rest = shlex.split(exports()[0])
        call_command(command, str(project.pk), *rest[:-1], "typed", *more)
        made = project.exports.latest("number")
        numbers.append(made.number)
        downloaded(client, made)
        # What a reader of the words above the steps puts in.
        mine = steps.replace("-1-", f"-{made.number}-")
        subprocess.run(["sh", "-e", "-c", mine], check=True, env=os.environ | {"PATH": WITH_PYTHON})
        assert contents(Path("reward-set")) == contents(Path("typed")) != {}
        shutil.rmtree("reward-set")
        shutil.rmtree("typed")
    assert numbers == [1, 2]


@pytest.mark.slow
@pytest.mark.django_db
def test_files_that_other_trainers_are_given_are_there(exported):
    others = TEXT[TEXT.index("## 6.") :]
    named = set(re.findall(r"[a-z-]+-set/[\w./]+\.jsonl", others))
    assert len(named) >= 7
    assert {name for name in named if not (exported / name).stat().st_size} == set()
    (recipe,) = [block for block in blocks("yaml") if "dataset_dir" in block]
    wanted = yaml.safe_load(recipe)
    info = json.loads((exported / wanted["dataset_dir"] / "dataset_info.json").read_text())
    assert {wanted["dataset"], wanted["eval_dataset"], "kto", "kto_validation"} == set(info)


@pytest.mark.slow
@pytest.mark.django_db
def test_who_follows_the_document_trains_a_reward_model_then_dpo_and_kto(exported):
    pytest.importorskip("trl", reason="trainers need torch and trl (MODELS=no)")
    script, score, dpo, kto = blocks("python")
    Path("train_reward.py").write_text(script)
    Path("score.py").write_text(score)
    Path("writer.py").write_text(WRITER)
    for name, text in (("dpo.py", dpo), ("kto.py", kto)):
        assert HUB_MODEL in text
        Path(name).write_text(text.replace(HUB_MODEL, "tiny"))
    tiny, real, helpsteer2 = [shlex.split(line) for line in commands(PYTHON) if line.startswith("train_reward")]
    # The hub's model is the one that the first run saved; a few steps of it are enough.
    real = [{HUB_MODEL: "reward-model", "500": "2"}.get(word, word) for word in real] + ["--to", "again"]
    runs = [tiny, real, ["score.py"], helpsteer2, ["writer.py"], ["dpo.py"], ["kto.py"]]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(exported / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(runs)],
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout
    assert [part in said for part in ("pairs fit into max_length", "reward ", "saved in reward-model")] == [True] * 3
    fitting = re.findall(r"(\d+) of (\d+) pairs fit", said)
    held_out = [int(number) for number in re.findall(r"of (\d+) held-out pairs", said)]
    assert len(fitting) == len(held_out) == 3 and min(held_out) > 0
    # Nothing is lost between the project and the trainer: 40 comparisons, in both formats.
    assert [int(kept) + out for (kept, _all), out in zip(fitting, held_out, strict=True)] == [40, 40, 40]
    assert all(kept == all_of_them for kept, all_of_them in fitting)
