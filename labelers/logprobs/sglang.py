"""SGLang's dialect: /generate with `return_logprob`, which scores the end of a prompt only.

Written against SGLang's documentation and printed answers (tests/labelers/shapes/ names them); it has not yet met a
real server. Ways of asking, the best first: nothing generated ("suffix-0") or one token that is thrown away
("suffix-1"), from the context's last token on; from the prompt's first token on ("whole-1").
"""

from __future__ import annotations

from typing import Any

from labelers.logprobs.packing import Tokens
from labelers.logprobs.vllm import NEUTRAL, Unusable, number, tokenized


class SGLang:
    name = "sglang"
    ways: tuple[str, ...] = ("suffix-0", "suffix-1", "whole-1")
    without_cache = "--disable-radix-cache"

    def request(self, way: str, model: str, tokens: Tokens) -> tuple[str, dict[str, Any]]:
        """(path, body). A server of SGLang has one model, so `model` is not sent."""
        return "/generate", {
            "input_ids": [*tokens.context, *tokens.response],
            "sampling_params": {
                "max_new_tokens": 0 if way == "suffix-0" else 1,
                **NEUTRAL,
            },
            "return_logprob": True,
            # The row that predicts the first response token; its own entry has no value.
            "logprob_start_len": 0 if way == "whole-1" else len(tokens.context) - 1,
            "return_text_in_logprobs": False,
        }

    def scores(self, way: str, answer: Any, tokens: Tokens) -> list[float]:
        """log p of each response token: the last entries, [log p, id, text or null] each. Raises Unusable."""
        try:
            listed = answer["meta_info"]["input_token_logprobs"]
            entries = [(entry[0], entry[1]) for entry in listed[-len(tokens.response) :]]
        except (KeyError, IndexError, TypeError):
            raise Unusable("the answer holds no input_token_logprobs") from None
        if [token for _value, token in entries] != list(tokens.response):
            raise Unusable("the scores that came back are not those of the tokens that were sent")
        return [number(value) for value, _token in entries]

    def text_request(self, model: str, text: str) -> tuple[str, dict[str, Any]]:
        return "/tokenize", {"model": model, "prompt": text, "add_special_tokens": False}

    def text_ids(self, answer: Any) -> list[int]:
        return tokenized(answer)
