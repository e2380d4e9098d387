"""Attention over a packed row: every span by itself, with its prefix, so that no mask of row × row is ever made.

Registered with transformers as an attention implementation of its own; the spans reach it as a keyword argument of the
model's forward pass. Sliding windows and attention soft-capping arrive from the model's layers and are honoured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labelers.logprobs.packing import Span

if TYPE_CHECKING:
    from torch import Tensor

NAME = "switchyard_spans"


class Spans:
    """The spans of one batch, and what is made of them once for all layers."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = list(spans)
        self._masks: dict[tuple[int, int | None], Tensor | None] = {}
        self._flat: tuple[Tensor, Tensor, Tensor, int, int] | None = None

    def mask(self, number: int, window: int | None, device: Any) -> Tensor | None:
        """Who may look at whom in a span, True for yes; None where plain causal says it all."""
        if (number, window) not in self._masks:
            self._masks[number, window] = self._made(self.spans[number], window, device)
        return self._masks[number, window]

    def _made(self, span: Span, window: int | None, device: Any) -> Tensor | None:
        import torch

        if span.prefix is None and (window is None or span.keys <= window):
            return None
        length = span.stop - span.start
        query = torch.arange(span.keys - length, span.keys, device=device)[:, None]
        key = torch.arange(span.keys, device=device)[None, :]
        allowed = key <= query
        return allowed if window is None else allowed & (key > query - window)

    def flat(self, device: Any) -> tuple[Tensor, Tensor, Tensor, int, int]:
        """For variable-length kernels: which keys, where the queries and keys of each span end, the longest of each."""
        import torch

        if self._flat is None:
            keys = [
                key for span in self.spans for key in (*range(*(span.prefix or (0, 0))), *range(span.start, span.stop))
            ]
            queries = [span.stop - span.start for span in self.spans]
            lengths = [span.keys for span in self.spans]
            ends = [torch.tensor([0, *each], device=device).cumsum(0).int() for each in (queries, lengths)]
            self._flat = (torch.tensor(keys, device=device), ends[0], ends[1], max(queries), max(lengths))
        return self._flat


def register() -> None:
    """Make the implementation known to transformers; repeating it changes nothing."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    spans: Spans | None = None,
    s_aux: Any = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """transformers' contract: [1, heads, row, width] in, [1, row, heads, width] out."""
    if spans is None or s_aux is not None:
        raise ValueError("packed attention needs its spans and knows no attention sinks")
    if query.is_cuda and query.element_size() == 2 and softcap is None:
        return _by_kernel(query, key, value, scaling, sliding_window, spans), None
    out = query.new_empty((1, query.shape[2], query.shape[1], value.shape[3]))
    for number, span in enumerate(spans.spans):
        own = slice(span.start, span.stop)
        mask = spans.mask(number, sliding_window, query.device)
        of_span = (query[:, :, own], _keys(key, span), _keys(value, span))
        out[:, own] = _one(*of_span, mask, scaling, softcap).transpose(1, 2)
    return out, None


def _keys(states: Tensor, span: Span) -> Tensor:
    import torch

    own = states[:, :, span.start : span.stop]
    return own if span.prefix is None else torch.cat([states[:, :, slice(*span.prefix)], own], dim=2)


def _one(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None, softcap: float | None
) -> Tensor:
    from torch.nn.functional import scaled_dot_product_attention

    if softcap is not None:
        return _capped(query, key, value, mask, scaling, softcap)
    grouped = query.shape[1] != key.shape[1]
    return scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=grouped
    )


def _capped(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None, softcap: float
) -> Tensor:
    """Gemma 2's soft-capping, which fused kernels do not know; the softmax in fp32."""
    import torch

    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = torch.tanh(scores / softcap) * softcap
    if mask is None:
        mask = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).tril()
    weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1, dtype=torch.float32)
    return weights.to(value.dtype) @ value


def _by_kernel(
    query: Tensor, key: Tensor, value: Tensor, scaling: float | None, window: int | None, spans: Spans
) -> Tensor:
    """Flash attention over all spans in one call; keys of a shared prefix are gathered once for each response."""
    from torch.nn.attention.varlen import varlen_attn

    keys, query_ends, key_ends, longest_query, longest_key = spans.flat(query.device)
    of_row = [states[0].transpose(0, 1) for states in (query, key, value)]
    out: Any = varlen_attn(
        of_row[0].contiguous(),
        of_row[1][keys],
        of_row[2][keys],
        query_ends,
        key_ends,
        longest_query,
        longest_key,
        scale=scaling,
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return out[None]
