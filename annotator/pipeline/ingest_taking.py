"""What of a file's rows a project takes: answers as its protocol reads them, and a count of what cannot be carried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from annotator import protocols
from annotator.formats import recorded
from annotator.formats.entries import Entries
from annotator.formats.rows import Entry, RowInvalid, RowLeft, Vote, judged_texts
from annotator.protocols import Answer

# Checked answers that are kept for the next rows that say the same: of all levels, not of all numbers.
PLAIN_KEPT = 1000


class Taking:
    """Entries as a project takes them: the answers in its protocol's `definition`, and a count of what was left."""

    def __init__(self, definition: Mapping[str, Any], read: Entries) -> None:
        self.definition = recorded.lenient(protocols.read(definition))
        self.read = read
        self.left: Counter[str] = Counter()
        # Answers that `_is_plain`: most of most files, and each is checked once.
        self._plain: dict[tuple[bool, int | None, float | None], Answer] = {}

    def take(self, entry: Entry | RowInvalid) -> tuple[Entry, list[Answer]]:
        """The entry without what was left, and an answer a vote. Raises RowInvalid; RowLeft, which is counted."""
        if isinstance(entry, RowLeft):
            self.left[f"rows: {entry.reason}"] += 1
        if isinstance(entry, RowInvalid):
            raise entry
        left = list(entry.left)
        if not self.read.strict:
            left += self._leave(entry)
        answers = [self._answer(entry, vote) for vote in entry.votes]
        if left:
            self.left.update(left)
        return entry, answers

    def _answer(self, entry: Entry, vote: Vote) -> Answer:
        if not _is_plain(vote):
            return recorded.answer(self.definition, vote, judged_texts(entry, vote))
        key = (vote.is_ai, vote.answer.get("level"), None if vote.is_ai else vote.preference)
        known = self._plain.get(key)
        answer = known or recorded.answer(self.definition, vote, judged_texts(entry, vote))
        if not known and len(self._plain) < PLAIN_KEPT:
            self._plain[key] = answer
        return answer

    def _leave(self, entry: Entry) -> list[str]:
        left: list[str] = []
        kept = []
        for vote in entry.votes:
            if why := recorded.cannot_say(self.definition, vote):
                left.append(why)
                continue
            left += recorded.leave(self.definition, vote, self.read.preset)
            kept.append(vote)
        entry.votes = kept
        return left


def _is_plain(vote: Vote) -> bool:
    """Whether the answer is the same in every row that says it: nothing but a level, or a number and no answer.

    An AI's level alone is not: it becomes a preference, vote by vote. `True` is a level to a dict and none to a
    protocol.
    """
    if not vote.answer:
        return vote.preference is not None or (vote.is_ai and vote.p_b is not None)
    return not vote.is_ai and len(vote.answer) == 1 and type(vote.answer.get("level")) is int
