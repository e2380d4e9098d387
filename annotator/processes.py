"""Processes that end with the one that started them, even when that one is killed with -9."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
LOG_BYTES = 20 * 2**20
# Loaded before any fork: between fork and exec nothing may be imported.
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


def die_with_parent(sent: int = signal.SIGKILL, *, parent: int | None = None) -> None:
    """Ask Linux to send this process the signal `sent` when its parent's thread ends; elsewhere do nothing.

    Call it after the last change of user (which clears the wish). `parent` is the expected parent's id: when that one
    has ended before the wish was made, this process ends at once.
    """
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, int(sent), 0, 0, 0)
        if parent is not None and os.getppid() != parent:
            os._exit(1)


def wish(sent: int) -> Callable[[], None]:
    """For subprocess's preexec_fn, which runs after the change of user."""
    parent = os.getpid()
    return lambda: die_with_parent(sent, parent=parent)


class Child:
    """One long-running command of ours, in a session of its own so that Ctrl-C reaches only us.

    `log`: the file that it writes to; None where we write.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path | None, environment: Mapping[str, str], cwd: Path
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self.environment = dict(environment)
        self.cwd = cwd
        self.process: subprocess.Popen[bytes] | None = None
        self.failures = 0
        self.started = 0.0
        self.start_again_at = 0.0

    def start(self) -> None:
        self.kill()  # what a killed process left of its own children
        self.started = time.monotonic()
        self.start_again_at = 0.0
        with self._opened_log() as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self.cwd,
                start_new_session=True,
                preexec_fn=wish(signal.SIGKILL),
            )

    def _opened_log(self) -> contextlib.AbstractContextManager[IO[bytes] | None]:
        """At each start a log that has grown large becomes the old one."""
        if self.log is None:
            return contextlib.nullcontext()
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".old.log"))
        return self.log.open("ab")

    def ended(self) -> int | None:
        """The exit status (negative: the signal) when it has ended, None while it runs or was never started."""
        return self.process.poll() if self.process else None

    def wait(self) -> int:
        assert self.process
        return self.process.wait()

    def last_line(self) -> str:
        """The last line of its log, for the person at the terminal."""
        if self.log is None:
            return "nothing"
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else "nothing"

    def delay(self) -> float:
        """Seconds to wait before the next start: none at first, doubling to 30 while it keeps ending quickly."""
        self.failures = self.failures + 1 if time.monotonic() - self.started < 60 else 0
        return min(30.0, 2.0 ** (self.failures - 1)) if self.failures else 0.0

    def ask_to_stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()

    def kill(self) -> None:
        if self.process:
            kill_group(self.process.pid)

    def finish(self, deadline: float) -> None:
        """Wait until `deadline` (monotonic seconds), then kill; its own children are killed in any case."""
        if not self.process:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, deadline - time.monotonic()))
        self.kill()
        self.process.wait()


def start_again(children: Iterable[Child], say: Callable[[str], None]) -> None:
    """One look at all: what has ended is started again after a while that grows when it keeps ending."""
    for child in children:
        if (status := child.ended()) is None:
            continue
        if not child.start_again_at:
            delay = child.delay()
            child.start_again_at = time.monotonic() + delay
            where = f", see {child.log}" if child.log else ""
            say(f"{child.name} ended ({cause(status)}){where}; starting it again in {delay:.0f} s")
        elif time.monotonic() >= child.start_again_at:
            child.start()


def cause(status: int | None) -> str:
    """Of an exit status, in words."""
    if status is not None and status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"status {status}"


def kill_group(leader: int) -> None:
    """Kill what is left of the process group of a session we started."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
