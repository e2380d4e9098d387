"""A Redis of the distribution for the tests: the way that works. `python -m tests.operations.redis_server` gets one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

from tests.stack import free_port

WHY_NOT = (
    "no redis-server here, and it could not be installed (that takes root, apt-get and a mirror it reaches): "
    "sudo apt-get install redis-server, then run this again"
)


def _run(*command: str) -> None:
    print("trying:", *command, flush=True)
    try:
        subprocess.run(command, timeout=300, check=False, stdout=sys.stderr)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(error, flush=True)


def can_install() -> bool:
    """Where it takes root or another distribution's tool, being without one is accepted; elsewhere it is a failure."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def get() -> str | None:
    """Path of one that is here, else of the distribution's package, else None."""
    if not shutil.which("redis-server") and can_install():
        _run("apt-get", "update", "-q")
        _run("apt-get", "install", "-y", "-q", "--no-install-recommends", "redis-server")
    return shutil.which("redis-server")


class Redis:
    """One that keeps nothing on disk, so that what it is killed with is gone: the worst a broker can do."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen([self.path, *words], stdout=subprocess.DEVNULL, cwd="/tmp")
        deadline = time.monotonic() + 60
        while not self.answers():
            assert self.process.poll() is None and time.monotonic() < deadline, "redis-server did not start"
            time.sleep(0.05)

    def answers(self) -> bool:
        import redis

        try:
            return bool(redis.Redis(port=self.port, socket_timeout=1).ping())
        except redis.RedisError:
            return False

    def messages(self) -> int:
        """Waiting in the queue of endpoints."""
        import redis

        return int(redis.Redis(port=self.port).llen("http"))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


if __name__ == "__main__":
    if not get():
        sys.exit(WHY_NOT)
    print("Redis:", get())
