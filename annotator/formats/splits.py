"""The published split of rows that do not name it themselves: of a folder by its files, of a set by the name asked for.

It becomes metadata named `split`, as in files that carry one (`source.said_split` reads both). The row is read first:
the split is no part of it, so ids that are made of a row's content stay those of the file alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from annotator.formats.rows import ComparisonRow, Entry, PromptRow, as_json

TRAIN, VALIDATION, TEST = "train", "validation", "test"
# What sources call their splits in metadata named `split`.
SPLITS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("validation", "valid", "valid1", "val", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
}
KEY = "split"
NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)


def name_of(said: str, file: str) -> str:
    """What a README calls a file's split, where that is a name; else what the file's own name says, or ""."""
    return said if NAME.fullmatch(said) else _of_file(file)


def _of_file(name: str) -> str:
    """Its beginning, else that of its folder: "data/train-00000-of-00002.parquet", "test/0.jsonl"."""
    path = PurePosixPath(name.lower())
    firsts = (re.split(r"[^a-z0-9]", part, maxsplit=1)[0] for part in (path.name, path.parent.name))
    return next((first for first in firsts if first in SPLITS), "")


def carried(entry: Entry, split: str) -> Entry:
    """The entry with `split` in its comparisons' metadata; a prompt alone keeps it for comparisons that it will get.

    What names a split already, the comparison or its prompt, is left as it is.
    """
    if not split or _names_one(entry.prompt.metadata):
        return entry
    holders: Sequence[ComparisonRow | PromptRow] = entry.comparisons or [entry.prompt]
    for holder in holders:
        if not _names_one(holder.metadata):
            holder.metadata = as_json({**json.loads(holder.metadata), KEY: split}, KEY)
    return entry


def _names_one(metadata: str) -> bool:
    """Most metadata do not hold the word at all, and are not parsed."""
    return f'"{KEY}"' in metadata and KEY in json.loads(metadata)
