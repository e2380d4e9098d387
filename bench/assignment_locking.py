"""Which lock should assigning take? Candidates under many annotators at once (docs/decisions/0002).

    python bench/assignment_locking.py [--annotators 32] [--comparisons 2000] [--seconds 8] [--seed 0] [--json]

Each candidate leases with the product's own statements and differs only in what it locks:

    project     one lock on the project's row, then the first open place
    waiting     the first open place, waiting when its row is locked
    skip        the first open place whose row nobody has locked; none: "nothing left"
    chosen      annotator.pipeline.assign: as skip, and before "nothing left" it looks again and waits

Measured are leases a second and the time of one (each is judged at once, untimed), then rounds in which as many
annotators as there are places ask at once: `sent_home` were told that nothing is left. `doubled` are comparisons with
more leases and judgments than wanted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import annotators as bench  # noqa: E402
from bench.seat import corpus  # noqa: E402
from bench.seat.stack import Stack  # noqa: E402

ROUNDS = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotators", type=int, default=32)
    parser.add_argument("--comparisons", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--seed", type=int, default=0, help="of the corpus")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ["DATABASE_POOL"] = str(options.annotators + 4)
    stack = Stack()
    try:
        stack.start_database()
        bench.set_up_django()
        rows = [measure(name, options) for name in ("project", "waiting", "skip", "chosen")]
        versions, machine = bench.versions(), bench.machine()
    finally:
        from django.db import connections

        connections.close_all()
        stack.stop()
    print(f"{'':<10}{'leases/s':>10}{'p50 ms':>10}{'p95 ms':>10}{'doubled':>10}{'sent home':>12}")
    for row in rows:
        print(
            f"{row['candidate']:<10}{row['leases_per_s']:>10}{row['p50_ms']:>10}{row['p95_ms']:>10}"
            f"{row['doubled']:>10}{row['sent_home']:>8} of {row['asked']}"
        )
    if options.json:
        settled = {"annotators": options.annotators, "seed": options.seed, "versions": versions, "machine": machine}
        print(json.dumps({"rows": rows, **settled}))
    chosen = rows[-1]
    return 1 if chosen["doubled"] or chosen["sent_home"] else 0


def candidates() -> dict[str, Callable[..., Any]]:
    from django.db import transaction

    from annotator.models import Project
    from annotator.pipeline import assign, places
    from annotator.pipeline.extra import Offer, one_row

    search = assign._OPEN_FOR_ME + assign._BEHIND_MY_LAST + assign._FIRST
    anywhere = assign._OPEN_FOR_ME + assign._FIRST

    def leased(project, rater, *queries):
        for query in queries:
            if found := one_row(query, {"project": project.pk, "rater": rater.pk, "opted_out": []}):
                return places.lease(project, rater, Offer(found[0]), ahead=False)
        return None

    @transaction.atomic
    def project_row(project, rater):
        list(Project.objects.select_for_update(no_key=True).filter(pk=project.pk).values_list("pk"))
        return leased(project, rater, search, anywhere)

    @transaction.atomic
    def waiting(project, rater):
        wait = " FOR NO KEY UPDATE OF c"
        return leased(project, rater, search + wait, anywhere + wait)

    @transaction.atomic
    def skip(project, rater):
        return leased(project, rater, search + assign._UNLOCKED, anywhere + assign._UNLOCKED)

    return {"project": project_row, "waiting": waiting, "skip": skip, "chosen": assign.next_assignment}


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    claim = candidates()[name]
    project, raters = filled(options.comparisons, options.annotators, overlap=3, seed=options.seed)
    latencies: list[float] = []
    until = time.monotonic() + options.seconds
    started = time.monotonic()
    at_once([lambda rater=rater: judge_until(claim, project, rater, until, latencies) for rater in raters])
    seconds = time.monotonic() - started
    doubled, sent_home, asked = over_assigned(project), 0, 0
    project, raters = filled(ROUNDS * 2, 8, overlap=4, seed=options.seed)
    for number in range(ROUNDS):
        show_only(project, number)
        given = at_once([lambda rater=rater: claim(project, rater) for rater in raters])
        sent_home += given.count(None)
        asked += len(raters)
    shares = bench.percentiles(latencies)
    return {
        "candidate": name,
        "leases_per_s": round(len(latencies) / seconds, 1),
        "p50_ms": shares["p50_ms"],
        "p95_ms": shares["p95_ms"],
        "doubled": doubled + over_assigned(project),
        "sent_home": sent_home,
        "asked": asked,
    }


def filled(comparisons: int, annotators: int, overlap: int, seed: int) -> tuple[Any, list[Any]]:
    from annotator.models import Project, Rater, User

    made = corpus.fill(comparisons, annotators, overlap, seed)
    users = User.objects.filter(username__in=made.logins)
    raters = [Rater.objects.create(project_id=made.project_id, kind="person", user=user) for user in users]
    return Project.objects.get(pk=made.project_id), raters


def show_only(project: Any, number: int) -> None:
    """Two comparisons with four places each are open: as many places as there are annotators, and none is lost."""
    from annotator.models import Assignment
    from annotator.pipeline import places

    Assignment.objects.filter(project=project, state="leased").update(state="judged")
    pair = list(project.comparisons.order_by("queue_order").values_list("pk", flat=True)[2 * number : 2 * number + 2])
    project.comparisons.exclude(pk__in=pair).update(votes_wanted=0, places_open=0)
    project.comparisons.filter(pk__in=pair).update(votes_wanted=4)
    places.open_places(project.pk, pair)


def judge_until(claim: Callable[..., Any], project: Any, rater: Any, until: float, latencies: list[float]) -> None:
    from annotator.pipeline import judge

    while time.monotonic() < until:
        started = time.perf_counter()
        assignment = claim(project, rater)
        elapsed = (time.perf_counter() - started) * 1000
        if assignment is None:
            return
        latencies.append(elapsed)
        judge.submit_judgment(assignment, {"level": 1}, client_id=uuid4())


def over_assigned(project: Any) -> int:
    from django.db import connection

    query = """
        SELECT count(*) FROM annotator_comparison c
        WHERE c.project_id = %s AND c.votes_wanted > 0 AND c.votes_wanted < (
            SELECT count(*) FROM annotator_assignment a
            WHERE a.comparison_id = c.id AND a.state IN ('leased', 'judged'))
    """
    with connection.cursor() as cursor:
        cursor.execute(query, [project.pk])
        return int(cursor.fetchone()[0])


def at_once(works: list[Callable[[], Any]]) -> list[Any]:
    from django.db import connections

    results: list[Any] = [None] * len(works)
    barrier = threading.Barrier(len(works))

    def run(number: int) -> None:
        barrier.wait()
        try:
            results[number] = works[number]()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


if __name__ == "__main__":
    sys.exit(main())
