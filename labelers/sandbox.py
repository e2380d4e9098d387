"""Running a stranger's Python so that it gets at nothing: a process of its own in namespaces of its own.

What stands between the snippet and the machine, each by itself enough for most of it:

- user, mount, network, IPC, UTS and PID namespaces: no interface but a loopback that is down, no process to see but
  one of ours, which it cannot touch and with which all in there ends;
- a filter that lets through the few system calls computing takes: no sockets, keyrings, shared memory, processes;
- its root is an empty directory, mounted read-only: there are no files, and imports find only what was imported before;
- no capabilities, no new privileges, no inherited descriptor but the one it answers on, an empty environment;
- limits on CPU and wall time, memory, open files, file size, processes (it may not start any), and on the answer.

The answer is a line of numbers and one built-in exception's name, checked by us: the snippet could forge it, as it
could have left its own checks out, but not put words into anybody's mouth.
Where the kernel does not allow namespaces and filters it is refused, never run without them. Linux on x86-64 or
64-bit ARM only.
"""

from __future__ import annotations

import builtins
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# Seconds of CPU, seconds by the clock, bytes of memory, bytes of answer.
CPU, WALL, MEMORY, ANSWER = 2, 5.0, 512 * 2**20, 4096
# Seconds within which what is told to end has ended.
_END = 2.0
# Longer code is not looked at.
LONGEST = 20_000
_RUNNER = Path(__file__).with_name("sandboxed.py")
_ERRORS = {name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)}


class SandboxRefused(RuntimeError):
    """This machine cannot seal code off; nothing was run. The message tells the operator what it takes."""


@dataclass(frozen=True)
class Found:
    """What became of a snippet. `ended` is why it was stopped, "" where it came to its end."""

    compiles: bool = False
    checks: int = 0
    passed: int = 0
    error: str = ""
    ended: str = ""


def check(source: str) -> Found:
    """Compile `source` and run its own doctests and asserts, sealed off. Raises SandboxRefused."""
    given = source.encode("utf-8", "replace")
    if len(given) > LONGEST:
        return Found(ended="it is too long to be checked")
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", str(_RUNNER), str(CPU), str(MEMORY)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
        close_fds=True,
        start_new_session=True,
    )
    try:
        said, in_time = _exchange(process, given)
    finally:
        _end(process)
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
    return _understood(said, in_time)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it and all it started. It collects its child itself, so that nothing is left to whoever adopts orphans."""
    process.terminate()
    try:
        process.wait(_END)
    except subprocess.TimeoutExpired:
        # Its child, the first of the namespace, dies with it, and with that all there is in there.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _exchange(process: subprocess.Popen[bytes], given: bytes) -> tuple[bytes, bool]:
    """Send the source, read the answer until it ends, is too long or the time is over."""
    assert process.stdin and process.stdout
    try:
        process.stdin.write(given)
        process.stdin.close()
    except BrokenPipeError:
        pass
    said, until = b"", time.monotonic() + WALL
    while len(said) <= ANSWER:
        ready, _w, _x = select.select([process.stdout], [], [], max(until - time.monotonic(), 0))
        if not ready:
            return said, False
        more = os.read(process.stdout.fileno(), ANSWER)
        if not more:
            return said, True
        said += more
    return said, True


def _understood(said: bytes, in_time: bool) -> Found:
    lines = said[: ANSWER + 1].splitlines()
    first = _line(lines[0]) if lines else {}
    if "refused" in first:
        raise SandboxRefused(
            f"Code cannot be sealed off on this machine ({str(first['refused'])[:200]}), so it is not run. It takes "
            "Linux on x86-64 or 64-bit ARM, and user namespaces for the workers (in Docker: a seccomp profile that "
            "allows unshare and mount); or take the judge's tool “code” away."
        )
    if not first.get("sealed"):
        raise SandboxRefused("The process that seals code off did not start, so nothing is run.")
    if not in_time:
        return Found(ended="it took too long")
    if len(said) > ANSWER or len(lines) != 2:
        return Found(ended="it did not come to its end within its time and memory")
    found = _line(lines[1])
    checks, passed, error = (found.get(name) for name in ("checks", "passed", "error"))
    # No booleans, which are integers to isinstance.
    if type(checks) is not int or type(passed) is not int or not 0 <= passed <= checks < 10_000:
        return Found(ended="its answer cannot be read")
    return Found(
        compiles=found.get("compiles") is True,
        checks=checks,
        passed=passed,
        error=error if isinstance(error, str) and error in _ERRORS else "an error" if error else "",
    )


def _line(line: bytes) -> dict[str, object]:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
