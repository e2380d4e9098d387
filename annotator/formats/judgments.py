"""The lossless store: every prompt, response, comparison, judgment and revision, from which all else can be rebuilt.

Tables point at each other by the ids of the import; raters are pseudonyms. What a protocol defines freely (aspects,
attributes, spans, feedback, edit, ranking, metadata, provenance) is a JSON string with sorted keys.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from annotator.formats.source import TURN, Config, Row, Source, Writer
from annotator.formats.splits import TRAIN

_TEXT, _INT, _REAL, _YES = pa.string(), pa.int64(), pa.float64(), pa.bool_()

TABLES: dict[str, tuple[str, list[tuple[str, pa.DataType]]]] = {
    "judgments": (
        "one row a judgment and revision: who said what of which comparison",
        [
            ("judgment_id", _INT),
            ("comparison_id", _TEXT),
            ("rater", _TEXT),
            ("rater_kind", _TEXT),
            ("round", _INT),
            ("revision", _INT),
            ("is_current", _YES),
            ("outcome", _TEXT),
            ("level", _INT),
            ("preference", _REAL),
            ("p_b", _REAL),
            ("p_tie", _REAL),
            ("confidence", _REAL),
            ("aspects", _TEXT),
            ("attributes", _TEXT),
            ("reasons", pa.list_(_TEXT)),
            ("spans", _TEXT),
            ("justification", _TEXT),
            ("feedback", _TEXT),
            ("edit", _TEXT),
            ("ranking", _TEXT),
            ("flags", pa.list_(_TEXT)),
            ("purpose", _TEXT),
            ("a_first", _YES),
            ("active_ms", _INT),
            ("is_surplus", _YES),
            ("cost", _TEXT),
            ("protocol_version", _INT),
            ("guidelines_version", _INT),
            ("plan", _INT),
            ("provenance", _TEXT),
            ("created_at", _TEXT),
            ("effective_at", _TEXT),
        ],
    ),
    "comparisons": (
        "one row a comparison: a prompt with response A and response B, and those that are ranked with them",
        [
            ("comparison_id", _TEXT),
            ("prompt_id", _TEXT),
            ("response_a_id", _TEXT),
            ("response_b_id", _TEXT),
            ("further_response_ids", pa.list_(_TEXT)),
            ("criterion", _TEXT),
            ("harms", pa.list_(_TEXT)),
            ("metadata", _TEXT),
        ],
    ),
    "prompts": (
        "one row a prompt",
        [
            ("prompt_id", _TEXT),
            ("turns", pa.list_(TURN)),
            ("context", pa.list_(pa.struct([("title", _TEXT), ("text", _TEXT)]))),
            ("metadata", _TEXT),
        ],
    ),
    "responses": (
        "one row a response; `response_id` is unique within its prompt",
        [
            ("prompt_id", _TEXT),
            ("response_id", _TEXT),
            ("text", _TEXT),
            ("model", _TEXT),
            ("metadata", _TEXT),
        ],
    ),
    "raters": (
        "one row a rater: a person's pseudonym (`is_anonymous`: of several whom their source did not name), or one "
        "exact version of an AI labeler",
        [
            ("rater", _TEXT),
            ("kind", _TEXT),
            ("is_expert", _YES),
            ("is_anonymous", _YES),
            ("labeler", _TEXT),
            ("labeler_kind", _TEXT),
            ("labeler_digest", _TEXT),
            ("parameters", _TEXT),
            # "" for a version that nobody took into use, whose judgments count nowhere.
            ("accepted_at", _TEXT),
        ],
    ),
    "protocols": (
        "one row a version of the protocol and what it asks",
        [("version", _INT), ("preset", _TEXT), ("definition", _TEXT)],
    ),
    "routes": (
        "one row a comparison of the approved plan: who was to judge it, at what price, with what chance and why",
        [
            ("comparison_id", _TEXT),
            ("plan", _INT),
            ("source", _TEXT),
            ("votes", _INT),
            ("price", _TEXT),
            ("propensity", _REAL),
            ("is_control", _YES),
            ("gain", _REAL),
            ("reason", _TEXT),
        ],
    ),
    "labels": (
        "one row a labelled comparison, under this export's recipe; recomputable from the other tables",
        [
            ("comparison_id", _TEXT),
            ("source", _TEXT),
            ("p_b", _REAL),
            ("p_tie", _REAL),
            ("strength", _REAL),
            ("agreement", _REAL),
            ("votes", _INT),
            ("neither", _INT),
        ],
    ),
}


class Judgments(Writer):
    title = "Judgments, lossless"
    is_lossless = True

    @property
    def configs(self) -> tuple[Config, ...]:
        return tuple(Config(name, pa.schema(columns), about) for name, (about, columns) in TABLES.items())

    @property
    def notes(self) -> list[str]:
        return [
            "Everything is in the comparison's own order: negative means response A, whatever was shown first.",
            "A row with `is_current` false does not count: another revision of the same rater and round does. "
            "Answers that were undone within ten seconds are not here.",
            "Recorded judgments that the plan did not choose are here too; `labels` says what the recipe counted.",
        ]

    def rows(self, source: Source) -> Iterator[Row]:
        for name in TABLES:
            if name != "labels":
                for values in source.table(name):
                    yield Row(name, TRAIN, values)
        for judged in source.judged():
            label = judged.label
            columns = (name for name, _type in TABLES["labels"][1] if name != "comparison_id")
            yield Row(
                "labels", TRAIN, {"comparison_id": judged.key, **{name: getattr(label, name) for name in columns}}
            )
