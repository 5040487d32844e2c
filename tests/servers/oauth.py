"""A provider of one OAuth account on loopback, in this process: tokens that rotate, and files.

Each refresh token is taken once. Unless told otherwise, access tokens are late already when they
are issued, so that every client refreshes them. The files speak as much of Google Cloud Storage's
JSON as reading needs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from urllib.parse import parse_qs, unquote, urlsplit

from tests.servers.http import HttpServer, QuietHandler

BUCKET = "bucket"
# Clients refresh from ten seconds before the end on.
LATE_S = 5
EXPIRED = "2020-01-01T00:00:00Z"


class OAuthProvider(HttpServer):
    """`refreshes` counts new tokens, `refused` holds refresh tokens that came a second time."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.forbids = False
        self.expires_in_s = LATE_S
        self.refreshes = 0
        self.refused: list[str] = []
        self.refresh_token = "refresh-0"
        self._access: set[str] = set()
        self._lock = threading.Lock()
        provider = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = parse_qs(body.decode())
                status, answer = provider._refreshed(asked.get("refresh_token", [""])[0])
                self._answer(status, json.dumps(answer).encode())

            def do_GET(self) -> None:
                login = self.headers.get("Authorization", "").removeprefix("Bearer ")
                self._answer(*provider._served(login, self.path))

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        super().__init__(Handler)

    @property
    def base(self) -> str:
        return f"http://{self.address}"

    @property
    def token_url(self) -> str:
        return f"{self.base}/token"

    @property
    def endpoint(self) -> str:
        return f"{self.base}/storage/v1/"

    @property
    def expired_token(self) -> str:
        """Return the token that a client begins with."""
        token = {
            "access_token": "access-0",
            "token_type": "Bearer",
            "refresh_token": self.refresh_token,
            "expiry": EXPIRED,
        }
        return json.dumps(token)

    def _refreshed(self, offered: str) -> tuple[int, dict[str, object]]:
        with self._lock:
            if offered != self.refresh_token:
                self.refused.append(offered)
                return 400, {"error": "invalid_grant"}
            self.refreshes += 1
            self.refresh_token = f"refresh-{self.refreshes}"
            access = f"access-{self.refreshes}"
            self._access.add(access)
            return 200, {
                "access_token": access,
                "token_type": "Bearer",
                "refresh_token": self.refresh_token,
                "expires_in": self.expires_in_s,
            }

    def _served(self, login: str, path: str) -> tuple[int, bytes]:
        if login not in self._access:
            return 401, _error(401, "Invalid Credentials")
        if self.forbids:
            return 403, _error(403, "Forbidden")
        place = urlsplit(path)
        if place.path.startswith("/media/"):
            return 200, self.files[unquote(place.path.removeprefix("/media/"))]
        name = place.path.removeprefix(f"/storage/v1/b/{BUCKET}/o").lstrip("/")
        if name:
            found = self.files.get(unquote(name))
            if found is None:
                return 404, _error(404, "Not Found")
            return 200, json.dumps(self._entry(unquote(name), found)).encode()
        return 200, json.dumps(self._listed(parse_qs(place.query))).encode()

    def _listed(self, query: dict[str, list[str]]) -> dict[str, object]:
        """List what begins with a prefix; what goes on behind the delimiter is a folder."""
        prefix = query.get("prefix", [""])[0]
        delimiter = query.get("delimiter", [""])[0]
        items, folders = [], set()
        for name, content in sorted(self.files.items()):
            rest = name.removeprefix(prefix)
            if not name.startswith(prefix):
                continue
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                items.append(self._entry(name, content))
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(folders)}

    def _entry(self, name: str, content: bytes) -> dict[str, object]:
        digest = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        return {
            "kind": "storage#object",
            "name": name,
            "bucket": BUCKET,
            "size": str(len(content)),
            "md5Hash": digest,
            "updated": "2024-05-01T00:00:00Z",
            "mediaLink": f"{self.base}/media/{name}",
        }


def _error(status: int, message: str) -> bytes:
    return json.dumps({"error": {"code": status, "message": message}}).encode()
