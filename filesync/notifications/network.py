"""Which addresses messages may go to: public ones, and those networks that the operator allows.

Checked where it counts, when a socket connects: a name that resolves to another address the second
time, or a redirect, is caught as well. What has connected is cut off after a while: a target that
sends byte after byte meets no timeout of the libraries.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from filesync.engine.texts import Text

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Addresses that carry an IPv4 address inside reach what that one reaches.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

_guard = threading.local()

CUT_AFTER_S: float = 30


class AddressRefused(OSError):
    """A connection to an address that is neither public nor allowed."""


class TooSlow(OSError):
    """A connection that was cut off, as it went on for too long."""


class _Connections:
    """The connections of a guarded block, and whether they were cut off."""

    def __init__(self) -> None:
        self._opened: list[tuple[int, object]] = []
        self.were_cut = False
        self._timer = threading.Timer(CUT_AFTER_S, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def add(self, descriptor: int, address: object) -> None:
        self._opened.append((descriptor, address))

    def let_be(self) -> None:
        self._timer.cancel()

    def _cut(self) -> None:
        self.were_cut = True
        for descriptor, address in self._opened:
            # TLS takes the descriptor over from the object that connected. By now it may be
            # another's, who is not connected to that address.
            with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
                if connection.getpeername() == address:
                    connection.shutdown(socket.SHUT_RDWR)


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

    Those that are made are cut off after `CUT_AFTER_S`.

    Raises:
        AddressRefused: at the end of the block, where a library has swallowed the refusal.
        TooSlow: at the end of the block, where a connection was cut off.
    """
    _install()
    _guard.allowed = tuple(allowed)
    _guard.refused = None
    _guard.connections = connections = _Connections()
    try:
        yield
    finally:
        connections.let_be()
        refused, _guard.allowed, _guard.refused = _guard.refused, None, None
        _guard.connections = None
        if refused is not None:
            raise AddressRefused(refusal(refused))
        if connections.were_cut:
            raise TooSlow


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
    if isinstance(args[0], socket.socket):
        _guard.connections.add(args[0].fileno(), address)
