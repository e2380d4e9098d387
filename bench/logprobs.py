"""Log-probabilities against the naive way: `python bench/logprobs.py --prompts 8 --json`.

A random Llama with a real vocabulary scores two responses a prompt (prompt 400 tokens, responses 350 ± 200). Naive: for
the first and for the second responses a padded batch, full logits, log_softmax in fp32. Ours: `labelers.logprobs`.
Time: both in one process, batch by batch in turn, so that what else the machine does falls on both. Memory: a fresh
process each. Exits 1 when the two differ by more than 1e-3 nats at any token.

Where there is a GPU, also: random weights in bf16 in the shapes of Qwen2.5-0.5B, -1.5B and -7B, `mfu` (useful
operations over the card's measured rate of products) and `pairs_per_s` for a strong and a weak model of the largest.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import random
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

SHAPE = {
    "vocab_size": 32_768,
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 14,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 4096,
}


def model_of(given: argparse.Namespace) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    config = LlamaConfig(**{**SHAPE, "vocab_size": given.vocabulary}, attn_implementation="sdpa")
    return LlamaForCausalLM(config).eval()


def texts_of(given: argparse.Namespace) -> list[Any]:
    return texts(given.prompts, given.vocabulary, given.seed)


def texts(prompts: int, vocabulary: int, seed: int) -> list[Any]:
    """First and second responses in turn: prompts of 400 tokens, responses of 350 ± 200."""
    from labelers.logprobs import Tokens

    rng = random.Random(seed)

    def drawn(count: int) -> tuple[int, ...]:
        return tuple(rng.choices(range(3, vocabulary), k=count))

    texts = []
    for _prompt in range(prompts):
        context = drawn(400)
        texts += [Tokens(context, drawn(min(900, max(10, round(rng.gauss(350, 200)))))) for _side in range(2)]
    return texts


def naive(model: Any, texts: list[Any]) -> list[list[float]]:
    """As published evaluators do it: a batch of the first responses, a batch of the second."""
    found: list[list[float]] = [[] for _text in texts]
    for side in (0, 1):
        for place, values in zip(range(side, len(texts), 2), padded(model, texts[side::2]), strict=True):
            found[place] = values
    return found


def padded(model: Any, texts: list[Any]) -> list[list[float]]:
    import torch

    longest = max(len(text.context) + len(text.response) for text in texts)
    ids = torch.zeros((len(texts), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        whole = torch.tensor(text.context + text.response)
        ids[row, : len(whole)], mask[row, : len(whole)] = whole, 1
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        logprobs = logits[:, :-1].float().log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    ends = [(len(text.context) - 1, len(text.context) + len(text.response) - 1) for text in texts]
    return [logprobs[row, start:end].tolist() for row, (start, end) in enumerate(ends)]


def ours(model: Any, texts: list[Any], budget: int = 0) -> list[list[float]]:
    from labelers.logprobs import Engine, InMemory

    engine = Engine.around(model, None, "bench", cache=InMemory(), budget=budget)  # type: ignore[arg-type]
    return [list(score.per_token or ()) for score in engine.score(texts, per_token=True)]


def timed(given: argparse.Namespace) -> dict[str, Any]:
    """Wall and CPU seconds of both, batch by batch; which goes first alternates."""
    model, texts = model_of(given), texts_of(given)
    ways = {"naive": lambda some: naive(model, some), "ours": lambda some: ours(model, some, given.budget)}
    for way in ways.values():
        way(texts[:2])
    spent = {f"{name}_{clock}": 0.0 for name in ways for clock in ("s", "cpu_s")}
    worst = 0.0
    size = 2 * given.batch
    for turn, start in enumerate(range(0, len(texts), size)):
        some, found = texts[start : start + size], {}
        for name in sorted(ways, reverse=bool(turn % 2)):
            wall, cpu = time.perf_counter(), time.process_time()
            found[name] = ways[name](some)
            spent[f"{name}_s"] += time.perf_counter() - wall
            spent[f"{name}_cpu_s"] += time.process_time() - cpu
        both = zip(found["naive"], found["ours"], strict=True)
        worst = max([worst, *(abs(a - b) for one, other in both for a, b in zip(one, other, strict=True))])
    return {"tokens": sum(len(text.response) for text in texts), "difference": worst, **spent}


def weighed(given: argparse.Namespace) -> dict[str, Any]:
    """The most memory of a process that does one way, and how much of it scoring took."""
    model, texts = model_of(given), texts_of(given)[: 2 * given.batch]
    before = _resident_mb("VmRSS")
    naive(model, texts) if given.part == "naive" else ours(model, texts, given.budget)
    return {"peak_mb": _resident_mb("VmHWM"), "growth_mb": _resident_mb("VmHWM") - before}


def _resident_mb(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) // 1024


def part(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """A fresh process."""
    options = [
        f"--{key.replace('_', '-')}={value}" for key, value in vars(given).items() if key not in ("json", "part")
    ]
    command = [sys.executable, __file__, f"--part={name}", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": str(given.threads), "TRANSFORMERS_VERBOSITY": "error"}
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout)


def on_gpu(given: argparse.Namespace) -> dict[str, Any]:
    """`mfu`, `pairs_per_s` and more; nothing without a GPU, unless a device is named."""
    import torch

    from bench.scoring import gpu

    device = given.device or ("cuda" if torch.cuda.is_available() else "")
    if not device:
        return {}
    some = functools.partial(texts, given.gpu_prompts, seed=given.seed)
    return gpu.all_shapes(given.shapes.split(","), some, device, given.gpu_budget, given.seed)


def measured(given: argparse.Namespace) -> dict[str, Any]:
    from bench.annotators import machine

    here = machine()
    time_, mine, theirs, on_card = (part(name, given) for name in ("time", "ours", "naive", "gpu"))
    card = {"mfu": on_card["mfu"], "pairs_per_s": on_card["pairs_per_s"], "gpu": on_card} if on_card else {}
    return {
        "ratio_to_naive": round(time_["naive_s"] / time_["ours_s"], 2),
        "ratio_to_naive_cpu": round(time_["naive_cpu_s"] / time_["ours_cpu_s"], 2),
        "tokens_per_s": round(time_["tokens"] / time_["ours_s"], 1),
        "naive_tokens_per_s": round(time_["tokens"] / time_["naive_s"], 1),
        "tokens_per_cpu_s": round(time_["tokens"] / time_["ours_cpu_s"], 1),
        "naive_tokens_per_cpu_s": round(time_["tokens"] / time_["naive_cpu_s"], 1),
        "peak_mb": mine["peak_mb"],
        "naive_peak_mb": theirs["peak_mb"],
        "growth_mb": mine["growth_mb"],
        "naive_growth_mb": theirs["growth_mb"],
        "max_difference_nats_per_token": time_["difference"],
        "response_tokens": time_["tokens"],
        **card,
        "options": {key: value for key, value in vars(given).items() if key not in ("json", "part", "seed")},
        "seed": given.seed,
        "versions": {"python": platform.python_version(), "torch": version("torch")}
        | {"transformers": version("transformers")},
        "machine": here,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8, help="prompts of a naive batch")
    parser.add_argument("--budget", type=int, default=0, help="tokens of a packed batch; 0: the engine's own")
    parser.add_argument("--vocabulary", type=int, default=SHAPE["vocab_size"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shapes", default="0.5b,1.5b,7b", help="of the GPU's part, the largest last")
    parser.add_argument("--gpu-prompts", type=int, default=256)
    parser.add_argument("--gpu-budget", type=int, default=0, help="tokens of a batch there; 0: the engine's own")
    parser.add_argument("--device", default="", help="where the GPU's part runs; empty: a GPU if there is one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", choices=("time", "ours", "naive", "gpu"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        print(json.dumps({"time": timed, "gpu": on_gpu}.get(given.part, weighed)(given)))
        return 0
    found = measured(given)
    for name, value in found.items():
        print(f"{name:>30}  {value}")
    if given.json:
        print(json.dumps(found))
    return 0 if found["max_difference_nats_per_token"] < 1e-3 else 1


if __name__ == "__main__":
    sys.exit(main())
