"""Batches of checked rows, each stored as it comes: what is new by COPY, what is there already is compared with it.

All of an import is one transaction, so what contradicts shows in the last batch and still nothing is left of the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.timezone import now

from annotator.formats.rows import GoldRow
from annotator.models import Candidate, Comparison, Gold, Judgment, Project, Prompt, Response
from annotator.pipeline import ingest_rows
from annotator.pipeline.ingest_columns import Table, TextsTable
from annotator.pipeline.ingest_copy import BINARY_BEGIN, BINARY_END, EIGHT, SAID, array, escaped, numbers
from annotator.pipeline.ingest_known import Held, HeldComparison, Known, Lookup
from annotator.pipeline.ingest_raters import Raters
from annotator.pipeline.ingest_report import ERRORS_SHOWN, NEW
from annotator.pipeline.ingest_rows import Batch, Compared, Row, Text
from annotator.pipeline.ingest_unstored import Unstored

Problem = tuple[int, str, str]  # line, field, reason

# Temporary tables: comparisons stored before that the file had; on which lines it had new prompts and responses (a row
# for each batch, whose ids ascend from the lowest, and are named unless they are all there are from it on); judgments
# that are not in their table yet.
BEGIN = """
CREATE TEMPORARY TABLE ingest_met (id bigint PRIMARY KEY, line int) ON COMMIT DROP;
CREATE TEMPORARY TABLE ingest_first (
  model text, lowest bigint, ids bigint[], lines int[], PRIMARY KEY (model, lowest)) ON COMMIT DROP;
ALTER TABLE ingest_first ALTER ids SET STORAGE EXTERNAL, ALTER lines SET STORAGE EXTERNAL;
"""
TABLES = ("ingest_met", "ingest_first", "ingest_judged")
# What would not go by the order of a unique index (`ingest_known`). The planner knows nothing yet of what an import has
# just stored, and other plans read the whole project for each batch: 33 s of the server's time instead of 8 for 20,000
# comparisons by another index and a hash, 30 s for one batch of a project of 27,000 by an incremental sort. Switched
# for a batch only: what makes the entries of `compare` reads the database by the same connection in between.
UNWANTED = ("seqscan", "hashjoin", "mergejoin", "sort", "incremental_sort")
# Foreign keys are checked a batch at a time and not all at the end, from a queue in memory.
SETTINGS = "; ".join([*(f"SET LOCAL enable_{way} = off" for way in UNWANTED), "SET CONSTRAINTS ALL IMMEDIATE"])
UNSET = "; ".join([*(f"SET LOCAL enable_{way} TO DEFAULT" for way in UNWANTED), "SET CONSTRAINTS ALL DEFERRED"])
FIRST = """SELECT f.lines[CASE WHEN f.ids IS NULL THEN least(%(id)s - f.lowest + 1, 2 ^ 31 - 1)::int
  ELSE array_position(f.ids, %(id)s::bigint) END] FROM pg_temp.ingest_first f
WHERE f.model = %(model)s AND f.lowest <= %(id)s ORDER BY f.model DESC, f.lowest DESC LIMIT 1"""
# What a comparison that is there already has is never overwritten.
ADDED = """UPDATE annotator_comparison c SET metadata = s.metadata::jsonb || c.metadata
FROM unnest(%s::bigint[], %s::text[]) s(id, metadata)
WHERE c.id = s.id AND NOT c.metadata ?& ARRAY(SELECT jsonb_object_keys(s.metadata::jsonb))"""
# In the order of the unique index for the same reason as in `ingest_known`.
OTHERWISE = """SELECT s.line, s.field, format(
    'this rater judged %s otherwise in round %s; a further judgment needs a round of its own', s.key, s.round)
FROM pg_temp.ingest_judged s
CROSS JOIN LATERAL (
  SELECT * FROM annotator_judgment next
  WHERE next.is_current AND (next.comparison_id, next.rater_id, next.round) >= (s.comparison_id, s.rater_id, s.round)
  ORDER BY next.comparison_id, next.rater_id, next.round LIMIT 1) j
WHERE (j.comparison_id, j.rater_id, j.round) = (s.comparison_id, s.rater_id, s.round)
  AND (j.outcome, j.level, j.p_b) IS DISTINCT FROM (s.outcome, s.level, s.p_b)"""


@dataclass
class New:
    """What of a batch is to be written; ids are drawn when all of it is known."""

    prompts: list[tuple[Held, Text]] = field(default_factory=list)
    responses: list[tuple[Held, Held, Text]] = field(default_factory=list)
    # Comparison, prompt, responses in the comparison's order, what the row says.
    comparisons: list[tuple[HeldComparison, Held, list[Held], Compared]] = field(default_factory=list)
    judgments: list[str] = field(default_factory=list)
    golds: list[tuple[HeldComparison, GoldRow]] = field(default_factory=list)
    # Of comparisons that were there already.
    later_metadata: list[tuple[int, str]] = field(default_factory=list)
    later_judgments: list[str] = field(default_factory=list)


class Storing:
    """An import under way, in its transaction. `counts` is of what is new, `skipped_existing` and `alone`.

    With `dry_run`, and from the first thing that is wrong, everything is rolled back in the end: then only that is
    written which later rows are compared with, and no texts and no judgments.
    """

    def __init__(self, cursor: Any, project: Project, protocol_id: int, *, dry_run: bool = False) -> None:
        self.cursor, self.project = cursor, project
        self.will_stay = not dry_run
        self.counts = Counter[str]()
        self.problems: list[Problem] = []
        self.problems_before = 0
        self.raters = Raters(project, protocol_id)
        self.unstored = Unstored(cursor)
        moment, mine = now(), {"project": project.pk}
        self.prompts = TextsTable(Prompt, ("id",), ingest_rows.PROMPT, **mine)
        self.responses = TextsTable(Response, ("id", "prompt"), ingest_rows.RESPONSE)
        compared = ("id", "prompt", "response_a", "response_b", "queue_order", *ingest_rows.COMPARISON)
        self.comparisons = Table(Comparison, compared, **mine, created_at=moment)
        self.candidates = Table(Candidate, ("comparison", "response", "place"))
        golds = ("comparison", "use", "better", "ratings", "explanation")
        self.golds = Table(Gold, golds, **mine, created_at=moment)
        judged = ("comparison", "rater", "protocol", "round", *SAID)
        self.judgments = Table(Judgment, judged, **mine, effective_at=moment)
        cursor.execute(BEGIN)
        columns = self.judgments.columns
        cursor.execute(
            "CREATE TEMPORARY TABLE ingest_judged ON COMMIT DROP AS SELECT 0 AS line, ''::text AS field, ''::text AS"
            f" key, {columns} FROM annotator_judgment WITH NO DATA"
        )
        self.copy_judged = f"COPY ingest_judged ({columns}) FROM STDIN"
        self.copy_later = f"COPY ingest_judged (line, field, key, {columns}) FROM STDIN"
        self.lookup = Lookup(cursor, project.pk, first=self._draw(Comparison, 1)[0])

    def take(self, batch: Batch) -> list[Problem]:
        """Store a batch; gives what of it contradicts the project or the file before it."""
        self.problems_before += len(self.problems)
        self.problems = []
        self.cursor.execute(SETTINGS)
        self.raters.add(batch.raters, batch.experts, self._wrong)
        known = self.lookup.known(batch.rows)
        self.unstored.look_up(batch.rows)
        new = New()
        met: list[HeldComparison] = []
        brought = [(row, self._compare(row, known, new, met)) for row in batch.rows]
        self._remember(met)
        self.unstored.store()
        self._number(new)
        self._write(new, brought)
        self.cursor.execute(UNSET)
        return self.problems

    def end(self) -> dict[str, int]:
        self.unstored.drop()
        for table in TABLES:
            self.cursor.execute(f"DROP TABLE pg_temp.{table}")
        return {name: self.counts[name] for name in (*NEW, "alone", "skipped_existing")}

    def _wrong(self, line: int, name: str, reason: str) -> None:
        self.problems.append((line, name, reason))
        self.will_stay = False

    # What a row brings.

    def _compare(self, row: Row, known: Known, new: New, met: list[HeldComparison]) -> list[HeldComparison | None]:
        """Its comparisons in the order of the row, None for one that cannot be; what is not there goes to `new`."""
        fresh = [each for each in row.comparisons if each.key not in known.comparisons]
        # A row whose comparisons are all there brings no prompt and no response.
        is_new = bool(fresh) or not row.comparisons
        self.counts["alone"] += not row.comparisons
        prompt = self._prompt(row, known, new, is_new)
        responses = [self._response(row, each, prompt, known, new, is_new) for each in row.responses]
        return [self._comparison(row, each, prompt, responses, known, new, met) for each in row.comparisons]

    def _prompt(self, row: Row, known: Known, new: New, is_new: bool) -> Held | None:
        given = row.prompt
        held = known.prompts.get(given.key)
        if held is None:
            if line := self._otherwise((given.key, ""), given, row, is_new):
                self._wrong(row.line, "prompt", f"the prompt id {given.key} has another text on line {line}")
            if is_new:
                held = known.prompts[given.key] = Held(0, given.text_hash, line=row.line)
                new.prompts.append((held, given))
        elif held.text_hash != given.text_hash:
            line = self._line(Prompt, held)
            words = f"the prompt id {given.key} has another text on line {line}"
            self._wrong(row.line, "prompt", words if line else f"the project has prompt {given.key} with another text")
        return held

    def _response(
        self, row: Row, given: Text, prompt: Held | None, known: Known, new: New, is_new: bool
    ) -> Held | None:
        key = (row.prompt.key, given.key)
        held = known.responses.get(key)
        if held is None:
            if line := self._otherwise(key, given, row, is_new):
                self._wrong(row.line, given.field, f"the response id {key[1]} has another text or model on line {line}")
            if is_new and prompt:
                held = known.responses[key] = Held(0, given.text_hash, given.model, row.line)
                new.responses.append((held, prompt, given))
        elif held.text_hash != given.text_hash or held.model != given.model:
            line = self._line(Response, held)
            words = f"the response id {key[1]} has another text or model on line {line}"
            known_words = f"the project has response {key[1]} with another text or model"
            self._wrong(row.line, given.field, words if line else known_words)
        return held

    def _otherwise(self, key: tuple[str, str], given: Text, row: Row, is_new: bool) -> int:
        """The line that said otherwise under an id that the project has not; 0, at no cost, where none notes any."""
        if is_new and not self.unstored.said:
            return 0
        return self.unstored.otherwise(key, given, row.line, note=not is_new)

    def _line(self, model: type[Prompt | Response], held: Held) -> int:
        """The line of the file that brought it; 0 for what was stored before, or where nobody will read it."""
        if held.line or self.problems_before + len(self.problems) >= ERRORS_SHOWN:
            return held.line
        self.cursor.execute(FIRST, {"model": model.__name__, "id": held.pk})
        found = self.cursor.fetchone()
        return (found and found[0]) or 0

    def _comparison(
        self,
        row: Row,
        given: Compared,
        prompt: Held | None,
        responses: Sequence[Held | None],
        known: Known,
        new: New,
        met: list[HeldComparison],
    ) -> HeldComparison | None:
        there = known.comparisons.get(given.key)
        if there is None:
            made = known.comparisons[given.key] = HeldComparison(0, row.line)
            sides = [responses[place] for place in (given.a, given.b, *given.others)]
            new.comparisons.append((made, prompt, sides, given))  # type: ignore[arg-type] # a new row brings them all
            if given.gold:
                new.golds.append((made, given.gold))
            return made
        if there.line:
            self._wrong(row.line, given.field, f"the id {given.key} is already on line {there.line}")
            return None
        there.line = row.line
        met.append(there)
        self.counts["skipped_existing"] += 1
        for name, reason in contradictions(row, given, there):
            self._wrong(row.line, name, reason)
        if given.gold and not there.gold:
            new.golds.append((there, given.gold))
        if given.metadata != "{}":
            new.later_metadata.append((there.pk, given.metadata))
        return there

    def _remember(self, met: Sequence[HeldComparison]) -> None:
        if met:
            self.cursor.execute(
                "INSERT INTO ingest_met SELECT * FROM unnest(%s::bigint[], %s::int[])",
                [[each.pk for each in met], [each.line for each in met]],
            )

    # Writing.

    def _draw(self, model: type[Any], count: int) -> list[int]:
        """Ids for rows of `model`, ascending."""
        # The sequence is looked up once, not for each id.
        self.cursor.execute(
            "SELECT array_agg(nextval(own.sequence)) FROM (SELECT pg_get_serial_sequence(%s, 'id')::regclass OFFSET 0)"
            " own(sequence), generate_series(1, %s)",
            [model._meta.db_table, count],
        )
        ids: list[int] = self.cursor.fetchone()[0]
        return ids

    def _number(self, new: New) -> None:
        rows: tuple[tuple[type[Any], list[Any]], ...] = (
            (Prompt, [held for held, *_rest in new.prompts]),
            (Response, [held for held, *_rest in new.responses]),
            (Comparison, [held for held, *_rest in new.comparisons]),
        )
        for model, brought in rows:
            if not brought:
                continue
            ids = self._draw(model, len(brought))
            for held, pk in zip(brought, ids, strict=True):
                held.pk = pk
            if model is not Comparison:
                named = numbers(ids) if ids[-1] - ids[0] >= len(ids) else None
                self.cursor.execute(
                    "INSERT INTO ingest_first VALUES (%s, %s, %s::bigint[], %s::int[])",
                    [model.__name__, ids[0], named, numbers(held.line for held in brought)],
                )

    def _write(self, new: New, brought: Iterable[tuple[Row, list[HeldComparison | None]]]) -> None:
        made = {id(held) for held, *_rest in new.comparisons}
        for row, comparisons in brought:
            self._judgments(row, comparisons, made, new)
        self._texts(new)
        self._copy("comparisons", self.comparisons, (_comparison(*each) for each in new.comparisons))
        self._copy("candidates", self.candidates, _candidates(new))
        self._copy("golds", self.golds, (_gold(*each) for each in new.golds))
        self._add_metadata(new.later_metadata)
        self._later_judgments(new.later_judgments)
        self._copy("judgments", self.judgments, new.judgments, "" if self.will_stay else self.copy_judged)
        if new.later_judgments or not self.will_stay:
            self.cursor.execute("TRUNCATE ingest_judged")

    def _texts(self, new: New) -> None:
        """Without the texts themselves where nothing will stay: they are compared by their hashes."""
        head, end = self.prompts.head, self.prompts.end
        rows: list[bytes] = []
        for held, text in new.prompts:
            rows += (head(held.pk), text.copied, text.texts if self.will_stay else ingest_rows.NO_PROMPT, end)
        self._copy_texts("prompts", self.prompts, rows)
        head, end = self.responses.head, self.responses.end
        rows = []
        for held, prompt, text in new.responses:
            texts = text.texts if self.will_stay else ingest_rows.NO_RESPONSE
            rows += (head(held.pk, EIGHT, prompt.pk), text.copied, texts, end)
        self._copy_texts("responses", self.responses, rows)

    def _judgments(self, row: Row, comparisons: Sequence[HeldComparison | None], made: set[int], new: New) -> None:
        for each in row.judged:
            held = comparisons[each.comparison]
            if held is None:
                continue
            line = f"{held.pk}\t{self.raters.texts[each.rater]}\t{each.round}\t{each.said}"
            if id(held) in made:
                new.judgments.append(line)
            else:
                key = escaped(row.comparisons[each.comparison].key)
                new.later_judgments.append(f"{row.line}\t{escaped(each.field)}\t{key}\t{line}")

    def _copy(self, name: str, table: Table, lines: Iterable[str], statement: str = "") -> None:
        if text := "".join([line + table.end for line in lines]):
            self._send(name, statement or table.copy, text)

    def _copy_texts(self, name: str, table: TextsTable, rows: Sequence[bytes]) -> None:
        if rows:
            self._send(name, table.copy, b"".join((BINARY_BEGIN, *rows, BINARY_END)))

    def _send(self, name: str, statement: str, data: str | bytes) -> None:
        # Django wraps what `execute` raises, and not what `copy` does.
        with self.cursor.db.wrap_database_errors, self.cursor.copy(statement) as copy:
            copy.write(data)
        if name:
            self.counts[name] += self.cursor.rowcount

    def _add_metadata(self, given: Sequence[tuple[int, str]]) -> None:
        """Keys that comparisons which were there lack in their metadata."""
        if given:
            self.cursor.execute(ADDED, [[pk for pk, _metadata in given], [metadata for _pk, metadata in given]])
            self.counts["supplemented"] += self.cursor.rowcount

    def _later_judgments(self, lines: Sequence[str]) -> None:
        """Judgments of comparisons that were there: those that they lack."""
        if not lines:
            return
        columns = self.judgments.columns
        self._copy("", self.judgments, lines, self.copy_later)
        self.cursor.execute(OTHERWISE)
        for problem in self.cursor.fetchall():
            self._wrong(*problem)
        self.cursor.execute(
            f"INSERT INTO annotator_judgment ({columns}) SELECT {columns} FROM ingest_judged ON CONFLICT DO NOTHING"
        )
        self.counts["judgments"] += self.cursor.rowcount


def contradictions(row: Row, given: Compared, there: HeldComparison) -> Iterator[tuple[str, str]]:
    """(field, reason) of what a comparison that is there already has otherwise."""
    a, b = row.responses[given.a], row.responses[given.b]
    texts = ((row.prompt.text_hash, ""), (a.text_hash, a.model), (b.text_hash, b.model))
    own = "give the new one an id of its own"
    if texts != there.texts:
        prompt, first, second = (mine == theirs for mine, theirs in zip(texts, there.texts, strict=True))
        same_texts = first or a.text_hash == there.texts[1][0], second or b.text_hash == there.texts[2][0]
        what = "prompt" if not prompt else "model" if all(same_texts) else "text"
        name = "prompt" if not prompt else b.field if first else a.field
        yield name, f"the project has comparison {given.key} with another {what}; {own}"
    if given.criterion != there.criterion:
        yield "criterion", f"the project has comparison {given.key} with another criterion; {own}"
    elif [row.responses[place].key for place in given.others] != list(there.others):
        what = "choice of responses to be ranked"
        yield "responses", f"the project has comparison {given.key} with another {what}; {own}"
    if given.gold and there.gold and (given.gold.use, given.gold.better) != there.gold:
        yield "gold", f"the project knows another answer to {given.key}; change it on the page Quality"


def _comparison(held: HeldComparison, prompt: Held, sides: Sequence[Held], given: Compared) -> str:
    return f"{held.pk}\t{prompt.pk}\t{sides[0].pk}\t{sides[1].pk}\t{held.line}\t{given.copied}"


def _candidates(new: New) -> Iterator[str]:
    for held, _prompt, sides, _given in new.comparisons:
        for place, side in enumerate(sides[2:], 2):
            yield f"{held.pk}\t{side.pk}\t{place}"


def _gold(held: HeldComparison, gold: GoldRow) -> str:
    return f"{held.pk}\t{gold.use}\t{array(gold.better)}\t{escaped(gold.ratings)}\t{escaped(gold.explanation)}"
