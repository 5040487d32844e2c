"""A server that is killed while files are on their way: nothing is half done, nothing deleted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from filesync.engine import (
    Action,
    Endpoint,
    Event,
    FailureClass,
    Limits,
    Method,
    Outcome,
    Progress,
)
from tests.filesync.engine.lab import NO_GUARDS, Lab, Ran, engine_remote, files_of, write_tree
from tests.servers.ftp import FtpServer
from tests.servers.process import Server
from tests.servers.s3 import S3Server
from tests.servers.sftp import SftpServer
from tests.servers.webdav import WebdavServer

Served = FtpServer | S3Server | SftpServer | WebdavServer
# On its way for four seconds, and more than the buffers of sockets hold: a copy of it that was
# begun before its source died cannot be finished from them.
BIG_BYTES = 32 << 20
SLOWLY = Limits(bandwidth="8M")


@pytest.fixture(params=[WebdavServer, FtpServer, SftpServer, S3Server])
def mortal(request: pytest.FixtureRequest) -> Iterator[Served]:
    """Return a server of this test alone, for it will be killed."""
    with request.param() as server:
        yield server


def kill_when_sending(server: Server) -> Callable[[Event], None]:
    """Kill a server once a part of a file has gone."""

    def on_event(event: Event) -> None:
        if isinstance(event, Progress) and event.bytes_done:
            server.kill()

    return on_event


def assert_the_server_was_lost(ran: Ran) -> None:
    assert ran.result.outcome in (Outcome.FAILED, Outcome.PARTIAL)
    assert ran.result.failure is not None
    assert ran.result.failure.failure_class is FailureClass.NETWORK, ran.result.failure
    assert ran.result.failure.retryable
    assert ran.result.totals.files_deleted == 0
    assert not {action for action, _ in ran.actions()} & {Action.DELETED, Action.DIR_REMOVED}


def test_a_destination_that_dies_keeps_what_was_to_be_deleted(lab: Lab, mortal: Served) -> None:
    remote = engine_remote(mortal.remote)
    write_tree(lab.source, {"extra": "extra"})
    lab.run(lab.asking(Method.INCREMENTAL, destination=Endpoint(remote)))
    (lab.source / "extra").unlink()
    write_tree(lab.source, {"big": os.urandom(BIG_BYTES)})
    request = lab.asking(Method.FULL, destination=Endpoint(remote), limits=SLOWLY, guards=NO_GUARDS)
    ran = lab.run(request, on_event=kill_when_sending(mortal))

    assert_the_server_was_lost(ran)
    if isinstance(mortal, S3Server):  # which has nothing but its memory
        return
    assert (mortal.root / "extra").read_text() == "extra"
    big = mortal.root / "big"
    if isinstance(mortal, WebdavServer):
        # It writes under the final name, and nobody can reach it to remove what is there.
        assert not big.exists() or big.stat().st_size < BIG_BYTES
    else:
        assert not big.exists()
    mortal.start()
    again = lab.run(lab.asking(Method.FULL, destination=Endpoint(remote), guards=NO_GUARDS))
    assert again.result.outcome is Outcome.SUCCEEDED, again.result.failure
    assert big.read_bytes() == (lab.source / "big").read_bytes()


@pytest.mark.parametrize("mortal", [FtpServer, S3Server], indirect=True)
def test_moving_to_a_destination_that_dies_keeps_the_source(lab: Lab, mortal: Served) -> None:
    write_tree(lab.source, {"big": os.urandom(BIG_BYTES)})
    before = files_of(lab.source)
    request = lab.asking(Method.MOVE, destination=Endpoint(engine_remote(mortal.remote)))
    ran = lab.run(replace(request, limits=SLOWLY), on_event=kill_when_sending(mortal))

    assert_the_server_was_lost(ran)
    assert files_of(lab.source) == before


def test_moving_from_a_source_that_dies_loses_no_file(lab: Lab, mortal: Served) -> None:
    remote = engine_remote(mortal.remote)
    write_tree(lab.source, {"a-small": "small", "big": os.urandom(BIG_BYTES)})
    before = files_of(lab.source)
    lab.run(lab.asking(Method.INCREMENTAL, destination=Endpoint(remote)))
    write_tree(lab.destination, {"big": "old"})
    old = files_of(lab.destination)
    request = lab.asking(Method.MOVE, source=Endpoint(remote), limits=SLOWLY)
    ran = lab.run(request, on_event=kill_when_sending(mortal))

    assert_the_server_was_lost(ran)
    arrived = files_of(lab.destination)
    assert arrived[b"big"] == old[b"big"]
    assert arrived.items() <= {**before, **old}.items()
    if not isinstance(mortal, S3Server):  # which has nothing but its memory
        left = files_of(mortal.root)
        assert left[b"big"] == before[b"big"]
        assert {*left, *arrived} == {*before}


def test_a_source_that_dies_leaves_the_destination_whole(lab: Lab, mortal: Served) -> None:
    remote = engine_remote(mortal.remote)
    write_tree(lab.source, {"big": os.urandom(BIG_BYTES)})
    lab.run(lab.asking(Method.INCREMENTAL, destination=Endpoint(remote)))
    write_tree(lab.destination, {"extra": "extra", "big": "old"})
    before = files_of(lab.destination)
    request = lab.asking(Method.FULL, source=Endpoint(remote), limits=SLOWLY, guards=NO_GUARDS)
    ran = lab.run(request, on_event=kill_when_sending(mortal))

    assert_the_server_was_lost(ran)
    assert files_of(lab.destination) == before
