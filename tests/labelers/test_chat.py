"""What a call may not do, whatever its key or its endpoint: tell the key, bring odd values in, never end."""

import socket

import pytest

from labelers.base import LabelerError
from labelers.chat import Chat
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
