"""Switchyard's own shape of rows: a prompt, its responses, and what raters said of them (docs/formats.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import combinations
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotator.formats import rows
from annotator.formats.rows import ComparisonRow, Entry, PromptRow, ResponseRow, RowInvalid, Vote

TITLE = "Switchyard"
COLUMNS = {
    "id": _("name of the row"),
    "prompt": _("the prompt"),
    "turns": _("the prompt, turn by turn"),
    "prompt_id": _("name of the prompt"),
    "prompt_metadata": _("metadata of the prompt"),
    "system": _("the system turn"),
    "context": _("documents"),
    "responses": _("the responses"),
    "response_a": _("response A"),
    "response_b": _("response B"),
    "model_a": _("who wrote response A"),
    "model_b": _("who wrote response B"),
    "comparisons": _("which responses to compare"),
    "rank": _("whether the responses are ranked"),
    "criterion": _("what to judge by"),
    "harms": _("what the texts touch"),
    "gold": _("the known answer"),
    "metadata": _("metadata"),
    "judgments": _("judgments of people and AI"),
    "source": _("where the judgments come from"),
}
KNOWN = {
    *("id", "source", "prompt", "prompt_id", "prompt_metadata", "turns", "system", "context", "responses"),
    *("response_a", "response_b", "model_a", "model_b", "comparisons", "metadata", "judgments"),
    *("rank", "criterion", "harms", "gold"),
}
# A row that gives one of PROMPT and nothing but these is a prompt that waits for responses. A row with anything else
# is none: a column we misread as metadata would be a response lost without a word.
PROMPT = ("prompt", "turns")
PROMPT_ALONE = {"id", "source", "prompt_id", "prompt_metadata", "system", "context", "metadata", *PROMPT}
ANSWER = (
    *("level", "outcome", "aspects", "attributes", "reasons", "justification", "confidence"),
    *("flags", "feedback", "edit", "spans", "ranking"),
)
ANSWER_KEYS = frozenset(ANSWER)


def _flag(value: Any, name: str) -> bool:
    if value not in (True, False):
        raise RowInvalid(name, "must be true or false")
    return bool(value)


# What a judgment may say beside its answer, as `Vote` calls it, and the check of each.
CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "source": partial(rows.text, width=rows.SOURCE_WIDTH),
    "preference": partial(rows.number, low=-1, high=1),
    "p_b": partial(rows.number, low=0, high=1),
    "p_tie": partial(rows.number, low=0, high=1),
    "round": partial(rows.whole, low=1, high=32_000),
    "a_first": _flag,
    "active_ms": partial(rows.whole, low=0, high=2**31 - 1),
    "created_at": rows.moment,
    "cost": rows.money,
}
VOTE = {"rater", "kind", "comparison", "provenance", *CHECKS, *ANSWER}


def claims(row: Mapping[str, Any]) -> bool:
    return not row.keys().isdisjoint(("responses", "response_a", "response_b")) or _is_prompt_alone(row)


def _is_prompt_alone(row: Mapping[str, Any]) -> bool:
    return row.keys() <= PROMPT_ALONE and not row.keys().isdisjoint(PROMPT)


def read(row: Mapping[str, Any]) -> Entry:
    """One row. Raises RowInvalid at the first thing that does not fit."""
    row_id = rows.identifier(row.get("id"), "id")
    if _is_prompt_alone(row):
        return Entry(_prompt_alone(row, row_id), [], [], [])
    prompt = rows.prompt_row(
        rows.identifier(row["prompt_id"], "prompt_id") if row.get("prompt_id") is not None else None,
        turns_of(row),
        rows.sequence(row.get("context"), "context"),
        row.get("prompt_metadata"),
    )
    # What we do not know is kept, not dropped.
    unknown = {name: value for name, value in row.items() if name not in KNOWN}
    metadata = {**unknown, **rows.mapping(row.get("metadata"), "metadata")}
    responses = _responses(row)
    comparisons = _comparisons(row, row_id, responses, metadata)
    source = rows.text(row.get("source") or "", "source", width=rows.SOURCE_WIDTH, empty=True)
    return Entry(prompt, responses, comparisons, _votes(row.get("judgments"), comparisons, source))


def _prompt_alone(row: Mapping[str, Any], row_id: str) -> PromptRow:
    """It has the row's id and metadata, which its comparisons will get once there are some."""
    name = rows.identifier(row["prompt_id"], "prompt_id") if row.get("prompt_id") is not None else row_id
    own = {
        **rows.mapping(row.get("metadata"), "metadata"),
        **rows.mapping(row.get("prompt_metadata"), "prompt_metadata"),
    }
    return rows.prompt_row(name, turns_of(row), rows.sequence(row.get("context"), "context"), own)


def turns_of(row: Mapping[str, Any]) -> list[Any]:
    """The prompt's turns: text is one user turn; `system` goes first."""
    given = row["turns"] if row.get("turns") is not None else row.get("prompt")
    turns = [{"role": "user", "content": rows.text(given, "prompt")}] if isinstance(given, str) else given
    if not turns:
        raise RowInvalid("prompt", "is missing")
    turns = rows.sequence(turns, "prompt")
    if row.get("system") is not None:
        turns = [{"role": "system", "content": rows.text(row["system"], "system")}, *turns]
    return turns


def _responses(row: Mapping[str, Any]) -> list[ResponseRow]:
    if row.get("responses") is None:
        return pair_of(row)
    given = rows.sequence(row["responses"], "responses")
    if len(given) < 2:
        raise RowInvalid("responses", "needs at least two responses")
    return rows.apart(
        [
            rows.response_row(
                {"text": one} if isinstance(one, str) else rows.mapping(one, f"responses[{place}]"),
                f"responses[{place}]",
                f"responses[{place}].text",
            )
            for place, one in enumerate(given)
        ]
    )


def pair_of(row: Mapping[str, Any]) -> list[ResponseRow]:
    return rows.apart(
        [
            rows.response_row(
                {"text": row.get(f"response_{side}"), "model": row.get(f"model_{side}")},
                f"response_{side}",
                f"response_{side}",
            )
            for side in ("a", "b")
        ]
    )


def _comparisons(
    row: Mapping[str, Any], row_id: str, responses: list[ResponseRow], metadata: dict[str, Any]
) -> list[ComparisonRow]:
    """Those the row names, else all responses in one to be ranked, else all pairs.

    One has the row's id, several have it with their places, "q7:1-3".
    """
    if row.get("comparisons") is None:
        return _all_pairs(row, row_id, responses, metadata)
    places = {response.external_id: place for place, response in enumerate(responses)}
    return [
        _named(rows.mapping(given, f"comparisons[{at}]"), f"comparisons[{at}]", responses, places, metadata)
        for at, given in enumerate(rows.sequence(row["comparisons"], "comparisons"))
    ]


def _all_pairs(
    row: Mapping[str, Any], row_id: str, responses: list[ResponseRow], metadata: dict[str, Any]
) -> list[ComparisonRow]:
    if row.get("rank") not in (None, True, False):
        raise RowInvalid("rank", "must be true or false")
    pairs = list(combinations(range(len(responses)), 2))
    others: tuple[int, ...] = ()
    if row.get("rank"):
        pairs, others = [(0, 1)], _ranked(tuple(range(2, len(responses))), "responses")
    elif len(pairs) > 1 and row.get("gold") is not None:
        raise RowInvalid("gold", "the row has several comparisons: put it into the one of `comparisons` it belongs to")
    return [
        rows.judged_by(
            row,
            rows.comparison_row(
                row_id if len(pairs) == 1 else f"{row_id}:{a + 1}-{b + 1}", responses, a, b, metadata, "id", others
            ),
        )
        for a, b in pairs
    ]


def _ranked(others: tuple[int, ...], name: str) -> tuple[int, ...]:
    if not rows.RANKED_AT_LEAST <= 2 + len(others) <= rows.RANKED_AT_MOST:
        wanted = f"{rows.RANKED_AT_LEAST} to {rows.RANKED_AT_MOST}"
        raise RowInvalid(name, f"a ranking needs {wanted} responses, not {2 + len(others)}")
    return others


def _named(
    given: dict[str, Any], name: str, responses: list[ResponseRow], places: dict[str, int], metadata: dict[str, Any]
) -> ComparisonRow:
    sides = [_place(given.get(side), f"{name}.{side}", places) for side in ("a", "b")]
    wanted = enumerate(rows.sequence(given.get("others"), f"{name}.others"))
    others = tuple(_place(one, f"{name}.others[{at}]", places) for at, one in wanted)
    if len({*sides, *others}) < 2 + len(others):
        raise RowInvalid(name, "compares a response with itself")
    own = {**metadata, **rows.mapping(given.get("metadata"), f"{name}.metadata")}
    external_id = rows.identifier(given.get("id"), f"{name}.id")
    ranked = _ranked(others, f"{name}.others") if others else ()
    made = rows.comparison_row(external_id, responses, sides[0], sides[1], own, f"{name}.id", ranked)
    return rows.judged_by(given, made, f"{name}.")


def _place(value: Any, name: str, places: Mapping[str, int]) -> int:
    wanted = rows.identifier(value, name)
    if wanted not in places:
        raise RowInvalid(name, f"no response of the row has the id {wanted!r}")
    return places[wanted]


def _votes(given: Any, comparisons: list[ComparisonRow], source: str) -> list[Vote]:
    votes = []
    for place, one in enumerate(rows.sequence(given, "judgments")):
        name = f"judgments[{place}]"
        votes.append(_vote(rows.mapping(one, name), name, comparisons, source))
    return votes


def _vote(given: dict[str, Any], name: str, comparisons: list[ComparisonRow], source: str) -> Vote:
    """Looks at what is there, and at nothing that is not: most judgments say two or three things."""
    kind = given.get("kind")
    if kind not in ("person", "ai"):
        raise RowInvalid(f"{name}.kind", f"must be person or ai, not {kind!r}")
    is_ai = kind == "ai"
    which = _which(given.get("comparison"), name, comparisons)
    vote = Vote(name, which, rater_name(given.get("rater"), f"{name}.rater", is_ai), is_ai, source)
    unknown: dict[str, Any] = {}
    for key, value in given.items():
        if value is None:
            continue
        if key in ANSWER_KEYS:
            vote.answer[key] = value
        elif key in CHECKS:
            setattr(vote, key, CHECKS[key](value, f"{name}.{key}"))
        elif key not in VOTE:
            unknown[key] = value
    if unknown or given.get("provenance") is not None:
        said = rows.mapping(given.get("provenance"), f"{name}.provenance")
        vote.provenance = rows.as_json(unknown | said, name)
    return vote


def rater_name(value: Any, name: str, is_ai: bool) -> str:
    """People may be anonymous, a labeler has a name."""
    if value is None and not is_ai:
        return ""
    checked = rows.identifier(value, name, width=100 if is_ai else rows.ID_WIDTH)
    # Routes and ledger call the project's people that, "people:1" with one vote: a labeler of the name would be taken
    # for them.
    if is_ai and checked.strip().casefold().partition(":")[0].strip() == "people":
        raise RowInvalid(name, f"an AI labeler cannot be called {checked!r}, which stands for the project's people")
    return checked


def _which(value: Any, name: str, comparisons: list[ComparisonRow]) -> int:
    if not comparisons:
        raise RowInvalid(f"{name}.comparison", "the row names no comparison that could have been judged")
    if value is None:
        if len(comparisons) > 1:
            raise RowInvalid(f"{name}.comparison", "the row has several comparisons: say which one was judged")
        return 0
    for place, comparison in enumerate(comparisons):
        if comparison.external_id == str(value):
            return place
    raise RowInvalid(f"{name}.comparison", f"the row has no comparison {value!r}")
