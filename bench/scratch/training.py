"""A tokenizer and a Llama of two million parameters from nothing; more text, better text, preferences (DPO)."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.scratch.preferences import Preference
from labelers.logprobs import CHATML, Engine, Texts, Tokens, Unscorable

MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


@dataclass(frozen=True)
class Size:
    vocabulary: int = 2048
    width: int = 192
    layers: int = 4
    # Tokens a text may have; longer ones are left out, and how many is said.
    limit: int = 320


def tokenizer(texts: Sequence[str], size: Size) -> Any:
    """Byte-level BPE with the marks of ChatML."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE(unk_token=None))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size.vocabulary, special_tokens=MARKS, initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(texts, trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
    )
    made.chat_template = CHATML
    return made


def model(size: Size, seed: int) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        intermediate_size=size.width * 8 // 3 // 64 * 64,
        num_hidden_layers=size.layers,
        num_attention_heads=size.width // 64 * 2,
        max_position_embeddings=size.limit,
        tie_word_embeddings=True,
        pad_token_id=0,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def passages(texts: Texts, documents: Sequence[str], length: int = 256) -> list[Tokens]:
    """Documents end to end, cut to pieces: plain text for a base model."""
    ids: list[int] = []
    for document in documents:
        ids += [*texts.tokenizer(document, add_special_tokens=False).input_ids, texts.tokenizer.pad_token_id]
    pieces = [tuple(ids[start : start + length]) for start in range(0, len(ids) - 1, length)]
    return [Tokens(piece[:1], piece[1:]) for piece in pieces if len(piece) > 1]


def pairs(texts: Texts, some: Sequence[Preference]) -> list[tuple[Tokens, Tokens]]:
    """(chosen, rejected) of each, without those that are too long."""
    found = []
    for each in some:
        try:
            found.append(tuple(texts.tokens(each.prompt.turns, text) for text in (each.chosen, each.rejected)))
        except Unscorable:
            continue
    return found


def taught(start: Any, some: Sequence[Tokens], *, epochs: int, rate: float, seed: int) -> Any:
    """A copy of `start` that has read the responses (next-token loss; contexts are read, not learned)."""
    learner = copy.deepcopy(start).train().requires_grad_(True)
    batches = [batch for epoch in range(epochs) for batch in _batches(list(some), seed + epoch)]
    optimizer, schedule = _optimizer(learner, rate, len(batches))
    for batch in batches:
        loss = -_log_p(learner, batch).sum() / sum(len(each.response) for each in batch)
        _step(learner, optimizer, schedule, loss)
    return learner.eval().requires_grad_(False)


def preferring(
    start: Any, some: Sequence[tuple[Tokens, Tokens]], *, epochs: int, rate: float, beta: float, seed: int
) -> Any:
    """A copy of `start` trained by DPO (Rafailov et al. 2023) to prefer the first of each pair over the second."""
    from torch import tensor
    from torch.nn.functional import logsigmoid

    engine = Engine.around(start, None, "start")  # type: ignore[arg-type]
    flat = [score.total for score in engine.score([each for both in some for each in both])]
    reference = [high - low for high, low in zip(flat[::2], flat[1::2], strict=True)]
    learner = copy.deepcopy(start).train().requires_grad_(True)
    groups = [group for epoch in range(epochs) for group in _groups(some, seed + epoch)]
    optimizer, schedule = _optimizer(learner, rate, len(groups))
    for group in groups:
        log_p = _log_p(learner, [each for number in group for each in some[number]])
        margin = log_p[::2] - log_p[1::2] - tensor([reference[number] for number in group])
        _step(learner, optimizer, schedule, -logsigmoid(beta * margin).mean())
    return learner.eval().requires_grad_(False)


def _batches(some: list[Tokens], seed: int, budget: int = 4096) -> Iterator[list[Tokens]]:
    """Texts of like length together, up to `budget` tokens with padding, in a drawn order."""
    rng = random.Random(seed)
    rng.shuffle(some)
    some.sort(key=lambda each: (len(each.context) + len(each.response)) // 16)
    made: list[list[Tokens]] = [[]]
    for each in some:
        length = (len(each.context) + len(each.response)) // 16 * 16 + 16
        if made[-1] and length * (len(made[-1]) + 1) > budget:
            made.append([])
        made[-1].append(each)
    rng.shuffle(made)
    yield from made


def _groups(some: Sequence[tuple[Tokens, Tokens]], seed: int, size: int = 8) -> list[list[int]]:
    """Indices of pairs of like length together, `size` at a time, in a drawn order."""
    rng = random.Random(seed)
    order = list(range(len(some)))
    rng.shuffle(order)
    order.sort(key=lambda number: max(len(each.context) + len(each.response) for each in some[number]) // 32)
    groups = [order[place : place + size] for place in range(0, len(order), size)]
    rng.shuffle(groups)
    return groups


def _log_p(learner: Any, batch: Sequence[Tokens]) -> Any:
    """Σ log p of each response, [texts]."""
    import torch

    longest = max(len(each.context) + len(each.response) for each in batch)
    ids, wanted = torch.zeros((2, len(batch), longest), dtype=torch.long)
    for row, each in enumerate(batch):
        whole = torch.tensor(each.context + each.response)
        ids[row, : len(whole)] = whole
        wanted[row, len(each.context) : len(whole)] = 1
    # Padding stands at the end, where a causal model never looks back from. Only rows that predict a response are read.
    rows, places = wanted[:, 1:].nonzero(as_tuple=True)
    hidden = learner.model(input_ids=ids, use_cache=False).last_hidden_state[rows, places]
    values = -torch.nn.functional.cross_entropy(learner.lm_head(hidden), ids[rows, places + 1], reduction="none")
    return torch.zeros(len(batch)).index_add(0, rows, values)


def _optimizer(learner: Any, rate: float, steps: int) -> tuple[Any, Any]:
    import torch

    optimizer = torch.optim.AdamW(learner.parameters(), lr=rate, weight_decay=0.01, betas=(0.9, 0.95))
    warm = max(1, min(50, steps // 10))
    return optimizer, torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / warm) * max(0.05, 1 - step / max(steps, 1))
    )


def _step(learner: Any, optimizer: Any, schedule: Any, loss: Any) -> None:
    import torch

    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
    optimizer.step()
    schedule.step()
