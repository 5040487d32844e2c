"""Syncbeat as compose.yaml starts it on a Docker engine, for drills; no promises are here."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from subprocess import CalledProcessError
from typing import Any

from tests.project.docs import block_with
from tests.servers.docker import DockerHost
from tests.servers.process import REPOSITORY

# What a checkout has that compose, the image and the proxy need.
CHECKOUT = ("compose.yaml", "Dockerfile", ".dockerignore", ".env.example", "requirements.txt",
            "manage.py", "project", "scheduler", "filesync", "docs")  # fmt: skip
ROLES = ("web", "worker", "beat")
PASSWORD = "Correct-horse-7"
FILE_BYTES = 256 * 1024
SLOW = "256K"
COMES_WITHIN_S = 180.0
# Certificates that curl takes, in the folder there.
TRUSTED = "trusted.pem"
CURL = ("curl", "--silent", "--show-error", "--max-time", "60", "--cacert", TRUSTED)


class Stack:
    """The services, started anew as docs/operations.md says, with a superuser and a token."""

    def __init__(self, host: DockerHost) -> None:
        self.host = host
        self.base = "http://127.0.0.1:8000"
        shutil.rmtree(host.folder_there, ignore_errors=True)
        host.folder_there.mkdir(parents=True)
        for name in CHECKOUT:
            source, target = REPOSITORY / name, host.folder_there / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        self.token = ""

    def configure(self, **settings: str) -> None:
        """Write .env from .env.example: its keys as it says, and these settings."""
        made = {
            "SYNCBEAT_SECRET_KEY": "openssl rand -hex 32",
            "FILESYNC_SECRET_KEYS": "openssl rand -base64 32 | tr '+/' '-_'",
            "POSTGRES_PASSWORD": "openssl rand -hex 24",
        }
        example = (self.host.folder_there / ".env.example").read_text()
        for name, command in made.items():
            assert command in example
            settings[name] = self.host.type(command).strip()
        lines = example.splitlines()
        for name, value in settings.items():
            named = [line for line in lines if line.lstrip("#").startswith(f"{name}=")]
            lines[lines.index(named[0])] = f"{name}={value}"
        (self.host.folder_there / ".env").write_text("\n".join(lines) + "\n")

    def first_steps(self) -> str:
        """Type the first block of the page, and return what doctor says."""
        up, superuser, doctor, _ = block_with("docker compose up -d --build").splitlines()
        self.host.type(up, timeout_s=600)
        self.wait_until_ready()
        # Nobody is at this terminal to be asked.
        answers = f"-e DJANGO_SUPERUSER_PASSWORD={PASSWORD} web"
        assert " web " in superuser
        self.host.type(
            superuser.replace("web", answers, 1) + " --noinput --username admin --email a@b.example"
        )
        self.token = self.manage("create_token", "admin").strip()
        return self.host.type(doctor)

    def manage(self, *words: str) -> str:
        return self.host.run(
            "docker", "compose", "exec", "-T", "web", "python", "manage.py", *words
        )

    def curl(self, *arguments: str) -> str:
        return self.host.run(*CURL, "--fail-with-body", *arguments)

    def api(self, path: str, body: dict[str, object] | None = None) -> Any:
        """GET a path of the API, or POST a body to it, and return the answer's data."""
        sent = [] if body is None else ["-H", "Content-Type: application/json"]
        sent += [] if body is None else ["-d", json.dumps(body)]
        url = f"{self.base}/api/v1{path}"
        return json.loads(self.curl("-H", f"Authorization: Bearer {self.token}", *sent, url))

    def status(self) -> Any:
        return self.api("/task/scheduler/task-status")

    def leader(self) -> str:
        """Return the host name of the beat that leads: the first digits of its container's id."""
        leader: str = self.status()["beat"]["leader"] or ""
        return leader.partition(":")[0]

    def status_code(self, url: str) -> str:
        return self.host.run(*CURL, "--output", "/dev/null", "--write-out", "%{http_code}", url)

    def signs_in(self, username: str, password: str) -> bool:
        """Fill the sign-in form as a browser does, and tell whether the admin lets us in."""
        jar, page = ["--cookie", "jar", "--cookie-jar", "jar"], f"{self.base}/admin/login/"
        form = self.curl(*jar, page)
        [hidden] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', form)[:1]
        fields = {"csrfmiddlewaretoken": hidden, "username": username, "password": password}
        data = [word for name in fields for word in ("--data-urlencode", f"{name}={fields[name]}")]
        self.curl(*jar, *data, "--referer", page, page)
        return "/admin/logout/" in self.curl(*jar, f"{self.base}/admin/")

    def wait_until_ready(self) -> None:
        self.wait_for(lambda: self.answers("/health/ready"), "web is ready")

    def answers(self, path: str) -> bool:
        try:
            return self.status_code(self.base + path) == "200"
        except CalledProcessError:
            return False

    def wait_for(self, happened: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + COMES_WITHIN_S
        while not happened():
            if time.monotonic() > deadline:
                logs = self.host.type("docker compose logs --tail=60 2>&1")
                raise AssertionError(f"{what}: not within {COMES_WITHIN_S:.0f} s\n{logs}")
            time.sleep(1)

    def containers(self, service: str) -> list[str]:
        return self.host.type(f"docker compose ps --quiet {service}").split()

    def inspect(self, container: str, template: str) -> str:
        return self.host.run("docker", "inspect", "--format", template, container).strip()

    # --- syncs

    def add_sync(self, name: str, files: int, **fields: object) -> int:
        """Make a folder with files and a sync of it, as the API takes it; return its id."""
        source = f"/data/files/{name}/from"
        make = f"for n in $(seq {files}); do head -c {FILE_BYTES} /dev/urandom >{source}/$n; done"
        self.in_files(f"mkdir -p {source} && {make}")
        disk = {"name": name, "backend": "local", "root": f"/data/files/{name}"}
        storage = self.api("/sync/storages", {**disk})["id"]
        config = {
            "name": name,
            "cron": "0 2 * * *",
            "source_storage": storage,
            "source_path": "from",
            "destination_storage": storage,
            "destination_path": "to",
            "transfers": 1,
        }
        made: int = self.api("/sync/configs", {**config, **fields})["id"]
        return made

    def in_files(self, commands: str) -> str:
        argv = ["docker", "compose", "exec", "-T", "web", "sh", "-ec", commands]
        return self.host.run(*argv)

    def is_copied(self, name: str) -> bool:
        return self.in_files(f"cd /data/files/{name}; diff -r from to || true") == ""

    def execute(self, config: int) -> None:
        self.api(f"/task/scheduler/execute-sync/{config}", {})

    def states(self, config: int) -> list[str]:
        """Return the states of a sync's runs, the newest first."""
        return [run["state"] for run in self.api(f"/sync/runs?config={config}")["results"]]

    def wait_for_states(self, config: int, states: Sequence[str]) -> None:
        self.wait_for(lambda: self.states(config) == list(states), f"runs of {config}: {states}")


def make_certificate(host: DockerHost, folder: PurePosixPath) -> None:
    """Put cert.pem and key.pem for localhost into a folder there, and let curl trust them."""
    host.type(
        f"mkdir -p {folder} && openssl req -x509 -newkey rsa:2048 -nodes -days 1"
        f" -subj /CN=localhost -addext subjectAltName=DNS:localhost"
        f" -keyout {folder}/key.pem -out {folder}/cert.pem"
        f" && cp {folder}/cert.pem {TRUSTED}"
    )
