"""Public preference sets that are read as they are published: where they lie, what they hold, which preset fits."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from annotator.formats import READERS


@dataclass(frozen=True)
class PublicSet:
    """`config` is a configuration or a folder of the set; `reader` a key of READERS; `preset` "" where any fits."""

    name: str
    holds: Promise
    reader: str
    preset: str = ""
    config: str = ""
    split: str = "train"


SETS = (
    PublicSet("nvidia/HelpSteer2", _("five ratings of each response, people"), "helpsteer2", "helpsteer2"),
    PublicSet(
        "nvidia/HelpSteer2",
        _("preferences from −3 to 3 with reasons, people"),
        "helpsteer2_preference",
        "helpsteer2",
        "preference",
    ),
    PublicSet(
        "nvidia/HelpSteer2",
        _("the ratings of every single person"),
        "helpsteer2_disagreements",
        "helpsteer2",
        "disagreements",
    ),
    PublicSet(
        "nvidia/HelpSteer3", _("preferences from −3 to 3, people"), "helpsteer3", "helpsteer3", "preference"
    ),
    PublicSet("nvidia/HelpSteer3", _("feedback on single responses"), "helpsteer3", "helpsteer3", "feedback"),
    PublicSet("nvidia/HelpSteer3", _("responses edited by people"), "helpsteer3", "helpsteer3", "edit"),
    PublicSet("allenai/multipref", _("four judgments a pair by aspects, people"), "multipref", "multipref"),
    PublicSet("openbmb/UltraFeedback", _("four responses a prompt, rated by a model"), "ultrafeedback"),
    PublicSet(
        "HuggingFaceH4/ultrafeedback_binarized",
        _("the best and another response, scores of a model"),
        "ultrafeedback_binarized",
        split="train_prefs",
    ),
    PublicSet("Anthropic/hh-rlhf", _("the better of two conversations, people"), "hh_rlhf"),
    PublicSet(
        "Anthropic/hh-rlhf", _("of these, harmless ones only"), "hh_rlhf", config="harmless-base"
    ),
    PublicSet("Anthropic/hh-rlhf", _("of these, helpful ones only"), "hh_rlhf", config="helpful-base"),
    PublicSet(
        "lmsys/chatbot_arena_conversations", _("battles of two models, votes of visitors"), "arena", "arena"
    ),
    PublicSet(
        "lmsys/lmsys-arena-human-preference-55k", _("battles of two models, votes of visitors"), "arena", "arena"
    ),
    PublicSet("stanfordnlp/SHP", _("comments of forums, by the votes of readers"), "shp"),
    PublicSet("allenai/reward-bench", _("checked pairs for testing reward models"), "rewardbench", split="filtered"),
    PublicSet("allenai/reward-bench-2", _("checked responses for testing reward models"), "rewardbench2", split="test"),
)  # fmt: skip


def known() -> list[PublicSet]:
    """Those that can be read here."""
    return [one for one in SETS if one.reader in READERS]
