"""How fast a file of comparisons comes in: `python bench/datasets.py --comparisons 20000 --json`.

Starts a PostgreSQL of its own with production's durability, writes pairs of about 4 kB with two judgments each, and
imports them twice. Exits 1 when a row is missing, or when the second import changes anything.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.annotators import machine, versions  # noqa: E402


def write_rows(path: Path, count: int, seed: int) -> None:
    rng = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 10))) for _number in range(5000)]
    with path.open("w") as file:
        for number in range(count):
            text = [" ".join(rng.choices(words, k=length)) for length in (60, 290, 290)]
            row = {
                "id": f"bench-{number}",
                "prompt": text[0],
                "response_a": text[1],
                "response_b": text[2],
                "judgments": [
                    {"rater": f"person-{number % 50}", "kind": "person", "level": rng.choice((-1, 0, 1))},
                    {"rater": "judge", "kind": "ai", "p_b": round(rng.random(), 4)},
                ],
            }
            file.write(json.dumps(row) + "\n")


def measure(folder: Path, count: int, seed: int) -> dict[str, object]:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from annotator.models import User
    from annotator.pipeline import ingest, start, work

    work.nudge = lambda task: None  # nobody listens here
    lead = User.objects.create(username="bench")
    project = start.create_project("bench", lead=lead)
    file = folder / "rows.jsonl"
    write_rows(file, count, seed)
    before = _peak_mb()
    began = time.perf_counter()
    report = ingest.ingest_file(project, file)
    import_s = time.perf_counter() - began
    again = ingest.ingest_file(project, file)
    return {
        "comparisons": count,
        "file_mb": round(file.stat().st_size / 2**20, 1),
        "import_s": round(import_s, 2),
        "import_rows_per_s": round(count / import_s),
        "import_peak_mb": _peak_mb(),
        "import_growth_mb": _peak_mb() - before,
        "again_s": round(time.perf_counter() - began - import_s, 2),
        "exact": (report.comparisons, report.judgments) == (count, 2 * count)
        and (again.comparisons, again.judgments, again.skipped_existing) == (0, 0, count),
    }


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    from annotator.embedded import Cluster

    folder = Path(tempfile.mkdtemp(prefix="switchyard-bench-"))
    folder.chmod(0o755)
    cluster = Cluster(folder / "pg")
    cluster.start()
    os.environ.update(DATABASE_URL=cluster.url, SWITCHYARD_VAR=str(folder / "var"), SECRET_KEY=secrets.token_hex(32))
    os.environ.update(HTTPS="no", DJANGO_SETTINGS_MODULE="annotator.settings", LOG_LEVEL="ERROR")
    try:
        here = machine()
        found = measure(folder, given.comparisons, given.seed)
        found |= {"seed": given.seed, "versions": versions(), "machine": here}
    finally:
        from django.db import connection

        connection.close()
        connection.close_pool()
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
    for name, value in found.items():
        print(f"{name:>20}  {value}")
    if given.json:
        print(json.dumps(found))
    return 0 if found["exact"] else 1


if __name__ == "__main__":
    sys.exit(main())
