"""A worker: processes that each do one step at a time, and are started again when they end.

Celery's own pool of processes is not used. Over a broker without an event loop (the embedded one is of that kind) its
processes share a lock that the one waiting for work holds. Killed at that moment it never lets go: the pool puts a new
process in its place, which waits for the lock for ever, and from outside the worker looks well. Here each process asks
the broker itself, so the death of one touches no other, and jobs are claimed from the database anyway.

    python -m annotator.workers QUEUES [PROCESSES]
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from annotator.processes import Child, start_again

ROOT = Path(__file__).resolve().parent.parent
EVERY = 0.5


def solo(queues: str, name: str) -> list[str]:
    """The command line of a process that takes from `queues` (comma between two) and forks none."""
    celery = [sys.executable, "-m", "celery", "-A", "annotator", "worker", "--without-gossip", "--without-mingle"]
    return [*celery, "-l", "INFO", "-n", f"{name}@%h", "-Q", queues, "-P", "solo"]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Worker:
    """`count` processes on `queues`. They write where this one writes."""

    def __init__(self, queues: str, count: int) -> None:
        names = [f"{queues.replace(',', '-')}-{number + 1}" for number in range(count)]
        self.children = [Child(name, solo(queues, name), None, os.environ, ROOT) for name in names]
        self.stopping = False

    def run(self) -> None:
        """Until told to stop: then each ends what it is doing. Told a second time they are killed."""
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._stop)
        for child in self.children:
            child.start()
        while not self.stopping:
            start_again(self.children, say)
            time.sleep(EVERY)
        for child in self.children:
            child.ask_to_stop()  # also one that was started while the signal came
        for child in self.children:
            child.finish(float("inf"))

    def _stop(self, number: int, frame: FrameType | None) -> None:
        for child in self.children:
            if self.stopping:
                child.kill()
        self.stopping = True


def main(words: list[str]) -> int:
    queues, count = words[0] if words else "", words[1] if len(words) > 1 else "2"
    if not queues or not count.isdecimal() or not int(count):
        say(f"queues and a number of processes are needed, as in: default,http 2 (got: {' '.join(words)})")
        return 2
    Worker(queues, int(count)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
