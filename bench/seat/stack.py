"""A Switchyard of the bench's own: PostgreSQL with real durability, web, worker and tick as `make run` starts them.

No worker for judges: nobody asks one here.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from annotator.cluster import Cluster
from annotator.processes import Child

ROOT = Path(__file__).resolve().parent.parent.parent
TICKS = os.sysconf("SC_CLK_TCK")


class Stack:
    """Start with `start()`; `cpu_seconds()` is what all its processes have used so far."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="switchyard-bench-"))
        self.folder.chmod(0o755)
        self.var = self.folder / "var"
        self.var.mkdir()
        self.cluster = Cluster(self.folder / "pg")
        self.port = _free_port()
        self.children: list[Child] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start_database(self) -> None:
        """PostgreSQL, migrated; its address and the settings of the other processes are in os.environ afterwards."""
        self.cluster.start()
        os.environ |= {
            "DATABASE_URL": self.cluster.url,
            "SECRET_KEY": secrets.token_hex(32),
            "HTTPS": "no",
            "SWITCHYARD_VAR": str(self.var),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "PYTHONPATH": str(ROOT),
        }
        os.environ.pop("CELERY_BROKER_URL", None)
        done = subprocess.run([sys.executable, "manage.py", "prepare"], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"manage.py prepare failed:\n{done.stderr[-2000:]}")

    def start(self) -> None:
        python = [sys.executable, "-m"]
        commands = {
            "web": [*python, "gunicorn", "-c", "gunicorn.conf.py", "annotator.wsgi"],
            "worker": [*python, "annotator.workers", "default,gpu", "2"],
            "tick": [sys.executable, "manage.py", "tick"],
        }
        for name, command in commands.items():
            child = Child(name, command, self.folder / f"{name}.log", os.environ, ROOT)
            child.start()
            self.children.append(child)
        self._wait(self._web_answers, "the web process")
        self._wait(lambda: " ready." in (self.folder / "worker.log").read_text(errors="replace"), "the worker")

    def _web_answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def _wait(self, ready: object, what: str, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not ready():  # type: ignore[operator]
            ended = [child for child in self.children if child.ended() is not None]
            if ended or time.monotonic() > deadline:
                log = (ended[0] if ended else self.children[-1]).log
                raise RuntimeError(f"{what} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)

    def cpu_seconds(self) -> dict[str, float]:
        """User and system time by role, ended children included."""
        roots = {child.name: child.process.pid for child in self.children if child.process}
        assert self.cluster.process
        roots["postgresql"] = self.cluster.process.pid
        table = _processes()
        return {name: _tree(table, root) / TICKS for name, root in roots.items()}

    def last_words(self) -> str:
        """The ends of the logs, for whoever has to explain errors."""
        logs = [*(child.log for child in self.children), self.cluster.log]
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-2500:]}" for log in logs)

    def stop(self) -> None:
        for child in self.children:
            child.ask_to_stop()
        deadline = time.monotonic() + 10
        for child in self.children:
            child.finish(deadline)
        self.cluster.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _processes() -> dict[int, tuple[int, int]]:
    """Process id -> (parent, clock ticks of the process and of its children that have ended)."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(stat.parent.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    return found


def _tree(table: dict[int, tuple[int, int]], root: int) -> int:
    own = table.get(root, (0, 0))[1]
    return own + sum(_tree(table, process) for process, (parent, _ticks) in table.items() if parent == root)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
