"""The second fidelity: a reward model trained by TRL on one mixture's rows, scored on people's majorities held out.

A sequence classifier with one output, from a folder or from a repository at a commit; safetensors only, no code of a
model's own. One mixture and one seed a call: what was decided, by what, stands in the outcome.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

COMMIT = re.compile(r"[0-9a-f]{40}")
LIBRARIES = ("torch", "transformers", "trl", "datasets")
# For tokenizers that bring no template, such as those of encoders. The marks stand where their own tokenizer puts them.
PLAIN_TEMPLATE = (
    "{% if cls_token is defined %}{{ cls_token }}{% elif bos_token is defined %}{{ bos_token }}{% endif %}"
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if sep_token is defined %}{{ sep_token }}{% elif eos_token is defined %}{{ eos_token }}{% endif %}"
)
Messages = list[dict[str, str]]


class UnfitRecipe(ValueError):
    """The model cannot be trained as asked; the message says what to change."""


@dataclass(frozen=True)
class Recipe:
    """What is trained and how. `model`: a folder, or a repository with its commit as `revision`.

    `longest` in tokens: longer rows are left out of training, and of longer held-out texts the start is cut off.
    """

    model: str
    revision: str = ""
    epochs: float = 2.0
    rate: float = 2e-5
    batch: int = 16
    longest: int = 1024


@dataclass(frozen=True)
class Held:
    """A comparison that is not trained on: both conversations, people's mean vote for B and how many voted."""

    a: Messages
    b: Messages
    p_b: float
    votes: int = 1


@dataclass(frozen=True)
class Outcome:
    """`accuracy` on held-out majorities, weighted by votes, an equal reward counting half; `detail`: what decided it,
    as JSON: model (with the digest of a folder or the commit), recipe, seed, rows, versions, device, seconds."""

    accuracy: float
    detail: dict[str, Any]


def train(
    rows: Sequence[dict[str, Any]],
    held_out: Sequence[Held],
    recipe: Recipe,
    *,
    seed: int = 0,
    beat: Callable[[float], None] = lambda _share: None,
) -> Outcome:
    """Train on `rows` (TRL's preference format: `chosen` and `rejected` conversations, optionally `margin`; other
    columns are ignored) and score on `held_out`. `beat` is called with the share done and may raise to stop.

    The same seed, rows, versions and machine give the same outcome. Raises UnfitRecipe where the model is not pinned,
    cannot be read or leaves no row short enough, ValueError without rows or without a held-out majority.
    """
    judged = [each for each in held_out if each.p_b != 0.5]
    if not rows or not judged:
        raise ValueError("A reward model needs rows to train on, and held-out comparisons with a majority.")
    started, identity = time.monotonic(), exact(recipe)
    model, tokenizer = load(recipe, seed)
    with tempfile.TemporaryDirectory() as folder, _deterministic():
        trainer = _trainer(model, tokenizer, rows, recipe, seed, folder, beat)
        kept = len(trainer.train_dataset)
        if not kept:
            raise UnfitRecipe(f"No row has at most {recipe.longest} tokens: allow longer ones.")
        trainer.train()
        right, cut = _right(trainer.model, tokenizer, judged, recipe)
    weight = sum(each.votes for each in judged)
    detail = {
        "model": identity,
        "recipe": asdict(recipe),
        "seed": seed,
        "rows": kept,
        "too_long": len(rows) - kept,
        "held_out": len(judged),
        "cut": cut,
        "device": str(trainer.model.device),
        "versions": {name: version(name) for name in LIBRARIES},
        "seconds": round(time.monotonic() - started, 2),
    }
    return Outcome(right / weight, detail)


def exact(recipe: Recipe) -> str:
    """The commit of a repository, or the digest of a folder's files. Raises UnfitRecipe for what can change."""
    if (folder := Path(recipe.model)).is_dir():
        return f"{folder.name}@sha256:{_digest(folder)}"
    if not COMMIT.fullmatch(recipe.revision):
        raise UnfitRecipe(f"{recipe.model} needs its commit, 40 hexadecimal digits: what a branch means can change.")
    return f"{recipe.model}@{recipe.revision}"


def _digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(path for pattern in ("*.safetensors", "*.json", "*.jinja") for path in folder.glob(pattern)):
        with path.open("rb") as file:
            whole.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    return whole.hexdigest()


def load(recipe: Recipe, seed: int = 0) -> tuple[Any, Any]:
    """(model with one output, tokenizer with a chat template). The seed decides the output layer's first weights."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed
    from transformers.utils import logging

    logging.disable_progress_bar()
    named = {"revision": recipe.revision or None, "trust_remote_code": False}
    set_seed(seed)
    try:
        tokenizer = AutoTokenizer.from_pretrained(recipe.model, **named)
        model = AutoModelForSequenceClassification.from_pretrained(
            recipe.model, num_labels=1, use_safetensors=True, dtype="float32", ignore_mismatched_sizes=True, **named
        )
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise UnfitRecipe(f"{recipe.model} cannot be read: {str(error).splitlines()[0]}") from error
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_TEMPLATE
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.sep_token
    return model, tokenizer


@contextmanager
def _deterministic() -> Iterator[None]:
    """Kernels that give the same sum each time, as long as ours runs; those that have none only warn."""
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _trainer(
    model: Any,
    tokenizer: Any,
    rows: Sequence[dict[str, Any]],
    recipe: Recipe,
    seed: int,
    folder: str,
    beat: Callable[[float], None],
) -> Any:
    import datasets
    import torch
    from transformers import PrinterCallback
    from trl import RewardConfig, RewardTrainer

    datasets.disable_progress_bars()
    columns = [name for name in ("chosen", "rejected", "margin") if name in rows[0]]
    on_gpu = torch.cuda.is_available()
    settings = RewardConfig(
        output_dir=folder,
        num_train_epochs=recipe.epochs,
        learning_rate=recipe.rate,
        per_device_train_batch_size=recipe.batch,
        max_length=recipe.longest,
        seed=seed,
        use_cpu=not on_gpu,
        bf16=on_gpu and torch.cuda.is_bf16_supported(),
        gradient_checkpointing=False,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    trainer = RewardTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=datasets.Dataset.from_list([{name: row[name] for name in columns} for row in rows]),
        args=settings,
        callbacks=[_beating(beat)],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _beating(beat: Callable[[float], None]) -> Any:
    from transformers import TrainerCallback

    class Beating(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_more: Any) -> None:
            beat(state.global_step / max(1, state.max_steps))

    return Beating()


def _right(model: Any, tokenizer: Any, held_out: Sequence[Held], recipe: Recipe) -> tuple[float, int]:
    """Votes of majorities got right, and how many texts had their start cut off."""
    chains = [_ids(tokenizer, side) for each in held_out for side in (each.a, each.b)]
    cut = sum(len(ids) > recipe.longest for ids in chains)
    rewards = _rewards(model, tokenizer, [ids[-recipe.longest :] for ids in chains], recipe.batch)
    right = 0.0
    for each, a, b in zip(held_out, rewards[::2], rewards[1::2], strict=True):
        right += each.votes * (0.5 if a == b else float((b > a) == (each.p_b > 0.5)))
    return right, cut


def _ids(tokenizer: Any, messages: Messages) -> list[int]:
    """As the trainer reads it."""
    made = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True)
    return list(made["input_ids"])


def _rewards(model: Any, tokenizer: Any, chains: list[list[int]], batch: int) -> list[float]:
    """In the order of `chains`; texts of like length share a batch."""
    import torch

    model.eval()
    order = sorted(range(len(chains)), key=lambda place: len(chains[place]))
    rewards = [0.0] * len(chains)
    with torch.no_grad():
        for start in range(0, len(order), 2 * batch):
            places = order[start : start + 2 * batch]
            padded = tokenizer.pad({"input_ids": [chains[place] for place in places]}, return_tensors="pt")
            logits = model(**padded.to(model.device)).logits.squeeze(-1).float()
            for place, reward in zip(places, logits.tolist(), strict=True):
                rewards[place] = reward
    return rewards
