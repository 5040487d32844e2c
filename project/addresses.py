"""How the address that the web server listens on is written; pure."""

from __future__ import annotations

EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


def host_port(host: str, port: int) -> str:
    """Return host and port as one word, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def base_url(host: str, port: int) -> str:
    """Return where a browser on this machine finds a server that listens there."""
    return f"http://{host_port('127.0.0.1' if host in EVERY_ADDRESS else host, port)}"
