"""How much goes at once and how fast, as the server sees it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from filesync.engine import Endpoint, Limits, Method, Outcome
from tests.filesync.engine.lab import Lab, Ran, engine_remote, write_tree
from tests.servers.counting import CountingServer


def send(lab: Lab, server: CountingServer, limits: Limits, *, careful: bool | None = None) -> Ran:
    remote = replace(engine_remote(server.remote), careful=careful)
    ran = lab.run(lab.asking(Method.INCREMENTAL, destination=Endpoint(remote), limits=limits))
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    return ran


@pytest.mark.parametrize(
    ("transfers", "careful", "at_once"),
    [(None, None, 16), (None, True, 2), (1, None, 1), (5, None, 5), (5, True, 5)],
)
def test_so_many_files_go_at_once(
    lab: Lab, transfers: int | None, careful: bool | None, at_once: int
) -> None:
    write_tree(lab.source, {f"{number:02}": "x" for number in range(40)})
    with CountingServer(together=at_once) as server:
        send(lab, server, Limits(transfers=transfers), careful=careful)

    assert len(server.sizes) == 40
    assert server.most_at_once == at_once


def test_no_more_calls_a_second_go_out_than_are_allowed(lab: Lab) -> None:
    write_tree(lab.source, {f"{number:02}": "x" for number in range(10)})
    with CountingServer() as server:
        send(lab, server, Limits(calls_per_s=10))

    requests_at_s = server.requests_at_s
    assert len(requests_at_s) > 20
    # However slow this machine is, they cannot have come faster.
    assert requests_at_s[-1] - requests_at_s[0] > 0.09 * (len(requests_at_s) - 2)


def test_a_file_takes_as_long_as_the_bandwidth_says(lab: Lab) -> None:
    write_tree(lab.source, {"file": b"x" * (512 << 10)})
    with CountingServer() as server:
        send(lab, server, Limits(bandwidth="256K"))

    assert server.sizes == {"/file": 512 << 10}
    assert server.received_within_s > 1
