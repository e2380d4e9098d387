"""Tables of a set whose name says that an AI judged their rows, where the rows themselves say nothing of it.

`allenai/multipref` has, beside what people prefer, a table of the same columns with what GPT-4 does
(`gpt4_overall_binarized`), and our own export `ai_overall_binarized`: read alone their votes would count as people's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Who judged, at the beginning, and that it is about judging: "gpt4_responses" may hold what people judged.
_NAME = re.compile(
    r"(?P<who>ai|llm|gpt[-_.]?\d+[a-z.]*|claude|gemini|llama\d*|mistral|prometheus|qwen\d*)"
    r"(?=[_-])\w*(?:binari[sz]ed|preferences?|prefs?|feedback|judge[ds]?|judge?ments?|labels|labell?ed)",
    re.ASCII,
)
_PEOPLE = re.compile(r"human|people|person|crowd|expert")
_GPT = re.compile(r"gpt[-_.]?")
# Readers take the labeler from the one, and our export names it in the other.
SOURCE, JUDGES = "meta_source", "meta_judges"


def labeler(table: str) -> str:
    """Which AI labeler judged the rows of a table or configuration of this name, "" where it does not say so."""
    name = table.lower().rpartition("/")[2].replace("-", "_")
    found = _NAME.match(name)
    return _GPT.sub("gpt-", found["who"]) if found and not _PEOPLE.search(name) else ""


def told(row: Mapping[str, Any], by: str) -> Mapping[str, Any]:
    """The row with the labeler `by` as whose it is, where it holds a better one of two and does not say itself."""
    if not by or row.get(SOURCE) or not row.keys() >= {"chosen", "rejected"}:
        return row
    judges = row.get(JUDGES)
    own = judges[0] if isinstance(judges, list) and len(judges) == 1 and isinstance(judges[0], str) else ""
    return {**row, SOURCE: own or by}
