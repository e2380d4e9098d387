"""How many people's votes each comparison wants: a number that plans and known answers change, and nobody dates.

The filter `settled` asks for it, part by part. So an export notes at its beginning which comparisons want how many, as
one short sign a number, and is published only while the signs are the same.
"""

from __future__ import annotations

from typing import Any

from django.db import connection

# {votes wanted, as text: [comparisons, a hash over which they are]}, in JSON types.
Wanted = dict[str, list[Any]]

# Sums of hashes do not depend on the order of rows; of a million comparisons it takes about a third of a second.
_WANTED = """
SELECT votes_wanted, count(*), sum(hashint8extended(id, 0)::numeric)::text
FROM annotator_comparison WHERE project_id = %s AND id <= %s
GROUP BY votes_wanted ORDER BY votes_wanted
"""


def votes_wanted(project_id: int, last: int) -> Wanted:
    """Of the project's comparisons up to the id `last`, as it is now."""
    with connection.cursor() as cursor:
        cursor.execute(_WANTED, [project_id, last])
        return {str(votes): [number, sign] for votes, number, sign in cursor.fetchall()}
