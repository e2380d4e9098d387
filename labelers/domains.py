"""What a prompt is about, without a model: safety, reasoning or chat. The same answer every time."""

from __future__ import annotations

import re
from collections.abc import Sequence

DOMAINS = ("safety", "reasoning", "chat")

_SAFETY = re.compile(
    r"\b(bombs?|explosives?|weapons?|poison\w*|kill\w*|murder\w*|suicid\w*|self[- ]harm|steal\w*|stolen|hack\w*|"
    r"malware|ransomware|phish\w*|drugs?|cocaine|meth|heroin|rac(?:ist|ism)|slurs?|hate speech|sexual\w*|porn\w*|nsfw|"
    r"rape\w*|abus\w*|illegal\w*|launder\w*|counterfeit\w*|forge\w*|stalk\w*|harass\w*|blackmail\w*|terroris\w*|genocide|"
    r"credit card numbers?|social security numbers?|home address|fake (?:news|id|passport)|shoplift\w*|arson)\b",
    re.IGNORECASE,
)
_REASONING = re.compile(
    r"```|\b(prove|proof|theorem|equation|integral|derivative|probability|calculate|compute|solve|algorithm|"
    r"function|python|javascript|java|rust|sql|regex|debug|compile|code|program|matrix|polynomial|triangle|"
    r"how many|step by step|logic puzzle|arithmetic|algebra|geometry|percent(?:age)?)\b|"
    r"\bc\+\+|\d\s*[-+*/^=×÷]\s*\d|\\frac|\$\$",
    re.IGNORECASE,
)


class Keywords:
    """By words in what the user asked last; safety goes before reasoning, and what shows neither is chat.

    Crude: it knows English, and "how do I kill a process" is safety to it. It is there so that a labeler gives the
    same verdict with no model at hand; give `DensityRatio` a `router` that knows better.
    """

    def __call__(self, turns: Sequence[dict[str, str]]) -> str:
        asked = next((turn["content"] for turn in reversed(turns) if turn["role"] == "user"), "")
        if _SAFETY.search(asked):
            return "safety"
        return "reasoning" if _REASONING.search(asked) else "chat"
