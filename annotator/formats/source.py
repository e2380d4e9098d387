"""What a writer is given and what it gives back. Pure data: a format is written and tested without a database."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Protocol

import pyarrow as pa

from annotator.formats.splits import SPLITS, TRAIN, VALIDATION
from annotator.protocols import Definition

TURN = pa.struct([("role", pa.string()), ("content", pa.string())])


class FormatUnfit(Exception):
    """The project's protocol does not collect what the format needs. The message says what is missing."""


@dataclass(frozen=True)
class Options:
    """How rows are chosen and written; every writer heeds those named in its `heeds`."""

    # "drop" ties, "keep" them where the format can say so, or write them "both" ways round.
    ties: str = "drop"
    # "drop" comparisons where at least half of the people found neither valid, or "keep" what the others said.
    neither: str = "drop"
    # "drop" labels for which one person's vote is all there is, or "keep" them: where the published rule wants two.
    single: str = "drop"
    # "leave_out" what only an AI labeler judged, or "keep" it as far as the format can express it.
    ai: str = "leave_out"
    # "strength" of people's preferences (0 to 1), "llama2" (the same, 0 to 3), "soft" (how sure the label is), or
    # "none" for no column.
    margin: str = "strength"
    # Of a ranking: "first" for A against B, or "all" pairs that the ranks tell apart.
    pairs: str = "first"
    # A response with a mean rating of at least `good` (0 to 4) is desirable, of at most `bad` undesirable, and
    # between them neither: for formats of single responses.
    good: float = 3.0
    bad: float = 1.0
    # What says so of a single response: its "ratings", or the "pairs" that it won or lost.
    labels: str = "ratings"
    # "implicit": full conversations; "explicit": the prompt in a column of its own; or what the trainer recommends.
    prompt: str = "recommended"
    # Where splits come from: all are "drawn", or texts stay in the one that they were "imported" with, if they say one.
    splits: str = "drawn"
    # Share of prompts (0 to 0.5) whose rows go to the validation split; equal prompts stay together.
    validation: float = 0.0
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


CHOICES = {
    "ties": ("drop", "keep", "both"),
    "neither": ("drop", "keep"),
    "single": ("drop", "keep"),
    "ai": ("leave_out", "keep"),
    "margin": ("strength", "llama2", "soft", "none"),
    "pairs": ("first", "all"),
    "labels": ("ratings", "pairs"),
    "prompt": ("recommended", "implicit", "explicit"),
    "splits": ("drawn", "imported"),
}


def read_options(given: Mapping[str, Any]) -> Options:
    """Checked options; missing ones keep their default. Raises ValueError naming the option that is wrong."""
    unknown = set(given) - {option.name for option in fields(Options)}
    if unknown:
        raise ValueError(f"{sorted(unknown)[0]}: no such option")
    for name, allowed in CHOICES.items():
        if name in given and given[name] not in allowed:
            raise ValueError(f"{name}: {given[name]!r} is not one of {', '.join(allowed)}")
    options = Options(**given)
    if not 0 <= options.validation <= 0.5:
        raise ValueError(f"validation: {options.validation} is not between 0 and 0.5")
    return options


@dataclass(frozen=True)
class Filters:
    """Which comparisons an export is of. The defaults leave none out; a recipe says whose judgments count."""

    # The least agreement of the label (0 to 1), and the fewest votes behind it.
    agreement: float = 0.0
    votes: int = 0
    # "labelled": every comparison with a label; "settled": those whose last word a reviewer spoke or that no judgment
    # is open for any more.
    status: str = "labelled"
    # Comparisons routed by the plan of this number; judgments that answered this version of the protocol.
    plan: int | None = None
    protocol: int | None = None
    # Prompts whose metadata has this value: {"language": "en", "split": "train"}.
    metadata: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def chosen(self) -> dict[str, Any]:
        """Those that leave something out."""
        usual = Filters().as_dict()
        return {name: value for name, value in self.as_dict().items() if value != usual[name]}


STATUSES = ("labelled", "settled")


def read_filters(given: Mapping[str, Any]) -> Filters:
    """Checked filters; missing ones leave nothing out. Raises ValueError naming the filter that is wrong."""
    unknown = set(given) - {each.name for each in fields(Filters)}
    if unknown:
        raise ValueError(f"{sorted(unknown)[0]}: no such filter")
    filters = Filters(**given)
    if not 0 <= filters.agreement <= 1:
        raise ValueError(f"agreement: {filters.agreement} is not between 0 and 1")
    if filters.votes < 0:
        raise ValueError(f"votes: {filters.votes} is less than 0")
    if filters.status not in STATUSES:
        raise ValueError(f"status: {filters.status!r} is not one of {', '.join(STATUSES)}")
    odd = [name for name, value in filters.metadata.items() if not name or not isinstance(value, str)]
    if odd:
        raise ValueError(f"metadata: the value of {odd[0]!r} must be text")
    return filters


@dataclass(frozen=True)
class Prompt:
    key: str
    turns: list[dict[str, str]]
    context: list[dict[str, str]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    # The split that it, or else its comparison, was imported with: a value of `SPLITS`, "" where none is said.
    split: str = ""

    @property
    def messages(self) -> list[dict[str, str]]:
        """The turns as a model reads them: context documents stand before the last turn's text."""
        turns = [{"role": turn["role"], "content": turn["content"]} for turn in self.turns]
        if self.context:
            documents = "".join(f"{document.get('title', '')}\n{document['text']}\n\n" for document in self.context)
            turns[-1]["content"] = documents + turns[-1]["content"]
        return turns

    @property
    def text(self) -> str:
        """The conversation as one string, as HelpSteer2 glues turns: the first turn bare, then tagged turns."""
        first, *rest = self.messages
        head = first["content"] if first["role"] == "user" else _tagged(first)
        return head + "".join(f"\n{_tagged(turn)}" for turn in rest)


def _tagged(turn: Mapping[str, str]) -> str:
    number = 0 if turn["role"] == "system" else 1
    return f"<extra_id_{number}>{turn['role'].capitalize()}\n{turn['content']}"


@dataclass(frozen=True)
class Response:
    key: str
    text: str
    model: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Label:
    """The aggregate; fields as in the `Label` model. `neither`: how many said that neither response is valid."""

    source: str
    p_b: float | None
    p_tie: float | None
    strength: float | None
    agreement: float | None
    votes: int
    neither: int

    @property
    def is_tie(self) -> bool:
        return self.p_b is not None and abs(self.p_b - 0.5) < 1e-9


@dataclass(frozen=True)
class Vote:
    """One counted judgment, by a pseudonymous rater. `preference` in [-1, 1], negative means A."""

    rater: str
    is_person: bool
    is_expert: bool
    outcome: str
    preference: float | None
    p_b: float | None
    confidence: float | None
    aspects: dict[str, Any]
    attributes: dict[str, Any]
    reasons: list[str]
    justification: str
    active_ms: int | None
    created_at: datetime
    level: int | None = None
    # As `models.Judgment` describes them.
    feedback: dict[str, str] = field(default_factory=dict)
    edit: dict[str, str] = field(default_factory=dict)
    spans: list[dict[str, Any]] = field(default_factory=list)
    ranking: dict[str, Any] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    a_first: bool | None = None


@dataclass(frozen=True)
class Judged:
    """A comparison with its label and the judgments behind it, in the order they were made.

    `further`: the responses ranked with A and B, C first.
    """

    key: str
    prompt: Prompt
    response_a: Response
    response_b: Response
    label: Label
    votes: tuple[Vote, ...]
    metadata: dict[str, Any] = field(default_factory=dict)
    further: tuple[Response, ...] = ()

    @property
    def people(self) -> list[Vote]:
        return [vote for vote in self.votes if vote.is_person]

    def unusable(self, options: Options) -> str:
        """Why no pair format can use it, or ""."""
        if self.label.neither and options.neither == "drop" and self.label.neither >= self.label.votes:
            return "neither response is valid"
        if self.label.p_b is None:
            return "no answer on the scale"
        if self.response_a.text == self.response_b.text:
            return "equal responses"
        if not self.response_a.text.strip() or not self.response_b.text.strip():
            return "an empty response"
        return ""


class Source(Protocol):
    """The data of an export, as of one point. Every call starts a new pass, ordered by id."""

    def judged(self) -> Iterator[Judged]:
        """Every comparison with counted judgments."""

    def table(self, name: str) -> Iterator[dict[str, Any]]:
        """The rows of one table of the lossless store; see `judgments.TABLES`. LookupError where there is none."""
        raise LookupError(name)

    def profiles(self) -> Mapping[str, Mapping[str, Any]]:
        """By rater, what people of the project told of themselves and agreed to publish; see `models.Profile`."""
        return {}


class Row(NamedTuple):
    config: str
    split: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Config:
    """One table of the data set: what `load_dataset(folder, name)` gives."""

    name: str
    schema: pa.Schema
    about: str


# Groups of formats, in the order of lists.
GROUPS = ("train", "published", "research")


class Writer(ABC):
    """A dataset format: what every one must say, and what one says only where the usual does not hold for it.

    `left_out` counts, by reason, what the last pass of `rows` did not write.
    """

    title: ClassVar[str]
    # Where it stands in lists of formats: one of `GROUPS`.
    group: ClassVar[str] = GROUPS[0]
    # Names of the options that make a difference here.
    heeds: ClassVar[frozenset[str]] = frozenset()
    # What its readers read, of `tables.CONTAINERS`.
    containers: ClassVar[tuple[str, ...]] = ("parquet", "jsonl", "jsonl.gz")
    # Whether it passes over every judgment and revision, beside the comparisons.
    is_lossless: ClassVar[bool] = False
    # True when `rows` must see every comparison in one pass, because it compares some with others: then there is one
    # part only, those of one prompt follow each other, and a run that died begins again.
    is_whole: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Who draws splits takes those that texts came with too: `split_of` does both."""
        super().__init_subclass__()
        cls.heeds = cls.heeds | {"splits"} if "validation" in cls.heeds else cls.heeds - {"splits"}

    def __init__(self, protocol: Definition, options: Options) -> None:
        """Raises FormatUnfit when the protocol does not collect what the format needs."""
        self.options = options
        self.left_out: Counter[str] = Counter()

    @property
    @abstractmethod
    def configs(self) -> tuple[Config, ...]: ...

    @property
    @abstractmethod
    def notes(self) -> list[str]:
        """What a reader of the data must know, one sentence each; goes on the card."""

    @abstractmethod
    def rows(self, source: Source) -> Iterator[Row]:
        """One part of the data, in order: `source` gives the comparisons (and table rows) of that part.

        A large export is many parts, each by a writer of its own; see `is_whole`.
        """

    def path(self, config: str, split: str) -> str:
        """Where a data file lies in the set's folder, without suffix."""
        return f"{config}/{split}"

    def files(self, written: Mapping[str, list[str]]) -> dict[str, str]:
        """Further files, text by name, made from the names of the data files by config."""
        return {}


def said_split(*metadata: Mapping[str, Any]) -> str:
    """The split that the first of `metadata` with a known one names; "" where none does."""
    said = [str(each["split"]).strip().lower() for each in metadata if each.get("split")]
    return next((SPLITS[known] for name in said for known in (name, _beginning(name)) if known in SPLITS), "")


def _beginning(split: str) -> str:
    """Sets with several kinds of rows say it so: "train_prefs", "test-gen"."""
    return re.split(r"[_.-]", split, maxsplit=1)[0]


def split_of(prompt: Prompt, options: Options) -> str:
    """The split of a prompt: the imported one if that is asked for and there is one, or else drawn.

    Drawn by the hash of its turns: equal conversations never cross, context or not.
    """
    if options.splits == "imported" and prompt.split:
        return prompt.split
    if not options.validation:
        return TRAIN
    digest = hashlib.sha256(f"{options.seed}\n{json.dumps(prompt.turns, sort_keys=True)}".encode()).digest()
    return VALIDATION if int.from_bytes(digest[:8]) / 2**64 < options.validation else TRAIN
