"""A whole Switchyard started by its supervisor, as `make run` does, in a directory and on a port of its own."""

from __future__ import annotations

import contextlib
import http.cookiejar
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What tests set for themselves must not reach the stack.
TESTS_OWN = ("DATABASE_URL", "SECRET_KEY", "SWITCHYARD_VAR", "DJANGO_SETTINGS_MODULE", "CELERY_BROKER_URL", "PORT")
# Seconds of a first start on two cores that do little else. Where it takes longer, so may all that is waited for; but
# not without end, for it may be the start that has become slow, and not the machine.
USUAL_START, MOST_SLOWNESS = 40.0, 3.0


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary directory that root's unprivileged PostgreSQL may enter (pytest's own stay private)."""
    with tempfile.TemporaryDirectory(prefix="switchyard stack ", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True)
class Start:
    """What a start took: seconds until the site answered, those of them in which something on the machine waited for
    a core, and seconds of CPU of the commands that prepared it (initdb, migrations, demo), which other work on the
    machine hardly changes."""

    seconds: float
    crowded: float
    prepared: float


def crowded() -> float:
    """Seconds since the machine started in which something waited for a core; 0 where Linux does not tell."""
    try:
        told = Path("/proc/pressure/cpu").read_text()
    except OSError:
        return 0.0
    return int(re.search(r"^some .*total=(\d+)", told)[1]) / 1e6


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
        self.starts: list[Start] = []

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def logins(self) -> dict[str, str]:
        """User name -> password of the demo's users."""
        return json.loads((self.var / "demo-logins.json").read_text())

    @property
    def slowness(self) -> float:
        """The first start as a multiple of the usual one."""
        return min(MOST_SLOWNESS, max(1.0, self.starts[0].seconds / USUAL_START)) if self.starts else 1.0

    def start(self, seconds: float = 300) -> Stack:
        began, crowd = time.monotonic(), crowded()
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
        self.starts.append(Start(time.monotonic() - began, crowded() - crowd, self._prepared()))
        return self

    def _prepared(self) -> float:
        """Seconds of CPU of the supervisor's children that have ended (cutime and cstime of proc(5))."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_until(
        self, condition: Callable[[], bool], seconds: float = 30, told: Callable[[], str] = lambda: ""
    ) -> None:
        """While the supervisor runs. `seconds` are those of a machine that is not slow, here as below.

        `told`: what a failure says first, before what all processes said; reports may be cut behind.
        """

        def holds() -> bool:
            if condition():
                return True
            assert self.process.poll() is None, f"the supervisor ended:\n{self.said()}\n{self.logs()}"
            return False

        assert self.holds_within(seconds, holds), (
            f"not within {seconds} s, times {self.slowness:.1f}:\n{told()}\n{self.said()}\n{self.logs()}"
        )

    def holds_within(self, seconds: float, condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + seconds * self.slowness
        while not (found := condition()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def logs(self, names: str = "*") -> str:
        """The last words of the logs whose file's name fits the pattern."""
        return "\n".join(
            f"== {log.name}\n{log.read_text(errors='replace')[-2000:]}"
            for log in sorted((self.var / "log").glob(names))
        )

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as reply:
                return json.load(reply) == {"database": "ok"}
        except (urllib.error.URLError, OSError):
            return False

    def pids(self, *words: str) -> list[int]:
        """Processes of this stack whose command line has all `words`; the supervisor's own included."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                mine = self._is_mine(entry)
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if mine and all(word in command for word in words):
                found.append(int(entry.name))
        return sorted(found)

    def _is_mine(self, entry: Path) -> bool:
        """By the environment the supervisor passes on; PostgreSQL, which has none of ours, by its data directory."""
        if f"SWITCHYARD_VAR={self.var}".encode() in (entry / "environ").read_bytes().split(b"\0"):
            return True
        return os.readlink(entry / "cwd").startswith(str(self.var))

    @property
    def database(self) -> str:
        """DATABASE_URL as the supervisor gave it to its children."""
        for pid in self.pids("annotator.wsgi") or self.pids("manage.py"):
            for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                if entry.startswith(b"DATABASE_URL="):
                    return entry.decode().partition("=")[2]
        raise LookupError("no child of the supervisor runs")

    def stop(self, sent: int = signal.SIGINT, *, impatient: bool = False) -> int:
        """Ctrl-C; gives the exit status. `impatient`: a second one, which kills what has not ended within a second."""
        if self.process.poll() is None:
            self.process.send_signal(sent)
        if impatient:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(1)
            self.process.send_signal(sent)
        return self.process.wait(60 * self.slowness)


class Visitor:
    """A person without a browser: keeps cookies, sends the CSRF token."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    @property
    def patience(self) -> float:
        """Seconds without a byte after which an answer is given up."""
        return 30 * self.stack.slowness

    def get(self, path: str) -> str:
        with self.opener.open(self.stack.url + path, timeout=self.patience) as reply:
            return reply.read().decode()

    def post(self, path: str, **fields: object) -> str:
        token = next((cookie.value for cookie in self.cookies if cookie.name == "csrftoken"), "")
        request = urllib.request.Request(
            self.stack.url + path,
            urllib.parse.urlencode(fields).encode(),
            {"X-CSRFToken": token, "Referer": self.stack.url + path},
        )
        with self.opener.open(request, timeout=self.patience) as reply:
            return reply.read().decode()

    def login(self, name: str) -> Visitor:
        self.get("/accounts/login/")
        self.post("/accounts/login/", login=name, password=self.stack.logins[name])
        assert any(cookie.name == "sessionid" for cookie in self.cookies), f"{name} could not log in"
        return self

    def assignment(self, seat: str) -> str:
        """What the seat at this address shows: an assignment's id, "" when its queue is empty."""
        with self.opener.open(self.stack.url + seat, timeout=self.patience) as reply:
            return reply.headers.get("Seat-Assignment", "")

    def judge(self) -> uuid.UUID:
        """One judgment that the site has acknowledged, in the first project with work; its client id."""
        assignment = next(filter(None, map(self.assignment, re.findall(r"/projects/\d+/annotate/", self.get("/")))))
        client_id = uuid.uuid4()
        self.post(
            f"/assignments/{assignment}/judgment",
            client_id=client_id,
            active_ms=1500,
            outcome="cannot_judge",
            justification="a test of what survives",
        )
        return client_id
