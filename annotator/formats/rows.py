"""What every reader yields: one `Entry` a row, checked for shape and for what the database cannot hold.

Text is kept exactly as received. Refused, with the field named: NUL, lone surrogates, NaN and infinity.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from annotator.protocols import SIDES

# Widths of the database's columns.
ID_WIDTH = 200
SOURCE_WIDTH = 100
ROLES = ("system", "user", "assistant")
# A ranking is of three to eight responses: A to H.
RANKED_AT_LEAST, RANKED_AT_MOST = 3, 8
HARMS = ("violence", "self_harm", "sexual", "hate", "medical", "drugs", "crime")
USES = ("tutorial", "qualification", "hidden")
BETTER = ("a", "tie", "b", "neither_valid")
# What a judgment's cost may be: 14 digits, eight of them after the point.
MOST_MONEY = Decimal("999999.99999999")
# No clock on earth was ever farther from UTC (Manila until 1844: 15:56).
LARGEST_OFFSET = timedelta(hours=16)


class RowInvalid(Exception):
    """A row that cannot be taken. `field` says where in the row, the message what is wrong with it."""

    def __init__(self, field_name: str, reason: str) -> None:
        super().__init__(f"{field_name}: {reason}")
        self.field = field_name
        self.reason = reason


def no_json(error: ValueError | RecursionError) -> str:
    """Why a row, or the text of one of its fields, is no JSON: the reason of its RowInvalid.

    Places are counted in that text. The parser's own "line 1" would be taken for the file's, which is told beside it.
    """
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        # Where something is missing at the end, not behind the end of the line.
        place = min(error.pos, len(error.doc.rstrip())) + 1
        return f"is not valid JSON: {error.msg} at character {place}"
    return f"is not valid JSON: {error}"


class RowLeft(RowInvalid):
    """A row that is right and cannot be carried (an empty response): passed over and counted by `reason`."""


@dataclass(slots=True)
class PromptRow:
    external_id: str
    turns: str  # JSON, [{"role", "content"}]
    context: str  # JSON, [{"title", "text"}]
    metadata: str  # JSON
    text_hash: str


@dataclass(slots=True)
class ResponseRow:
    external_id: str
    text: str
    model: str
    metadata: str
    text_hash: str
    field: str


@dataclass(slots=True)
class ComparisonRow:
    external_id: str
    a: int  # positions in Entry.responses
    b: int
    metadata: str
    field: str
    # More responses to be ranked with A and B, in this order: C, D, …
    others: tuple[int, ...] = ()
    criterion: str = ""
    harms: list[str] = dataclasses.field(default_factory=list)
    gold: GoldRow | None = None


@dataclass(slots=True, frozen=True)
class GoldRow:
    """A known answer, in the comparison's own order; the fields of `models.Gold`."""

    use: str
    better: list[str]
    ratings: str  # JSON
    explanation: str


@dataclass(slots=True)
class Vote:
    """One judgment as it stands in the source, in the comparison's own order; the project's protocol reads it later.

    `preference` is in [-1, 1] (negative means A); `comparison` is a position in Entry.comparisons.
    """

    field: str
    comparison: int
    rater: str  # "" for anonymous people
    is_ai: bool
    source: str
    answer: dict[str, Any] = dataclasses.field(default_factory=dict)
    preference: float | None = None
    p_b: float | None = None
    p_tie: float | None = None
    confidence: float | None = None
    round: int | None = None
    a_first: bool | None = None
    active_ms: int | None = None
    created_at: datetime | None = None
    cost: Decimal = Decimal(0)
    provenance: str = "{}"
    # Of people: whether the source has them among its experts.
    is_expert: bool = False


@dataclass(slots=True)
class Entry:
    prompt: PromptRow
    responses: list[ResponseRow]
    comparisons: list[ComparisonRow]
    votes: list[Vote]
    # What the source's row had that cannot be carried, a few words each ("a draft"); imports count and report them.
    left: list[str] = dataclasses.field(default_factory=list)


def judged_texts(entry: Entry, vote: Vote) -> dict[str, str]:
    """The texts that a judgment is about, by side."""
    comparison = entry.comparisons[vote.comparison]
    places = (comparison.a, comparison.b, *comparison.others)
    return {side: entry.responses[place].text for side, place in zip(SIDES, places, strict=False)}


def text(value: Any, name: str, *, width: int | None = None, empty: bool = False) -> str:
    """`value` unchanged, when it is text that PostgreSQL can hold."""
    if not isinstance(value, str):
        raise RowInvalid(name, "is missing" if value is None else f"must be text, not {kind_of(value)}")
    if not value and not empty:
        raise RowInvalid(name, "is empty")
    if "\0" in value:
        raise RowInvalid(name, "contains a NUL character, which the database cannot hold")
    if not value.isascii():  # Python knows that of a text without looking at it
        _encoded(value, name)
    if width and len(value) > width:
        raise RowInvalid(name, f"is longer than {width} characters")
    return value


def _encoded(value: str, name: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise RowInvalid(
            name, f"is not valid Unicode at character {error.start + 1} (lone surrogate or broken UTF-8)"
        ) from None


def identifier(value: Any, name: str, *, width: int = ID_WIDTH) -> str:
    """An external id: text, or a whole number written as one."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return text(value, name, width=width)


def number(value: Any, name: str, low: float, high: float) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise RowInvalid(name, f"must be a number from {low:g} to {high:g}, not {value!r}")
    return float(value)


def whole(value: Any, name: str, low: int, high: int) -> int | None:
    checked = number(value, name, low, high)
    if checked is not None and checked != int(checked):
        raise RowInvalid(name, f"must be a whole number, not {value!r}")
    return None if checked is None else int(checked)


def money(value: Any, name: str) -> Decimal:
    """A cost: "0.0021" or 0.0021, at most `MOST_MONEY`; what is finer than eight digits after the point is rounded."""
    if value is None:
        return Decimal(0)
    try:
        amount = Decimal(str(value))
    except ArithmeticError:
        raise RowInvalid(name, f"must be an amount of money, not {value!r}") from None
    if isinstance(value, bool) or not amount.is_finite() or not 0 <= amount <= MOST_MONEY:
        raise RowInvalid(name, f"must be an amount from 0 to 999,999, not {value!r}")
    return amount


def moment(value: Any, name: str) -> datetime | None:
    """An ISO 8601 time, as UTC; without a zone it is taken as UTC."""
    if value is None:
        return None
    try:
        when = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise RowInvalid(name, f"must be a time such as 2026-03-01T12:00:00Z, not {value!r}") from None
    if abs(when.utcoffset() or timedelta()) > LARGEST_OFFSET:
        raise RowInvalid(name, f"is in a time zone that does not exist: {str(value)!r}")
    try:
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except OverflowError:
        raise RowInvalid(name, f"is too early or too late to be stored: {str(value)!r}") from None


def mapping(value: Any, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if type(value) is not dict and not isinstance(value, Mapping):
        raise RowInvalid(name, f"must be an object, not {kind_of(value)}")
    return dict(value)


def sequence(value: Any, name: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise RowInvalid(name, f"must be a list, not {kind_of(value)}")
    return list(value)


def as_json(value: Any, name: str) -> str:
    """JSON text that jsonb accepts."""
    # Most of what is asked for is empty: metadata, documents, the parts of an answer that nobody gave.
    if type(value) in EMPTY and not value:
        return EMPTY[type(value)]
    try:
        written = JSON.encode(value)
        written.encode()
    except UnicodeEncodeError:
        raise RowInvalid(name, "is not valid Unicode (lone surrogate or broken UTF-8)") from None
    except RecursionError:
        raise RowInvalid(name, "is nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise RowInvalid(name, f"cannot be stored as JSON: {error}") from None
    # The escape may also be a backslash followed by "u0000" as text; only then is the slow look worth it.
    if "\\u0000" in written and _holds_nul(value):
        raise RowInvalid(name, "contains a NUL character, which the database cannot hold")
    return written


def _holds_nul(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any("\0" in str(key) or _holds_nul(inner) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return any(_holds_nul(inner) for inner in value)
    return isinstance(value, str) and "\0" in value


def _plain(value: Any) -> Any:
    """Values of Parquet that JSON does not know."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{kind_of(value)} has no JSON form")


# Made once: json.dumps would make one a call.
JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
EMPTY: dict[type, str] = {dict: "{}", list: "[]"}
# How a turn begins in JSON, by its role.
_TURNS = {role: f'{{"role":"{role}","content":' for role in ROLES}


def kind_of(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)


def digest(*parts: str) -> str:
    """sha256 over the parts, kept apart from each other by their lengths in bytes: "2:ab1:c"."""
    sha = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        sha.update(b"%d:" % len(encoded))
        sha.update(encoded)
    return sha.hexdigest()


def prompt_row(external_id: str | None, turns: list[Any], context: list[Any], metadata: Any = None) -> PromptRow:
    """Check turns and documents. Without an id of its own a prompt is known by its text, so equal prompts are one."""
    checked = [_turn(turn, f"prompt[{place}]") for place, turn in enumerate(turns)]
    if not any(turn["role"] == "user" for turn in checked):
        raise RowInvalid("prompt", "needs a user turn")
    if checked[-1]["role"] == "assistant":
        raise RowInvalid("prompt", "ends with an assistant turn: the responses are what the assistant says next")
    documents = [_document(document, f"context[{place}]") for place, document in enumerate(context)]
    written, papers = _turns_json(checked), as_json(documents, "context")
    text_hash = digest(written, papers)
    return PromptRow(
        external_id or f"text-{text_hash[:32]}",
        written,
        papers,
        as_json(mapping(metadata, "metadata"), "metadata"),
        text_hash,
    )


def _turns_json(turns: list[dict[str, str]]) -> str:
    """What `as_json` writes of checked turns, in a quarter of the time: every row has some, and nothing else in them
    but a role, which needs no escape, and text."""
    return f"[{','.join([_TURNS[turn['role']] + JSON.encode(turn['content']) + '}' for turn in turns])}]"


def _turn(turn: Any, name: str) -> dict[str, str]:
    turn = mapping(turn, name)
    if turn.get("role") not in ROLES:
        raise RowInvalid(f"{name}.role", f"must be one of {', '.join(ROLES)}, not {turn.get('role')!r}")
    return {"role": turn["role"], "content": text(turn.get("content"), f"{name}.content")}


def _document(document: Any, name: str) -> dict[str, str]:
    document = {"text": document} if isinstance(document, str) else mapping(document, name)
    title = document.get("title")
    return {
        "title": text("" if title is None else title, f"{name}.title", empty=True),
        "text": text(document.get("text"), f"{name}.text"),
    }


def response_row(given: Mapping[str, Any], name: str, text_field: str) -> ResponseRow:
    """`given`: {"id"?, "text", "model"?, "metadata"?}. Without an id a response is known by its model and text."""
    body = text(given.get("text"), text_field)
    model = text(given.get("model") or "", f"{name}.model", width=ID_WIDTH, empty=True)
    own = given.get("id")
    text_hash = digest(body)
    return ResponseRow(
        identifier(own, f"{name}.id") if own is not None else f"text-{digest(model, body)[:32]}",
        body,
        model,
        as_json(mapping(given.get("metadata"), f"{name}.metadata"), f"{name}.metadata"),
        text_hash,
        text_field,
    )


def apart(responses: list[ResponseRow]) -> list[ResponseRow]:
    """Give equal responses of one row (same model, same text, no ids) ids that differ: they are two responses."""
    given = {response.external_id for response in responses}
    seen: dict[str, int] = {}
    for response in responses:
        name = response.external_id
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            response.external_id = f"{name}-{seen[name]}"
            # The row's own ids may begin like ours: then there may be no room for a number, or one has it already.
            if not name.startswith("text-") or response.external_id in given or len(response.external_id) > ID_WIDTH:
                raise RowInvalid(response.field, f"two responses of the row have the id {name!r}")
    return responses


def comparison_row(
    external_id: str,
    responses: list[ResponseRow],
    a: int,
    b: int,
    metadata: dict[str, Any],
    name: str,
    others: tuple[int, ...] = (),
) -> ComparisonRow:
    if responses[a].text_hash == responses[b].text_hash:
        metadata = {**metadata, "identical_responses": True}
    if len(external_id) > ID_WIDTH:
        raise RowInvalid(name, f"is longer than {ID_WIDTH} characters")
    return ComparisonRow(external_id, a, b, as_json(metadata, "metadata"), name, others)


def judged_by(given: Mapping[str, Any], comparison: ComparisonRow, prefix: str = "") -> ComparisonRow:
    """Take over what `given` says of how the comparison is to be judged: "criterion", "harms", "gold"."""
    if given.get("criterion") is not None:
        comparison.criterion = text(given["criterion"], f"{prefix}criterion", empty=True)
    if given.get("harms") is not None:
        comparison.harms = _among(given["harms"], f"{prefix}harms", HARMS)
    if given.get("gold") is not None:
        comparison.gold = _gold(mapping(given["gold"], f"{prefix}gold"), f"{prefix}gold")
    return comparison


def _among(value: Any, name: str, known: tuple[str, ...]) -> list[str]:
    chosen = sequence(value, name)
    unknown = [one for one in chosen if one not in known]
    if unknown:
        raise RowInvalid(name, f"must be of {', '.join(known)}; {unknown[0]!r} is not")
    return [one for one in known if one in chosen]


def _gold(given: dict[str, Any], name: str) -> GoldRow:
    use = given.get("use", "hidden")
    if use not in USES:
        raise RowInvalid(f"{name}.use", f"must be one of {', '.join(USES)}, not {use!r}")
    better = [given["better"]] if isinstance(given.get("better"), str) else given.get("better")
    chosen = _among(better, f"{name}.better", BETTER)
    if not chosen:
        raise RowInvalid(f"{name}.better", "is missing: say which answers are right")
    ratings = mapping(given.get("ratings"), f"{name}.ratings")
    for key, sides in ratings.items():
        for side, ends in mapping(sides, f"{name}.ratings.{key}").items():
            _ends(side, ends, f"{name}.ratings.{key}.{side}")
    words = text(given.get("explanation") or "", f"{name}.explanation", empty=True)
    return GoldRow(use, chosen, as_json(ratings, f"{name}.ratings"), words)


def _ends(side: str, ends: Any, name: str) -> None:
    whole_numbers = isinstance(ends, list | tuple) and len(ends) == 2 and all(type(end) is int for end in ends)
    if side not in ("a", "b") or not whole_numbers or ends[0] > ends[1]:
        raise RowInvalid(name, "must be of side a or b, with the lowest and the highest rating that are right: [3, 4]")
