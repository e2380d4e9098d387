"""Real processes on the database of a test: a Celery worker that asks endpoints, and the tick."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from django.db import connection

from annotator.workers import solo
from tests.stack import ROOT


def lives(pid: int) -> bool:
    """One that is dead may wait for long to be taken away, where the first process of the machine does not do that."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Workers:
    """A Celery worker for judges and the tick, as `make run` starts them, on the test's database."""

    def __init__(self, var: Path, **more: str) -> None:
        database = urlsplit(os.environ["DATABASE_URL"])._replace(path="/" + connection.settings_dict["NAME"])
        self.environment = {
            **os.environ,
            "DATABASE_URL": database.geturl(),
            "SWITCHYARD_VAR": str(var),
            "LABELER_PRIVATE_ENDPOINTS": "yes",
            "LOG_LEVEL": "WARNING",
            **more,
        }
        for folder in ("messages", "control"):
            (var / "broker" / folder).mkdir(parents=True)
        self.output = var / "log"
        self.log = self.output.open("wb")
        self.tick = self._run("manage.py", "tick")
        self.worker = self.start()
        # (time, resident bytes) of the process that works, for each worker there was.
        self.resident: list[list[tuple[float, int]]] = [[]]
        self.over = threading.Event()
        self.sampler = threading.Thread(target=self._sample, daemon=True)
        self.sampler.start()

    def _run(self, *words: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, env=self.environment, stdout=self.log, stderr=self.log
        )

    def start(self) -> subprocess.Popen:
        return self._run(*solo("http", "judges")[1:], "-l", "WARNING")

    def children(self) -> list[int]:
        listed = Path(f"/proc/{self.worker.pid}/task/{self.worker.pid}/children")
        return [int(pid) for pid in listed.read_text().split()]

    def kill(self) -> None:
        """-9 to the worker; what it started ends with it."""
        theirs = self.children()
        self.worker.send_signal(signal.SIGKILL)
        self.worker.wait()
        deadline = time.monotonic() + 10
        while any(map(lives, theirs)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not any(map(lives, theirs))

    def replace(self) -> None:
        self.resident.append([])
        self.worker = self.start()

    def _sample(self) -> None:
        while not self.over.wait(0.5):
            # One that is just dead has no memory to tell of.
            with suppress(OSError, StopIteration):
                status = Path(f"/proc/{self.worker.pid}/status").read_text()
                kilobytes = next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]
                self.resident[-1].append((time.monotonic(), int(kilobytes) * 1024))

    def stop(self) -> None:
        self.over.set()
        for process in (self.worker, self.tick):
            process.kill()
            process.wait()
        self.log.close()

    def wait_until(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.worker.poll() is None, f"the worker ended:\n{self.output.read_text()[-3000:]}"
            assert time.monotonic() < deadline, f"not within {seconds} s:\n{self.output.read_text()[-3000:]}"
            time.sleep(0.1)
