"""What a call may not do, whatever its key or its endpoint: tell the key, bring odd values in, never end."""

import contextlib
import gzip
import socket
import threading
import time

import openai.resources.chat  # noqa: F401 (seconds, that no clock of a test should count)
import pytest

from labelers import chat as chat_module
from labelers.base import Failure, LabelerError
from labelers.chat import Chat
from labelers.logprobs import http as http_module
from labelers.logprobs.http import Http

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
