"""log p(response | context) of many texts under one model: what ratios, follow-ups and judges of style stand on.

texts: messages to token ids · packing: ids to batches · attention, head: a batch to log-probabilities ·
cache: never twice · models: which weights, exactly · engine: all of it together ·
remote, http, vllm, sglang: the same engine with the pass on a scoring server.
"""

from labelers.logprobs.cache import Cache, InMemory, Score, SQLite
from labelers.logprobs.engine import Engine, UnfitModel, sweep
from labelers.logprobs.models import Source
from labelers.logprobs.packing import Tokens
from labelers.logprobs.remote import Remote, named
from labelers.logprobs.texts import CHATML, Texts, Unscorable

__all__ = [
    "CHATML",
    "Cache",
    "Engine",
    "InMemory",
    "Remote",
    "SQLite",
    "Score",
    "Source",
    "Texts",
    "Tokens",
    "UnfitModel",
    "Unscorable",
    "named",
    "sweep",
]
