"""An S3 server in Python (moto); it keeps everything in memory, so a restart empties it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import ClassVar

import requests

from tests.servers.process import Server, ServerFailed, answers_tcp
from tests.servers.remote import Remote

BUCKET = "syncbeat"


class S3Server(Server):
    """moto's S3 with one empty bucket after every start; it accepts any key."""

    name: ClassVar[str] = "s3"

    def __init__(self) -> None:
        super().__init__()
        self.access_key_id = "AKIATEST"
        self.secret_access_key = "not-checked"

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def remote(self) -> Remote:
        options = {
            "provider": "Other",
            "endpoint": self.url,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "force_path_style": "true",
        }
        return Remote("s3", options, path=BUCKET)

    def argv(self) -> Sequence[str]:
        return [sys.executable, "-m", "moto.server", "-H", self.host, "-p", str(self.port)]

    def is_ready(self) -> bool:
        return answers_tcp(self.port)

    def after_start(self) -> None:
        with requests.Session() as session:
            # A proxy of the developer's shell must not see loopback.
            session.trust_env = False
            answer = session.put(f"{self.url}/{BUCKET}", timeout=10)
        if not answer.ok:
            raise ServerFailed(f"s3: no bucket: {answer.status_code} {answer.text[:500]}")
