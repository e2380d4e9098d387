"""What a judge's answer says: one verdict, or ratings, and how likely its tokens made each of them.

Strict on purpose. `"[[A]]" in text` calls an answer that names both sides a verdict for A; here two different verdicts
are none, of equal ones the last counts, and a key that stands twice in a JSON object makes it unreadable.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labelers.chat import Completion, Token

A, B, TIE = "A", "B", "C"
LETTERS = (A, B, TIE)

# Characters of an answer that are read: its end, where verdicts stand. Each pattern takes time in proportion to them.
LONGEST = 20_000

_WORD = r"(A|B|C|tie)"
_ALONE = re.compile(rf"\W*+{_WORD}\W*+", re.IGNORECASE)
_BRACKETED = re.compile(r"\[\[\s*+(A\s*+=\s*+B|A|B|C|tie)\s*+\]\]", re.IGNORECASE)
_BEGINS = r"^[^\w\n]*+(?:final\s++)?+verdict"
_NAMED = re.compile(rf"{_BEGINS}\W++{_WORD}[^\w\n]*+$", re.IGNORECASE | re.MULTILINE)
_FIELD = re.compile(rf'"verdict"\s*+:\s*+"\s*+{_WORD}\s*+"', re.IGNORECASE)
_VERDICT_LINE = re.compile(rf"{_BEGINS}\W", re.IGNORECASE | re.MULTILINE)
_FENCE = "```"
_AROUND = " \t\r\n[]()*\"'`.:,{}▁Ġ"


def parse(text: str, letters: Sequence[str] = LETTERS) -> str | None:
    """The one verdict of an answer: a letter alone, [[letter]], a line "Verdict: letter", or a JSON field."""
    found = _find(text, letters)
    return found[0] if found else None


def chances(completion: Completion, letters: Sequence[str]) -> tuple[dict[str, float] | None, str]:
    """P(A), P(B) and P(tie) of the answer in the order shown, and "logprobs" or "text"; None for what is no verdict.

    By log-probabilities: of the token that says the verdict, the masses of all letters, normalised among them.
    """
    found = _find(completion.text, letters)
    if found is None:
        return None, "text"
    said, place = found
    token = _token_at(completion, place, lambda text: _letter(text) == said)
    if token is not None:
        mass = dict.fromkeys(LETTERS, 0.0)
        for text, logprob in token.top.items():
            letter = _letter(text)
            if letter in letters:
                mass[letter] += _chance(logprob)
        total = sum(mass.values())
        if total > 0:
            return {letter: share / total for letter, share in mass.items()}, "logprobs"
    return {letter: float(letter == said) for letter in LETTERS}, "text"


def critique(text: str) -> str:
    """What stands before the verdict; "" where nothing does."""
    if _ALONE.fullmatch(text):
        return ""
    whole = _object(text)
    if whole is not None:
        said = whole.get("critique")
        return said if isinstance(said, str) else ""
    text = text[-LONGEST:]
    line = _VERDICT_LINE.search(text)
    return (text[: line.start()] if line else text).strip()


def ratings(
    completion: Completion, levels: Mapping[str, Sequence[int]], sides: Sequence[str]
) -> tuple[dict[str, dict[str, float]], str]:
    """{"helpfulness": {"A": 3.2, "B": 1.0}, …} from a JSON object, or from {"helpfulness": 3} where `sides` is ("",).

    `levels` are the values each attribute may have. With log-probabilities a rating is the expected value over the
    tokens of its levels, because plain ratings tie a lot. Empty where anything is missing or no level.
    """
    whole = _object(completion.text)
    if whole is None:
        return {}, "text"
    found: dict[str, dict[str, float]] = {}
    methods = set()
    for key, allowed in levels.items():
        for side in sides:
            value = _level(whole.get(key), side, allowed)
            if value is None:
                return {}, "text"
            expected = _expected(completion, key, side, value, allowed)
            methods.add("text" if expected is None else "logprobs")
            found.setdefault(key, {})[side] = float(value) if expected is None else expected
    return found, "text" if "text" in methods else "logprobs"


def _find(text: str, letters: Sequence[str]) -> tuple[str, int] | None:
    """The verdict and where in `text` its letter stands."""
    before = max(len(text) - LONGEST, 0)
    end = text[before:]
    matches = _matches(text, end)
    if len({_verdict(match[1]) for match in matches}) != 1:
        return None
    verdict = _verdict(matches[-1][1])
    return (verdict, before + matches[-1].start(1)) if verdict in letters else None


def _matches(text: str, end: str) -> list[re.Match[str]]:
    whole = _object(text)
    if whole is not None:
        # Exactly what the field says: a critique may quote marks of verdicts.
        said = whole.get("verdict")
        said = said.strip() if isinstance(said, str) else ""
        return [match for match in _FIELD.finditer(end) if said == match[1]][-1:]
    if alone := _ALONE.fullmatch(end):
        return [alone]
    return sorted([*_BRACKETED.finditer(end), *_NAMED.finditer(end)], key=lambda match: match.start(1))


def _verdict(word: str) -> str:
    return word.upper() if len(word) == 1 else TIE


def _letter(text: str) -> str:
    """The letter a token stands for, "" for none."""
    bare = text.strip(_AROUND)
    return TIE if bare.lower() == "tie" else bare if bare in LETTERS else ""


def _token_at(completion: Completion, place: int, fits: Callable[[str], bool]) -> Token | None:
    """The token that wrote the character at `place` of the text, if it fits; else the last one that does.

    Tokens of a thought may come first, and a server may have trimmed the text: then places do not match.
    """
    written = "".join(token.text for token in completion.tokens)
    # The last place, from behind: `find` takes linear time, `rfind` does not.
    behind = written[::-1].find(completion.text[::-1])
    if behind >= 0 and completion.text:
        left = len(written) - behind - len(completion.text) + place
        for token in completion.tokens:
            if left < len(token.text):
                return token if fits(token.text) else None
            left -= len(token.text)
    return next((token for token in reversed(completion.tokens) if fits(token.text)), None)


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object that is all of `text`, fences aside; None for anything else, or when a key stands twice."""
    if len(text) > LONGEST:
        return None
    bare = text.strip()
    if len(bare) >= 2 * len(_FENCE) and bare.startswith(_FENCE) and bare.endswith(_FENCE):
        bare = bare.removeprefix(_FENCE).removesuffix(_FENCE).removeprefix("json")
    try:
        whole = json.loads(bare, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    return whole if isinstance(whole, dict) else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _value in pairs}) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _level(rated: Any, side: str, allowed: Sequence[int]) -> int | None:
    value = rated.get(side) if side and isinstance(rated, dict) else rated
    return value if isinstance(value, int) and not isinstance(value, bool) and value in allowed else None


def _expected(completion: Completion, key: str, side: str, value: int, allowed: Sequence[int]) -> float | None:
    """The mean of the levels by the chances of the token that wrote the rating; None without log-probabilities."""
    inside = rf'\{{[^{{}}]*?"{side}"\s*:\s*' if side else ""
    match = re.search(rf'"{re.escape(key)}"\s*:\s*{inside}(?=-?\d)', completion.text)
    token = completion.tokens and match and _token_at(completion, match.end(), lambda text: _number(text) == value)
    if not token:
        return None
    mass = {
        number: _chance(logprob)
        for number, logprob in ((_number(text), logprob) for text, logprob in token.top.items())
        if number in allowed
    }
    total = sum(mass.values())
    return sum(number * share for number, share in mass.items() if number is not None) / total if total else None


def _chance(logprob: float) -> float:
    """At most 1; 0 for what is no number."""
    return 0.0 if math.isnan(logprob) else math.exp(min(logprob, 0.0))


def _number(text: str) -> int | None:
    bare = text.strip(_AROUND)
    return int(bare) if re.fullmatch(r"-?[0-9]{1,3}", bare) else None
