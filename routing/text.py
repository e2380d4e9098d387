"""Reading a text once: words, entities, format marks, language. The features share what is found here.

Words are runs of letters and digits of any script, lower-cased; scripts written without spaces (Chinese, Japanese kana,
Thai, Lao, Khmer, Burmese) count by character.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# Vowel signs and accents are no letters to Python's \w, but no word ends there.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff"
_WORD = re.compile(rf"(?:[^\W_]|[{_MARKS}])+(?:['’](?:[^\W_])+)*")
_HAS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_WORD_OR_CHARACTER = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])(?:[^\W_]|[{_MARKS}]))+")

_CAPITAL = "A-ZÀ-ÖØ-ÞĀĂĄĆČĎĐĒĚĘĞĢĪİĶĹĻŁŃŇŌŐŘŚŞŠŤŪŮŰŹŻŽΑ-ΩА-ЯЁІЇЄҐ"
_SPAN = re.compile(rf"(?<![^\W_])[{_CAPITAL}][\w'’-]*(?:[ \t]+[{_CAPITAL}][\w'’-]*)*")
_SENTENCE_START = re.compile(r"(?:^|[.!?:;\n\"“”(*#>•-])\s*$")
# Capitalised only because they open a sentence, and often before a name ("In Paris").
_OPENER = re.compile(
    "a|an|and|as|at|but|by|for|from|he|her|his|i|if|in|it|its|my|no|not|of|on|or|our|she|so|that|the|their|then|there"
    "|these|they|this|to|was|we|what|when|where|while|with|yes|you|your"
)
_NUMBER = re.compile(r"(?<![\w.])[-−]?\d[\d.,]*(?<![.,])%?")

_LIST_LINE = re.compile(r"^[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+\S", re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_INLINE_CODE = re.compile(r"(?<!`)`[^`\n]+`(?!`)")
_MATHS = re.compile(
    r"\$\$.+?\$\$|(?<![\w$])\$(?=[^\s\d])[^$\n]*[\\^_=+][^$\n]*\$|\\\(.+?\\\)|\\\[.+?\\\]|\\begin\{(?:equation|align)",
    re.DOTALL,
)
_TABLE_RULE = re.compile(r"^[ \t]*\|?[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)+\|?[ \t]*$", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}[ \t]+\S", re.MULTILINE)
_BOLD = re.compile(r"(?<![*_\w])(\*\*|__)(?=\S)[^\n]+?(?<=\S)\1(?![*_\w])")
_LINK = re.compile(r"\bhttps?://\S|\bwww\.\w")
# What prose that was cut ends with; a line of a list, a table or a heading may end with anything.
_CUT = re.compile(r"[^\W_]|[,(\[{–—-]")
_LINE_OF_ITS_OWN = re.compile(r"[ \t]*(?:[-*+•#|>]|\d{1,3}[.)])")
_QUESTION = re.compile("[?？؟;](?=\\s|$)|[？؟]")
# Said at the beginning of a refusal; looked for in the first 400 characters, where refusals say it.
_REFUSAL = re.compile(
    r"\b(?:I(?:'m| am) (?:sorry|unable|not able|not comfortable)|I (?:can(?:not|'t| not)|won't|will not|must decline)"
    r"|as an ai\b|I apologi[sz]e|unfortunately, I (?:can|am)|lo siento|no puedo|es tut mir leid"
    r"|ich kann (?:nicht|keine)"
    r"|je suis désolé|je ne peux pas|desculpe|não posso|mi dispiace|non posso|к сожалению|я не могу)"
    r"|申し訳|できません|抱歉|对不起|我无法|我不能|죄송",
    re.IGNORECASE,
)
_REFUSAL_WITHIN = 400
# A shorter text without a mark at its end is a short answer, not one that was cut.
_PROSE = 30
# Below this many letters a language is a guess.
_LANGUAGE_LETTERS = 20
_LANGUAGE_CHARACTERS = 300


@dataclass(frozen=True)
class Reading:
    """One text; everything is found at first use and kept."""

    text: str

    @cached_property
    def words(self) -> list[str]:
        return words(self.text)

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        return frozenset(self.words)

    @cached_property
    def distinct_trigrams(self) -> float:
        """Share of word trigrams that are distinct, in (0, 1]; NaN under three words."""
        trigrams = list(zip(self.words, self.words[1:], self.words[2:], strict=False))
        return len(set(trigrams)) / len(trigrams) if trigrams else float("nan")

    @cached_property
    def entities(self) -> frozenset[str]:
        """Names and numbers, lower-cased: a stand-in for a named-entity model, see `entities`."""
        return entities(self.text)

    @cached_property
    def numbers(self) -> int:
        return len(_NUMBER.findall(self.text))

    @cached_property
    def questions(self) -> int:
        return len(_QUESTION.findall(self.text))

    @cached_property
    def list_lines(self) -> int:
        return len(_LIST_LINE.findall(self.text))

    @cached_property
    def code(self) -> int:
        """Fenced blocks and inline code spans."""
        return (len(_FENCE.findall(self.text)) + 1) // 2 + len(_INLINE_CODE.findall(self.text))

    @cached_property
    def maths(self) -> int:
        return len(_MATHS.findall(self.text))

    @cached_property
    def tables(self) -> int:
        return len(_TABLE_RULE.findall(self.text))

    @cached_property
    def headings(self) -> int:
        return len(_HEADING.findall(self.text))

    @cached_property
    def emphasis(self) -> int:
        return len(_BOLD.findall(self.text))

    @cached_property
    def links(self) -> int:
        return len(_LINK.findall(self.text))

    @cached_property
    def breaks_off(self) -> bool:
        """Whether it ends in mid-sentence, as an answer that was cut at a limit: inside code, or prose without a mark.

        Scripts without spaces are never said to break off, for some of them have no mark for the end of a sentence.
        """
        text = self.text.rstrip()
        last = text.rpartition("\n")[2]
        if text.count("```") % 2:
            return True
        if len(self.words) < _PROSE or _LINE_OF_ITS_OWN.match(last) or _HAS_UNSPACED.match(text[-1]):
            return False
        return bool(_CUT.match(text[-1]))

    @cached_property
    def refuses(self) -> bool:
        return bool(_REFUSAL.search(self.text[:_REFUSAL_WITHIN].replace("’", "'")))

    @cached_property
    def language(self) -> str | None:
        """ISO 639-1 code by py3langid from the first 300 characters outside code; None under 20 letters."""
        prose = self.text.split("```", 1)[0] or self.text
        prose = prose[:_LANGUAGE_CHARACTERS]
        if sum(character.isalpha() for character in prose) < _LANGUAGE_LETTERS:
            return None
        # Not at the top: its model takes a moment to load, and words need none.
        import py3langid

        return str(py3langid.classify(prose)[0])


@lru_cache(maxsize=4096)
def read(text: str) -> Reading:
    """The reading of a text; kept for a few thousand texts so that features of one batch share it."""
    return Reading(text)


def words(text: str) -> list[str]:
    pattern = _WORD_OR_CHARACTER if _HAS_UNSPACED.search(text) else _WORD
    return pattern.findall(text.lower())


def entities(text: str) -> frozenset[str]:
    """Capitalised spans and numbers.

    A stand-in that needs no model: a single capitalised word that opens a sentence is taken for an ordinary word
    unless the text also capitalises it elsewhere; scripts without capitals only give numbers.
    """
    found: set[str] = set(_NUMBER.findall(text))
    for match in _SPAN.finditer(text):
        span = match.group().lower()
        opens = _SENTENCE_START.search(text[max(0, match.start() - 8) : match.start()])
        first, _, rest = span.partition(" ")
        if rest and _OPENER.fullmatch(first):
            span, opens = rest, None
        if " " in span or not opens:
            found.add(span)
    return frozenset(found) - {"i"}
