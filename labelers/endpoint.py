"""Which endpoints a labeler may talk to. A lead types the address, so it must not open the operator's network."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

# Where clouds answer with credentials; the link-local ones are refused as such.
_METADATA = {ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192")}
# What a translator on the way turns into the IPv4 address in the last four bytes (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class EndpointRefused(ValueError):
    """The address may not be used; the message says why."""


def check(url: str, *, allow_private: bool) -> tuple[str, ...]:
    """Refuse what is not http(s), metadata and link-local addresses always, private ones unless allowed.

    Looks the host name up, and every address it has must pass. Gives these addresses, in the order in which to try
    them: connect to them and not to the name, which may say something else a moment later. Raises EndpointRefused.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise EndpointRefused(f"{url!r} is not an address: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise EndpointRefused("give an address that begins with https:// or http://")
    if parts.username or parts.password:
        raise EndpointRefused("leave user name and password out of the address")
    if parts.query or parts.fragment:
        raise EndpointRefused("leave out everything from ? or # on")
    addresses = _addresses(parts.hostname, port or (443 if parts.scheme == "https" else 80))
    for address in addresses:
        _check_address(address, parts.hostname, allow_private)
    return addresses


def place(url: str) -> str:
    """Host and port of an address, the port left out where it is the scheme's own. Raises ValueError.

    Where others on the way can read what is sent, "http://" stands before it: a word for one is none for the other.
    """
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    named = host if parts.port in (None, usual) else f"{host}:{parts.port}"
    return named if keeps_secrets(url) else f"http://{named}"


def keeps_secrets(url: str) -> bool:
    """Whether nobody on the way reads what is sent there: https, or this very machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def is_own(addresses: tuple[str, ...]) -> bool:
    """Whether `addresses` (of `check`) are this machine's or its own network's: from there nobody sends a bill."""
    return not any(reached.is_global for text in addresses for reached in _reached(ipaddress.ip_address(text)))


def _addresses(host: str, port: int) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise EndpointRefused(f"the host {host} cannot be found: {error}") from None
    return tuple(dict.fromkeys(str(entry[4][0]).split("%")[0] for entry in found))


def _check_address(text: str, host: str, allow_private: bool) -> None:
    for address in _reached(ipaddress.ip_address(text)):
        never = address.is_link_local or address.is_multicast or address.is_unspecified or address in _METADATA
        if never or (address.is_reserved and not address.is_loopback):
            raise EndpointRefused(f"{host} is {address}: addresses of this kind are never called")
        if not address.is_global and not allow_private:
            raise EndpointRefused(
                f"{host} is {address}, inside this site's own network. The operator can allow it: "
                "LABELER_PRIVATE_ENDPOINTS=yes"
            )


def _reached(address: Address) -> Iterator[Address]:
    """Where a packet to `address` can end: there, and at the IPv4 addresses that it is another way to write."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    translated = ipaddress.IPv4Address(address.packed[-4:]) if address in _NAT64 else None
    yield address.ipv4_mapped or translated or address
    if address.sixtofour:
        yield address.sixtofour
    yield from address.teredo or ()
