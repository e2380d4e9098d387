"""How judgments become a label: one SQL statement, so that `aggregate` (which stores labels) and `export` (which
counts as of its own boundary) can never disagree.

A vote is a judgment that is current at the boundary, whose undo window is over and whose outcome is an answer on the
scale. People vote
0 / 0.5 / 1 for A / tie / B; labelers vote with their p_b. Of several versions of one labeler only the one accepted
last that judged the comparison counts; a candidate that nobody has accepted counts nowhere. Pooling takes neither
nulls (they read no meaning) nor the project's own proxies (they repeat its labels). Surplus judgments are real
judgments and count; a second answer that was asked for to see whether somebody stands to the first (purpose "repeat")
does not. Where a reviewer has settled a comparison (purpose "review"), the newest settlement is its label in every
recipe. `neither_valid` is counted apart: it says nothing about which response is better.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from annotator.models.labels import Recipe
from annotator.models.routes import Plan

# Nobody's id: the boundary of a count that has none.
NO_BOUNDARY = 2**63 - 1
# Kinds of `labelers.KINDS` with no opinion of their own, as patterns: baselines, and the project's proxies.
UNPOOLED = ["null%", "proxy"]


@dataclass(frozen=True)
class Scope:
    """Which judgments may count: `recipe` says whose, `plan` what was routed where, the rest as of when.

    With a `protocol` people's count only if they answered its version of that number.
    """

    recipe: Recipe
    plan_id: int | None
    seen: datetime
    last_judgment: int = NO_BOUNDARY
    protocol: int | None = None

    @property
    def boundary(self) -> dict[str, Any]:
        """The parameters of `STOOD`."""
        return {"seen": self.seen, "seen_text": as_text(self.seen), "last": self.last_judgment}

    def parameters(self, comparisons: Sequence[int]) -> dict[str, Any]:
        return {
            "comparisons": list(comparisons),
            "source": self.recipe.source,
            "recipe": self.recipe.pk,
            "plan": self.plan_id or 0,
            **self.boundary,
            "unpooled": UNPOOLED,
            "protocol": self.protocol,
        }


@dataclass(frozen=True)
class Count:
    """What the counted judgments of one comparison say together. Fields as in `Label`."""

    comparison_id: int
    source: str
    p_b: float | None
    p_tie: float | None
    strength: float | None
    agreement: float | None
    votes: int
    neither: int
    attributes: dict[str, dict[str, float]]


def as_text(time: datetime) -> str:
    """Times in `provenance`, which sort as what they say."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def approved_plan(project_id: int) -> int | None:
    """The plan whose routes the routed recipe follows."""
    approved = Plan.objects.filter(project=project_id, status=Plan.Status.APPROVED)
    return approved.values_list("pk", flat=True).first()


# Whether a judgment `j` that is not current any more was so at the boundary: it was revised or, a settlement, withdrawn
# after it. Only such rows are looked up, each by itself (OFFSET 0). What an import says under these keys is text like
# any other; "true" is how a settlement was marked before the time was.
STOOD = """(
    EXISTS (SELECT 1 FROM annotator_judgment later
            WHERE later.comparison_id = j.comparison_id AND later.rater_id = j.rater_id AND later.round = j.round
              AND (later.id > %(last)s OR later.effective_at > %(seen)s)
              AND later.provenance->>'revises' = j.id::text OFFSET 0)
    OR j.purpose = 'review' AND j.provenance->>'withdrawn' < 'A' COLLATE "C"
       AND j.provenance->>'withdrawn' > %(seen_text)s COLLATE "C"
)"""

# Without an approved plan, or where it has no route, the routed recipe takes people.
_COUNTED = (
    """
WITH judged AS (
    SELECT j.*, r.kind AS rater_kind, v.labeler_id, v.id AS version_id,
           coalesce(nullif(l.restored_kind, ''), l.kind) AS labeler_kind,
           coalesce(route.source, 'people') AS routed_to, route.labeler_id AS routed_labeler,
           first_value(v.id) OVER (PARTITION BY j.comparison_id, v.labeler_id
                                   ORDER BY v.accepted_at DESC, v.id DESC) AS newest_version,
           max(j.id) FILTER (WHERE j.purpose = 'review') OVER (PARTITION BY j.comparison_id) AS settled_by
    FROM annotator_judgment j
    JOIN annotator_rater r ON r.id = j.rater_id
    LEFT JOIN annotator_labelerversion v ON v.id = r.labeler_version_id
    LEFT JOIN annotator_labeler l ON l.id = v.labeler_id
    LEFT JOIN annotator_route route ON route.plan_id = %(plan)s AND route.comparison_id = j.comparison_id
    WHERE j.comparison_id = ANY(%(comparisons)s)
      AND (j.is_current OR """
    + STOOD
    + """) AND j.effective_at <= %(seen)s AND j.id <= %(last)s
      AND j.outcome IN ('level', 'neither_valid') AND j.purpose <> 'repeat'
      AND (v.id IS NULL OR v.accepted_at <= %(seen)s)
      AND (%(protocol)s::int IS NULL OR r.kind = 'labeler' OR j.protocol_id IN (
          SELECT id FROM annotator_protocol
          WHERE project_id = j.project_id AND version = %(protocol)s))
),
counted AS (
    SELECT judged.*,
           CASE WHEN settled_by IS NOT NULL THEN 'review'
                WHEN %(source)s = 'routed' THEN routed_to ELSE %(source)s END AS counted_source,
           CASE WHEN outcome <> 'level' THEN NULL
                WHEN rater_kind = 'labeler' AND p_b IS NOT NULL THEN p_b
                ELSE (1 + sign(preference)) / 2 END AS vote
    FROM judged
    WHERE newest_version IS NOT DISTINCT FROM version_id
      AND CASE WHEN settled_by IS NOT NULL THEN id = settled_by
               WHEN %(source)s = 'pooled' THEN rater_kind = 'person' OR labeler_kind NOT LIKE ALL(%(unpooled)s)
               WHEN %(source)s = 'routed' AND routed_labeler IS NOT NULL THEN labeler_id = routed_labeler
               ELSE rater_kind = 'person' END
)
"""
)

# Averages run in the order of judgments: a sum of floats must not depend on how a table happens to lie on disk. What an
# AI gave as a rating and is no number is no rating: one row of one project must not stop everybody's labels.
_LABELS = (
    _COUNTED
    + """,
ratings AS (
    SELECT comparison_id, jsonb_object_agg(key, sides) AS attributes
    FROM (
        SELECT comparison_id, key, jsonb_object_agg(side, mean) AS sides
        FROM (
            SELECT comparison_id, asked.key, rated.key AS side, avg(rated.value::numeric)::float8 AS mean
            FROM counted, jsonb_each(counted.attributes) AS asked,
                 jsonb_each(CASE jsonb_typeof(asked.value) WHEN 'object' THEN asked.value ELSE '{}' END) AS rated
            WHERE outcome = 'level'
              AND CASE jsonb_typeof(rated.value) WHEN 'number' THEN abs(rated.value::numeric) < 1e15 ELSE false END
            GROUP BY comparison_id, asked.key, rated.key
        ) AS means
        GROUP BY comparison_id, key
    ) AS asked
    GROUP BY comparison_id
),
labels AS (
    SELECT comparison_id,
           min(counted_source) AS source,
           avg(vote ORDER BY id) AS p_b,
           avg(CASE WHEN vote IS NULL THEN NULL
                    WHEN rater_kind = 'labeler' AND p_b IS NOT NULL THEN p_tie
                    ELSE (preference = 0)::int END ORDER BY id) AS p_tie,
           avg(preference ORDER BY id) FILTER (WHERE rater_kind = 'person') AS strength,
           greatest(count(*) FILTER (WHERE vote < 0.5), count(*) FILTER (WHERE vote > 0.5),
                    count(*) FILTER (WHERE vote = 0.5))::float8 / nullif(count(vote), 0) AS agreement,
           count(vote) AS votes,
           count(*) FILTER (WHERE outcome = 'neither_valid') AS neither,
           array_agg(id ORDER BY id) AS judgments
    FROM counted
    GROUP BY comparison_id
)
"""
)

_COUNT = (
    _LABELS
    + """
SELECT comparison_id, source, p_b, p_tie, strength, agreement, votes, neither,
       coalesce(ratings.attributes, '{}') AS attributes
FROM labels LEFT JOIN ratings USING (comparison_id)
ORDER BY comparison_id
"""
)

# Exports have the ratings from the judgments themselves.
_BEHIND = (
    _LABELS + "SELECT comparison_id, source, p_b, p_tie, strength, agreement, votes, neither, judgments FROM labels"
)

# Stale labels are looked up one by one (OFFSET 0 keeps it so) after the counts have ruled out nearly all of them: left
# to itself the planner reads every label of the recipe, and a batch costs more the further an import has come.
_STORE = (
    _LABELS
    + """,
stored AS (
    INSERT INTO annotator_label
        (comparison_id, recipe_id, source, p_b, p_tie, strength, agreement, votes, attributes, updated_at)
    SELECT comparison_id, %(recipe)s, source, p_b, p_tie, strength, agreement, votes,
           coalesce(ratings.attributes, '{}'), clock_timestamp()
    FROM labels LEFT JOIN ratings USING (comparison_id)
    ON CONFLICT (comparison_id, recipe_id) DO UPDATE SET
        source = excluded.source, p_b = excluded.p_b, p_tie = excluded.p_tie, strength = excluded.strength,
        agreement = excluded.agreement, votes = excluded.votes, attributes = excluded.attributes,
        updated_at = excluded.updated_at
    WHERE (annotator_label.source, annotator_label.p_b, annotator_label.p_tie, annotator_label.strength,
           annotator_label.agreement, annotator_label.votes, annotator_label.attributes)
      IS DISTINCT FROM (excluded.source, excluded.p_b, excluded.p_tie, excluded.strength,
                        excluded.agreement, excluded.votes, excluded.attributes)
)
DELETE FROM annotator_label WHERE id IN (
    SELECT stale.id
    FROM unnest(%(comparisons)s::bigint[]) AS asked(comparison_id)
    CROSS JOIN LATERAL (
        SELECT l.id FROM annotator_label l
        WHERE l.comparison_id = asked.comparison_id AND l.recipe_id = %(recipe)s
        OFFSET 0
    ) AS stale
    WHERE asked.comparison_id NOT IN (SELECT comparison_id FROM labels)
)
"""
)


def store(scope: Scope, comparisons: Sequence[int]) -> None:
    """Bring the labels of `comparisons` under the scope's recipe up to date; labels nobody backs any more go."""
    with connection.cursor() as cursor:
        cursor.execute(_STORE, scope.parameters(comparisons))


def count(scope: Scope, comparisons: Sequence[int]) -> dict[int, Count]:
    """The labels of `comparisons` by comparison id, counted now and not stored."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, scope.parameters(comparisons))
        return {row[0]: Count(*row) for row in _decoded(cursor.fetchall())}


def behind(scope: Scope, comparisons: Sequence[int]) -> dict[int, tuple[Count, list[int]]]:
    """The labels of `comparisons` without ratings, and the ids of the judgments that count, `neither_valid` included.

    Ids are in order. Counted now and not stored.
    """
    with connection.cursor() as cursor:
        cursor.execute(_BEHIND, scope.parameters(comparisons))
        return {row[0]: (Count(*(*row[:-1], {})), row[-1]) for row in cursor.fetchall()}


def stood(scope: Scope, judgments: Sequence[int]) -> set[int]:
    """Those of `judgments`, none of them current now, that were so at the scope's boundary."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT j.id FROM annotator_judgment j WHERE j.id = ANY(%(judgments)s) AND {STOOD}",
            {**scope.boundary, "judgments": list(judgments)},
        )
        return {row[0] for row in cursor.fetchall()}


def _decoded(rows: Iterable[tuple[Any, ...]]) -> Iterable[tuple[Any, ...]]:
    for row in rows:
        *rest, attributes = row
        yield (*rest, json.loads(attributes) if isinstance(attributes, str) else attributes)
