"""A whole Switchyard started by its supervisor, as `make run` does, in a directory and on a port of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What tests set for themselves must not reach the stack.
TESTS_OWN = ("DATABASE_URL", "SECRET_KEY", "SWITCHYARD_VAR", "DJANGO_SETTINGS_MODULE", "CELERY_BROKER_URL", "PORT")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Stack:
    """`start()` returns when the site answers; the process is the supervisor."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.var = directory / "var"
        self.output = directory / "output"
        self.port = free_port()
        self.password = "only-for-tests-7"
        inherited = {name: value for name, value in os.environ.items() if name not in TESTS_OWN}
        self.environment = inherited | {
            "SWITCHYARD_VAR": str(self.var),
            "PORT": str(self.port),
            "DEMO_PASSWORD": self.password,
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def logins(self) -> dict[str, str]:
        """User name -> password of the demo's users."""
        return json.loads((self.var / "demo-logins.json").read_text())

    def start(self, seconds: float = 120) -> Stack:
        self.output.parent.mkdir(parents=True, exist_ok=True)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "annotator.embedded", "--with-parent"],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.wait_until(lambda: "Switchyard runs at" in self.said(), seconds)
        return self

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_until(self, condition, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"the supervisor ended:\n{self.said()}\n{self.logs()}"
            assert time.monotonic() < deadline, f"not within {seconds} s:\n{self.said()}\n{self.logs()}"
            time.sleep(0.1)

    def logs(self) -> str:
        return "\n".join(
            f"== {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in sorted((self.var / "log").glob("*"))
        )

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as reply:
                return json.load(reply) == {"database": "ok"}
        except (urllib.error.URLError, OSError):
            return False

    def stop(self, sent: int = signal.SIGINT) -> int:
        """Ctrl-C; gives the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(sent)
        return self.process.wait(60)
