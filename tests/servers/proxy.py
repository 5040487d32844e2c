"""Apache from Debian as the proxies of docs/proxy: TLS for a made-up name."""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.servers.apache import UNPRIVILEGED
from tests.servers.installed import APACHE_MODULES, program
from tests.servers.process import HOST, REPOSITORY, Server, answers_tcp, free_port

SITE = REPOSITORY / "docs" / "proxy" / "apache.conf"
COMPOSE_CONFIG = REPOSITORY / "docs" / "proxy" / "compose.conf"
NAME = "sync.example.org"
# What a2enmod is told there, and what Debian loads by itself.
MODULES = (
    *("mpm_event", "authz_core", "alias", "ssl", "headers", "proxy", "proxy_http"),
    "reqtimeout",
)
CONFIG = """\
{modules}
ServerRoot "{folder}"
ServerName {name}
Listen {host}:{port}
Listen {host}:{plain_port}
ErrorLog "{folder}/server.log"
{private}
{user}
{site}
"""
PRIVATE = """\
PidFile "{folder}/apache.pid"
DefaultRuntimeDir "{folder}"
Mutex file:{folder} default
"""


class ProxyServer(Server):
    """Apache with the site of the docs before a web server on `upstream_port`.

    `port` speaks TLS with a certificate that only `certificate` vouches for, `plain_port` HTTP.
    """

    name: ClassVar[str] = "proxy"

    def __init__(self, upstream_port: int) -> None:
        super().__init__()
        self.upstream_port = upstream_port
        self.plain_port = free_port()
        self.certificate = self.folder / "site.pem"

    def prepare(self) -> None:
        key_file = self.folder / "site.key"
        write_certificate(self.certificate, key_file)
        self.log_file.touch()
        as_root = os.geteuid() == 0
        (self.folder / "apache.conf").write_text(self._config(key_file, as_root=as_root))
        if as_root:
            for path in [self.folder, *self.folder.iterdir()]:
                shutil.chown(path, UNPRIVILEGED)

    def _config(self, key_file: Path, *, as_root: bool) -> str:
        return CONFIG.format(
            modules="\n".join(
                f'LoadModule {name}_module "{APACHE_MODULES}/mod_{name}.so"' for name in MODULES
            ),
            folder=self.folder,
            name=NAME,
            host=self.host,
            port=self.port,
            plain_port=self.plain_port,
            user=f"User {UNPRIVILEGED}\nGroup {UNPRIVILEGED}" if as_root else "",
            site=self._site(key_file),
            private=PRIVATE.format(folder=self.folder),
        )

    def _site(self, key_file: Path) -> str:
        """Return the site of the docs with ports and files of this machine, and nothing else."""
        text = SITE.read_text()
        for there, here in {
            "*:80>": f"{HOST}:{self.plain_port}>",
            "*:443>": f"{HOST}:{self.port}>",
            f"/etc/ssl/certs/{NAME}.pem": str(self.certificate),
            f"/etc/ssl/private/{NAME}.key": str(key_file),
        }.items():
            assert text.count(there) == 1
            text = text.replace(there, here)
        return text.replace("127.0.0.1:8000", f"{HOST}:{self.upstream_port}")

    def environment(self) -> Mapping[str, str]:
        return {**super().environment(), "SERVER_NAME": NAME}

    def argv(self) -> Sequence[str]:
        apache = program("apache2") or "apache2"
        return [apache, "-DFOREGROUND", "-f", str(self.folder / "apache.conf")]

    def is_ready(self) -> bool:
        return answers_tcp(self.port) and answers_tcp(self.plain_port)


class ComposeProxyServer(ProxyServer):
    """Apache with the whole configuration that compose.yaml gives to the image httpd."""

    name: ClassVar[str] = "compose-proxy"

    def _config(self, key_file: Path, *, as_root: bool) -> str:
        text = COMPOSE_CONFIG.read_text()
        for there, here in {
            "/usr/local/apache2": str(APACHE_MODULES.parent),
            "Listen 80\n": f"Listen {self.host}:{self.plain_port}\n",
            "Listen 443\n": f"Listen {self.host}:{self.port}\n",
            "*:80>": f"{HOST}:{self.plain_port}>",
            "*:443>": f"{HOST}:{self.port}>",
            "/tls/cert.pem\n": f"{self.certificate}\n",
            "/tls/key.pem\n": f"{key_file}\n",
            "/dev/stderr": str(self.folder / "server.log"),
        }.items():
            assert there in text
            text = text.replace(there, here)
        if not as_root:
            text = text.replace("User www-data\nGroup www-data\n", "")
        text = text.replace("http://web:8000", f"http://{HOST}:{self.upstream_port}")
        # Where Debian's Apache would put them otherwise.
        return text + PRIVATE.format(folder=self.folder)


def write_certificate(certificate_file: Path, key_file: Path) -> None:
    """Make a key and a certificate of its own for the name, valid for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
