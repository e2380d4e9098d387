"""What the server answers: its JSON as it comes. A newer server may add fields; those named here stay."""

from __future__ import annotations

from typing import Any, Generic, TypedDict, TypeVar

Item = TypeVar("Item")


class Page(TypedDict, Generic[Item]):
    items: list[Item]
    next: int | None


class Project(TypedDict):
    id: int
    name: str
    description: str
    status: str
    currency: str
    price_per_judgment: str
    votes: int
    protocol: str
    protocol_version: int


class Comparison(TypedDict):
    id: int
    external_id: str
    prompt_id: str
    model_a: str
    model_b: str
    criterion: str
    metadata: dict[str, Any]
    votes_wanted: int
    created_at: str


class Imported(TypedDict):
    """How much was new, how many comparisons were there already, and what could not be carried, with counts."""

    prompts: int
    responses: int
    comparisons: int
    judgments: int
    skipped_existing: int
    left: dict[str, int]


class Job(TypedDict):
    """`state`: waiting, running, paused, done, failed or cancelled."""

    id: int
    kind: str
    state: str
    progress: int
    total: int
    message: str
    result: dict[str, Any]


class File(TypedDict):
    name: str
    bytes: int
    sha256: str
    rows: int | None
    url: str


class Export(TypedDict):
    """Its files are there once `completed_at` is set."""

    number: int
    dataset: str | None
    version: int | None
    format: str
    container: str
    options: dict[str, Any]
    filters: dict[str, Any]
    rows: int
    sha256: str
    files: list[File]
    created_at: str
    completed_at: str | None


class Dataset(TypedDict):
    id: int
    name: str
    format: str
    container: str
    source: str
    created_at: str


class Plan(TypedDict):
    """Money is text: exact."""

    number: int
    status: str
    strategy: str
    budget: str
    cost: str
    cost_to_pay: str
    predicted: float | None
    low: float | None
    high: float | None


class Labeler(TypedDict):
    """`version`: the digest of the one that judges; null for a labeler that has none yet. Money is text: exact."""

    id: int
    name: str
    kind: str
    enabled: bool
    price_per_call: str
    price_per_million_input: str
    price_per_million_output: str
    version: str | None


class Run(TypedDict):
    """A labeler's run, which is a job: `state` is one of `Job`. `set_aside`: null where it needs no money."""

    id: int
    labeler: int | None
    on: str
    plan: int | None
    state: str
    progress: int
    total: int
    message: str
    judged: int
    unparsed: int
    given_up: int
    failed_calls: int
    spent: str
    held: str
    set_aside: str | None


class Link(TypedDict):
    """`name`: the file of the export, "" for all of them."""

    id: int
    name: str
    created_at: str
    until: str


class NewLink(Link):
    """Its address is in the answer that made it; null in one that was lost on the way and is given again."""

    url: str | None


class Webhook(TypedDict):
    id: int
    url: str
    events: list[str]
    is_active: bool
    is_failing: bool
