"""Many annotators at once: is every judgment stored once, and what does one cost?

    python bench/annotators.py --comparisons 10000 --annotators 32 --seconds 60 --overlap 1 --think 0 [--json]

Starts a stack of its own (PostgreSQL with fsync, web, worker, tick), fills it with generated comparisons and measures.
With --url U it drives a site that runs already; DATABASE_URL must then name that site's database, where a project
and annotators are made, and the CPU is not measured.

Prints a table; with --json the last line is one JSON object. Leaves with 1 when exactness is broken: an acknowledged
judgment is missing, a client id or a place was filled twice; or when nothing was acknowledged at all.

    acknowledged              judgments the server said it has
    lost                      of these, not in the database
    doubled                   comparisons with more counting judgments (or judgments and leases) than wanted, client
                              ids stored twice, people who judged a comparison twice
    errors                    answers other than 200, and broken connections; each is sent again with its client id
    p50_ms, p95_ms, p99_ms    of the request that stores a judgment and brings the next comparison, at the client
    server_cpu_ms_per_judgment  user + system of web, PostgreSQL, worker and tick, after the background work is done
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.seat import clients, corpus  # noqa: E402
from bench.seat.stack import Stack  # noqa: E402


def main() -> int:
    options = arguments()
    stack = None if options.url else Stack()
    try:
        if stack:
            stack.start_database()
        set_up_django()
        started = time.monotonic()
        filled = corpus.fill(options.comparisons, options.annotators, options.overlap, options.seed)
        print(f"filled in {time.monotonic() - started:.0f} s", file=sys.stderr)
        if stack:
            stack.start()
        result = measure(options, stack, filled)
        if stack and result["errors"]:
            print(stack.last_words(), file=sys.stderr)
    finally:
        if stack:
            stack.stop()
    print_table(result)
    if options.json:
        print(json.dumps(result))
    return 1 if result["lost"] or result["doubled"] or not result["acknowledged"] else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=1_000)
    parser.add_argument("--annotators", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--overlap", type=int, default=1, help="judgments wanted of each comparison")
    parser.add_argument("--think", type=float, default=0, help="mean seconds between a comparison and its judgment")
    parser.add_argument("--url", help="a running site, e.g. http://127.0.0.1:8000; needs its DATABASE_URL")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.url and not os.environ.get("DATABASE_URL"):
        parser.error("--url needs DATABASE_URL: the database of that site, to fill it and to count in it")
    if min(options.comparisons, options.annotators, options.overlap) < 1:
        parser.error("--comparisons, --annotators and --overlap are at least 1")
    return options


def set_up_django() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotator.settings")
    os.environ.setdefault("SECRET_KEY", "only-for-reading-the-database-" + "x" * 20)
    os.environ.setdefault("HTTPS", "no")
    import django

    django.setup()


def measure(options: argparse.Namespace, stack: Stack | None, filled: corpus.Corpus) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    address = stack.url if stack else options.url
    seat = (theirs, address, filled.project_id, filled.logins, corpus.PASSWORD)
    process = context.Process(target=clients.run, args=(*seat, options.seconds, options.think, options.seed))
    process.start()
    if refusal := ours.recv():
        raise SystemExit(f"nobody could log in: {refusal}")
    before = stack.cpu_seconds() if stack else {}
    ours.send("begin")
    outcome: clients.Outcome = ours.recv()
    process.join()
    drained = drain(filled.project_id)
    after = stack.cpu_seconds() if stack else {}
    return report(options, outcome, filled, {role: after[role] - before[role] for role in before}, drained)


def drain(project_id: int, patience: float = 300) -> float:
    """Wait until labels and ledger have taken in everything; gives the seconds it took."""
    from annotator.models import Judgment, LedgerEntry

    started = time.monotonic()
    while time.monotonic() - started < patience:
        waiting = Judgment.objects.filter(project=project_id, aggregated=False).exists()
        if not waiting and not LedgerEntry.objects.filter(account__project=project_id, settled=False).exists():
            return time.monotonic() - started
        time.sleep(0.5)
    raise SystemExit("the background work did not finish: see the logs of worker and tick")


def report(
    options: argparse.Namespace, outcome: clients.Outcome, filled: corpus.Corpus, cpu: dict[str, float], drained: float
) -> dict[str, Any]:
    counted = count(filled.project_id, outcome.acknowledged)
    number = max(len(outcome.acknowledged), 1)
    milliseconds = {role: round(1000 * seconds / number, 2) for role, seconds in cpu.items()}
    return {
        "comparisons": options.comparisons,
        "annotators": options.annotators,
        "seconds": round(outcome.seconds, 1),
        "overlap": options.overlap,
        "think": options.think,
        "acknowledged": len(outcome.acknowledged),
        **counted,
        "errors": sum(outcome.errors.values()),
        "error_kinds": dict(outcome.errors.most_common(5)),
        "told_empty": outcome.empty,
        **percentiles(outcome.latencies),
        "server_cpu_ms_per_judgment": round(sum(milliseconds.values()), 2) if cpu else None,
        "server_cpu_ms_by_role": milliseconds,
        "judgments_per_s": round(len(outcome.acknowledged) / max(outcome.seconds, 0.001), 1),
        "kilobytes_per_judgment": round(outcome.bytes_received / number / 1000, 1),
        "drained_s": round(drained, 1),
        "seed": options.seed,
        "versions": versions(),
        "machine": machine(),
    }


def count(project_id: int, acknowledged: list[str]) -> dict[str, int]:
    """Exactness, asked of the database."""
    from django.db import connection

    too_many = """
        SELECT count(*) FROM annotator_comparison c WHERE c.project_id = %(project)s AND c.votes_wanted <
            (SELECT count(*) FROM annotator_judgment j
             WHERE j.comparison_id = c.id AND j.is_current AND NOT j.is_surplus)
          + (SELECT count(*) FROM annotator_assignment a WHERE a.comparison_id = c.id AND a.state = 'leased')
    """
    twice = """
        SELECT count(*) FROM (
            SELECT client_id FROM annotator_judgment WHERE project_id = %(project)s GROUP BY 1 HAVING count(*) > 1
        ) AS sent_twice
    """
    same_person = """
        SELECT count(*) FROM (
            SELECT comparison_id, rater_id FROM annotator_judgment WHERE project_id = %(project)s AND is_current
            GROUP BY 1, 2 HAVING count(*) > 1
        ) AS judged_twice
    """
    wrong_places = """
        SELECT count(*) FROM annotator_comparison c WHERE c.project_id = %(project)s AND c.places_open <> greatest(0,
            c.votes_wanted
          - (SELECT count(*) FROM annotator_judgment j
             WHERE j.comparison_id = c.id AND j.is_current AND NOT j.is_surplus)
          - (SELECT count(*) FROM annotator_assignment a WHERE a.comparison_id = c.id AND a.state = 'leased'))
    """
    missing = """
        SELECT count(*) FROM unnest(%(ids)s::uuid[]) AS sent (id)
        WHERE NOT EXISTS (SELECT FROM annotator_judgment j WHERE j.project_id = %(project)s AND j.client_id = sent.id)
    """
    with connection.cursor() as cursor:

        def one(query: str) -> int:
            cursor.execute(query, {"project": project_id, "ids": acknowledged})
            return int(cursor.fetchone()[0])

        return {
            "lost": one(missing),
            "doubled": one(too_many) + one(twice) + one(same_person) + (len(acknowledged) - len(set(acknowledged))),
            "wrong_places": one(wrong_places),
            "stored": one("SELECT count(*) FROM annotator_judgment WHERE project_id = %(project)s"),
        }


def percentiles(latencies: list[float]) -> dict[str, float | None]:
    ordered = sorted(latencies)
    return {
        f"p{share}_ms": round(ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 1) if ordered else None
        for share in (50, 95, 99)
    }


def versions() -> dict[str, str]:
    from django.db import connection

    names = ("django", "psycopg", "gunicorn", "celery")
    major, minor = divmod(connection.cursor().connection.info.server_version, 10_000)
    return {"python": platform.python_version(), "postgresql": f"{major}.{minor}", **{n: version(n) for n in names}}


def machine() -> dict[str, Any]:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(terse=True),
        "load_before": round(os.getloadavg()[0], 1),
    }


def print_table(result: dict[str, Any]) -> None:
    for key, value in result.items():
        if key not in {"versions", "machine"}:
            print(f"{key:<28} {value}")


if __name__ == "__main__":
    sys.exit(main())
