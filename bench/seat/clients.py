"""The annotators: a process of its own, one thread each, plain HTTP. What it uses is not the server's."""

from __future__ import annotations

import http.client
import random
import re
import socket
import sys
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from urllib.parse import urlencode, urlsplit

TIMEOUT = 60


@dataclass
class Outcome:
    """What the annotators saw. Latencies in ms, of the POST that stores a judgment and brings the next comparison."""

    acknowledged: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    empty: int = 0
    bytes_received: int = 0
    seconds: float = 0.0


class Refused(Exception):
    """The server's answer was not what an annotator needs."""


class Annotator:
    """One browser: keeps its connection and its cookies."""

    def __init__(self, address: str, project_id: int, login: str, password: str, number: int, seed: int) -> None:
        self.host = urlsplit(address).hostname or "127.0.0.1"
        self.port = urlsplit(address).port or 80
        self.project_id = project_id
        self.login_name, self.password = login, password
        # Log-ins are limited by address, as they should be, so each annotator comes from one of their own.
        local = self.host.startswith("127.")
        self.source = (f"127.0.{1 + number // 250}.{1 + number % 250}", 0) if local else None
        self.draw = random.Random(f"{seed}-{number}")
        self.cookies: dict[str, str] = {}
        self.connection: http.client.HTTPConnection | None = None
        self.received = 0

    def ask(self, method: str, path: str, fields: dict[str, object] | None = None) -> http.client.HTTPResponse:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        body = None
        if fields is not None:
            body = urlencode(fields)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            headers["X-CSRFToken"] = self.cookies.get("csrftoken", "")
        if self.connection is None:
            self.connection = http.client.HTTPConnection(
                self.host, self.port, timeout=TIMEOUT, source_address=self.source
            )
            self.connection.connect()
            self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.connection.request(method, path, body, headers)
            reply = self.connection.getresponse()
            self.body = reply.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            raise
        self.received += len(self.body)
        for cookie in reply.headers.get_all("Set-Cookie") or ():
            name, _equals, value = cookie.partition(";")[0].partition("=")
            self.cookies[name.strip()] = value.strip()
        return reply

    def hang_up(self) -> None:
        """As a browser does that was idle while the others logged in; the next request connects anew."""
        if self.connection:
            self.connection.close()
            self.connection = None

    def log_in(self) -> None:
        self.ask("GET", "/accounts/login/")
        found = re.search(rb'name="csrfmiddlewaretoken" value="([^"]+)"', self.body)
        if not found:
            raise Refused("the login page has no form")
        fields = {"login": self.login_name, "password": self.password, "csrfmiddlewaretoken": found[1].decode()}
        reply = self.ask("POST", "/accounts/login/", fields)
        if reply.status != 302:
            raise Refused(f"log-in of {self.login_name} answered {reply.status}")

    def first(self) -> str | None:
        reply = self.ask("GET", f"/projects/{self.project_id}/annotate/")
        if reply.status != 200:
            raise Refused(f"the seat answered {reply.status}")
        return reply.headers.get("Seat-Assignment")

    def answer(self, assignment: str, client_id: str) -> http.client.HTTPResponse:
        fields = {"client_id": client_id, "active_ms": 1500, "level": self.draw.choice((-1, 0, 1))}
        return self.ask("POST", f"/assignments/{assignment}/judgment", fields)


def work(annotator: Annotator, until: float, think: float, outcome: Outcome, lock: threading.Lock) -> None:
    """Judge until the time is over or the queue is empty."""
    acknowledged, latencies, errors = [], [], Counter[str]()
    assignment = client_id = None
    empty = 0
    time.sleep(think * annotator.draw.random())
    while time.monotonic() < until:
        try:
            if assignment is None:
                assignment = annotator.first()
                client_id = str(uuid.uuid4())
                if assignment is None:
                    empty = 1
                    break
            # People do not answer in step with each other: half to one and a half times the pause.
            time.sleep(think * annotator.draw.uniform(0.5, 1.5))
            started = time.perf_counter()
            reply = annotator.answer(assignment, client_id)
            elapsed = (time.perf_counter() - started) * 1000
            if reply.status != 200:
                raise Refused(f"a judgment answered {reply.status}")
        except (OSError, http.client.HTTPException, Refused) as error:
            # The same client id is sent again: that is what it is for.
            errors[f"{type(error).__name__}: {error}"[:120]] += 1
            time.sleep(0.2)
            continue
        acknowledged.append(client_id)
        latencies.append(elapsed)
        assignment = reply.headers.get("Seat-Assignment")
        client_id = str(uuid.uuid4())
    with lock:
        outcome.acknowledged += acknowledged
        outcome.latencies += latencies
        outcome.errors.update(errors)
        outcome.empty += empty
        outcome.bytes_received += annotator.received


def run(
    pipe: Connection, address: str, project_id: int, logins: list[str], password: str,
    seconds: float, think: float, seed: int,
) -> None:  # fmt: skip
    """The process: log everybody in, say so, wait for the word, judge, hand the outcome back."""
    sys.setswitchinterval(0.002)
    annotators = [Annotator(address, project_id, login, password, number, seed) for number, login in enumerate(logins)]
    try:
        for annotator in annotators:
            annotator.log_in()
    except (OSError, http.client.HTTPException, Refused) as error:
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.send("")
    pipe.recv()
    for annotator in annotators:
        annotator.hang_up()
    outcome, lock, started = Outcome(), threading.Lock(), time.monotonic()
    threads = [
        threading.Thread(target=work, args=(annotator, started + seconds, think, outcome, lock))
        for annotator in annotators
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcome.seconds = time.monotonic() - started
    pipe.send(outcome)
