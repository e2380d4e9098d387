"""What changed between two texts, by lines and in these by words: for guidelines, whose readers know the old one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

# Pairs of words compared within one changed passage; a longer one is shown as taken out and put in whole.
MOST_PAIRS = 1_000_000
_WORD = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True)
class Piece:
    """Some words: in both texts ("same"), only in the new one ("added") or only in the old one ("removed")."""

    kind: str
    text: str


@dataclass(frozen=True)
class Passage:
    """Lines that follow each other: all the same, or changed somewhere."""

    is_changed: bool
    pieces: tuple[Piece, ...]


def between(old: str, new: str) -> list[Passage]:
    """The whole new text with what was taken out of the old one, in passages. Line ends do not count as a change."""
    before, after = old.splitlines(), new.splitlines()
    passages = []
    for kind, i, j, k, m in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            passages.append(Passage(False, (Piece("same", "\n".join(after[k:m])),)))
        else:
            passages.append(Passage(True, tuple(_words("\n".join(before[i:j]), "\n".join(after[k:m])))))
    return passages


def _words(old: str, new: str) -> Iterator[Piece]:
    before, after = _WORD.findall(old), _WORD.findall(new)
    if not old or not new or len(before) * len(after) > MOST_PAIRS:
        yield from _replaced(old, new)
        return
    for kind, i, j, k, m in _without_islands(before, after):
        if kind == "equal":
            yield Piece("same", "".join(after[k:m]))
        else:
            yield from _replaced("".join(before[i:j]), "".join(after[k:m]))


def _replaced(old: str, new: str) -> Iterator[Piece]:
    if old:
        yield Piece("removed", old)
    if new:
        yield Piece("added", new)


def _without_islands(before: Sequence[str], after: Sequence[str]) -> list[tuple[str, int, int, int, int]]:
    """Opcodes in which a lone blank between two changes is part of the change: people read phrases, not words."""
    joined: list[tuple[str, int, int, int, int]] = []
    for kind, i, j, k, m in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        is_blank = kind == "equal" and not "".join(after[k:m]).strip()
        if joined and joined[-1][0] == "replace" and (kind != "equal" or is_blank):
            _kind, i0, _j, k0, _m = joined[-1]
            joined[-1] = ("replace", i0, j, k0, m)
        else:
            joined.append(("equal" if kind == "equal" else "replace", i, j, k, m))
    return joined
