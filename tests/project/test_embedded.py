"""What a machine with nothing configured gets: the broker's address and the generated keys."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu import Connection
from redis import Redis

from project import embedded
from tests.project.system import wait_until
from tests.servers.process import REPOSITORY, GuardedProcess, short_temp_dir

PROCESSES = 8
MAKE_KEY = """
import os, sys
from pathlib import Path
from project.embedded import key_from_file
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.readline()
print(key_from_file(Path(sys.argv[1]), lambda: f"key-of-{os.getpid()}"))
"""

folder_names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60
)


def size_bytes(path: Path) -> int:
    return len(os.fsencode(path))


@given(st.lists(folder_names, min_size=1, max_size=6))
def test_a_socket_path_is_never_over_100_bytes(names: list[str]) -> None:
    assert size_bytes(embedded.redis_socket(Path("/", *names))) <= 100


def test_a_short_data_folder_holds_its_own_socket() -> None:
    assert embedded.redis_socket(Path("/srv/sync")) == Path("/srv/sync/redis/r.sock")


def test_a_deep_temp_folder_gives_no_longer_socket_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("t" * 90)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert size_bytes(embedded.redis_socket(Path("/", "d" * 200))) <= 100


@pytest.mark.parametrize("name", ["data", "d" * 200, "数据" * 40])
def test_the_same_data_folder_gives_the_same_url(name: str) -> None:
    data_dir = Path("/srv", name)
    assert embedded.broker_url(data_dir) == embedded.broker_url(Path(f"/srv/{name}/"))


def test_two_deep_data_folders_get_two_urls() -> None:
    urls = {embedded.broker_url(Path("/srv", "d" * 200, name)) for name in ("a", "b")}
    assert len(urls) == 2


@pytest.mark.parametrize("name", ["plain", "two words", "数据", "a#b", "a?b", "a%41b", "a@b:c"])
def test_celery_reaches_redis_by_the_url_whatever_the_folder_is_called(name: str) -> None:
    folder = short_temp_dir("sb-key-")
    binary = embedded.redis_binary()
    assert binary is not None
    path = embedded.redis_socket(folder / name)
    path.parent.mkdir(parents=True)
    redis = GuardedProcess(
        [str(binary), "--port", "0", "--unixsocket", str(path), "--save", ""],
        log_file=folder / "log",
        environment={"PATH": os.environ["PATH"]},
        cwd=folder,
    )
    try:
        assert wait_until(path.exists, timeout_s=10.0)
        with Connection(embedded.broker_url(folder / name)) as connection:
            connection.ensure_connection(max_retries=1, timeout=1)
            client: Redis = connection.default_channel.client  # type: ignore[attr-defined]
            assert client.ping()
    finally:
        redis.kill()
        shutil.rmtree(folder)


def test_a_generated_key_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "django.key"
    embedded.key_from_file(path, lambda: "a-key")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_kept_key_is_not_made_again(tmp_path: Path) -> None:
    path = tmp_path / "django.key"
    first = embedded.key_from_file(path, lambda: "first")
    assert embedded.key_from_file(path, lambda: "second") == first == "first"


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "filesync.key"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MAKE_KEY, str(path)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    keys = {process.communicate()[0].strip() for process in processes}
    assert keys == {path.read_text().strip()}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["filesync.key"]


def test_a_folder_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"exists|Not a directory"):
        embedded.key_from_file(tmp_path / "file" / "django.key", lambda: "a-key")
