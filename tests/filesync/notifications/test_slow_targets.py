"""A target that answers byte by byte, for ever, is cut off."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_django.fixtures import SettingsWrapper

from filesync.notifications import network
from filesync.notifications.targets import Message, SendFailed, send_message, send_ping
from tests.servers.http import HttpServer, QuietHandler
from tests.servers.process import HOST

HELLO = Message("hello", "how are you", "info")
DRIPS = 60


class BodyDrips(QuietHandler):
    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(DRIPS))
        self.end_headers()
        drip(self, b"x")


class HeadersDrip(QuietHandler):
    def do_GET(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        drip(self, b"x")
        self.wfile.write(b"\r\n\r\n")


def drip(handler: QuietHandler, drop: bytes) -> None:
    try:
        for _ in range(DRIPS):
            handler.wfile.write(drop)
            time.sleep(0.1)
    except OSError:
        pass


class TlsServer(HttpServer):
    def __init__(self, handler: type[QuietHandler], certificate: Path) -> None:
        super().__init__(handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)


@contextmanager
def slow_server(tmp_path: Path, *, tls: bool) -> Iterator[str]:
    """Yield the URL of a channel at a server whose body drips."""
    server: HttpServer
    if tls:
        server = TlsServer(BodyDrips, make_certificate(tmp_path / "certificate.pem"))
    else:
        server = HttpServer(BodyDrips)
    with server:
        yield f"json{'s' if tls else ''}://{server.address}/?verify=no"


def make_certificate(file: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(key.private_bytes(pem, *plain) + certificate.public_bytes(pem))
    return file


@pytest.fixture(autouse=True)
def is_impatient(settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.NOTIFY_NETWORKS = [ipaddress.ip_network(HOST)]
    monkeypatch.setattr(network, "CUT_AFTER_S", 0.5)


@pytest.mark.parametrize("tls", [False, True])
def test_a_target_whose_answer_never_ends_is_cut_off(tmp_path: Path, *, tls: bool) -> None:
    with slow_server(tmp_path, tls=tls) as url, pytest.raises(SendFailed, match="was not done"):
        send_message(url, HELLO)


def test_a_monitor_whose_headers_never_end_is_cut_off() -> None:
    with HttpServer(HeadersDrip) as server, pytest.raises(SendFailed, match="was not done"):
        send_ping(f"http://{server.address}/", "start")


def test_what_took_over_the_number_of_a_closed_connection_is_let_be() -> None:
    others: list[socket.socket] = []

    def send_for_too_long(port: int) -> None:
        with network.guarded([ipaddress.ip_network(HOST)]):
            connection = socket.create_connection((HOST, port))
            number = connection.fileno()
            connection.close()
            others.extend(socket.socketpair())
            assert number in [other.fileno() for other in others]
            time.sleep(1.0)

    # Nobody accepts: a server in this process would take numbers too.
    with socket.create_server((HOST, 0)) as listening, pytest.raises(network.TooSlow):
        send_for_too_long(listening.getsockname()[1])

    one, other = others
    one.sendall(b"x")
    assert other.recv(1) == b"x"
    one.close()
    other.close()
