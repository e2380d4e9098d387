"""What a prompt is about: safety, reasoning or chat. By words, or by asking a model, with the words behind it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from labelers.base import PROMPTS, LabelerError

DOMAINS = ("safety", "reasoning", "chat")

# Of small letters, and the marks apart: ignoring case, or in one expression with them, is three times as dear.
_SAFETY = re.compile(
    r"\b(bombs?|explosives?|weapons?|poison\w*|kill\w*|murder\w*|suicid\w*|self[- ]harm|steal\w*|stolen|hack\w*|"
    r"malware|ransomware|phish\w*|drugs?|cocaine|meth|heroin|rac(?:ist|ism)|slurs?|hate speech|sexual\w*|porn\w*|nsfw|"
    r"rape\w*|abus\w*|illegal\w*|launder\w*|counterfeit\w*|forge\w*|stalk\w*|harass\w*|blackmail\w*|terroris\w*|genocide|"
    r"credit card numbers?|social security numbers?|home address|fake (?:news|id|passport)|shoplift\w*|arson)\b"
)
_REASONING = re.compile(
    r"\b(prove|proof|theorem|equation|integral|derivative|probability|calculate|compute|solve|algorithm|"
    r"function|python|javascript|java|rust|sql|regex|debug|compile|code|program|matrix|polynomial|triangle|"
    r"how many|step by step|logic puzzle|arithmetic|algebra|geometry|percent(?:age)?)\b"
)
# Each begins with a character, which is looked for faster than a word's edge: so C++ looks back.
_MARKS = re.compile(r"```|c(?<!\wc)\+\+|\d\s*[-+*/^=×÷]\s*\d|\\frac|\$\$")
# What is an i or an s when case is ignored, and does not become one as a small letter.
_SMALL = str.maketrans("İıſ", "iis")


class Keywords:
    """By words in what the user asked last; safety goes before reasoning, and what shows neither is chat.

    Crude: it knows English, and "how do I kill a process" is safety to it. It is there so that a labeler gives the
    same verdict with no model at hand; give `DensityRatio` a `router` that knows better.
    """

    def __call__(self, turns: Sequence[dict[str, str]]) -> str:
        asked = last_asked(turns)
        asked = (asked if asked.isascii() else asked.translate(_SMALL)).lower()
        if _SAFETY.search(asked):
            return "safety"
        return "reasoning" if _REASONING.search(asked) or _MARKS.search(asked) else "chat"


class ByModel:
    """As a model says, asked once for each prompt; "" where it fails or says something else, so that words decide.

    `ask`: messages → the text of its reply, raising LabelerError; it may be called from several threads. A model that
    fails five times without an answer in between is not asked again: a run must not wait for it ten thousand times.
    """

    PROMPT_FILE = "ratio_domain.txt"
    # Of a prompt that much is shown: what it is about stands in there, and a small model reads no book.
    SHOWN = 4000
    HOPELESS = 5

    def __init__(self, ask: Callable[[Sequence[dict[str, str]]], str], *, concurrency: int = 8) -> None:
        self.ask, self.concurrency = ask, concurrency
        self.instructions = (PROMPTS / self.PROMPT_FILE).read_text().strip()
        self.known: dict[str, str] = {}
        self.failures = 0

    def __call__(self, turns: Sequence[dict[str, str]]) -> str:
        text = last_asked(turns)
        if text not in self.known:
            self.known[text] = self._said(text)
        return self.known[text]

    def prepare(self, many: Iterable[Sequence[dict[str, str]]]) -> None:
        """Ask about all of them, several at once."""
        new = [text for text in dict.fromkeys(last_asked(turns) for turns in many) if text not in self.known]
        with ThreadPoolExecutor(self.concurrency) as threads:
            self.known.update(zip(new, threads.map(self._said, new), strict=True))

    def _said(self, text: str) -> str:
        if self.failures >= self.HOPELESS:
            return ""
        try:
            reply = self.ask(self._messages(text))
        except LabelerError:
            self.failures += 1
            return ""
        self.failures = 0
        named = [word for word in DOMAINS if re.search(rf"\b{word}\b", reply.lower())]
        return named[0] if len(named) == 1 else ""

    def _messages(self, text: str) -> list[dict[str, str]]:
        """The prompt between marks that it cannot contain."""
        mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        shown = f"<{mark}>\n{text[: self.SHOWN]}\n</{mark}>"
        return [{"role": "user", "content": f"{self.instructions}\n\n{shown}"}]


def last_asked(turns: Sequence[dict[str, str]]) -> str:
    """What the user said last."""
    return next((turn["content"] for turn in reversed(turns) if turn["role"] == "user"), "")
