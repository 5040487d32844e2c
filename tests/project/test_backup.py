"""The commands of docs/operations.md for backup and restore, typed as they stand there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.project.docs import block_with
from tests.project.system import own_environment
from tests.servers.installed import skip_unless_installed
from tests.servers.postgres import PostgresServer, find_binaries
from tests.servers.process import REPOSITORY, short_temp_dir

pytestmark = [pytest.mark.each_database, pytest.mark.timeout(240)]

# Where there is no beat, worker or broker, these are what doctor has to say.
NOT_STARTED = {"beat", "workers", "broker"}

FILL = """
from filesync.models import Storage, SyncConfig, SyncRun
disk = Storage.objects.create(name="disk", backend="local", root="/tmp/files")
dav = Storage(name="dav", backend="webdav", options={"url": "https://dav.example.org"})
dav.secrets = {"pass": "canary-secret"}
dav.save()
config = SyncConfig.objects.create(
    name="照片", cron="0 2 * * *", timezone="UTC", source_storage=disk, source_path="photos",
    destination_storage=dav, destination_path="photos",
)
SyncRun.objects.create(config=config, config_name=config.name, state="SUCCEEDED")
"""
LOOK = """
import json
from django_celery_beat.models import PeriodicTask
from filesync.models import Storage, SyncConfig, SyncRun
found = {
    "secret": Storage.objects.get(name="dav").secrets,
    "configs": list(SyncConfig.objects.values_list("name", "cron")),
    "runs": list(SyncRun.objects.values_list("config_name", "state")),
    "rows": list(PeriodicTask.objects.filter(name__startswith="filesync.").values_list("enabled")),
}
# A sequence that was not restored would hand out an id that is taken.
Storage.objects.create(name="new", backend="local", root="/tmp/other")
print("FOUND", json.dumps(found))
"""


class Operator:
    """Somebody at a terminal in the checkout, whose virtualenv and settings are at hand."""

    def __init__(self, folder: Path, database_url: str = "") -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.data_dir.mkdir()
        settings = {"DATABASE_URL": database_url} if database_url else {}
        path = [str(Path(sys.executable).parent), str(find_binaries()), os.environ["PATH"]]
        self.environment = own_environment(
            self.data_dir,
            CELERY_BROKER="redis://127.0.0.1:1/0",
            FILESYNC_LOCAL_ROOTS="/tmp",
            **settings,
        ) | {"PATH": os.pathsep.join(path)}

    def type(self, commands: str, *, changed: Mapping[str, str] | None = None) -> str:
        """Run a block of the page in a shell, and return what it prints; it must succeed.

        `manage.py` is that of the checkout; `changed` names files of another machine.
        """
        for there, here in (changed or {}).items():
            assert there in commands
            commands = commands.replace(there, here)
        commands = commands.replace("manage.py", str(REPOSITORY / "manage.py"))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        return done.stdout

    def python(self, code: str) -> str:
        self.environment["CODE"] = code
        return self.type('python manage.py shell --no-imports -c "$CODE"')


@pytest.fixture
def operator(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Iterator[Operator]:
    database_url = ""
    if pytestconfig.getoption("database") == "sqlite":
        skip_unless_installed("sqlite3")
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        empty_database(server)
        database_url = server.url.rpartition("/")[0] + "/restored"
    folder = short_temp_dir("sb-backup-")
    yield Operator(folder, database_url)
    shutil.rmtree(folder)


def empty_database(server: PostgresServer) -> None:
    with server.connect("postgres") as connection:
        connection.execute('DROP DATABASE IF EXISTS "restored" WITH (FORCE)')
        connection.execute('CREATE DATABASE "restored"')


def test_a_backup_that_is_restored_holds_everything_and_goes_on(
    operator: Operator, request: pytest.FixtureRequest
) -> None:
    operator.type(
        block_with("python manage.py migrate\npython manage.py refresh"),
        changed={"python manage.py doctor": "true"},
    )
    operator.python(FILL)
    if "DATABASE_URL" in operator.environment:
        operator.type(block_with("pg_dump"))
        empty_database(request.getfixturevalue("postgres_server"))
        operator.type(block_with("pg_restore"))
    else:
        operator.type(block_with("sqlite3"))
        (operator.data_dir / "syncbeat.sqlite3").write_bytes(b"broken")
        operator.type(block_with("rm -f"))
    operator.type(
        block_with("python manage.py migrate\npython manage.py refresh"),
        changed={"python manage.py doctor": "true"},
    )
    found = json.loads(operator.python(LOOK).partition("FOUND ")[2])
    assert found == {
        "secret": {"pass": "canary-secret"},
        "configs": [["照片", "0 2 * * *"]],
        "runs": [["照片", "SUCCEEDED"]],
        "rows": [[True]],
    }
    findings = json.loads(operator.type("python manage.py doctor --json || true"))
    problems = {entry["what"] for entry in findings if entry["level"] == "problem"}
    assert problems <= NOT_STARTED


# The page's docker, where there is none: the commands run beside the server, as within it.
DOCKER = """
docker() {
  case "$2 $3" in
    "exec -T") shift 4; PGHOST=$HOST PGPORT=$PORT command "$@" ;;
    "run --rm") if test "$#" = 4; then python manage.py "$4"; else shift 4; "$@"; fi ;;
    "stop web" | "up -d") ;;
    *) return 9 ;;
  esac
}
"""


def test_a_backup_under_compose_that_is_restored_holds_everything(operator: Operator) -> None:
    with PostgresServer() as server:
        operator.environment |= {
            "DATABASE_URL": server.url,
            "HOST": server.host,
            "PORT": str(server.port),
            "PGPASSWORD": server.password,
        }
        operator.type("python manage.py migrate")
        operator.python(FILL)
        operator.type(DOCKER + block_with("docker compose exec -T postgres pg_dump"))
        operator.python("from filesync.models import SyncRun; SyncRun.objects.all().delete()")
        operator.type(DOCKER + block_with("docker compose stop web"))
        found = json.loads(operator.python(LOOK).partition("FOUND ")[2])
    assert found["secret"] == {"pass": "canary-secret"}
    assert found["runs"] == [["照片", "SUCCEEDED"]]
    assert found["rows"] == [[True]]


def test_what_people_entered_moves_into_another_installation(operator: Operator) -> None:
    """The commands of the page, the export here and the imports there, with another key."""
    operator.type("python manage.py migrate")
    operator.python(FILL)
    export, *imports = block_with(
        "python manage.py export_configs --output syncbeat.yaml --passphrase"
    ).splitlines()
    passphrase = operator.folder / "passphrase"
    passphrase.write_text("of several words\n")
    changed = {"/root/passphrase": str(passphrase)}
    operator.type(export, changed=changed)
    there = operator.folder / "there"
    there.mkdir()
    other = Operator(there)
    (operator.folder / "syncbeat.yaml").rename(there / "syncbeat.yaml")
    assert "canary-secret" not in (there / "syncbeat.yaml").read_text()
    other.type("python manage.py migrate")
    for command in imports:
        other.type(command, changed=changed)
    found = json.loads(other.python(LOOK).partition("FOUND ")[2])
    assert found["secret"] == {"pass": "canary-secret"}
    assert found["configs"] == [["照片", "0 2 * * *"]]
    assert found["rows"] == [[True]]

    operator.type(block_with("python manage.py export_configs --output references.yaml --secret"))
    exported = (operator.folder / "references.yaml").read_text()
    assert "env: SECRET_STORAGE_" in exported
    assert "canary-secret" not in exported
