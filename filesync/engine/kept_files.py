"""Name the folders of kept files, and read from their listing which are from before a run: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from filesync.engine.standing import FileFacts, KeptFile

UNDONE = "undone"
"""The folder beside those of attempts that takes what an undoing replaces, and may not be ours."""


@dataclass(slots=True)
class KeptFiles:
    """What lies in a run's kept folder.

    `files` are those from before the run; `unknown` maps each folder that is of no attempt with a
    log to the paths in it.
    """

    files: dict[str, KeptFile] = field(default_factory=dict)
    unknown: dict[str, set[str]] = field(default_factory=dict)


def stage_folder(folder: str, number: int) -> str:
    """Name the folder in which one stage of an attempt keeps files, beside that of the first.

    In one folder a later stage would overwrite what an earlier one kept of a file that changed at
    the source meanwhile, and the older of the two is the one that counts.
    """
    return folder if number == 1 else f"{folder}.{number}"


def read_kept(
    listed: Mapping[str, FileFacts], folders: Sequence[str], older: Mapping[str, int]
) -> KeptFiles:
    """Sort out a listing; `folders` are the attempts' own, oldest first.

    Of several copies of a file the oldest is the one from before the run, unless the logs say in
    `older` which attempt took that away: then one of another attempt is the run's own.
    """
    numbers = {folder: number for number, folder in enumerate(folders)}
    places: dict[str, tuple[int, int] | None] = {}
    kept = KeptFiles()
    for place, facts in listed.items():
        folder, _, path = place.partition("/")
        if not path or folder == UNDONE:
            continue  # no attempt keeps a file beside its folder
        if folder not in places:
            places[folder] = _place_of(folder, numbers)
        attempt, stage = places[folder] or (None, 0)
        if attempt is None:
            kept.unknown.setdefault(folder, set()).add(path)
        elif attempt == older.get(path, attempt):
            found = KeptFile(attempt, facts, stage)
            if path not in kept.files or found.place < kept.files[path].place:
                kept.files[path] = found
    return kept


def _place_of(folder: str, numbers: Mapping[str, int]) -> tuple[int, int] | None:
    """Give the attempt and the stage that kept files in a folder, None for one of none."""
    if folder in numbers:
        return numbers[folder], 1
    of_attempt, _, stage = folder.rpartition(".")
    return (
        (numbers[of_attempt], int(stage)) if of_attempt in numbers and stage.isdecimal() else None
    )
