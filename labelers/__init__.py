"""AI labelers: batches of pairs in, batches of verdicts out. Free of Django; usable from a notebook."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Kind -> dotted path of its class. Adding a labeler: one file, one line here, one test (docs/labelers.md).
# Kinds that begin with "null" look at no meaning; they are what every other labeler has to beat.
KINDS = {
    "null_longest": "labelers.nulls.Longest",
    "null_shortest": "labelers.nulls.Shortest",
    "null_random": "labelers.nulls.Random",
    "null_relevance": "labelers.relevance.Relevance",
    "llm_judge": "labelers.llm_judge.LLMJudge",
    "proxy": "labelers.proxy.Proxy",
    "ensemble": "labelers.combined.Combined",
    # Models of one's own (docs/logprobs.md): built where torch is.
    "density_ratio": "labelers.density_ratio.DensityRatio",
    "implicit_reward": "labelers.density_ratio.ImplicitReward",
    "contrastive_prompts": "labelers.density_ratio.ContrastivePrompts",
    "follow_up": "labelers.follow_up.FollowUp",
    "reward_model": "labelers.reward_model.RewardModel",
}


def load(kind: str) -> Any:
    """The class of a kind, imported when first asked for. Raises KeyError for a kind we do not have."""
    module, name = KINDS[kind].rsplit(".", 1)
    return getattr(import_module(module), name)
