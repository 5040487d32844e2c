"""Which addresses messages may go to: public ones, and those networks that the operator allows.

Checked where it counts, when a socket connects: a name that resolves to another address the second
time, or a redirect, is caught as well.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from filesync.engine.texts import Text

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Addresses that carry an IPv4 address inside reach what that one reaches.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

_guard = threading.local()


class AddressRefused(OSError):
    """A connection to an address that is neither public nor allowed."""


def is_permitted(address: str, allowed: Sequence[Network]) -> bool:
    """Whether messages may go to an IP address."""
    try:
        ip = _plain(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return False
    if any(ip.version == network.version and ip in network for network in allowed):
        return True
    return ip.is_global and not ip.is_multicast


def resolve(host: str) -> list[str]:
    """Return the addresses of a host name.

    Raises:
        OSError: the name does not resolve.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return sorted({str(entry[4][0]) for entry in found})


def refusal(address: object) -> str:
    return Text(
        "the address {address} is in a private network; the operator may allow it in "
        "SYNCBEAT_NOTIFY_NETWORKS",
        address=str(address),
    )


@contextmanager
def guarded(allowed: Sequence[Network]) -> Iterator[None]:
    """Refuse every connection of this thread to an address that is not permitted.

    Raises:
        AddressRefused: at the end of the block, where a library has swallowed the refusal.
    """
    _install()
    _guard.allowed = tuple(allowed)
    _guard.refused = None
    try:
        yield
    finally:
        refused, _guard.allowed, _guard.refused = _guard.refused, None, None
        if refused is not None:
            raise AddressRefused(refusal(refused))


def _plain(ip: Address) -> Address:
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    inner = ip.ipv4_mapped or ip.sixtofour
    if ip in _NAT64:
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return inner or ip


_installing = threading.Lock()
_installed = False


def _install() -> None:
    """Add the audit hook once; hooks cannot be removed, so it sleeps outside `guarded`."""
    global _installed
    with _installing:
        if not _installed:
            sys.addaudithook(_on_audit)
            _installed = True


def _on_audit(event: str, args: tuple[object, ...]) -> None:
    if event not in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        return
    allowed = getattr(_guard, "allowed", None)
    if allowed is None:
        return
    address = args[1]
    if not isinstance(address, tuple) or not is_permitted(str(address[0]), allowed):
        _guard.refused = address[0] if isinstance(address, tuple) else address
        raise AddressRefused(refusal(_guard.refused))
