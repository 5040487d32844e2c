"""The logs of runs: from the worker's file into the table, and out again as text."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
import uuid
import zlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import IntegrityError
from django.db.models import QuerySet

from filesync import engine
from filesync.errors import NotFound
from filesync.models import RunLog, SyncRun
from filesync.services.leases import Claim
from scheduler.outages import DATABASE_AWAY

logger = logging.getLogger(__name__)

PART_BYTES = 256 << 10
_NAME = re.compile(r"(\d+)-(\d+)-([0-9a-f]{32})\.jsonl\.gz")
# A file's name holds the moment in microseconds.
_SAME_MOMENT = timedelta(milliseconds=1)
_GZIP = 16 + zlib.MAX_WBITS


def log_path(run: SyncRun, claim: Claim) -> Path:
    """Return where a running attempt writes its log, in a folder that exists.

    The file is only on its way: `store` moves it into the table, where every host can read it.
    """
    folder: Path = settings.FILESYNC_LOG_DIR
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    assert run.started_at is not None
    started_us = round(run.started_at.timestamp() * 1e6)
    return folder / f"{run.pk}-{started_us}-{claim.token.hex}.jsonl.gz"


def store(path: Path) -> None:
    """Move an attempt's log from its file into the table; safe to do twice, or at once by two.

    A database that is away leaves the file to the next `collect`.
    """
    name = _NAME.fullmatch(path.name)
    if name is None:
        return
    run_id, started_us, claim = int(name[1]), int(name[2]), uuid.UUID(name[3])
    started_at = datetime.fromtimestamp(started_us / 1e6, UTC)
    try:
        if SyncRun.objects.filter(pk=run_id).exists():
            with path.open("rb") as file:
                for part, data in enumerate(iter(lambda: file.read(PART_BYTES), b"")):
                    RunLog.objects.bulk_create(
                        [
                            RunLog(
                                run_id=run_id,
                                claim=claim,
                                started_at=started_at,
                                part=part,
                                data=data,
                            )
                        ],
                        ignore_conflicts=True,
                    )
        path.unlink(missing_ok=True)
    except FileNotFoundError:
        return  # another process of this host was first
    except IntegrityError:
        logger.info("run %d was deleted while its log was stored", run_id)
    except DATABASE_AWAY as error:
        logger.warning("the log of run %d waits for the database: %s", run_id, error)


def collect() -> None:
    """Store the logs that attempts on this host have left: their worker was killed."""
    folder: Path = settings.FILESYNC_LOG_DIR
    paths = {path: _NAME.fullmatch(path.name) for path in folder.glob("*.jsonl.gz")}
    if not paths:
        return
    running = SyncRun.objects.filter(state=SyncRun.State.RUNNING)
    held = {token.hex for token in running.values_list("lease_token", flat=True) if token}
    for path, name in paths.items():
        if name is not None and name[3] not in held:
            store(path)


def text_lines(run_id: int, *, tail: int | None = None) -> Iterator[str]:
    """Return the log of a run as lines for people, all attempts in order; `tail`: only the last.

    Raises:
        NotFound: no attempt of it has ended and left a log.
    """
    claims = [claim for claim, _ in attempts_of(run_id)]
    if not claims:
        raise NotFound(
            engine.Text(
                "run {run_id} has no log: it has not run, or its first attempt still goes on",
                run_id=run_id,
            )
        )
    attempts = [RunLog.objects.filter(run=run_id, claim=claim) for claim in claims]
    every = itertools.chain.from_iterable(map(raw_lines, attempts))
    return map(engine.render_line, every if tail is None else _last_lines(attempts, tail))


def _last_lines(attempts: Sequence[QuerySet[RunLog]], tail: int) -> Iterator[bytes]:
    """Return the last lines of attempts; those before them are not read."""
    last: deque[bytes] = deque()
    for attempt in reversed(attempts):
        if len(last) == tail:
            break
        last.extendleft(reversed(deque(raw_lines(attempt), maxlen=tail - len(last))))
    return iter(last)


def files_of(run_id: int) -> list[Path]:
    """Return the files of a run's attempts that are still on their way on this host."""
    folder: Path = settings.FILESYNC_LOG_DIR
    return sorted(folder.glob(f"{run_id}-*.jsonl.gz"), reverse=True)


def running_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file that may still be written; raises FileNotFoundError."""
    with path.open("rb") as file:
        yield from _unzipped(iter(lambda: file.read(PART_BYTES), b""))


def attempts_of(run_id: int) -> list[tuple[uuid.UUID, datetime]]:
    """Return the claims of the attempts that left a log, and when each began, in their order."""
    first_parts = RunLog.objects.filter(run=run_id, part=0).order_by("started_at", "claim")
    return list(first_parts.values_list("claim", "started_at"))


def lost_logs(run: SyncRun) -> int:
    """Return how many attempts of a run that has ended left no log, of those that may have begun.

    One that found its config at work, or its settings wrong, began nothing.
    """
    stored = [started_at for _, started_at in attempts_of(run.pk)]
    began = [
        datetime.fromisoformat(str(attempt["started_at"]))
        for attempt in run.attempts
        if attempt["started_at"]
        and attempt["reason"] != SyncRun.Reason.OVERLAP
        and attempt["failure_class"] != engine.FailureClass.CONFIG
    ]
    return sum(all(abs(moment - one) > _SAME_MOMENT for one in stored) for moment in began)


def raw_lines(attempt: QuerySet[RunLog]) -> Iterator[bytes]:
    """Yield the lines of the parts of one attempt's log; one that was never closed says so."""
    parts = attempt.order_by("part").values_list("data", flat=True).iterator(chunk_size=1)
    is_whole = yield from _unzipped(map(bytes, parts))
    if not is_whole:
        yield engine.CUT_MARK + b": its end was not written"


def _unzipped(pieces: Iterable[bytes]) -> Generator[bytes, None, bool]:
    """Yield the lines of a gzip stream and return whether it has an end; else what there is of it.

    Of a piece no more than `PART_BYTES` are unpacked at once: a log packs to a fiftieth and less.
    """
    unzip, rest = zlib.decompressobj(_GZIP), b""
    for piece in pieces:
        packed, text = piece, b""
        with contextlib.suppress(zlib.error):
            while packed or len(text) == PART_BYTES:
                text = unzip.decompress(packed, PART_BYTES)
                packed = unzip.unconsumed_tail
                *lines, rest = (rest + text).split(b"\n")
                yield from lines
    return unzip.eof
