"""What a call may not do, whatever its key or its endpoint: tell the key, bring odd values in, never end."""

import contextlib
import gzip
import json
import socket
import threading
import time

import openai.resources.chat  # noqa: F401 (seconds, that no clock of a test should count)
import pytest

from labelers import chat as chat_module
from labelers.base import Failure, LabelerError
from labelers.chat import Chat
from labelers.llm_judge import LLMJudge
from labelers.logprobs import http as http_module
from labelers.logprobs.http import Http
from tests.labelers.test_labelers import pair

NOWHERE = "http://127.0.0.1:9/v1"
HI = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("ends", ["\n", "\r\n", " ", "\t\n"])
def test_spaces_and_line_ends_around_a_key_are_not_sent(ends):
    assert Chat(NOWHERE, "m", api_key=f"sk-secret123{ends}")._secret == "sk-secret123"
    assert Http(NOWHERE, api_key=f" sk-secret123{ends}")._secret == "sk-secret123"


@pytest.mark.parametrize("key", ["sk-secret\n123", "sk-secret 123", "sk-secret\0", "sk-sécret", "sk-secret\ud800"])
@pytest.mark.parametrize("build", [lambda key: Chat(NOWHERE, "m", api_key=key), lambda key: Http(NOWHERE, api_key=key)])
def test_what_cannot_be_a_key_is_refused_without_telling_it(build, key):
    with pytest.raises(ValueError, match="visible ASCII") as refusal:
        build(key)
    assert "cret" not in str(refusal.value)


@pytest.mark.parametrize(
    "ask", [lambda chat, _http: chat.complete(HI, max_tokens=1), lambda _chat, http: http.get("/v1/models")]
)
def test_a_key_that_got_past_all_checks_still_shows_in_no_message(ask):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        chat, http = Chat(place, "m"), Http(place)
        chat._secret = http._secret = "sk-secret123\n"
        with pytest.raises(LabelerError, match=r"no connection \(LocalProtocolError\)") as caught:
            ask(chat, http)
    assert "secret" not in str(caught.value)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ASK = {
    "chat": lambda place: Chat(f"{place}/v1", "m", timeout=0.5).complete(HI, max_tokens=1),
    "chat, by address": lambda place: Chat(f"{place}/v1", "m", timeout=0.5, addresses=("127.0.0.1",)).complete(
        HI, max_tokens=1
    ),
    "scores": lambda place: Http(place, timeout=0.5).get("/v1/models"),
}


@contextlib.contextmanager
def saying(*parts):
    """A server that says these bytes to everybody, a part every 0.1 s; its address."""
    over = threading.Event()

    def speak(connection):
        with contextlib.suppress(OSError), connection:
            connection.recv(65536)
            for part in parts:
                connection.sendall(part)
                if over.wait(0.1):
                    break

    def listen():
        with contextlib.suppress(OSError):
            while not over.is_set():
                connection, _from = listener.accept()
                threading.Thread(target=speak, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=listen, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()


@pytest.mark.slow
@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
@pytest.mark.parametrize(
    "parts",
    [(HEAD + b"Content-Length: 999\r\n\r\n", *[b" "] * 99), (HEAD, *[b"X"] * 99)],
    ids=["its body", "its headers"],
)
def test_a_server_that_drips_holds_a_call_no_longer_than_one_that_is_silent(ask, parts):
    with saying(*parts) as place:
        began = time.monotonic()
        with pytest.raises(LabelerError) as caught:
            ask(place)
    assert time.monotonic() - began < 3
    error = caught.value
    assert (error.kind, error.may_have_cost, error.permanent) == (Failure.TIMEOUT, True, False)


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
@pytest.mark.parametrize(
    "parts",
    [
        (HEAD + b"\r\n", *[b" " * 2000] * 4),
        # Unpacked it would be a thousand times as long.
        (HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b" " * 50_000),),
    ],
    ids=["too long", "packed"],
)
def test_no_more_is_read_than_an_answer_can_be(ask, parts, monkeypatch):
    for module in (chat_module, http_module):
        monkeypatch.setattr(module, "LONGEST", 5000)
    with saying(*parts) as place, pytest.raises(LabelerError) as caught:
        ask(place)
    assert (caught.value.kind, caught.value.may_have_cost) == (Failure.GARBAGE, True)


def completion(text="A", *, usage=(5, 1), token="A", logprob=-0.1, **choice):
    top = [{"token": token, "logprob": logprob}, {"token": "B", "logprob": -3.0}]
    logprobs = {"content": [{"token": token, "logprob": logprob, "top_logprobs": top}]}
    message = {"role": "assistant", "content": text}
    return {
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs, **choice}],
        "usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1]},
    }


def said(body, judge=None):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with saying(HEAD + b"Content-Length: %d\r\n\r\n" % len(data) + data) as place:
        return LLMJudge(f"{place}/v1", "m", timeout=5.0, **(judge or {})).ask(pair("x", "y"), "ab", {})


def test_what_is_right_is_taken():
    assert said(completion()).p_b < 0.1
    assert said(completion(logprob=1e-9)).p_b < 0.1, "servers round"
    assert said(completion(logprob=-1e9)).p_b == 1.0, "the other letter's chance is all there is"
    assert said(completion(logprob=float("-inf"))).p_b == 1.0


ODD = {
    "fewer than no tokens": completion(usage=(-1, 1)),
    "more tokens than a row can hold": completion(usage=(5, 2**31)),
    "endless tokens": completion(usage=(5, float("inf"))),
    "tokens that are no number": completion(usage=(float("nan"), 1)),
    "no usage": {**completion(), "usage": None},
    "a probability above 1": completion(logprob=0.5),
    "a probability beyond all numbers": completion(logprob=1e4),
    "a log-probability in words": completion(logprob="high"),
    "no log-probability": completion(logprob=None),
    "one that is no number": completion(logprob=float("nan")),
    "a token that is no text": completion(token=7),
    "no choices": {**completion(), "choices": []},
    "a list": [completion()],
    "deeper than can be read": b"[" * 100_000,
}


@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
def test_an_answer_with_values_that_cannot_be_is_no_answer(body):
    with pytest.raises(LabelerError) as caught:
        said(body)
    error = caught.value
    assert (error.kind, error.may_have_cost, error.permanent) == (Failure.GARBAGE, True, False)


def test_text_as_deep_as_nothing_can_read_is_not_understood():
    assert not said(completion("[" * 100_000)).is_understood


def test_a_fault_in_reading_an_answer_is_the_answers(monkeypatch):
    monkeypatch.setattr(LLMJudge, "read", lambda *_args: 1 / 0)
    with pytest.raises(LabelerError, match="ZeroDivisionError"):
        said(completion())
