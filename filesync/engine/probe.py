"""Look at a remote without changing it: does it answer, and what is in one folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filesync.engine import ini
from filesync.engine.binary import check_rclone
from filesync.engine.confine import confine
from filesync.engine.errors import Failure, FailureClass
from filesync.engine.events import StopSignal
from filesync.engine.lines import parse_line
from filesync.engine.log import Redactor, secrets_of
from filesync.engine.messages import Crash
from filesync.engine.prepare import check_encrypted_links, validate_remote
from filesync.engine.problems import Problems
from filesync.engine.process import RcloneProcess
from filesync.engine.request import Endpoint, Method, Remote
from filesync.engine.sections import sections_of, target
from filesync.engine.texts import Text

PROBE_TIMEOUT_S = 10.0
MAX_ENTRIES = 50_000
"""More entries of one folder are not read; the listing then says that it is cut."""
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder; `modified_at` is RFC 3339, "" where the storage has no times."""

    name: str
    is_dir: bool
    size_bytes: int
    modified_at: str


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a folder, folders first; `total` counts the whole folder unless `cut`.

    `refreshed` holds what rclone changed in the remote's secrets, such as a token.
    """

    entries: tuple[Entry, ...]
    total: int
    cut: bool = False
    failure: Failure | None = None
    refreshed: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Whether a remote answered; `entries` counts what its folder holds."""

    ok: bool
    duration_s: float
    entries: int = 0
    failure: Failure | None = None
    refreshed: Mapping[str, str] = field(default_factory=dict, repr=False)


def probe(
    remote: Remote,
    path: str = "",
    *,
    rclone: Path,
    local_roots: tuple[Path, ...],
    timeout_s: float = PROBE_TIMEOUT_S,
    stop: StopSignal | None = None,
) -> ProbeResult:
    """Test the connection by listing one folder; raises EngineError for a refused remote."""
    started_s = time.monotonic()
    listing = list_folder(
        remote,
        path,
        limit=0,
        rclone=rclone,
        local_roots=local_roots,
        timeout_s=timeout_s,
        stop=stop,
    )
    return ProbeResult(
        ok=listing.failure is None,
        duration_s=time.monotonic() - started_s,
        entries=listing.total,
        failure=listing.failure,
        refreshed=listing.refreshed,
    )


def list_folder(
    remote: Remote,
    path: str = "",
    *,
    rclone: Path,
    local_roots: tuple[Path, ...],
    limit: int = 1000,
    offset: int = 0,
    timeout_s: float = PROBE_TIMEOUT_S,
    stop: StopSignal | None = None,
) -> Listing:
    """List one folder, folders first, each by name; raises EngineError for a refused remote.

    A storage that does not answer raises nothing: `failure` says why. A stop gives a failure of
    class TIMEOUT that is not retried.
    """
    check_rclone(rclone)
    validate_remote(remote, local_roots)
    endpoint = Endpoint(remote, path)
    location = target("src", endpoint, local_roots)
    for _ in check_encrypted_links(endpoint, local_roots):
        pass
    with _private_folder() as work_dir:
        sections = sections_of("src", remote, Method.CHECK, local_roots)
        ini.write_private(work_dir / ini.CONFIG_FILE, ini.render_ini(sections))
        answer = work_dir / "answer"
        argv = (
            *(str(rclone), "lsjson", "--config", str(work_dir / ini.CONFIG_FILE)),
            *("--cache-dir", str(work_dir / "cache"), "--ask-password=false"),
            *("--use-json-log", "--log-level", "NOTICE", "--retries", "1"),
            *("--low-level-retries", "1", "--contimeout", f"{timeout_s:g}s"),
            *("--timeout", f"{timeout_s:g}s", "--no-mimetype", "--", location),
        )
        with (
            _rules(rclone, work_dir, remote, local_roots) as rules,
            RcloneProcess(argv, work_dir=work_dir, stdout_path=answer, rules=rules) as process,
        ):
            failure = _failure(process, Redactor(secrets_of(remote)), timeout_s, stop)
        changed = ini.refreshed(sections, work_dir / ini.CONFIG_FILE).get("src", {})
        if failure is not None:
            return Listing(entries=(), total=0, failure=failure, refreshed=changed)
        entries, cut = _read(answer)
    entries.sort(key=lambda entry: (not entry.is_dir, entry.name))
    page = tuple(entries[offset : offset + limit])
    return Listing(page, total=len(entries), cut=cut, refreshed=changed)


@contextmanager
def _private_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="syncbeat-probe-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _rules(
    rclone: Path, work_dir: Path, remote: Remote, local_roots: tuple[Path, ...]
) -> Iterator[int | None]:
    """Give the kernel's rules for one listing: a link made this moment leads nowhere else."""
    rules = confine(
        rclone=rclone, work_dir=work_dir, reads=(remote,), writes=(), local_roots=local_roots
    )
    try:
        yield rules
    finally:
        if rules is not None:
            os.close(rules)


def _failure(
    process: RcloneProcess, redact: Redactor, timeout_s: float, stop: StopSignal | None
) -> Failure | None:
    """Wait for the end of a process; leaving its context kills what is still running."""
    problems = Problems()
    crash: str | None = None
    deadline_s = time.monotonic() + timeout_s
    while not process.ended:
        for line in process.read_lines(_POLL_S):
            message = parse_line(redact(line))
            if isinstance(message, Crash):
                crash = crash or message.text
            problems.note(message)
        if stop is not None and stop.requested:
            return Failure.of(FailureClass.TIMEOUT, Text("Stopped by request."), retryable=False)
        if time.monotonic() > deadline_s and not process.ended:
            return Failure.of(
                FailureClass.TIMEOUT,
                Text("The storage gave no answer within {most_s:g} s.", most_s=timeout_s),
                advice=FailureClass.NETWORK.advice,
            )
    exit_code = process.wait()
    if exit_code == 0:
        return None
    main = problems.main
    if main is None:
        words = crash or Text("rclone ended with exit code {exit_code}", exit_code=exit_code)
        return Failure.of(FailureClass.INTERNAL, words)
    return Failure.of(main.failure_class, main.text)


def _read(answer: Path) -> tuple[list[Entry], bool]:
    """Read rclone's array, which has one entry per line, without holding all of it as text."""
    entries: list[Entry] = []
    with answer.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            text = line.strip().rstrip(",")
            if not text.startswith("{"):
                continue
            if len(entries) >= MAX_ENTRIES:
                return entries, True
            fields = json.loads(text)
            entries.append(
                Entry(
                    name=str(fields.get("Name", "")),
                    is_dir=bool(fields.get("IsDir")),
                    size_bytes=int(fields.get("Size", -1)),
                    modified_at=str(fields.get("ModTime") or ""),
                )
            )
    return entries, False
