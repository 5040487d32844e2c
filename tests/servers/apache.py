"""Apache with mod_dav from Debian: WebDAV as a real web server speaks it."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.servers.installed import APACHE_MODULES, program
from tests.servers.webdav import DavServer

UNPRIVILEGED = "www-data"
MODULES = (
    "mpm_event",
    "authn_core",
    "authn_file",
    "authz_core",
    "authz_user",
    "auth_basic",
    "dav",
    "dav_fs",
)
CONFIG = """\
{modules}
ServerRoot "{folder}"
ServerName {host}
Listen {host}:{port}
PidFile "{folder}/apache.pid"
ErrorLog "{folder}/server.log"
DefaultRuntimeDir "{folder}"
DocumentRoot "{folder}/root"
DavLockDB "{folder}/locks"
{user}
<Directory "{folder}/root">
    Dav On
    AuthType Basic
    AuthName "tests"
    AuthUserFile "{folder}/accounts"
    Require valid-user
</Directory>
"""


class ApacheServer(DavServer):
    """Apache over a folder, with one account; as root it serves as www-data.

    What a test writes straight into `root` must be handed over before clients may change it.
    """

    name: ClassVar[str] = "apache"

    def hand_over(self, path: Path) -> None:
        """Give a file or a whole folder to the account Apache serves as."""
        if os.geteuid() == 0:
            for each in [path, *path.rglob("*")]:
                shutil.chown(each, UNPRIVILEGED)

    def prepare(self) -> None:
        self.root.mkdir()
        self.log_file.touch()
        digest = base64.b64encode(hashlib.sha1(self.password.encode()).digest()).decode()
        (self.folder / "accounts").write_text(f"{self.account}:{{SHA}}{digest}\n")
        modules = [f'LoadModule {name}_module "{APACHE_MODULES}/mod_{name}.so"' for name in MODULES]
        config = CONFIG.format(
            modules="\n".join(modules),
            folder=self.folder,
            host=self.host,
            port=self.port,
            user=f"User {UNPRIVILEGED}\nGroup {UNPRIVILEGED}" if os.geteuid() == 0 else "",
        )
        (self.folder / "apache.conf").write_text(config)
        self.hand_over(self.folder)

    def argv(self) -> Sequence[str]:
        apache = program("apache2") or "apache2"
        return [apache, "-DFOREGROUND", "-f", str(self.folder / "apache.conf")]
