"""What the page of exports calls things: formats in one line each, file types, whose judgments count."""

from __future__ import annotations

import re

from django.utils.translation import gettext_lazy as _

from annotator.forms.imports import PRESET_WORDS
from annotator.models import Recipe

FILE_TYPES = {"parquet": _("Parquet"), "jsonl": _("JSON Lines"), "jsonl.gz": _("JSON Lines, gzip")}
GROUP_NAMES = {"train": _("For training"), "published": _("As published sets"), "research": _("For research")}
SOURCES = {
    Recipe.Source.ROUTED: _("as the plan says (people where there is none)"),
    Recipe.Source.PEOPLE: _("people only"),
    Recipe.Source.POOLED: _("people and AI together"),
}
# What each format is for, by its name in `formats.WRITERS`.
ABOUT = {
    "trl_reward": _("Pairs with a margin for the RewardTrainer of TRL."),
    "trl_preference": _("Pairs for DPO and its kin in TRL: prompt, chosen, rejected."),
    "trl_kto": _("Single responses marked good or bad, for the KTOTrainer of TRL."),
    "trl_stepwise": _("Responses in steps, each right or wrong, for process reward models in TRL."),
    "openrlhf": _("Pairs as OpenRLHF reads them, for reward models and DPO."),
    "llamafactory": _("ShareGPT conversations with a dataset_info.json for LLaMA-Factory: reward, DPO, KTO."),
    "nemo_rl": _("Ranked completions for NeMo RL: reward models and DPO. JSON Lines only."),
    "nemo_aligner": _("Texts in NVIDIA's template for NeMo-Aligner: DPO, Bradley-Terry, regression of ratings."),
    "axolotl": _("Pairs for Axolotl: DPO over conversations, reward models over single turns."),
    "reward_conditioned": _("Two rows a pair, each with a score to reach, for reward-conditioned fine-tuning."),
    "helpsteer2": _("The layout of HelpSteer2: pairs with strength, and ratings where people gave them."),
    "helpsteer3": _("The layout of HelpSteer3: seven levels with every person's words, feedback and edits."),
    "multipref": _("The layout of MultiPref: every person's answers on helpful, truthful, harmless and overall."),
    "fine_grained": _("One row a response with the passages that people marked as wrong."),
    "ultrafeedback": _("The layout of UltraFeedback: responses to an instruction with their ratings."),
    "ultrafeedback_binarized": _("The layout of UltraFeedback Binarized: two full chats, each with a score."),
    "hh_rlhf": _("The layout of Anthropic's HH-RLHF: chosen and rejected, one string each."),
    "rewardbench": _("To test a reward model as RewardBench does: one right and one wrong answer a prompt."),
    "rewardbench2": _("To test a reward model as RewardBench 2 does: one right answer among wrong ones."),
    "shp": _("The layout of the Stanford Human Preferences: a post, two answers, which is liked more."),
    "arena": _("The layout of Chatbot Arena: one row a vote, with both models' names, to rank models by."),
    "summarize": _("The layout of Learning to summarize: one row a vote on nine points."),
    "per_rater": _("One row a person and judgment, to study how people differ, with what they agreed to tell."),
    "judgments": _("Everything, losslessly: to keep, to analyse, or to bring back into Switchyard."),
}

_PRESET = re.compile(r"(?<=preset )“?([\w-]+)”?")


def preset_title(name: str) -> str:
    """What a preset is called on the page that offers it; its name when it is none of them."""
    return str(PRESET_WORDS.get(name, name)).partition(":")[0]


def named(reason: str) -> str:
    """A format's reason not to fit, its presets called what people see them called."""
    return _PRESET.sub(lambda found: f"“{preset_title(found[1])}”" if found[1] in PRESET_WORDS else found[0], reason)
