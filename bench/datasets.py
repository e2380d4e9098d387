"""How fast comparisons come in and a data set goes out: `python bench/datasets.py --comparisons 20000 --json`.

Starts a PostgreSQL of its own with production's durability and writes pairs of about 4 kB with three judgments each.
Import and export run in a process of their own, so that each peak of memory is its own; to an import's that of the
process which reads the file is added. The file is imported twice; the export is of the labels that people and AI give
together, and its lossless store is restored if asked. Exits 1 when a row is missing, or when the second import changes
anything; `--once` leaves that import out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.annotators import machine, versions  # noqa: E402


def write_rows(path: Path, count: int, seed: int, judgments: int) -> None:
    """The last of a row's judgments is AI's, the others are people's."""
    rng = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 10))) for _number in range(5000)]
    with path.open("w") as file:
        for number in range(count):
            text = [" ".join(rng.choices(words, k=length)) for length in (60, 290, 290)]
            people = [
                {"rater": f"person-{(number + each) % 50}", "kind": "person", "level": rng.choice((-1, 0, 1))}
                for each in range(judgments - 1)
            ]
            row = {
                "id": f"bench-{number}",
                "prompt": text[0],
                "response_a": text[1],
                "response_b": text[2],
                "judgments": [*people, {"rater": "judge", "kind": "ai", "p_b": round(rng.random(), 4)}][:judgments],
            }
            file.write(json.dumps(row) + "\n")


def measure_import(file: Path, count: int, judgments: int, *, once: bool) -> dict[str, Any]:
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from annotator.models import User
    from annotator.pipeline import ingest, start

    project = start.create_project("bench", lead=User.objects.create(username="bench"))
    before, children = _peak_mb(), Children()
    began = time.perf_counter()
    report = ingest.ingest_file(project, file)
    import_s = time.perf_counter() - began
    peak = _peak_mb() + children.peak_mb
    found = {
        "comparisons": count,
        "judgments": report.judgments,
        "file_mb": round(file.stat().st_size / 2**20, 1),
        "import_s": round(import_s, 2),
        "import_rows_per_s": round(count / import_s),
        "import_peak_mb": peak,
        "import_growth_mb": peak - before,
        "exact": (report.comparisons, report.judgments) == (count, judgments * count),
    }
    return found if once else found | _measure_again(project, file, count, found["exact"])


def _measure_again(project: Any, file: Path, count: int, exact: bool) -> dict[str, Any]:
    from annotator.pipeline import ingest

    began = time.perf_counter()
    again = ingest.ingest_file(project, file)
    changed_nothing = (again.comparisons, again.judgments, again.skipped_existing) == (0, 0, count)
    return {"again_s": round(time.perf_counter() - began, 2), "exact": exact and changed_nothing}


def measure_export(format: str, container: str) -> dict[str, Any]:
    from annotator.models import Job, Project
    from annotator.pipeline import aggregate, export

    project = Project.objects.get()
    made, _job = export.request_export(project, format, container, aggregate.recipe(project, "pooled"), {}, None)
    job = Job.objects.claim(Job.Kind.EXPORT)
    began = time.perf_counter()
    made = export.write_export(made, job)
    export_s = time.perf_counter() - began
    counted = made.manifest["counted"]["comparisons_by_source"]
    job.finish(Job.State.DONE, "measured")
    return {
        "format": format,
        "container": container,
        "export_s": round(export_s, 2),
        "export_comparisons_per_s": round(sum(counted.values()) / export_s),
        "export_rows": made.rows,
        "export_left_out": sum(made.manifest["filters"]["left_out"].values()),
        "export_mb": round(sum(file["bytes"] for file in made.files) / 2**20, 1),
        "export_peak_mb": _peak_mb(),
        "sha256": made.sha256,
        "exported": sum(counted.values()),
    }


def measure_restore() -> dict[str, Any]:
    """Of the lossless store that was exported last, into a project of its own."""
    from django.core.files.storage import default_storage

    from annotator.models import Export, User
    from annotator.pipeline import restore, start

    store = Export.objects.filter(format="judgments", completed_at__isnull=False).order_by("pk").last()
    assert store is not None
    manifest = next(file["address"] for file in store.files if file["name"] == "manifest.json")
    project = start.create_project("restored", lead=User.objects.get(username="bench"))
    began = time.perf_counter()
    done = restore.restore(project, Path(default_storage.path(manifest)).parent)
    return {
        "restore_s": round(time.perf_counter() - began, 2),
        "restore_peak_mb": _peak_mb(),
        "restored": done.tables["judgments"],
    }


def step(name: str, arguments: list[str]) -> dict[str, Any]:
    """Run one half in a process of its own, in the environment of this one."""
    command = [sys.executable, __file__, "--step", name, *arguments]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))


def run_step(given: argparse.Namespace) -> dict[str, Any]:
    import django

    django.setup()
    from annotator.pipeline import work

    work.nudge = lambda task: None  # nobody listens here
    if given.step == "import":
        return measure_import(given.file, given.comparisons, given.judgments, once=given.once)
    if given.step == "restore":
        return measure_restore()
    return measure_export(given.format, given.container)


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


class Children(threading.Thread):
    """The highest peak of memory of a child of this process, looked at again and again.

    Not ru_maxrss of RUSAGE_CHILDREN: a child begins with the size of who forked it.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_mb = 0
        self.start()

    def run(self) -> None:
        while True:
            for tasks in Path("/proc/self/task").glob("*/children"):
                for child in tasks.read_text().split():
                    self.peak_mb = max(self.peak_mb, _highest_mb(child))
            time.sleep(0.2)


def _highest_mb(process: str) -> int:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), 0)


def measure(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    file = folder / "rows.jsonl"
    write_rows(file, given.comparisons, given.seed, given.judgments)
    sizes = ["--comparisons", str(given.comparisons), "--judgments", str(given.judgments)]
    found = step("import", ["--file", str(file), *sizes, *(["--once"] if given.once else [])])
    print(f"imported: {found}", file=sys.stderr, flush=True)  # a million takes minutes more
    file.unlink()
    if not given.judgments:  # nothing has a label
        return found
    found |= step("export", ["--format", given.format, "--container", given.container])
    found["exact"] = found["exact"] and found["exported"] == given.comparisons
    if given.restore:
        if given.format != "judgments":
            step("export", ["--format", "judgments", "--container", given.container])
        found |= step("restore", [])
        found["exact"] = found["exact"] and found["restored"] == found["judgments"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=10_000)
    parser.add_argument("--format", default="trl_reward", help="as in `manage.py export`")
    parser.add_argument("--container", default="parquet", help="parquet, jsonl or jsonl.gz")
    parser.add_argument("--judgments", type=int, default=3, help="of each comparison; without any nothing is exported")
    parser.add_argument("--once", action="store_true", help="do not import the file a second time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--restore", action="store_true", help="also restore its lossless store in a new project")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--step", choices=("import", "export", "restore"), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(run_step(given)))
        return 0
    from annotator.embedded import Cluster

    folder = Path(tempfile.mkdtemp(prefix="switchyard-bench-"))
    folder.chmod(0o755)
    cluster = Cluster(folder / "pg")
    cluster.start()
    os.environ.update(DATABASE_URL=cluster.url, SWITCHYARD_VAR=str(folder / "var"), SECRET_KEY=secrets.token_hex(32))
    os.environ.update(HTTPS="no", DJANGO_SETTINGS_MODULE="annotator.settings", LOG_LEVEL="ERROR")
    try:
        found = {**measure(folder, given), "seed": given.seed, "versions": versions(), "machine": machine()}
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
    for name, value in found.items():
        print(f"{name:>24}  {value}")
    if given.json:
        print(json.dumps(found))
    return 0 if found["exact"] else 1


if __name__ == "__main__":
    sys.exit(main())
