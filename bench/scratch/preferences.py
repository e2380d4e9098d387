"""What the two models learn from and are tested on: text that lies on every machine, and comparisons people judged."""

from __future__ import annotations

import ast
import gzip
import json
import random
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Prompt:
    turns: list[dict[str, str]]
    context: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Preference:
    """`sign`: -1 people prefer A, +1 they prefer B. `group`: never on both sides of a split."""

    prompt: Prompt
    a: str
    b: str
    sign: int
    group: str
    # A prompt's comparisons share their luck: intervals are drawn over prompts.
    asked: str = field(compare=False, default="")

    @property
    def chosen(self) -> str:
        return self.b if self.sign > 0 else self.a

    @property
    def rejected(self) -> str:
        return self.a if self.sign > 0 else self.b


def docstrings(characters: int, seed: int = 0) -> list[str]:
    """Docstrings of this Python's standard library, which the PSF licence lets anybody read, in a drawn order."""
    root = Path(sysconfig.get_path("stdlib"))
    skipped = {"test", "tests", "idlelib", "site-packages", "dist-packages"}
    paths = [path for path in sorted(root.rglob("*.py")) if not skipped & set(path.relative_to(root).parts)]
    random.Random(seed).shuffle(paths)
    found: list[str] = []
    total = 0
    for text in (text for path in paths for text in _docstrings_of(path)):
        found.append(text)
        total += len(text)
        if total >= characters:
            break
    return found


def _docstrings_of(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text())
    except (SyntaxError, UnicodeDecodeError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node)
            if text and len(text) > 60:
                yield text


def generated(count: int, seed: int) -> list[Preference]:
    """The demo's recipe: texts by rule, "people" that are simulated. Whole domains are held out."""
    from demo import generated as demo

    rows = demo.comparisons(count, seed=seed, people_on=None)
    return preferences(map(demo.preference_row, rows), by="domain")


def read(path: Path, by: str = "") -> list[Preference]:
    """A file of rows with `prompt`, `response_a`, `response_b`, `human_labels` [{"preference": -1 … 1}], also gzip."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return preferences((json.loads(line) for line in file), by=by)


def preferences(rows: Iterator[dict[str, Any]], by: str = "") -> list[Preference]:
    """The majority of the votes; ties and equal texts are out. `by`: a field of `meta` that groups; else prompts do."""
    found = []
    for row in rows:
        votes = sum((vote["preference"] > 0) - (vote["preference"] < 0) for vote in row["human_labels"])
        if votes and row["response_a"] != row["response_b"]:
            prompt = Prompt([{"role": "user", "content": row["prompt"]}])
            group = str(row["meta"][by]) if by else row["prompt"]
            sides = (row["response_a"], row["response_b"])
            found.append(Preference(prompt, *sides, 1 if votes > 0 else -1, group, row["prompt"]))
    return found


def split(all_of: list[Preference], test_share: float, seed: int) -> tuple[list[Preference], list[Preference]]:
    """(training, test) without a common group or a common text of a response."""
    groups = sorted({each.group for each in all_of})
    random.Random(f"split {seed}").shuffle(groups)
    held_out = set(groups[: max(1, round(len(groups) * test_share))])
    test = [each for each in all_of if each.group in held_out]
    seen = {text for each in test for text in (each.a, each.b)}
    training = [each for each in all_of if each.group not in held_out and not seen & {each.a, each.b}]
    return training, test
