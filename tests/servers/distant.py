"""A server that is far away: what goes to it and comes back is late, each by half the round trip.

Run as a program of its own, `python -m tests.servers.distant HOST PORT UPSTREAM_PORT ROUND_TRIP_S`,
so that it takes no turn from whoever measures.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import ClassVar

from tests.servers.process import Server, answers_tcp

CHUNK = 64 * 1024


class DistantServer(Server):
    """The way to a server on `upstream_port` of this host, as if it were far away.

    A connection is made after a round trip too; how much passes at once is not limited.
    """

    name: ClassVar[str] = "distant"

    def __init__(self, upstream_port: int, round_trip_s: float) -> None:
        super().__init__()
        self.upstream_port = upstream_port
        self.round_trip_s = round_trip_s

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def argv(self) -> Sequence[str]:
        program = [sys.executable, "-m", "tests.servers.distant", self.host, str(self.port)]
        return [*program, str(self.upstream_port), str(self.round_trip_s)]

    def is_ready(self) -> bool:
        return answers_tcp(self.port)


async def serve(host: str, port: int, upstream_port: int, round_trip_s: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(round_trip_s)
        there, back = await asyncio.open_connection(host, upstream_port)
        await asyncio.gather(
            late(reader, back, round_trip_s / 2), late(there, writer, round_trip_s / 2)
        )

    server = await asyncio.start_server(connected, host, port)
    async with server:
        await server.serve_forever()


async def late(
    source: asyncio.StreamReader, destination: asyncio.StreamWriter, after_s: float
) -> None:
    """Pass on everything, its end too, each piece `after_s` seconds after it came."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def read() -> None:
        piece = b"begin"
        while piece:
            try:
                piece = await source.read(CHUNK)
            except ConnectionError:
                piece = b""
            pieces.put_nowait((loop.time() + after_s, piece))

    reading = asyncio.create_task(read())
    try:
        while True:
            due_s, piece = await pieces.get()
            await asyncio.sleep(due_s - loop.time())
            if not piece:
                break
            destination.write(piece)
            await destination.drain()
    except ConnectionError:
        pass
    finally:
        reading.cancel()
        destination.close()


if __name__ == "__main__":
    _host, *_rest = sys.argv[1:]
    asyncio.run(serve(_host, int(_rest[0]), int(_rest[1]), float(_rest[2])))
