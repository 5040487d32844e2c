"""Read from the listing of a run's kept folder which files it kept from before: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from filesync.engine.standing import FileFacts, KeptFile


@dataclass(slots=True)
class KeptFiles:
    """What lies in a run's kept folder.

    `files` are those from before the run; `unknown` maps each folder that is of no attempt with a
    log to the paths in it.
    """

    files: dict[str, KeptFile] = field(default_factory=dict)
    unknown: dict[str, set[str]] = field(default_factory=dict)


def read_kept(
    listed: Mapping[str, FileFacts], folders: Sequence[str], older: Mapping[str, int]
) -> KeptFiles:
    """Sort out a listing; `folders` are the attempts' own, oldest first.

    Of several copies of a file the oldest is the one from before the run, unless the logs say in
    `older` which attempt took that away: then one of another attempt is the run's own.
    """
    numbers = {folder: number for number, folder in enumerate(folders)}
    kept = KeptFiles()
    for place, facts in listed.items():
        folder, _, path = place.partition("/")
        if not path:
            continue  # no attempt keeps a file beside its folder
        number = numbers.get(folder)
        if number is None:
            kept.unknown.setdefault(folder, set()).add(path)
        elif number == older.get(path, number) and (
            path not in kept.files or number < kept.files[path].attempt
        ):
            kept.files[path] = KeptFile(number, facts)
    return kept
