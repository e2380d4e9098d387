"""UltraFeedback (arXiv 2310.01377) as its authors publish it: an instruction, completions, each rated 1 to 5.

Written from people's ratings of a protocol that asks for one of the four aspects; the comparisons of one prompt are one
row. Read: every two completions are a comparison. The ratings of the original are GPT-4's, so they
come in as votes of an AI labeler, by the difference of their means; they are no probabilities, and say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import pyarrow as pa
from django.utils.translation import gettext_lazy as _

from annotator.formats import rows
from annotator.formats.published import better, conversations
from annotator.formats.published.together import by_prompt
from annotator.formats.rows import Entry, RowInvalid
from annotator.formats.source import Config, FormatUnfit, Judged, Options, Response, Row, Source, Vote, Writer, split_of
from annotator.protocols import SIDES, Attribute, Definition

TITLE = "UltraFeedback"
LABELER = "ultrafeedback"
ASPECTS = ("helpfulness", "honesty", "instruction_following", "truthfulness")
LOWEST, HIGHEST = 1, 5
# What the original writes where a rating is missing.
MISSING = "N/A"
COLUMNS = {
    "source": _("metadata"),
    "instruction": _("the prompt"),
    "models": _("left aside: the completions name them"),
    "completions": _("the responses, every two of them a comparison; ratings are an AI labeler's votes"),
    "meta_source": _("who rated; the labeler “ultrafeedback” where there is none"),
}
KNOWN = ("instruction", "models", "completions", "meta_comparison_ids")
# Columns of a completion that say how good it is: they stay with the votes.
RATED = ("annotations", "fine-grained_score", "overall_score", "critique")

_TEXT = pa.string()
_RATING = pa.struct([("Rating", _TEXT), ("Rationale", _TEXT)])
_COMPLETION = pa.struct(
    [
        ("model", _TEXT),
        ("principle", _TEXT),
        ("custom_system_prompt", _TEXT),
        ("response", _TEXT),
        ("annotations", pa.struct([(aspect, _RATING) for aspect in ASPECTS])),
        ("fine-grained_score", pa.float64()),
        ("critique", _TEXT),
    ]
)
_SCHEMA = pa.schema(
    [
        ("source", _TEXT),
        ("instruction", _TEXT),
        ("models", pa.list_(_TEXT)),
        ("completions", pa.list_(_COMPLETION)),
        ("correct_answers", pa.list_(_TEXT)),
        ("incorrect_answers", pa.list_(_TEXT)),
        ("meta_source", _TEXT),
        ("meta_comparison_ids", pa.list_(_TEXT)),
    ]
)

joined = better.named


class UltraFeedback(Writer):
    title = TITLE
    group = "published"
    heeds = frozenset({"validation", "seed"})
    # A row is made of all comparisons of its prompt.
    is_whole = True

    def __init__(self, protocol: Definition, options: Options) -> None:
        self.asked = {each.key: each for each in protocol.attributes if each.key in ASPECTS}
        if not self.asked:
            raise FormatUnfit(
                f"UltraFeedback needs ratings of each response by {', '.join(ASPECTS)}, or one of them, which this "
                "project's protocol does not ask for. The preset “helpsteer2” asks for helpfulness; UltraFeedback "
                "binarized fits every project."
            )
        super().__init__(protocol, options)

    @property
    def configs(self) -> tuple[Config, ...]:
        return (Config("default", _SCHEMA, "one row a prompt: its responses with their ratings"),)

    @property
    def notes(self) -> list[str]:
        asked = ", ".join(f"{each.key} ({each.minimum} to {each.maximum})" for each in self.asked.values())
        return [
            f"Ratings are the mean of people's, stretched to 1 to 5 and rounded, halves up, written as text. Asked "
            f"for: {asked}; the other aspects are `{MISSING}`. The original's were GPT-4's.",
            "`fine-grained_score` is the mean over the aspects, not rounded; there is no `overall_score`. "
            "`critique` is people's feedback on the response. Rationales are empty: nobody was asked for them.",
            "All comparisons of one prompt are one row. The original has four completions.",
            "An instruction is one text: conversations of several turns and with system turns are left out.",
        ]

    def rows(self, source: Source) -> Iterator[Row]:
        self.left_out.clear()
        for judged in by_prompt(source, self.left_out):
            text, reason = conversations.only_turn(judged[0].prompt)
            completions = [] if reason else self._completions(judged)
            if len(completions) < 2:
                self.left_out[reason or "fewer than two responses that people rated"] += 1
            else:
                yield Row("default", split_of(judged[0].prompt, self.options), _row(judged, text, completions))

    def _completions(self, judged: list[Judged]) -> list[dict[str, Any]]:
        """The rated responses, in the order in which they first stand in a comparison."""
        responses: dict[str, Response] = {}
        votes: dict[str, list[tuple[str, Vote]]] = {}
        for each in judged:
            for side, response in zip(SIDES, (each.response_a, each.response_b, *each.further), strict=False):
                responses.setdefault(response.key, response)
                votes.setdefault(response.key, []).extend((side, vote) for vote in each.people)
        made = [self._completion(response, votes[key]) for key, response in responses.items()]
        return [each for each in made if each["fine-grained_score"] is not None]

    def _completion(self, response: Response, votes: list[tuple[str, Vote]]) -> dict[str, Any]:
        means = {key: _mean(attribute, votes) for key, attribute in self.asked.items()}
        known = [mean for mean in means.values() if mean is not None]
        feedback = [vote.feedback[side] for side, vote in votes if vote.feedback.get(side)]
        said = {name: response.metadata.get(name) for name in ("principle", "custom_system_prompt")}
        return {
            "model": response.model,
            **{name: None if value is None else str(value) for name, value in said.items()},
            "response": response.text,
            "annotations": {aspect: {"Rating": _written(means.get(aspect)), "Rationale": ""} for aspect in ASPECTS},
            "fine-grained_score": sum(known) / len(known) if known else None,
            "critique": "\n\n".join(feedback),
        }


def _mean(attribute: Attribute, votes: list[tuple[str, Vote]]) -> float | None:
    """The mean rating, stretched to 1 to 5."""
    given = [(vote.attributes.get(attribute.key) or {}).get(side) for side, vote in votes]
    said = [value for value in given if value is not None]
    if not said:
        return None
    share = (sum(said) / len(said) - attribute.minimum) / (attribute.maximum - attribute.minimum)
    return LOWEST + (HIGHEST - LOWEST) * share


def _written(mean: float | None) -> str:
    return MISSING if mean is None else str(int(mean + 0.5 + 1e-9))


def _row(judged: list[Judged], text: str, completions: list[dict[str, Any]]) -> dict[str, Any]:
    said = {**judged[0].prompt.metadata, **judged[0].metadata}
    return {
        "source": str(said.get("source") or ""),
        "instruction": text,
        "models": [each["model"] for each in completions],
        "completions": completions,
        "correct_answers": ["None"],
        "incorrect_answers": ["None"],
        "meta_source": ", ".join(sorted({each.label.source for each in judged})),
        "meta_comparison_ids": [each.key for each in judged],
    }


def claims(row: Mapping[str, Any]) -> bool:
    return "instruction" in row and isinstance(row.get("completions"), list)


def read(row: Mapping[str, Any]) -> Entry:
    """One row: every two completions a comparison. Raises RowInvalid."""
    given = [rows.mapping(each, "completions") for each in rows.sequence(row["completions"], "completions")]
    if not 2 <= len(given) <= rows.RANKED_AT_MOST:
        raise RowInvalid("completions", f"needs 2 to {rows.RANKED_AT_MOST} completions, not {len(given)}")
    text = rows.text(row.get("instruction"), "instruction")
    responses = rows.apart([_response(each, f"completions[{place}]") for place, each in enumerate(given)])
    ratings = [_ratings(each, f"completions[{place}]") for place, each in enumerate(given)]
    name, metadata = better.row_id(row), better.metadata_of(row, KNOWN)
    labeler = better.labeler_of(row.get("meta_source"), LABELER)
    pairs = list(combinations(range(len(given)), 2))
    comparisons, votes = [], []
    for a, b in pairs:
        own = name if len(pairs) == 1 else f"{name}:{a + 1}-{b + 1}"
        comparisons.append(rows.comparison_row(own, responses, a, b, metadata, "completions"))
        if ratings[a] and ratings[b]:
            votes.append(_vote(ratings[a], ratings[b], labeler, len(comparisons) - 1))
    left = ["a completion without ratings"] * sum(not each for each in ratings)
    # Several people's means are not what one of them said, and not on the project's own scale.
    left += [] if labeler else ["people's mean ratings, kept with the responses"]
    prompt = rows.prompt_row(None, [{"role": "user", "content": text}], [])
    return Entry(prompt, responses, comparisons, votes, left)


def _response(given: Mapping[str, Any], name: str) -> rows.ResponseRow:
    """Rationales and scores would give the answer away on a page, but the response is where they stand once."""
    kept = {key: value for key, value in given.items() if key not in ("model", "response") and value is not None}
    told = {key: kept.pop(key) for key in RATED if key in kept}
    return rows.response_row(
        {
            "text": given.get("response"),
            "model": given.get("model"),
            "metadata": {**kept, **({"ultrafeedback": told} if told else {})},
        },
        name,
        f"{name}.response",
    )


def _ratings(given: Mapping[str, Any], name: str) -> dict[str, int]:
    """The aspects that have a rating."""
    annotations = rows.mapping(given.get("annotations"), f"{name}.annotations")
    found = {}
    for aspect in ASPECTS:
        written = rows.mapping(annotations.get(aspect), f"{name}.annotations.{aspect}").get("Rating")
        if written in (None, "", MISSING):
            continue
        if not isinstance(written, str | int) or str(written) not in "12345" or len(str(written)) != 1:
            raise RowInvalid(f"{name}.annotations.{aspect}.Rating", f'must be "1" to "5" or "N/A", not {written!r}')
        found[aspect] = int(written)
    return found


def _vote(a: Mapping[str, int], b: Mapping[str, int], labeler: str, comparison: int) -> rows.Vote:
    """By the means over the aspects that both have; of four points' distance the most."""
    both = [aspect for aspect in ASPECTS if aspect in a and aspect in b]
    means = [sum(each[aspect] for aspect in both) / len(both) if both else 0.0 for each in (a, b)]
    return rows.Vote(
        field="completions",
        comparison=comparison,
        rater=labeler,
        is_ai=bool(labeler),
        source="",
        answer={"attributes": {aspect: {"a": a[aspect], "b": b[aspect]} for aspect in both}} if labeler else {},
        preference=(means[1] - means[0]) / (HIGHEST - LOWEST),
        provenance=rows.as_json({"made_of": "the difference of mean ratings, which is no probability"}, "completions"),
    )
