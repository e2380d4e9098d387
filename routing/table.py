"""Rows with people's and labelers' judgments as arrays, and how they are split so that nothing leaks into a report."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from routing import features

# Fewer prompts than this, and a split by prompt leaves too few kinds of prompts on either side.
FEW_PROMPTS = 50
FEW_MODELS = 10
# How a table can be split; "auto" is "prompt" or "models".
WAYS = ("auto", "prompt", "models", "rows")
# Judges of a table at most: each is a source with a price, models of its own, and a column of everything.
MOST_JUDGES = 20
# A judge that answered less than this share of the rows cannot be planned with: most of its answers are not known.
COVERAGE = 0.2
# Characters of the longest row.
MOST_LINE = 20_000_000


class BrokenSplit(Exception):
    """A prompt, model or text is on both sides of a split. A bug: no figure of this run may be reported."""


# A mark of the byte order, which some programs write first, is no part of the first row.
TEXT = "utf-8-sig"


@dataclass(frozen=True)
class Table:
    """n comparisons: `values` (n, k) features, `texts` (prompt, A, B), `people` mean vote for B (ties one half),
    `votes` (n,), `judges` with `p_b` (n, L), `prompts` (n,) number of the prompt, `models` (n, 2), `ballots` each
    comparison's single votes for B where they are known (else empty: then nobody can be asked for fewer votes), `names`
    those of the columns of `values`."""

    texts: list[tuple[str, str, str]]
    values: np.ndarray
    people: np.ndarray
    votes: np.ndarray
    judges: tuple[str, ...]
    p_b: np.ndarray
    prompts: np.ndarray
    models: list[tuple[str, str]]
    notes: tuple[str, ...] = ()
    ballots: tuple[tuple[float, ...], ...] = ()
    names: tuple[str, ...] = features.NAMES

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Split:
    """Positions of three parts. `fit` is routed and trained on, `select` is the seed set that everything is learnt and
    chosen on, `test` is only reported from. `by` says what no two parts share."""

    fit: np.ndarray
    select: np.ndarray
    test: np.ndarray
    by: str
    dropped: int


def read_rows(
    path: Path | str, most: int | None = None, watch: Callable[[int, int], None] | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of a JSON Lines file, plain or gzip'ed; empty lines are passed over.

    `watch` is told (lines, characters) read so far before each row is parsed; what it raises ends the reading. Raises
    ValueError for a line that is not JSON, and once the text is over `most` characters: what is unpacked from a small
    file may fill the memory.
    """
    path = Path(path)
    read = 0
    with gzip.open(path, "rt", encoding=TEXT) if path.suffix == ".gz" else path.open(encoding=TEXT) as lines:
        for number, line in enumerate(iter(lambda: lines.readline(MOST_LINE), ""), 1):
            read += len(line)
            if (most is not None and read > most) or len(line) == MOST_LINE:
                raise ValueError(f"{path.name}, line {number}: there is more text than can be read at once.")
            if watch:
                watch(number, read)
            if line.strip():
                yield _parsed(path.name, number, line)


def _parsed(name: str, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}, line {number}: not JSON ({error}).") from None


def load(rows: Iterable[dict[str, Any]]) -> Table:
    """Rows with `prompt`, `response_a`, `response_b`, `human_labels`, `ai_labels` (see docs/method.md) as a table.

    Rows without a person's vote are left out and counted in `notes`, and so are judges that answered few rows, and
    those over MOST_JUDGES. Without any AI label the longer response stands in as a free labeler, and `notes` says so.
    Raises ValueError, with the row's number, for a row of another shape, and when no row has a vote, or no judge
    answered enough.
    """
    rows = [_checked(number, row) for number, row in enumerate(rows, 1)]
    kept = [row for row in rows if _votes(row)]
    if not kept:
        raise ValueError("No row has a person's judgment (human_labels): there is nothing to test against.")
    if all(np.mean(_votes(row)) == 0.5 for row in kept):
        raise ValueError("People prefer neither side in any row (human_labels): there is nothing to test against.")
    notes = [f"{len(rows) - len(kept)} rows without a person's vote left out."] if len(kept) < len(rows) else []
    values = features.extract([_pair(row) for row in kept])
    judges, left_out = _judges(kept)
    notes += left_out
    p_b = np.array([[_said(row, judge) for judge in judges] for row in kept]).reshape(len(kept), len(judges))
    if not judges:
        longer = np.sign(values[:, features.NAMES.index("words_difference")])
        judges, p_b = ("longest",), ((longer + 1) / 2)[:, None]
        notes.append("No AI labels in the file: the longer response stands in as a free labeler.")
    texts = [(_prompt_text(row), row["response_a"], row["response_b"]) for row in kept]
    return Table(
        texts=texts,
        values=values,
        people=np.array([np.mean(_votes(row)) for row in kept]),
        votes=np.array([len(_votes(row)) for row in kept]),
        judges=judges,
        p_b=p_b,
        prompts=prompt_numbers([text[0] for text in texts]),
        models=[(row.get("model_a") or "", row.get("model_b") or "") for row in kept],
        notes=tuple(notes),
        ballots=tuple(tuple(float(vote) for vote in _votes(row)) for row in kept),
    )


def _judges(rows: list[dict[str, Any]]) -> tuple[tuple[str, ...], list[str]]:
    """(judges in the order they come, notes): those that answered enough, and of these the ones that answered most."""
    answered: Counter[str] = Counter()
    for row in rows:
        labels = row.get("ai_labels") or ()
        answered.update(dict.fromkeys(each["judge"] for each in labels if each.get("preference") is not None).keys())
    if not answered:
        return (), []
    enough = [judge for judge, count in answered.most_common() if count >= COVERAGE * len(rows)]
    if not enough:
        best, most = answered.most_common(1)[0]
        raise ValueError(
            f"No judge answered {COVERAGE:.0%} of the {len(rows)} rows; {best} answered most of them, "
            f"{most}. Leave out the rows that no judge in question answered."
        )
    kept, notes = enough[:MOST_JUDGES], []
    if few := len(answered) - len(enough):
        notes.append(f"{few} judges who answered less than {COVERAGE:.0%} of the rows left out.")
    if more := len(enough) - len(kept):
        notes.append(f"{more} judges left out: the {MOST_JUDGES} that answered most are compared.")
    return tuple(judge for judge in answered if judge in set(kept)), notes


def _checked(number: int, row: Any) -> dict[str, Any]:
    """The row, if it has the shape that `load` reads. Raises ValueError with its number, and what is wrong."""
    if not isinstance(row, dict):
        raise ValueError(f"Row {number} is no object with fields but {type(row).__name__}.")
    for name in ("response_a", "response_b"):
        if not _is_text(row.get(name)):
            raise ValueError(f"Row {number} has no text in {name}.")
    for name in ("model_a", "model_b"):
        if row.get(name) is not None and not _is_text(row[name]):
            raise ValueError(f"Row {number}: {name} is no text.")
    if not _is_text(row.get("prompt")) and not _are_turns(row.get("prompt")):
        raise ValueError(f"Row {number} has no prompt: a text, or a list of turns with role and content.")
    if not isinstance(row.get("meta") or {}, dict):
        raise ValueError(f"Row {number}: meta is no object with fields.")
    if not _are_documents(_context(row)):
        raise ValueError(f"Row {number}: context is no list of texts or of objects with a text.")
    for name, who in (("human_labels", None), ("ai_labels", "judge")):
        labels = row.get(name) or []
        if not isinstance(labels, list) or not all(_is_label(label, who) for label in labels):
            needs = "a judge and a preference" if who else "a preference"
            raise ValueError(f"Row {number}: each of {name} needs {needs} in [-1, 1] (negative = A, null = none).")
    return row


def _are_turns(turns: Any) -> bool:
    return (
        isinstance(turns, list)
        and bool(turns)
        and all(
            isinstance(turn, dict) and _is_text(turn.get("role")) and _is_text(turn.get("content")) for turn in turns
        )
    )


def _is_text(value: Any) -> bool:
    """Whether it is text that can be written anywhere: no NUL, no half of a character."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _context(row: dict[str, Any]) -> Any:
    given = row.get("context") or (row.get("meta") or {}).get("passages") or []
    return [given] if isinstance(given, str) else given


def _are_documents(context: Any) -> bool:
    if not isinstance(context, list):
        return False
    return all(_is_text(each.get("text") if isinstance(each, dict) else each) for each in context)


def _is_label(label: Any, who: str | None) -> bool:
    if not isinstance(label, dict) or (who and not _is_text(label.get(who))):
        return False
    said = label.get("preference")
    is_number = isinstance(said, int | float) and not isinstance(said, bool)
    return said is None or (is_number and -1 <= said <= 1)


def _votes(row: dict[str, Any]) -> list[float]:
    """1 for B, 0 for A, one half for a tie: strength is not probability."""
    labels = row.get("human_labels") or []
    return [(np.sign(label["preference"]) + 1) / 2 for label in labels if label.get("preference") is not None]


def _said(row: dict[str, Any], judge: str) -> float:
    labels = [label for label in row.get("ai_labels") or () if label["judge"] == judge]
    said = [(1 + label["preference"]) / 2 for label in labels if label.get("preference") is not None]
    return float(np.mean(said)) if said else float("nan")


def _prompt_text(row: dict[str, Any]) -> str:
    prompt = row["prompt"]
    return prompt if isinstance(prompt, str) else "\n\n".join(turn["content"] for turn in prompt)


def _pair(row: dict[str, Any]) -> SimpleNamespace:
    prompt = row["prompt"]
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return SimpleNamespace(
        prompt=SimpleNamespace(turns=turns, context=_context(row)),
        response_a=SimpleNamespace(text=row["response_a"]),
        response_b=SimpleNamespace(text=row["response_b"]),
    )


def prompt_numbers(prompts: Iterable[str]) -> np.ndarray:
    """(n,) equal numbers for prompts that differ in capitals and spacing alone: they are one to every split."""
    return _numbers([" ".join(text.casefold().split()) for text in prompts])


def _numbers(keys: list[Any]) -> np.ndarray:
    known: dict[Any, int] = {}
    return np.array([known.setdefault(key, len(known)) for key in keys])


def split(table: Table, seed: int, by: str = "auto") -> Split:
    """Split into fit, select and test, by "prompt", by unseen "models" or by "rows"; "auto" takes models under 50
    prompts where there are 10 models.

    By prompt: no two parts share a prompt (equal prompt texts are one prompt), about 50 / 20 / 30%.
    By models: test holds comparisons of 35% of the models among themselves; comparisons of a test model with another
    are dropped, and so is what shares a response text with test. Fit and select (30%) share models, as a seed set
    does with its project, but no repeated comparison.
    By rows: at random, 50 / 20 / 30%; only a comparison repeated in the same texts stays together. Prompts, models and
    responses are on both sides, so this says how a reward model does on more of the same, not on anything new.
    """
    if by == "auto":
        names = {name for pair in table.models for name in pair}
        few = len(np.unique(table.prompts)) < FEW_PROMPTS
        by = "models" if few and "" not in names and len(names) >= FEW_MODELS else "prompt"
    ways = {"prompt": _by_prompt, "models": _by_models, "rows": _by_rows}
    if by not in ways:
        raise ValueError(f"A table is split by {', '.join(WAYS)}, not by {by!r}.")
    made = ways[by](table, seed)
    check(table, made)
    return made


def _by_prompt(table: Table, seed: int) -> Split:
    part = _parts(table.prompts, (0.5, 0.2, 0.3), np.random.default_rng(seed))
    fit, select, test = (np.flatnonzero(part == number) for number in range(3))
    return Split(fit, select, test, by="prompt", dropped=0)


def _by_rows(table: Table, seed: int) -> Split:
    repeats = _numbers([frozenset(_answers(table, row)) for row in range(len(table))])
    part = _parts(repeats, (0.5, 0.2, 0.3), np.random.default_rng(seed))
    fit, select, test = (np.flatnonzero(part == number) for number in range(3))
    return Split(fit, select, test, by="rows", dropped=0)


def _parts(groups: np.ndarray, shares: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
    """(n,) part of each row: whole groups, shuffled, cut where the shares of all rows are reached."""
    distinct, sizes = np.unique(groups, return_counts=True)
    order = rng.permutation(len(distinct))
    before = np.cumsum(sizes[order]) - sizes[order] / 2
    part_of = np.empty(len(distinct), dtype=np.int64)
    part_of[order] = np.searchsorted(np.cumsum(shares)[:-1] * len(groups), before, "right")
    return np.asarray(part_of[np.searchsorted(distinct, groups)])


def _by_models(table: Table, seed: int) -> Split:
    rng = np.random.default_rng(seed)
    names = sorted({name for pair in table.models for name in pair})
    unseen = set(rng.permutation(names)[: round(0.35 * len(names))].tolist())
    held = np.array([sum(name in unseen for name in pair) for pair in table.models])
    test = np.flatnonzero(held == 2)
    seen = {answer for row in test.tolist() for answer in _answers(table, row)}
    free = [row for row in np.flatnonzero(held == 0).tolist() if not seen & set(_answers(table, row))]
    pool = np.array(free, dtype=np.int64)
    repeats = _numbers([frozenset(_answers(table, row)) for row in pool.tolist()])
    part = _parts(repeats, (0.7, 0.3), rng)
    return Split(pool[part == 0], pool[part == 1], test, "models", len(table) - len(pool) - len(test))


def _answers(table: Table, row: int) -> list[tuple[int, str]]:
    _, a, b = table.texts[row]
    return [(int(table.prompts[row]), a), (int(table.prompts[row]), b)]


def check(table: Table, made: Split) -> None:
    """Raises BrokenSplit when a row, prompt, model, response or repeated comparison crosses what `made.by` forbids."""
    parts = {"fit": made.fit, "select": made.select, "test": made.test}
    if any(not len(part) for part in parts.values()):
        raise BrokenSplit(f"A part is empty ({ {name: len(part) for name, part in parts.items()} }): too little data.")
    for first, second in (("fit", "select"), ("fit", "test"), ("select", "test")):
        for kind in _apart(made.by, second):
            shared = _keys(table, parts[first], kind) & _keys(table, parts[second], kind)
            if shared:
                raise BrokenSplit(f"{len(shared)} {kind}s are both in {first} and in {second}.")


def _apart(by: str, second: str) -> tuple[str, ...]:
    """What two parts must not share; `second` is "test" unless the parts are fit and select."""
    if by != "models":
        return ("row", "comparison", "prompt") if by == "prompt" else ("row", "comparison")
    return ("row", "comparison", "model", "response") if second == "test" else ("row", "comparison")


def _keys(table: Table, part: np.ndarray, kind: str) -> set[Any]:
    if kind == "row":
        return set(part.tolist())
    if kind == "prompt":
        return set(table.prompts[part].tolist())
    if kind == "model":
        return {name for row in part.tolist() for name in table.models[row]}
    if kind == "response":
        return {answer for row in part.tolist() for answer in _answers(table, row)}
    return {frozenset(_answers(table, row)) for row in part.tolist()}
