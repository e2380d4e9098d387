"""log p(response | context) of many texts under one model: what ratios, follow-ups and judges of style stand on.

texts: messages to token ids · packing: ids to batches · attention, head: a batch to log-probabilities ·
cache: never twice · models: which weights, exactly · engine: all of it together.
"""

from labelers.logprobs.cache import Cache, InMemory, Score, SQLite
from labelers.logprobs.engine import Engine, UnfitModel, sweep
from labelers.logprobs.models import Source
from labelers.logprobs.packing import Tokens
from labelers.logprobs.texts import CHATML, Texts, Unscorable

__all__ = [
    "CHATML",
    "Cache",
    "Engine",
    "InMemory",
    "SQLite",
    "Score",
    "Source",
    "Texts",
    "Tokens",
    "UnfitModel",
    "Unscorable",
    "sweep",
]
