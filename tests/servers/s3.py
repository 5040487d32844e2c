"""An S3 server in Python (moto); it keeps everything in memory, so a restart empties it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import ClassVar

import requests

from tests.servers.process import Server, ServerFailed, answers_tcp
from tests.servers.remote import Remote

BUCKET = "syncbeat"


class S3Server(Server):
    """moto's S3 with one empty bucket after every start; it accepts any key unless told to check.

    Where it `checks_keys`, each start gives another one.
    """

    name: ClassVar[str] = "s3"

    def __init__(self, *, checks_keys: bool = False) -> None:
        super().__init__()
        self.checks_keys = checks_keys
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

    def environment(self) -> Mapping[str, str]:
        # How many actions it takes from anybody: the bucket, and the three of _make_key.
        checked = {"INITIAL_NO_AUTH_ACTION_COUNT": "4"} if self.checks_keys else {}
        return {**super().environment(), **checked}

    def after_start(self) -> None:
        with requests.Session() as session:
            # A proxy of the developer's shell must not see loopback.
            session.trust_env = False
            answer = session.put(f"{self.url}/{BUCKET}", timeout=10)
        if not answer.ok:
            raise ServerFailed(f"s3: no bucket: {answer.status_code} {answer.text[:500]}")
        if self.checks_keys:
            self._make_key()

    def _make_key(self) -> None:
        statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        user = {"UserName": "syncbeat"}
        self._iam("CreateUser", **user)
        self._iam("PutUserPolicy", PolicyName="all", PolicyDocument=policy, **user)
        key = self._iam("CreateAccessKey", **user)
        found = re.search(
            r"<AccessKeyId>(.+?)</AccessKeyId>.*<SecretAccessKey>(.+?)</SecretAccessKey>",
            key,
            re.DOTALL,
        )
        if found is None:
            raise ServerFailed(f"s3: no key: {key[:500]}")
        self.access_key_id, self.secret_access_key = found.groups()

    def _iam(self, action: str, **fields: str) -> str:
        # moto sees by the scope of the signature which service is meant; nobody checks it yet.
        scope = f"{self.access_key_id}/20240101/us-east-1/iam/aws4_request"
        login = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(
                self.url,
                data={"Action": action, "Version": "2010-05-08", **fields},
                headers={"Authorization": login},
                timeout=10,
            )
        if not answer.ok:
            raise ServerFailed(f"s3: {action}: {answer.status_code} {answer.text[:500]}")
        return answer.text
