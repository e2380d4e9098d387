"""Which addresses a lead's labeler may call."""

import socket

import pytest

from labelers.endpoint import EndpointRefused, check, place


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.org/v1", "begins with https"),
        ("file:///etc/passwd", "begins with https"),
        ("localhost:8000/v1", "begins with https"),
        ("http://user:pass@127.0.0.1/v1", "password"),
        ("http://127.0.0.1/v1?to=x", "leave out"),
        ("http://169.254.169.254/latest", "never called"),
        ("http://[fe80::1]/v1", "never called"),
        ("http://[::ffff:169.254.169.254]/v1", "never called"),
        ("http://[fd00:ec2::254]/v1", "never called"),
        ("http://100.100.100.200/v1", "never called"),
        ("http://192.0.0.192/opc/v2", "never called"),
        ("http://[2002:a9fe:a9fe::1]/v1", "is 169.254.169.254: .* never called"),
        ("http://[64:ff9b::169.254.169.254]/v1", "is 169.254.169.254: .* never called"),
        ("http://[64:ff9b:1::a9fe:a9fe]/v1", "never called"),
        ("http://[64:ff9b::c000:c0]/v1", "is 192.0.0.192: .* never called"),
        ("http://[2001:0:a9fe:a9fe::1]/v1", "is 169.254.169.254: .* never called"),
        ("http://[2001:0:808:808:0:0:5601:5601]/v1", "is 169.254.169.254: .* never called"),
        ("http://0.0.0.0/v1", "never called"),
        ("http://2852039166/latest", "never called"),
        ("http://127.0.0.1:99999/v1", "not an address"),
    ],
)
def test_what_is_never_called_even_when_private_addresses_are_allowed(url, why):
    with pytest.raises(EndpointRefused, match=why):
        check(url, allow_private=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/v1",
        "http://[::1]/v1",
        "http://10.1.2.3/v1",
        "http://100.64.0.1/v1",
        "http://[2002:a01:203::1]/v1",
        "http://[64:ff9b::10.1.2.3]/v1",
    ],
)
def test_private_addresses_need_the_operators_word(url):
    check(url, allow_private=True)
    with pytest.raises(EndpointRefused, match="LABELER_PRIVATE_ENDPOINTS=yes"):
        check(url, allow_private=False)


def test_a_public_address_behind_a_translator_is_public():
    check("http://[64:ff9b::93.184.215.14]/v1", allow_private=False)


def test_every_address_of_a_name_must_pass(monkeypatch):
    addresses = [("93.184.215.14", 443), ("169.254.169.254", 443)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: [(2, 1, 6, "", address) for address in addresses])
    with pytest.raises(EndpointRefused, match=r"judge\.example is 169\.254\.169\.254"):
        check("https://judge.example/v1", allow_private=True)
    addresses[1:] = [("2606:2800:21f::1", 443)]
    assert check("https://judge.example/v1", allow_private=False) == ("93.184.215.14", "2606:2800:21f::1")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://judge.example/v1", "judge.example"),
        ("https://judge.example:8443/v1", "judge.example:8443"),
        ("http://judge.example/v1", "http://judge.example"),
        ("http://10.1.2.3:8000/v1", "http://10.1.2.3:8000"),
        ("http://127.0.0.1:8000/v1", "127.0.0.1:8000"),
        ("http://[::1]/v1", "[::1]"),
        ("http://localhost/v1", "localhost"),
    ],
)
def test_a_place_that_others_can_read_on_the_way_to_is_another_place(url, name):
    assert place(url) == name
