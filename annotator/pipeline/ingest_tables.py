"""The SQL of ingest: temporary tables filled by COPY, compared with what is stored, inserted in one go."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Self

from django.db import DatabaseError, connections, models, transaction
from django.utils.timezone import now

from annotator.formats import recorded
from annotator.formats.rows import Entry, RowInvalid, Vote, as_json
from annotator.models import (
    Candidate,
    Comparison,
    Gold,
    Job,
    Judgment,
    Labeler,
    LabelerVersion,
    Project,
    Prompt,
    Rater,
    Response,
)
from annotator.protocols import Answer

if TYPE_CHECKING:
    from annotator.pipeline.ingest import Errors

Beat = Callable[[int, int, str], None]
RaterKey = tuple[bool, str, str]  # is AI, source ("" for AI), name

# Column name and type of each staging table; JSON stays text until it is inserted. `place` counts within the line.
TABLES = {
    "staged_prompt": "line int, key text, turns text, context text, metadata text, text_hash text",
    "staged_response": (
        "line int, place int, field text, prompt_key text, key text, body text, model text, metadata text,"
        " text_hash text"
    ),
    "staged_comparison": (
        "line int, place int, field text, key text, prompt_key text, prompt_hash text, a_field text, a_key text,"
        " a_hash text, a_model text, b_field text, b_key text, b_hash text, b_model text, metadata text, others text[],"
        " criterion text, harms text[], gold_use text, gold_better text[], gold_ratings text, gold_explanation text"
    ),
    "staged_judgment": (
        "line int, place int, field text, comparison_key text, rater int, round int, outcome text, level int,"
        " preference float8, p_b float8, p_tie float8, confidence float8, aspects text, attributes text,"
        " reasons text[], justification text, flags text[], feedback text, edit text, spans text, ranking text,"
        " a_first bool, active_ms int, cost numeric, provenance text,"
        " created_at timestamptz"
    ),
}
# Columns by which the tables are joined, whose spread the planner must know; to look at the texts takes longer.
JOINED = {
    "staged_prompt": "line, key",
    "staged_response": "line, prompt_key, key",
    "staged_comparison": "line, key, prompt_key",
    "staged_judgment": "line, comparison_key, rater",
}
# For the sort of a CHUNK with its texts, which would go through files else.
WORK_MEMORY = "64MB"
# An empty array as COPY reads it: psycopg would look into each list for the type of its elements.
NO_ARRAY = "{}"
# Fields of an answer that are objects or lists of them.
OBJECTS = ("feedback", "edit", "spans", "ranking")
NO_GOLD = (None, None, None, None)
# Prompts of rows without a comparison.
ALONE = "staged_prompt p WHERE NOT EXISTS (SELECT FROM staged_comparison s WHERE s.line = p.line)"
# Lines inserted by one statement, between two beats.
CHUNK = 5000


class Heart:
    """Beats for a job from a connection of its own, so that a long transaction shows progress and can be cancelled."""

    def __init__(self, job: Job | None) -> None:
        self._job = job

    def __enter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1) if self._job else None
        return self

    def __exit__(self, *_error: object) -> None:
        if self._thread:
            self._thread.submit(connections.close_all).result()
            self._thread.shutdown()

    def beat(self, progress: int, total: int, message: str) -> None:
        """Raises JobCancelled, which rolls the import back."""
        if self._thread and self._job:
            self._thread.submit(self._job.beat, progress, total, message).result()


class Staging:
    """Rows on their way in. Nobody else sees them; they vanish with `drop` or with the connection."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.pending: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLES}
        self.raters: dict[RaterKey, int] = {}
        self.experts: set[RaterKey] = set()
        self.pending_size = 0
        self.source = ""
        self.protocol_id = 0

    def begin(self, protocol_id: int, source: str) -> None:
        self.protocol_id, self.source = protocol_id, source
        with self.connection.cursor() as cursor:
            for table, columns in TABLES.items():
                cursor.execute(f"DROP TABLE IF EXISTS pg_temp.{table}")
                # Texts pass through once: moving them aside or compressing them here would be work for nothing.
                cursor.execute(f"CREATE TEMPORARY TABLE {table} ({columns}) WITH (toast_tuple_target = 8160)")
            cursor.execute("ALTER TABLE staged_response ALTER body SET STORAGE EXTERNAL")
            cursor.execute("ALTER TABLE staged_prompt ALTER turns SET STORAGE EXTERNAL")

    def drop(self) -> None:
        # A lost connection took its temporary tables along.
        with contextlib.suppress(DatabaseError), self.connection.cursor() as cursor:
            for table in (*TABLES, "new_line", "staged_rater"):
                cursor.execute(f"DROP TABLE IF EXISTS pg_temp.{table}")

    def add(self, line: int, entry: Entry, answers: list[Answer]) -> None:
        """Take one checked row. Raises RowInvalid when two of its judgments claim the same place."""
        judgments = list(self._judgments(line, entry, answers))
        prompt, responses = entry.prompt, entry.responses
        self.pending_size += len(prompt.turns) + len(prompt.context) + sum(len(one.text) for one in responses)
        self.pending["staged_prompt"].append(
            (line, prompt.external_id, prompt.turns, prompt.context, prompt.metadata, prompt.text_hash)
        )
        self.pending["staged_response"] += [
            (line, place, one.field, prompt.external_id, one.external_id)
            + (one.text, one.model, one.metadata, one.text_hash)
            for place, one in enumerate(responses)
        ]
        for place, one in enumerate(entry.comparisons):
            a, b = responses[one.a], responses[one.b]
            self.pending["staged_comparison"].append(
                (line, place, one.field, one.external_id, prompt.external_id, prompt.text_hash)
                + (a.field, a.external_id, a.text_hash, a.model, b.field, b.external_id, b.text_hash, b.model)
                + (one.metadata, [responses[other].external_id for other in one.others] or NO_ARRAY)
                + (one.criterion, one.harms or NO_ARRAY)
                + ((one.gold.use, one.gold.better, one.gold.ratings, one.gold.explanation) if one.gold else NO_GOLD)
            )
        self.pending["staged_judgment"] += judgments

    def _judgments(self, line: int, entry: Entry, answers: list[Answer]) -> Iterator[tuple[Any, ...]]:
        """Staged judgments of a row; a person's second vote on a comparison is round 2."""
        taken: dict[tuple[int, int], set[int]] = {}
        given_time = now()
        for place, (vote, answer) in enumerate(zip(entry.votes, answers, strict=True)):
            rater = self._rater(vote)
            rounds = taken.setdefault((vote.comparison, rater), set())
            own_round = vote.round or max(rounds, default=0) + 1
            if own_round in rounds:
                raise RowInvalid(f"{vote.field}.round", f"{vote.rater or 'the rater'} has round {own_round} twice")
            rounds.add(own_round)
            key = entry.comparisons[vote.comparison].external_id
            yield (line, place, vote.field, key, rater, own_round, *_judgment(vote, answer, given_time))

    def _rater(self, vote: Vote) -> int:
        source = "" if vote.is_ai else self.source or vote.source or "import"
        if vote.is_expert and not vote.rater:
            # Anonymous experts are not the anonymous people beside them.
            source = f"{source[:90]} experts"
        key = (vote.is_ai, source, vote.rater)
        if vote.is_expert:
            self.experts.add(key)
        return self.raters.setdefault(key, len(self.raters))

    def flush(self, *, keep: bool) -> None:
        """COPY what is pending, or forget it when the import has failed anyway."""
        self.pending_size = 0
        with transaction.atomic(), self.connection.cursor() as cursor:
            for table, waiting in self.pending.items():
                if waiting and keep:
                    with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                        for row in waiting:
                            copy.write_row(row)
                waiting.clear()

    def store(self, project: Project, errors: Errors, beat: Beat) -> dict[str, int]:
        """Insert what is new, inside the caller's transaction. What contradicts stored rows goes to `errors`."""
        with self.connection.cursor() as cursor:
            # Two imports into one project one after the other: what is compared stays true until it is inserted.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('switchyard ingest'), %s)", [project.pk])
            cursor.execute(f"SET LOCAL work_mem = '{WORK_MEMORY}'")
            _index(cursor)
            _contradictions(cursor, project, errors)
            if errors.shown:
                return {}
            beat(75, 100, "storing")
            self._store_raters(cursor, project)
            _judgment_contradictions(cursor, project, errors)
            if errors.shown:
                return {}
            return _insert_all(cursor, project, self.protocol_id, beat)

    def _store_raters(self, cursor: Any, project: Project) -> None:
        rows = [(place, _rater_row(project, *key).pk, key[0]) for key, place in self.raters.items()]
        experts = {self.raters[key] for key in self.experts}
        known = [rater for place, rater, _is_ai in rows if place in experts]
        Rater.objects.filter(pk__in=known).update(was_expert=True)
        cursor.execute("DROP TABLE IF EXISTS pg_temp.staged_rater")
        cursor.execute("CREATE TEMPORARY TABLE staged_rater (place int, rater_id bigint, is_ai bool)")
        with cursor.copy("COPY staged_rater FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


def _judgment(vote: Vote, answer: Answer, given_time: Any) -> tuple[Any, ...]:
    p_b, p_tie = recorded.probability(vote, answer.outcome)
    return (
        (answer.outcome, answer.level, answer.preference, p_b, p_tie)
        + (answer.confidence, as_json(answer.aspects, vote.field), as_json(answer.attributes, vote.field))
        + (answer.reasons or NO_ARRAY, answer.justification, answer.flags or NO_ARRAY)
        + tuple(
            as_json(getattr(answer, name), f"{vote.field}.{name}") for name in ("feedback", "edit", "spans", "ranking")
        )
        + (vote.a_first, vote.active_ms, vote.cost, vote.provenance)
        + (vote.created_at or given_time,)
    )


def _rater_row(project: Project, is_ai: bool, source: str, name: str) -> Rater:
    if not is_ai:
        return Rater.objects.get_or_create(
            project=project, source=source, external_id=name, user=None, labeler_version=None,
            defaults={"kind": Rater.Kind.PERSON},
        )[0]  # fmt: skip
    labeler, _made = Labeler.objects.get_or_create(project=project, name=name, defaults={"kind": "recorded"})
    version, _made = LabelerVersion.objects.get_or_create(
        labeler=labeler,
        digest=sha256(f"recorded:{name}".encode()).hexdigest(),
        defaults={"parameters": {"judge": name}},
    )
    return Rater.objects.get_or_create(project=project, labeler_version=version, defaults={"kind": Rater.Kind.LABELER})[
        0
    ]


def _index(cursor: Any) -> None:
    for table, columns in JOINED.items():
        cursor.execute(f"CREATE INDEX ON {table} (line)")
        cursor.execute(f"ANALYZE {table} ({columns})")


# Each gives (line, field, reason); %(project)s is the project.
CONTRADICTIONS = (
    # An id twice in the file.
    """SELECT line, field, format('the id %%s is already on line %%s', key, first) FROM (
         SELECT line, field, key, first_value(line) OVER w AS first, row_number() OVER w AS nth
         FROM staged_comparison WINDOW w AS (PARTITION BY key ORDER BY line)) twice WHERE nth > 1""",
    # A prompt's or response's own id with two texts in the file.
    """SELECT line, 'prompt', format('the prompt id %%s has another text on line %%s', key, first) FROM (
         SELECT line, key, text_hash, first_value(text_hash) OVER w AS same, first_value(line) OVER w AS first
         FROM staged_prompt WINDOW w AS (PARTITION BY key ORDER BY line)) both_texts WHERE text_hash <> same""",
    """SELECT line, field, format('the response id %%s has another text or model on line %%s', key, first) FROM (
         SELECT line, field, key, text_hash || model AS body, first_value(text_hash || model) OVER w AS same,
           first_value(line) OVER w AS first
         FROM staged_response WINDOW w AS (PARTITION BY prompt_key, key ORDER BY line)) both_texts
       WHERE body <> same""",
    # The same against what the project holds.
    """SELECT s.line, 'prompt', format('the project has prompt %%s with another text', s.key)
       FROM staged_prompt s JOIN annotator_prompt p ON p.project_id = %(project)s AND p.external_id = s.key
       WHERE p.text_hash <> s.text_hash""",
    """SELECT s.line, s.field, format('the project has response %%s with another text or model', s.key)
       FROM staged_response s
       JOIN annotator_prompt p ON p.project_id = %(project)s AND p.external_id = s.prompt_key
       JOIN annotator_response r ON r.prompt_id = p.id AND r.external_id = s.key
       WHERE r.text_hash <> s.text_hash OR r.model <> s.model""",
    """SELECT s.line,
         CASE WHEN p.text_hash <> s.prompt_hash THEN 'prompt'
              WHEN a.text_hash <> s.a_hash OR a.model <> s.a_model THEN s.a_field ELSE s.b_field END,
         format('the project has comparison %%s with another %%s; give the new one an id of its own', s.key,
           CASE WHEN p.text_hash <> s.prompt_hash THEN 'prompt'
                WHEN a.text_hash <> s.a_hash OR b.text_hash <> s.b_hash THEN 'text' ELSE 'model' END)
       FROM staged_comparison s
       JOIN annotator_comparison c ON c.project_id = %(project)s AND c.external_id = s.key
       JOIN annotator_prompt p ON p.id = c.prompt_id
       JOIN annotator_response a ON a.id = c.response_a_id
       JOIN annotator_response b ON b.id = c.response_b_id
       WHERE (p.text_hash, a.text_hash, a.model, b.text_hash, b.model)
          IS DISTINCT FROM (s.prompt_hash, s.a_hash, s.a_model, s.b_hash, s.b_model)""",
    # What it is judged by.
    """SELECT s.line, CASE WHEN c.criterion <> s.criterion THEN 'criterion' ELSE 'responses' END,
         format('the project has comparison %%s with another %%s; give the new one an id of its own', s.key,
           CASE WHEN c.criterion <> s.criterion THEN 'criterion' ELSE 'choice of responses to be ranked' END)
       FROM staged_comparison s
       JOIN annotator_comparison c ON c.project_id = %(project)s AND c.external_id = s.key
       WHERE c.criterion <> s.criterion OR (c.candidates_count, cardinality(s.others)) <> (0, 0) AND s.others <> ARRAY(
         SELECT r.external_id::text FROM annotator_candidate more JOIN annotator_response r ON r.id = more.response_id
         WHERE more.comparison_id = c.id ORDER BY more.place)""",
    """SELECT s.line, 'gold', format('the project knows another answer to %%s; change it on the page Quality', s.key)
       FROM staged_comparison s
       JOIN annotator_comparison c ON c.project_id = %(project)s AND c.external_id = s.key
       JOIN annotator_gold g ON g.comparison_id = c.id
       WHERE s.gold_use IS NOT NULL AND (g.use, g.better::text[]) IS DISTINCT FROM (s.gold_use, s.gold_better)""",
)
JUDGMENT_CONTRADICTIONS = (
    """SELECT DISTINCT ON (s.rater) s.line, s.field,
         format('%%s is a labeler of this project that judges by itself; name the recorded one differently', l.name)
       FROM staged_judgment s JOIN staged_rater w ON w.place = s.rater
       JOIN annotator_rater r ON r.id = w.rater_id
       JOIN annotator_labelerversion v ON v.id = r.labeler_version_id
       JOIN annotator_labeler l ON l.id = v.labeler_id AND l.kind <> 'recorded'
       ORDER BY s.rater, s.line""",
    """SELECT s.line, s.field,
         format('this rater judged %%s otherwise in round %%s; a further judgment needs a round of its own',
           s.comparison_key, s.round)
       FROM staged_judgment s JOIN staged_rater w ON w.place = s.rater
       JOIN annotator_comparison c ON c.project_id = %(project)s AND c.external_id = s.comparison_key
       JOIN annotator_judgment j
         ON j.comparison_id = c.id AND j.rater_id = w.rater_id AND j.round = s.round AND j.is_current
       WHERE (j.outcome, j.level::int, j.p_b) IS DISTINCT FROM (s.outcome, s.level, s.p_b)""",
)


def _contradictions(cursor: Any, project: Project, errors: Errors) -> None:
    for query in CONTRADICTIONS:
        _report(cursor, query, project, errors)


def _judgment_contradictions(cursor: Any, project: Project, errors: Errors) -> None:
    for query in JUDGMENT_CONTRADICTIONS:
        _report(cursor, query, project, errors)


def _report(cursor: Any, query: str, project: Project, errors: Errors) -> None:
    cursor.execute(f"SELECT *, count(*) OVER () FROM ({query}) found(line, field, reason) ORDER BY line LIMIT 100",
                   {"project": project.pk})  # fmt: skip
    found = cursor.fetchall()
    for line, name, reason, _count in found:
        errors.add(line, name, reason)
    if found:
        errors.more += found[0][3] - len(found)


def _insert_all(cursor: Any, project: Project, protocol_id: int, beat: Beat) -> dict[str, int]:
    known = {"project": project.pk, "protocol": protocol_id, "now": now()}
    # Lines with a comparison that is not there yet, and lines that only bring a prompt; the others bring no prompt and
    # no response.
    cursor.execute("DROP TABLE IF EXISTS pg_temp.new_line")
    cursor.execute(
        "CREATE TEMPORARY TABLE new_line AS SELECT DISTINCT s.line FROM staged_comparison s WHERE NOT EXISTS (SELECT"
        " FROM annotator_comparison c WHERE c.project_id = %(project)s AND c.external_id = s.key)"
        f" UNION SELECT p.line FROM {ALONE}",
        known,
    )
    cursor.execute("CREATE UNIQUE INDEX ON new_line (line)")
    cursor.execute("ANALYZE new_line")
    cursor.execute("SELECT count(*), (SELECT coalesce(max(line), 0) FROM staged_prompt) FROM staged_comparison")
    staged, last = cursor.fetchone()
    counts = dict.fromkeys(("prompts", "responses", "comparisons", "candidates", "golds", "judgments"), 0)
    cursor.execute(f"SELECT count(*) FROM {ALONE}")
    counts["alone"] = cursor.fetchone()[0]
    steps = max(1, -(-(staged or last) // CHUNK))
    width = -(-(last + 1) // steps)
    for step in range(steps):
        window = {"low": step * width, "high": (step + 1) * width}
        for name, statement, given in _inserts():
            cursor.execute(statement, {**given, **known, **window})
            counts[name] += cursor.rowcount
        beat(75 + 25 * (step + 1) // steps, 100, f"{counts['comparisons']} comparisons stored")
    return {**counts, "skipped_existing": staged - counts["comparisons"]}


def _inserts() -> Iterator[tuple[str, str, dict[str, Any]]]:
    window = "s.line >= %(low)s AND s.line < %(high)s"
    order = "ORDER BY s.line, s.place"
    new = f"JOIN new_line n ON n.line = s.line WHERE {window}"
    prompt = "JOIN annotator_prompt p ON p.project_id = %(project)s AND p.external_id = s.prompt_key"
    comparison = "JOIN annotator_comparison c ON c.project_id = %(project)s AND c.external_id = s.comparison_key"
    yield "prompts", *_insert(
        Prompt,
        {"project": "%(project)s::bigint", "external_id": "s.key", "turns": "s.turns::jsonb",
         "context": "s.context::jsonb", "metadata": "s.metadata::jsonb", "text_hash": "s.text_hash"},
        f"staged_prompt s {new} ORDER BY s.line",
    )  # fmt: skip
    yield "responses", *_insert(
        Response,
        {"prompt": "p.id", "external_id": "s.key", "text": "s.body", "model": "s.model",
         "metadata": "s.metadata::jsonb", "text_hash": "s.text_hash"},
        f"staged_response s {prompt} {new} {order}",
    )  # fmt: skip
    yield "comparisons", *_insert(
        Comparison,
        {"project": "%(project)s::bigint", "external_id": "s.key", "prompt": "p.id", "response_a": "a.id",
         "response_b": "b.id", "metadata": "s.metadata::jsonb", "created_at": "%(now)s::timestamptz",
         "queue_order": "s.line", "criterion": "s.criterion", "harms": "s.harms",
         "candidates_count": "cardinality(s.others)"},
        f"staged_comparison s {prompt} JOIN annotator_response a ON a.prompt_id = p.id AND a.external_id = s.a_key"
        f" JOIN annotator_response b ON b.prompt_id = p.id AND b.external_id = s.b_key {new} {order}",
    )  # fmt: skip
    stored = "JOIN annotator_comparison c ON c.project_id = %(project)s AND c.external_id = s.key"
    yield "candidates", *_insert(
        Candidate,
        {"comparison": "c.id", "response": "r.id", "place": "other.nth + 1"},
        f"staged_comparison s {stored} CROSS JOIN unnest(s.others) WITH ORDINALITY other(key, nth)"
        f" JOIN annotator_response r ON r.prompt_id = c.prompt_id AND r.external_id = other.key {new} {order}, nth",
    )  # fmt: skip
    yield "golds", *_insert(
        Gold,
        {"project": "%(project)s::bigint", "comparison": "c.id", "use": "s.gold_use", "better": "s.gold_better",
         "ratings": "s.gold_ratings::jsonb", "explanation": "s.gold_explanation",
         "created_at": "%(now)s::timestamptz"},
        f"staged_comparison s {stored} WHERE s.gold_use IS NOT NULL AND {window} {order}",
    )  # fmt: skip
    plain = [
        "level",
        "preference",
        "p_b",
        "p_tie",
        "confidence",
        "reasons",
        "justification",
        "flags",
        "a_first",
        "active_ms",
        "cost",
        "created_at",
        "outcome",
    ]
    yield "judgments", *_insert(
        Judgment,
        {**{name: f"s.{name}" for name in plain}, "round": "s.round", "project": "%(project)s::bigint",
         "comparison": "c.id", "rater": "w.rater_id", "aspects": "s.aspects::jsonb",
         "attributes": "s.attributes::jsonb", "feedback": "s.feedback::jsonb", "edit": "s.edit::jsonb",
         "spans": "s.spans::jsonb", "ranking": "s.ranking::jsonb", "provenance": "s.provenance::jsonb",
         "protocol": "CASE WHEN w.is_ai THEN NULL ELSE %(protocol)s::bigint END",
         "effective_at": "%(now)s::timestamptz"},
        f"staged_judgment s JOIN staged_rater w ON w.place = s.rater {comparison} WHERE {window} {order}",
    )  # fmt: skip


def _insert(model: type[models.Model], given: dict[str, str], source: str) -> tuple[str, dict[str, Any]]:
    """INSERT … SELECT for `model`: SQL for the named fields, every other field's own default as a parameter."""
    columns, values, parameters = [], [], {}
    for field in model._meta.concrete_fields:
        if field.primary_key:
            continue
        columns.append(f'"{field.column}"')
        if field.name in given:
            values.append(given[field.name])
            continue
        name = f"default_{field.name}"
        parameters[name] = field.get_db_prep_save(field.get_default(), connections["default"])
        values.append(f"%({name})s::{field.db_type(connections['default'])}")
    return (
        f"INSERT INTO {model._meta.db_table} ({', '.join(columns)}) SELECT {', '.join(values)} FROM {source}"
        " ON CONFLICT DO NOTHING",
        parameters,
    )
