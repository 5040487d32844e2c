"""Run the engine over local trees and compare what is left; no test stands here."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from filesync.engine import (
    KEPT_FOLDER,
    Action,
    Endpoint,
    Event,
    Finished,
    Guards,
    ItemDone,
    Method,
    Remote,
    StopSignal,
    SyncRequest,
    SyncResult,
    run_sync,
)
from tests.servers import remote as served

OBSCURED = frozenset({"pass", "secret_access_key", "key_pem", "bearer_token"})
NO_GUARDS = Guards(max_delete_files=None, max_delete_percent=None)


def write_tree(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files by relative path, each with a time of its own; a path ending in / is a folder."""
    for number, (name, content) in enumerate(files.items()):
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))


def tree(folder: Path) -> dict[bytes, str]:
    """Give every path below a folder with the hash of its content, or what else it is."""
    found: dict[bytes, str] = {}
    base = os.fsencode(folder)
    for parent, folders, files in os.walk(base):
        for name in folders + files:
            path = os.path.join(parent, name)
            inside = os.path.relpath(path, base)
            if os.path.islink(path):
                found[inside] = "link " + os.fsdecode(os.readlink(path))
            elif os.path.isdir(path):
                found[inside] = "folder"
            else:
                with open(path, "rb") as file:
                    found[inside] = hashlib.sha256(file.read()).hexdigest()
    return found


def files_of(folder: Path) -> dict[bytes, str]:
    """Give the files of a tree only: an object store knows no empty folders."""
    return {path: content for path, content in tree(folder).items() if content != "folder"}


def modes_and_times(folder: Path) -> dict[bytes, tuple[str, int]]:
    """Give the mode and the modification time of every file below a folder, kept ones left out."""
    return {
        os.fsencode(path.relative_to(folder)): (f"{path.stat().st_mode:o}", path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and KEPT_FOLDER not in path.parts
    }


def engine_remote(remote: served.Remote) -> Remote:
    """Give a test server's remote in the engine's words, secrets apart."""
    secret = {name: value for name, value in remote.options.items() if name in OBSCURED}
    plain = {name: value for name, value in remote.options.items() if name not in OBSCURED}
    return Remote(remote.backend, remote.path, plain, secret)


@dataclass(slots=True)
class Ran:
    """The events of one run."""

    events: list[Event]

    @property
    def result(self) -> SyncResult:
        """What the run's last event says."""
        last = self.events[-1]
        assert isinstance(last, Finished)
        return last.result

    @property
    def items(self) -> list[ItemDone]:
        """What was dealt with."""
        return [event for event in self.events if isinstance(event, ItemDone)]

    def actions(self) -> set[tuple[Action, str]]:
        """What was done to which path."""
        return {(item.action, item.path) for item in self.items}

    @property
    def guard(self) -> str | None:
        """The guard that stopped the run."""
        failure = self.result.failure
        return None if failure is None else failure.guard


@dataclass(slots=True)
class Lab:
    """A root with a source and a destination folder, and the engine pointed at them."""

    root: Path
    rclone: Path
    log_path: Path = field(init=False)
    undo_log_path: Path = field(init=False)
    request: SyncRequest = field(init=False)
    source: Path = field(init=False)
    destination: Path = field(init=False)
    work_dir: Path = field(init=False)

    def __post_init__(self) -> None:
        remote = Remote("local", str(self.root / "files"))
        self.source = self.root / "files" / "source"
        self.destination = self.root / "files" / "destination"
        self.source.mkdir(parents=True)
        self.destination.mkdir()
        self.work_dir = self.root / "work"
        self.log_path = self.root / "run.log.gz"
        self.undo_log_path = self.root / "undo.log.gz"
        self.request = SyncRequest(
            Endpoint(remote, "source"), Endpoint(remote, "destination"), guards=NO_GUARDS
        )

    def asking(self, method: Method, **changes: object) -> SyncRequest:
        """Give the lab's request with this method and these changes."""
        return replace(self.request, method=method, **changes)  # type: ignore[arg-type]

    def between_storages(self, method: Method, **changes: object) -> SyncRequest:
        """Give a request whose sides are two storages, which cannot rename between them."""
        destination = Endpoint(Remote("local", str(self.destination)))
        return self.asking(method, destination=destination, **changes)

    def run(
        self,
        request: SyncRequest,
        *,
        stop: StopSignal | None = None,
        rclone: Path | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> Ran:
        """Run a request to its end."""
        events: list[Event] = []
        for event in run_sync(
            request,
            work_dir=self.work_dir,
            rclone=rclone or self.rclone,
            local_roots=(self.root / "files",),
            stop=stop or StopSignal(),
            log_path=self.log_path,
        ):
            events.append(event)
            if on_event is not None:
                on_event(event)
        return Ran(events)


def names(paths: Iterable[bytes]) -> set[str]:
    """Give paths as text."""
    return {os.fsdecode(path) for path in paths}
