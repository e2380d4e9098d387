"""A small OpenAI-compatible server around a real, tiny transformers model: what a judge or generator meets, for free.

Generation, log-probabilities, structured output, seeds, stops and token counts are the model's and its tokenizer's own;
only the model is small and random, so what it says means nothing. `python -m tests.labelers.tiny_server` runs it in a
process of its own (the first line on standard output is its address), `started()` does so for a test, and `Server` can
also live in a thread. A tiny model behind a server that misbehaves is tests/labelers/judge_server.py.

As vLLM and SGLang: `structured_outputs` {"choice"} or {"regex"}, and `response_format` of type json_schema, mask what
does not fit before sampling, and log-probabilities are those of the masked distribution at temperature 1.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import hmac
import json
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FAMILIES = ("llama3", "chatml")
MOST_TOKENS = 512
MOST_LOGPROBS = 20
# A string of a schema, where that sets no maxLength.
LONGEST_STRING = 24
# Printable ASCII that JSON writes as itself.
PLAIN = rb"[ !#-\[\]-~]"


class Refused(Exception):
    """A request that cannot be served: what OpenAI's servers would answer with this status."""

    def __init__(self, message: str, *, status: int = 400, code: str | None = None, parameter: str | None = None):
        super().__init__(message)
        self.status, self.code, self.parameter = status, code, parameter

    def body(self) -> dict:
        error = {"message": str(self), "type": "invalid_request_error", "param": self.parameter, "code": self.code}
        return {"error": error}


@dataclasses.dataclass
class Sample:
    """One generated answer: its token ids and, for each, the log-probabilities it was drawn from (a tensor)."""

    ids: list[int]
    logprobs: list
    text: str
    finish_reason: str


class TinyModel:
    """A model of `tiny_models` with its tokenizer, byte-level so that every token is known by its bytes."""

    def __init__(self, family: str = "chatml", seed: int = 0):
        from tests.labelers import tiny_models

        assert family in FAMILIES, f"the tokenizer of {family} is not byte-level"
        self.name = f"tiny-{family}"
        self.tokenizer, self.model = tiny_models.tokenizer(family), tiny_models.model(family, seed)
        self.end = self.tokenizer.eos_token_id

    def prompt_ids(self, messages: list[dict]) -> list[int]:
        given = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return self.tokenizer(given, add_special_tokens=False)["input_ids"]

    @functools.cached_property
    def words(self) -> dict[int, bytes]:
        """The bytes of every token that is no mark."""
        letters = {letter: byte for byte, letter in _letters().items()}
        marks = set(self.tokenizer.all_special_ids)
        return {
            token: bytes(letters[letter] for letter in word)
            for word, token in self.tokenizer.get_vocab().items()
            if token not in marks
        }

    def scores(self, ids: list[int]):
        """Logits of the token after `ids`, the plain way: one forward pass over everything."""
        import torch

        with torch.inference_mode():
            return self.model(torch.tensor([ids])).logits[0, -1].float()

    def generate(self, ids: list[int], *, most: int, temperature: float, seed: int, pattern=None, stop=()) -> Sample:
        """Sample up to `most` tokens; greedily at temperature 0. `pattern` is a compiled regex over bytes."""
        import torch

        drawn = torch.Generator().manual_seed(seed)
        said, kept, whole, cache = [], [], b"", None
        with torch.inference_mode():
            fed = torch.tensor([ids])
            while len(said) < most:
                step = self.model(fed, past_key_values=cache, use_cache=True)
                cache, logits = step.past_key_values, step.logits[0, -1].float()
                logits = self._masked(logits, pattern, whole)
                logprobs = torch.log_softmax(logits, -1)
                if temperature:
                    chosen = int(torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=drawn))
                else:
                    chosen = int(logprobs.argmax())
                if chosen == self.end:
                    return self._sample(said, kept, whole, "stop")
                said.append(chosen)
                kept.append(logprobs)
                whole += self.words.get(chosen, b"")
                if cuts := [whole.index(end) for end in stop if end in whole]:
                    return self._sample(said, kept, whole[: min(cuts)], "stop")
                if pattern and pattern.fullmatch(whole) and not any(self._fitting(pattern, whole)):
                    return self._sample(said, kept, whole, "stop")
                fed = torch.tensor([[chosen]])
        return self._sample(said, kept, whole, "length")

    def _sample(self, said: list[int], kept: list, whole: bytes, reason: str) -> Sample:
        return Sample(said, kept, whole.decode(errors="replace"), reason)

    def _masked(self, logits, pattern, whole: bytes):
        if pattern is None:
            return logits
        allowed = list(self._fitting(pattern, whole))
        if pattern.fullmatch(whole):
            allowed.append(self.end)
        masked = logits.new_full(logits.shape, float("-inf"))
        masked[allowed] = logits[allowed]
        return masked

    def _fitting(self, pattern, whole: bytes):
        """Tokens after which the answer can still become one that matches."""
        return (token for token, word in self.words.items() if pattern.fullmatch(whole + word, partial=True))


def _letters() -> dict[int, str]:
    """How byte-level BPE writes each byte: itself where it prints, else a letter from 256 on."""
    prints = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in prints]
    return {byte: chr(byte) for byte in prints} | {byte: chr(256 + place) for place, byte in enumerate(others)}


def pattern_of(request: dict):
    """The compiled regex that the answer has to match, None for free text. Raises Refused."""
    import regex

    wanted = request.get("structured_outputs") or {}
    form = request.get("response_format") or {"type": "text"}
    if choice := wanted.get("choice"):
        written = _any(choice)
    elif wanted.get("regex"):
        written = wanted["regex"].encode()
    elif form["type"] == "json_schema":
        written = schema_pattern(form["json_schema"]["schema"])
    elif form["type"] == "text" and not wanted:
        return None
    else:
        raise Refused(f"this server does not know {wanted or form}", parameter="response_format")
    return regex.compile(written, regex.DOTALL)


def _any(texts) -> bytes:
    import regex

    return b"(?:" + b"|".join(regex.escape(text.encode(), special_only=True) for text in texts) + b")"


def schema_pattern(schema: dict) -> bytes:
    """A JSON schema as a regex of its compact JSON: enum, const, boolean, integer, string, array, object of required
    properties in their order. Raises Refused for anything else."""
    if "enum" in schema or "const" in schema:
        return _any(json.dumps(value) for value in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type")
    if kind == "boolean":
        return _any(("true", "false"))
    if kind == "integer" and {"minimum", "maximum"} <= schema.keys():
        return _any(str(number) for number in range(schema["minimum"], schema["maximum"] + 1))
    if kind == "integer":
        return rb"-?(?:0|[1-9][0-9]{0,8})"
    if kind == "string":
        least, most = schema.get("minLength", 0), schema.get("maxLength", LONGEST_STRING)
        return b'"' + PLAIN + b"{%d,%d}" % (least, most) + b'"'
    if kind == "array":
        item, most = schema_pattern(schema["items"]), schema.get("maxItems", 3)
        least = schema.get("minItems", 0)
        more = b"(?:,%s){%d,%d}" % (item, max(least - 1, 0), max(most - 1, 0))
        return rb"\[" + (item + more if least else b"(?:%s%s)?" % (item, more)) + rb"\]"
    if kind == "object":
        inner = (_any([json.dumps(key)]) + b":" + schema_pattern(inner) for key, inner in schema["properties"].items())
        return rb"\{" + b",".join(inner) + rb"\}"
    raise Refused(f"this server does not know the schema {schema}", parameter="response_format")


class Server(ThreadingHTTPServer):
    """`key`: the key it asks for, "" for none. One generation at a time, as many connections as come.

    `requests` keeps the newest bodies it was sent.
    """

    daemon_threads = True

    def __init__(self, tiny: TinyModel, port: int = 0, key: str = ""):
        super().__init__(("127.0.0.1", port), Handler)
        self.tiny, self.key = tiny, key
        self.one_at_a_time = threading.Lock()
        self.requests: deque[dict] = deque(maxlen=1000)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def complete(self, request: dict) -> dict:
        """The body of a chat completion. Raises Refused."""
        tiny = self.tiny
        self.requests.append(request)
        if request.get("model") != tiny.name:
            raise Refused(f"the model {request.get('model')!r} does not exist", status=404, code="model_not_found")
        most, temperature, n = _numbers(request)
        ids, pattern = tiny.prompt_ids(_messages(request)), pattern_of(request)
        seed = request.get("seed")
        first = int(uuid.uuid4()) % 2**32 if seed is None else int(seed)
        stop = request.get("stop") or ()
        stop = [end.encode() for end in ((stop,) if isinstance(stop, str) else stop)]
        with self.one_at_a_time:
            samples = [
                tiny.generate(ids, most=most, temperature=temperature, seed=first + place, pattern=pattern, stop=stop)
                for place in range(n)
            ]
        completion = sum(len(sample.ids) for sample in samples)
        usage = {"prompt_tokens": len(ids), "completion_tokens": completion, "total_tokens": len(ids) + completion}
        return {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": tiny.name,
            "system_fingerprint": "fp_tiny",
            "choices": [self._choice(place, sample, request) for place, sample in enumerate(samples)],
            "usage": usage,
        }

    def _choice(self, place: int, sample: Sample, request: dict) -> dict:
        content = None
        if request.get("logprobs"):
            rivals = request.get("top_logprobs") or 0
            pairs = zip(sample.ids, sample.logprobs, strict=True)
            content = [self._logprob(token, logprobs, rivals) for token, logprobs in pairs]
        return {
            "index": place,
            "finish_reason": sample.finish_reason,
            "message": {"role": "assistant", "content": sample.text},
            "logprobs": None if content is None else {"content": content, "refusal": None},
        }

    def _logprob(self, token: int, logprobs, rivals: int) -> dict:
        top = [int(rival) for rival in logprobs.topk(rivals).indices] if rivals else []
        told = {number: self._token(number, float(logprobs[number])) for number in {token, *top}}
        possible = [told[number] for number in top if told[number]["logprob"] > -9999]
        return {**told[token], "top_logprobs": possible}

    def _token(self, token: int, logprob: float) -> dict:
        raw = self.tiny.words.get(token)
        text = raw.decode(errors="replace") if raw is not None else self.tiny.tokenizer.decode([token])
        return {"token": text, "logprob": max(logprob, -9999.0), "bytes": list(raw or b"") or None}


def _numbers(request: dict) -> tuple[int, float, int]:
    most = request.get("max_completion_tokens") or request.get("max_tokens") or 16
    temperature = 1.0 if request.get("temperature") is None else request["temperature"]
    n = request.get("n") or 1
    given = {
        "max_tokens": (most, 1, MOST_TOKENS),
        "temperature": (temperature, 0, 2),
        "n": (n, 1, 8),
        "top_logprobs": (request.get("top_logprobs") or 0, 0, MOST_LOGPROBS),
    }
    for name, (value, low, high) in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise Refused(f"{name} must be from {low} to {high}", parameter=name)
    return int(most), float(temperature), int(n)


def _messages(request: dict) -> list[dict]:
    messages = request.get("messages")
    if not messages or not all(isinstance(one, dict) and isinstance(one.get("content"), str) for one in messages):
        raise Refused("messages must be a list of {role, content}, the content text", parameter="messages")
    return messages


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self):
        model = {"id": self.server.tiny.name, "object": "model", "created": 0, "owned_by": "tests"}
        self._serve("/v1/models", lambda: {"object": "list", "data": [model]})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._serve("/v1/chat/completions", lambda: self.server.complete(_parsed(body)))

    def _serve(self, path, answer):
        try:
            if self.path.partition("?")[0] != path:
                raise Refused(f"no such address: {self.path}", status=404, code="unknown_url")
            if self.server.key and not self._has_key():
                raise Refused("the key is wrong", status=401, code="invalid_api_key")
            self._send(200, answer())
        except Refused as refusal:
            self._send(refusal.status, refusal.body())
        except Exception as error:  # a server answers with 500, it does not end
            kind = type(error).__name__
            self._send(500, {"error": {"message": f"{kind}: {error}", "type": "server_error", "code": None}})

    def _has_key(self) -> bool:
        return hmac.compare_digest(self.headers.get("Authorization") or "", f"Bearer {self.server.key}")

    def _send(self, status, body):
        data = json.dumps(body).encode()
        with contextlib.suppress(BrokenPipeError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_args):
        pass


def _parsed(body: bytes) -> dict:
    try:
        parsed = json.loads(body)
    except ValueError as error:
        raise Refused(f"the body is not JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise Refused("the body is not a JSON object")
    return parsed


@functools.cache
def in_thread(family: str = "chatml") -> Server:
    """One server a test run and family, in a thread of this process: where a test compares with the model itself."""
    server = Server(TinyModel(family))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@contextlib.contextmanager
def started(family: str = "chatml", seed: int = 0, key: str = ""):
    """The server in a process of its own; gives its address."""
    command = [sys.executable, "-m", "tests.labelers.tiny_server", "--family", family, "--seed", str(seed)]
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen([*command, "--key", key], cwd=root, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", choices=FAMILIES, default="chatml")
    parser.add_argument("--seed", type=int, default=0, help="of the model's random weights")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--key", default="", help="the key it asks for")
    given = parser.parse_args()
    server = Server(TinyModel(given.family, given.seed), given.port, given.key)
    print(server.url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
