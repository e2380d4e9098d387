"""The supervisor of `make run`: PostgreSQL and broker on a machine that has none, web, worker, tick."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType

import psycopg

from annotator.cluster import SYSTEM_DIRECTORY, Cluster, ClusterError, make_system_directory, reaches, unprivileged
from annotator.processes import Child, cause, die_with_parent, start_again
from annotator.workers import solo

__all__ = ["Cluster", "Supervisor"]

ROOT = Path(__file__).resolve().parent.parent
# What a command typed by hand needs to talk to the running stack (see manage.py).
FOR_COMMANDS = (
    "DATABASE_URL",
    "SECRET_KEY",
    "SECRET_KEY_FILE",
    "CELERY_BROKER_URL",
    "HTTPS",
    "MODELS",
    "MODEL_FOLDERS",
    "STORAGE",
    "S3_BUCKET",
    "S3_ENDPOINT",
    "S3_REGION",
    "S3_ACCESS_KEY_ID",
    "S3_SECRET_ACCESS_KEY",
    "S3_SECRET_ACCESS_KEY_FILE",
    "S3_ADDRESSING",
    "S3_PREFIX",
    "LABELER_KEYS",
    "LABELER_PRIVATE_ENDPOINTS",
)
# Who works on which queues. Judges wait for other people's servers for hours, and models compute for hours: neither
# must hold up labels and plans. Without models nobody is needed for them: what is asked of them is refused.
WORKERS = {"worker": "default", "judges": "http", "models": "gpu"}


class CannotStart(Exception):
    """Said to the person at the terminal in one line: what is wrong and what to do."""


def say(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may have been closed
        print(line, flush=True)


class Supervisor:
    """Starts everything in order, restarts what ends, stops everything when told to."""

    def __init__(self, environment: dict[str, str], root: Path = ROOT) -> None:
        self.root = root
        self.var = Path(environment.get("SWITCHYARD_VAR") or root / "var").absolute()
        self.port = _port(environment.get("PORT") or "8000")
        self.host = environment.get("HOST") or "127.0.0.1"
        self.environment = environment | {
            "SWITCHYARD_VAR": str(self.var),
            "PORT": str(self.port),
            "HOST": self.host,
            "HTTPS": environment.get("HTTPS") or "no",
            "DJANGO_SETTINGS_MODULE": "annotator.settings",
            "PYTHONUNBUFFERED": "1",
        }
        self.cluster: Cluster | None = None
        self.children: list[Child] = []
        self.stopping = False

    # Starting

    def run(self) -> int:
        """Everything from nothing to "ready", then watch until told to stop. Gives the exit status."""
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._stop_soon)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup: go on when the terminal closes
            signal.signal(signal.SIGHUP, self._stop_soon)
        try:
            with self._only_one():
                try:
                    self._prepare()
                    self._start_children()
                    self._announce()
                    self._watch()
                finally:
                    self._stop()
        except (CannotStart, ClusterError) as error:
            say(f"switchyard: {error}")
            return 1
        except KeyboardInterrupt:
            say("switchyard: stopped")
        return 0

    def _stop_soon(self, number: int, frame: FrameType | None) -> None:
        """The first signal stops everything in order; a second one is for the impatient."""
        if not self.stopping:
            self.stopping = True
            raise KeyboardInterrupt
        for child in self.children:
            child.kill()

    def _only_one(self) -> Lock:
        try:
            for folder, mode in (("", 0o755), ("log", 0o700), ("storage", 0o700), ("broker", 0o700)):
                (self.var / folder).mkdir(mode=mode, parents=True, exist_ok=True)
            return Lock(self.var / "supervisor.lock")
        except OSError as error:
            raise CannotStart(
                f"{self.var} cannot be written ({error.strerror}); choose a directory of yours: "
                "make run SWITCHYARD_VAR=/a/directory"
            ) from None

    def _prepare(self) -> None:
        _check_port(self.host, self.port)
        self._keep_secret_key()
        self._start_database()
        self._tell_commands()
        self._in_background("database and pages", "prepare", *self._demo())

    def _demo(self) -> list[str]:
        return [] if self.environment.get("DEMO") == "no" else ["--demo"]

    def _keep_secret_key(self) -> None:
        """The key that signs sessions is drawn once and kept, so that a restart logs nobody out."""
        if self.environment.get("SECRET_KEY") or self.environment.get("SECRET_KEY_FILE"):
            return
        file = self.var / "secret_key"
        if not file.exists() or not file.read_text().strip():
            _write_private(file, secrets.token_urlsafe(48))
        self.environment["SECRET_KEY_FILE"] = str(file)

    def _start_database(self) -> None:
        if url := self.environment.get("DATABASE_URL"):
            return _check_database(url)
        say("starting PostgreSQL")
        self.cluster = Cluster(self._cluster_directory())
        self.cluster.start()
        self.environment["DATABASE_URL"] = self.cluster.url

    @property
    def _stack_file(self) -> Path:
        return self.var / "stack.json"

    def _tell_commands(self) -> None:
        """Management commands find the running stack here; private, for the address may hold a password."""
        told = {name: self.environment[name] for name in FOR_COMMANDS if self.environment.get(name)}
        _write_private(self._stack_file, json.dumps(told | {"SWITCHYARD_VAR": str(self.var)}))

    def _cluster_directory(self) -> Path:
        """Under var/; where root's unprivileged user cannot get there, in a directory of the system's."""
        here = self.var / "postgres"
        if (here / "data" / "PG_VERSION").exists() or reaches(unprivileged(), self.var):
            return here
        make_system_directory()
        return SYSTEM_DIRECTORY / hashlib.sha256(os.fsencode(self.var)).hexdigest()[:16]

    def _in_background(self, what: str, *command: str) -> None:
        """A management command, its output in a log; what it says last is shown when it fails."""
        log = self.var / "log" / f"{command[0]}.log"
        child = Child(command[0], [sys.executable, "manage.py", *command], log, self.environment, self.root)
        self.children.append(child)
        say(f"preparing {what}")
        child.start()
        status = child.wait()
        self.children.remove(child)
        if status:
            raise CannotStart(f"{command[0]} failed; {log} ends with: {child.last_line()}")

    def _start_children(self) -> None:
        names = [f"worker-{number + 1}" for number in range(self._workers())]
        commands = {
            "web": [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "annotator.wsgi"],
            **{name: solo(WORKERS["worker"], name) for name in names},
            "judges": solo(WORKERS["judges"], "judges"),
            "models": solo(WORKERS["models"], "models"),
            "tick": [sys.executable, "manage.py", "tick"],
        }
        if self.environment.get("MODELS", "yes").lower() in ("no", "0", "false"):
            del commands["models"]
        for name, command in commands.items():
            self.children.append(Child(name, command, self.var / "log" / f"{name}.log", self.environment, self.root))
        say("starting web, worker and tick")
        for child in self.children:
            child.start()

    def _workers(self) -> int:
        text = self.environment.get("WORKER_PROCESSES") or "2"
        if not text.isdecimal() or not int(text):
            raise CannotStart(f"WORKER_PROCESSES={text!r}: say how many, e.g. make run WORKER_PROCESSES=2")
        return int(text)

    @property
    def address(self) -> str:
        return f"http://{'localhost' if self.host in {'127.0.0.1', '0.0.0.0'} else self.host}:{self.port}/"

    def _announce(self) -> None:
        """Say where to go, once the site answers."""
        deadline = time.monotonic() + 90
        while not self._answers():
            start_again(self.children, say)
            if time.monotonic() > deadline or self.children[0].failures >= 3:
                web = self.children[0]
                raise CannotStart(f"the site does not answer; {web.log} ends with: {web.last_line()}")
            time.sleep(0.2)
        say(f"\nSwitchyard runs at {self.address}")
        for line in self._logins():
            say(line)
        say("Ctrl-C stops it.\n")

    def _answers(self) -> bool:
        try:
            host = "127.0.0.1" if self.host == "0.0.0.0" else self.host
            with urllib.request.urlopen(f"http://{host}:{self.port}/health", timeout=5) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _logins(self) -> list[str]:
        file = self.var / "demo-logins.json"
        if not self._demo() or not file.exists():
            return ["  the first administrator: .venv/bin/python manage.py createsuperuser"]
        logins = json.loads(file.read_text())
        return [f"  {name:<10} password  {password}" for name, password in logins.items()]

    # Running

    def _watch(self) -> None:
        while True:
            time.sleep(0.5)
            if self.cluster and self.cluster.ended() is not None:
                say(f"PostgreSQL ended ({cause(self.cluster.ended())}); starting it again")
                self.cluster.start()
            start_again(self.children, say)

    # Stopping

    def _stop(self) -> None:
        """Web, worker and tick first, PostgreSQL last; nobody else's process is touched."""
        for child in self.children:
            child.ask_to_stop()
        deadline = time.monotonic() + 10
        for child in self.children:
            child.finish(deadline)
        self._stack_file.unlink(missing_ok=True)
        if self.cluster:
            self.cluster.stop()


class Lock:
    """One supervisor a var directory: held as long as the process lives, whatever ends it."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("a+")
        os.set_inheritable(self.file.fileno(), False)

    def __enter__(self) -> None:
        for _attempt in range(30):
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(0.1)
            else:
                self.file.truncate(0)
                self.file.write(str(os.getpid()))
                self.file.flush()
                return
        self.file.seek(0)
        number = self.file.read().strip()
        raise CannotStart(f"it runs already; stop it where it was started, or with: kill {number}")

    def __exit__(self, *error: object) -> None:
        self.file.close()


def _write_private(file: Path, text: str) -> None:
    """Written aside and renamed: a killed start leaves no half file."""
    aside = file.with_suffix(".new")
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        opened.write(text)
    aside.replace(file)


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise CannotStart(f"PORT={text!r}: say a number between 1 and 65535, e.g. make run PORT=8001")
    return int(text)


def _check_port(host: str, port: int) -> None:
    """What a killed supervisor left behind frees the port within moments; anything else is somebody else's."""
    for attempt in range(30):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                return probe.bind((host, port))
            except PermissionError:
                raise CannotStart(f"port {port} needs root; choose another: make run PORT=8001") from None
            except OSError as error:
                if attempt == 29:
                    raise CannotStart(
                        f"port {port} cannot be used ({error.strerror}); choose another: make run PORT={port + 1}"
                    ) from None
        time.sleep(0.1)


def _check_database(url: str) -> None:
    if not url.startswith(("postgresql://", "postgres://")):
        # Not quoted, and not shown to libpq, which quotes what it cannot read: it may hold a password.
        raise CannotStart(
            "DATABASE_URL must begin with postgresql://, as in postgresql://user:password@host/name; "
            "correct it, or unset it to get an embedded PostgreSQL"
        )
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            number = connection.info.server_version
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        raise CannotStart(
            f"the database of DATABASE_URL cannot be reached ({reason}); correct it, or unset it to get an embedded one"
        ) from None
    if number < 150000:
        raise CannotStart(
            f"the database of DATABASE_URL is PostgreSQL {number // 10000}; version 15 or newer is needed"
        )


def main() -> int:
    if "--with-parent" in sys.argv:
        die_with_parent(signal.SIGTERM)
    try:
        return Supervisor(dict(os.environ)).run()
    except CannotStart as error:
        say(f"switchyard: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
