"""vLLM's dialect: how it is asked for the log-probabilities of given token ids, and how it answers.

Written against vLLM's own protocol definitions and printed answers (tests/labelers/shapes/ names them); it has not yet
met a real server. Ways of asking, the best first; a server's version decides which of them it knows:

- "rows": /inference/v1/generate with `prompt_logprob_token_ids`: the head runs on the response's rows alone.
- "prompt-0": /v1/completions with `prompt_logprobs` 0 (the prompt's own tokens) and nothing generated.
- "prompt-1": the same with one token generated, which is thrown away: vLLM refuses `max_tokens` 0 in most versions.
- "top-1": the same with `prompt_logprobs` 1, for servers that take 0 for "none".
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from typing import Any

from labelers.base import LabelerError
from labelers.logprobs.packing import Tokens

# Every sampling parameter at what changes nothing: a server started with --logprobs-mode processed_logprobs, or with a
# generation_config of the model's own, would else bend the distribution that is read.
NEUTRAL = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}


class Unusable(LabelerError):
    """The answer holds no scores of the tokens that were sent."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, permanent=True)


class VLLM:
    name = "vllm"
    ways: tuple[str, ...] = ("rows", "prompt-0", "prompt-1", "top-1")
    # What to do about scores that depend on the order of requests.
    without_cache = "--no-enable-prefix-caching"

    def request(self, way: str, model: str, tokens: Tokens) -> tuple[str, dict[str, Any]]:
        """(path, body). The first token of the context is not predicted by anything; a response's tokens all are."""
        ids = [*tokens.context, *tokens.response]
        if way == "rows":
            wanted = [[token] for token in tokens.response]
            rows = {"prompt_logprob_token_ids": wanted, "prompt_logprob_start": len(tokens.context) - 1}
            return "/inference/v1/generate", {
                "model": model,
                "token_ids": ids,
                "sampling_params": {"max_tokens": 1, **NEUTRAL, **rows},
            }
        return "/v1/completions", {
            "model": model,
            "prompt": ids,
            "max_tokens": 0 if way == "prompt-0" else 1,
            "prompt_logprobs": 1 if way == "top-1" else 0,
            **NEUTRAL,
        }

    def scores(self, way: str, answer: Any, tokens: Tokens) -> list[float]:
        """log p of each response token. Raises Unusable."""
        if way == "rows":
            return _matrix(answer, len(tokens.response))
        listed = _listed(answer)
        count = len(tokens.context) + len(tokens.response)
        if len(listed) != count:
            raise Unusable(f"{count} tokens were sent and {len(listed)} came back: the server cut or added some")
        wanted = zip(listed[len(tokens.context) :], tokens.response, strict=True)
        return [_of(entry, token) for entry, token in wanted]

    def text_request(self, model: str, text: str) -> tuple[str, dict[str, Any]]:
        return "/tokenize", {"model": model, "prompt": text, "add_special_tokens": False}

    def text_ids(self, answer: Any) -> list[int]:
        return tokenized(answer)


def tokenized(answer: Any) -> list[int]:
    """The ids of a /tokenize answer, which vLLM and SGLang write alike."""
    try:
        return [int(token) for token in answer["tokens"]]
    except (KeyError, TypeError, ValueError):
        raise Unusable("the answer of /tokenize holds no token ids") from None


def number(value: Any) -> float:
    """A log-probability as it can be: a finite number that is not above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value > 1e-3:
        raise Unusable(f"{value!r} is no log-probability")
    return float(value)


def _listed(answer: Any) -> list[Any]:
    try:
        listed = answer["choices"][0]["prompt_logprobs"]
    except (KeyError, IndexError, TypeError):
        listed = None
    if not isinstance(listed, list):
        raise Unusable("the answer holds no prompt_logprobs")
    return listed


def _of(entry: Any, token: int) -> float:
    """By id, never by place: the token that was sent may stand beside the likeliest ones, in any order."""
    if not isinstance(entry, dict) or str(token) not in entry:
        raise Unusable(f"token {token} was sent and its score did not come back")
    found = entry[str(token)]
    return number(found["logprob"] if isinstance(found, dict) and "logprob" in found else found)


def _matrix(answer: Any, rows: int) -> list[float]:
    """`prompt_token_id_logprobs`: a base64-encoded .npy of float32, [response tokens, 1]."""
    import numpy as np

    try:
        written = base64.b64decode(answer["prompt_token_id_logprobs"], validate=True)
        found = np.load(io.BytesIO(written), allow_pickle=False)
    except (KeyError, TypeError, ValueError, binascii.Error, EOFError, OSError):
        raise Unusable("the answer holds no prompt_token_id_logprobs") from None
    if found.shape != (rows, 1):
        raise Unusable(f"{rows} rows were asked for and {found.shape} came back")
    return [number(value) for value in found[:, 0].astype(float).tolist()]
