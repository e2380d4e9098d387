"""Writes that are under way: rows with ids that are given out already, and that nobody sees until they are committed.

The highest id of a table is no boundary while they last: what commits later stands below it. Whoever writes rows holds
a lock of their table before the first id is drawn and until the commit, so the boundary holds when those are gone that
held one just after it was read. Nobody waits for the reader, and it takes no lock of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from django.db import connection

# What an export reads up to an id, and what else changes rows below it.
TABLES = [f"annotator_{name}" for name in ("judgment", "comparison", "prompt", "response", "labelerversion")]
# An import of a million rows is one transaction of some minutes; after that somebody's session hangs.
MOST_SECONDS = 1800.0
# Seconds between two looks: answers of people are there in no time, imports are not.
SHORT, LONG = 0.02, 0.5

# Imports say which project they write (`ingest_tables`); those of other projects are not waited for, nor are dry runs.
# They say it with a lock of their transaction: a session's would stay with its connection in the pool, and say it of
# every later transaction there.
_WRITING = """
WITH held AS MATERIALIZED (SELECT * FROM pg_locks WHERE granted AND pid IS DISTINCT FROM pg_backend_pid())
SELECT DISTINCT virtualtransaction FROM held AS writes
WHERE locktype = 'relation' AND relation = ANY(%(tables)s::regclass[]::oid[])
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
  AND NOT EXISTS (
      SELECT 1 FROM held AS said
      WHERE said.virtualtransaction = writes.virtualtransaction AND said.locktype = 'advisory' AND said.objsubid = 2
        AND (said.classid::bigint = hashtext('switchyard dry run')::bigint & 4294967295
          OR said.classid::bigint = hashtext('switchyard ingest')::bigint & 4294967295
            AND said.objid::bigint <> %(project)s))
"""


class StillWriting(Exception):
    """Something is being written for so long that it is not waited for any more."""


def pass_over() -> None:
    """Say that this transaction will be rolled back: nobody needs to wait for what it writes from now on."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(hashtext('switchyard dry run'), 0)")


def wait(project_id: int, waiting: Callable[[], None] | None = None) -> None:
    """Until every write that is under way now is over. `waiting` is called twice a second meanwhile.

    Raises StillWriting after `MOST_SECONDS`, and what `waiting` raises.
    """
    began = time.monotonic()
    left = _writing(project_id)
    while left:
        passed = time.monotonic() - began
        if passed > MOST_SECONDS:
            raise StillWriting
        if waiting and passed > LONG:
            waiting()
        time.sleep(LONG if passed > LONG else SHORT)
        left &= _writing(project_id)


def is_over(project_id: int, tables: Sequence[str], seconds: float) -> bool:
    """Whether every write to `tables` that is under way now is over within `seconds`."""
    until = time.monotonic() + seconds
    left = _writing(project_id, tables)
    while left and time.monotonic() < until:
        time.sleep(SHORT)
        left &= _writing(project_id, tables)
    return not left


def _writing(project_id: int, tables: Sequence[str] = TABLES) -> set[str]:
    """The transactions that write now."""
    with connection.cursor() as cursor:
        cursor.execute(_WRITING, {"tables": list(tables), "project": project_id})
        return {row[0] for row in cursor.fetchall()}
