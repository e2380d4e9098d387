"""From hidden states to log-probabilities of given tokens, without ever holding [tokens, vocabulary] in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

# What one chunk's logits may take in fp32. Few rows make a slow product: on one core 128 rows × 152k tokens ran at 54
# GFLOP/s and 16 rows at 23, while the log-sum-exp after it is a tenth to a fifth of the time at any size.
CHUNK_BYTES = {"cpu": 64 * 2**20, "cuda": 512 * 2**20}
FEWEST_ROWS = 64


def logprobs(model: Any, hidden: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    """log p of each target under its row of hidden states, in fp32, as the model's own logits would give it."""
    import torch

    head, config = model.get_output_embeddings(), model.config.get_text_config()
    chunk = max(FEWEST_ROWS, CHUNK_BYTES.get(hidden.device.type, CHUNK_BYTES["cpu"]) // (4 * config.vocab_size))
    out = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
    for start in range(0, len(targets), chunk):
        part = slice(start, start + chunk)
        logits = _finished(_logits(head, hidden[part]), config)
        out[part] = _of_targets(logits if temperature == 1 else logits / temperature, targets[part])
    return out


def _logits(head: Any, hidden: Tensor) -> Tensor:
    """In fp32. Of bf16 operands the product is kept in fp32 where the card can: bf16 logits near 20 are 0.06 apart."""
    import torch

    plain = type(head) is torch.nn.Linear and head.bias is None
    if plain and hidden.is_cuda and hidden.dtype in (torch.bfloat16, torch.float16):
        return torch.mm(hidden, head.weight.t(), out_dtype=torch.float32)
    return head(hidden).float()


def _finished(logits: Tensor, config: Any) -> Tensor:
    """What some models do to their logits: Cohere and Granite scale them, Gemma 2 caps them softly. In place."""
    import torch

    if (scale := getattr(config, "logit_scale", None)) is not None:
        logits *= scale
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        logits /= divisor
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        logits = torch.tanh_(logits.div_(cap)).mul_(cap)
    return logits


def _of_targets(logits: Tensor, targets: Tensor) -> Tensor:
    from torch.nn.functional import cross_entropy

    return -cross_entropy(logits, targets, reduction="none")
