"""An OpenAI-compatible server that misbehaves as real ones do, by given shares, and counts what it delivers.

A process of its own, so that it survives what is killed around it: `python -m tests.labelers.misbehaving_server
--shares '{"429": 0.1}' --seed 1`. It loads no model: for thousands of calls its verdicts need only be verdicts.
Comparisons are told by marks in their texts ("c17-a", "c17-b"), the step by which of the two comes first. GET /counts
gives {"c17 ab": {"asked": 3, "delivered": 1}, …}; delivered is what a provider would bill for.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import random
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARK = re.compile(r"\b(c\d+)-([ab])\b")
LETTERS = {"A": 0.6, "B": 0.3, "C": 0.1}
# What it can do instead of answering; "429+" asks for a rest.
MODES = (
    *("429", "429+", "500", "hang", "drip", "garbage", "cut", "two"),
    # A character that the database does not know, half of one, numbers that cannot be.
    *("nul", "surrogate", "negative", "overflow"),
)
REST = "0.02"
TEXTS = {"two": "[[A]] or [[B]]", "nul": "A\0", "surrogate": "A\ud800"}


class MisbehavingServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, shares: dict[str, float], seed: int, hang: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        assert set(shares) <= set(MODES), f"one of {MODES}"
        self.shares = shares
        self.hang = hang
        self.drawn = random.Random(seed)
        self.lock = threading.Lock()
        self.counts: dict[str, dict[str, int]] = {}

    def asked(self, request: dict) -> tuple[str, str]:
        """(what it is about, how to behave), counted."""
        words = request["messages"][-1]["content"]
        marks = MARK.findall(words)
        about = f"{marks[0][0]} {'ab' if marks[0][1] == 'a' else 'ba'}" if marks else "?"
        with self.lock:
            self.counts.setdefault(about, {"asked": 0, "delivered": 0})["asked"] += 1
            draw, mode = self.drawn.random(), "ok"
        for each, share in self.shares.items():
            if draw < share:
                mode = each
                break
            draw -= share
        return about, mode

    def delivered(self, about: str) -> None:
        with self.lock:
            self.counts[about]["delivered"] += 1


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: MisbehavingServer

    def do_GET(self) -> None:
        with self.server.lock:
            counts = json.dumps(self.server.counts)
        self.send(200, counts)

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        data = self.rfile.read(size)
        if len(data) < size:  # whoever asks was killed
            self.close_connection = True
            return
        request = json.loads(data)
        about, mode = self.server.asked(request)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.answer(request, about, mode)

    def answer(self, request: dict, about: str, mode: str) -> None:
        if mode in ("429", "429+", "500"):
            rest = {"Retry-After": REST} if mode == "429+" else {}
            return self.send(int(mode[:3]), '{"error": {"code": "rate_limit"}}', rest)
        if mode == "hang":
            time.sleep(self.server.hang)
            self.close_connection = True
            return None
        if mode == "garbage":
            return self.send(200, "<html>502 Bad Gateway</html>")
        answer = completion(request, TEXTS.get(mode, "A"))
        spoil(answer, mode)
        whole = json.dumps(answer)
        if mode == "cut":
            return self.send(200, whole[: len(whole) // 2])
        if mode == "drip":
            return self.drip(whole)
        if mode in ("negative", "overflow"):
            return self.send(200, whole)
        self.server.delivered(about)
        return self.send(200, whole)

    def drip(self, whole: str) -> None:
        """A byte now and then, for far longer than anybody waits."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(whole)))
        self.end_headers()
        self.close_connection = True
        for letter in whole:
            self.wfile.write(letter.encode())
            self.wfile.flush()
            time.sleep(self.server.hang / 20)

    def send(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
        data = body.encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *_args: object) -> None:
        pass


def completion(request: dict, text: str) -> dict:
    top = [{"token": letter, "logprob": math.log(p), "bytes": None} for letter, p in LETTERS.items()]
    token = {"token": text, "logprob": top[0]["logprob"], "bytes": None, "top_logprobs": top}
    used = sum(len(message["content"]) for message in request["messages"]) // 4
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": request["model"],
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text},
                "logprobs": {"content": [token], "refusal": None} if len(text) == 1 else None,
            }
        ],
        "usage": {"prompt_tokens": used, "completion_tokens": 1, "total_tokens": used + 1},
    }


def spoil(answer: dict, mode: str) -> None:
    """Put in what no row can hold, as far as the mode wants it."""
    if mode == "nul":
        answer["choices"][0]["finish_reason"] = "st\0op"
    if mode == "negative":
        answer["usage"]["prompt_tokens"] = -7
    if mode == "overflow":
        answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"][1]["logprob"] = 1e4


class Running:
    """The server as a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.address = process.stdout.readline().strip()

    @property
    def url(self) -> str:
        return f"{self.address}/v1"

    def counts(self) -> dict[str, dict[str, int]]:
        with urllib.request.urlopen(f"{self.address}/counts", timeout=30) as reply:
            return json.load(reply)


@contextlib.contextmanager
def running(shares: dict[str, float], seed: int = 0, hang: float = 3.0) -> Iterator[Running]:
    words = ["--shares", json.dumps(shares), "--seed", str(seed), "--hang", str(hang)]
    command = [sys.executable, "-m", "tests.labelers.misbehaving_server", *words]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield Running(process)
    finally:
        process.kill()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shares", type=json.loads, default={})
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hang", type=float, default=3.0)
    asked = parser.parse_args()
    server = MisbehavingServer(asked.shares, asked.seed, asked.hang)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
