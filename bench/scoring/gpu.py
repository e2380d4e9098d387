"""MFU and pairs a second of the engine on one device, with random weights in the shapes of real models.

MFU is useful operations a second over the card's measured rate of a large bf16 product in the same process. Useful is
what the packed layout has to do: every prompt once, no padding, the head on response rows; 2 operations a weight and
token, 4 × width × keys a token and layer for causal attention. On a CPU the same code runs at a tiny shape, for tests.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """Of a Qwen2 model. `vocabulary` × `width` is the head; `tied`: it is the embedding."""

    width: int
    inner: int
    layers: int
    heads: int
    groups: int
    vocabulary: int
    tied: bool


# As in the configurations of Qwen2.5-0.5B, -1.5B and -7B.
SHAPES = {
    "0.5b": Shape(896, 4864, 24, 14, 2, 151_936, tied=True),
    "1.5b": Shape(1536, 8960, 28, 12, 2, 151_936, tied=True),
    "7b": Shape(3584, 18_944, 28, 28, 4, 152_064, tied=False),
    "tiny": Shape(64, 128, 2, 4, 2, 512, tied=True),
}


def model(shape: Shape, device: str, seed: int) -> Any:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.groups,
        max_position_embeddings=8192,
        tie_word_embeddings=shape.tied,
        attn_implementation="sdpa",
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if device.startswith("cuda") else torch.float32)
    try:
        with torch.device(device):
            return Qwen2ForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(before)


def operations(shape: Shape, texts: Sequence[Any]) -> float:
    """Useful operations of one model over `texts` (`Tokens`; responses of one context share it)."""
    head_size = shape.width // shape.heads
    attention = 2 * shape.width * shape.width + 2 * shape.width * head_size * shape.groups
    weights = shape.layers * (attention + 3 * shape.width * shape.inner)
    by_context: dict[Any, list[int]] = {}
    for text in texts:
        by_context.setdefault(text.context, []).append(len(text.response))
    tokens = keys = rows = 0
    for context, responses in by_context.items():
        tokens += len(context) + sum(length - 1 for length in responses)
        keys += _triangle(0, len(context)) + sum(_triangle(len(context), length - 1) for length in responses)
        rows += sum(responses)
    return (
        2.0 * weights * tokens + 4.0 * shape.width * shape.layers * keys + 2.0 * shape.width * shape.vocabulary * rows
    )


def _triangle(before: int, length: int) -> int:
    """Keys that `length` tokens look at, themselves included, after `before` others."""
    return length * before + length * (length + 1) // 2


def rate(device: str, size: int = 8192, repeats: int = 30) -> float:
    """Operations a second of a square product in the precision models run in."""
    import torch

    kind = torch.bfloat16 if device.startswith("cuda") else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=kind) for _side in range(2))
    for _warm in range(3):
        a @ b
    _wait(device)
    begun = time.perf_counter()
    for _repeat in range(repeats):
        a @ b
    _wait(device)
    return 2.0 * size**3 * repeats / (time.perf_counter() - begun)


def measured(name: str, texts: Sequence[Any], device: str, budget: int, seed: int, matmul: float) -> dict[str, Any]:
    """Strong and weak of one shape over all pairs: two engines, two sweeps, nothing out of a cache."""
    import torch

    from labelers.logprobs import Engine, InMemory

    shape = SHAPES[name]
    weights = model(shape, device, seed)
    # One set of weights stands for both sides: the work is the same, and a small card has room for one.
    engines = [Engine.around(weights, None, side, budget=budget, cache=InMemory()) for side in ("strong", "weak")]  # type: ignore[arg-type]
    for engine in engines:
        engine.score(texts[:8])
    engines = [Engine.around(weights, None, side, budget=budget, cache=InMemory()) for side in ("strong", "weak")]  # type: ignore[arg-type]
    cuda = device.startswith("cuda")
    before = torch.cuda.memory_allocated() if cuda else 0
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    _wait(device)
    begun = time.perf_counter()
    for engine in engines:
        engine.score(texts)
    _wait(device)
    seconds = time.perf_counter() - begun
    return {
        "parameters": sum(each.numel() for each in weights.parameters()),
        "mfu": round(2 * operations(shape, texts) / seconds / matmul, 4),
        "pairs_per_s": round(len(texts) / 2 / seconds, 2),
        "response_tokens_per_s": round(2 * sum(len(text.response) for text in texts) / seconds, 1),
        "growth_mb": (torch.cuda.max_memory_allocated() - before) // 2**20 if cuda else None,
        "seconds": round(seconds, 3),
    }


def _wait(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()


def all_shapes(names: Sequence[str], texts: Any, device: str, budget: int, seed: int) -> dict[str, Any]:
    """{"mfu", "pairs_per_s"} of the last shape, the largest, and every shape's own. `texts`: vocabulary → texts."""
    import gc

    import torch

    matmul = rate(device) if device.startswith("cuda") else rate(device, size=256, repeats=5)
    found: dict[str, Any] = {}
    for name in names:
        found[name] = measured(name, texts(SHAPES[name].vocabulary), device, budget, seed, matmul)
        gc.collect()
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
    last = found[names[-1]]
    return {
        "mfu": last["mfu"],
        "pairs_per_s": last["pairs_per_s"],
        "matmul_tflops": round(matmul / 1e12, 2),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else device,
        "shapes": found,
    }
