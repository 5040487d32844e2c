"""Read rclone's JSON log: one line in, one typed message out.

Pure and tolerant: a line in any shape becomes some message. What a message means for a run is
decided elsewhere (readers, plan).
"""

from __future__ import annotations

import json
import math
import re
from urllib.parse import quote

from filesync.engine.classify import classify
from filesync.engine.errors import FailureClass
from filesync.engine.events import InFlight
from filesync.engine.messages import (
    Copied,
    Crash,
    Deleted,
    Difference,
    DirMade,
    DirRemoved,
    Duplicate,
    LastWords,
    Message,
    MovedServerSide,
    MovedToBackup,
    Problem,
    Remark,
    Renamed,
    Skipped,
    Stats,
    TimeUpdated,
)
from filesync.engine.no_folder import no_folder
from filesync.engine.partials import final_path

MAX_TEXT_CHARS = 2000
"""A message's text is cut here: a server may answer an error with a whole page."""

# A file whose name a rule changed is told with its new name, which may hold any of these words.
_COPIED = re.compile(r"^(?:Multi-thread )?Copied \(([^()]*)\)(?: to: (.+))?$", re.DOTALL)
_MOVED = re.compile(r"^Moved \(server-side\)(?: to: (.+))?$", re.DOTALL)
_RENAMED = re.compile(r'^Renamed from "(.*)"$', re.DOTALL)
# Go quotes a name as its own source code would have it.
_ESCAPE = re.compile(r"\\(?:x[0-9a-f]{2}|u([0-9a-f]{4})|U([0-9a-f]{8})|([abfnrtv\\\"]))", re.ASCII)
_ESCAPED = dict(zip('abfnrtv\\"', '\a\b\f\n\r\t\v\\"', strict=True))
_DIFFERENCE = re.compile(r"^file not in |^sizes differ$|^contents differ$|^[\w-]+ differ$")
# rclone counts these once more after the error that caused them, and they name a remote.
_CONSEQUENCE = re.compile(
    r"^not deleting (?:files|directories) as there were IO errors|^Attempt \d+/\d+ |"
    # Told of a check that then compares sizes: nothing failed.
    r"^No common hash found|"
    r"^Can't retry any of the errors|^Fatal error received - |^Cancelling sync due to fatal error"
)
# About a partial file, before it has its name.
_NOT_PLACED = ("partial file rename failed: ", "corrupted on transfer: ")
_FOLDER_UNREAD = re.compile(
    r"^(?:error reading (?:source|destination) directory|failed to (?:open|read) directory)\b"
)
_DUPLICATE = re.compile(r"^Duplicate (object|directory) found in source\b")
_LAST_WORDS = re.compile(r"^Failed to [\w ]+(?: with \d+ errors?: last error was)?: ")
_REFUSAL = re.compile(r"^(?:Error|[\d/]+ [\d:.]+ CRITICAL): ")
# https://pkg.go.dev/runtime: a crash ends with exit code 2, as a wrong command line does.
_CRASH = re.compile(r"^(?:panic|fatal error|runtime|unexpected fault address|SIG[A-Z]+):? ")
# What rclone writes for each file of a large run, where nothing in the line is escaped. Read so, a
# line takes 2 us instead of 15; whatever this does not match is read as JSON. Time and source are
# rclone's own words, so that no name of a file comes into them.
_HOT = re.compile(
    rb'\{"time":"[^"]++","level":"(?:info|notice)",'
    rb'"msg":"(?:(Copied \((?:new|replaced existing)\))|(Deleted)|Skipped [^"\\\0-\x1f]++)",'
    rb'(?:"skipped":"([a-z]++)",)?+(?:"size":(-?\d{1,18}),)?+"object":"([^"\\\0-\x1f]++)",'
    rb'"objectType":"\*\w+\.Object","source":"[^"]++"\}'
)


def parse_line(line: bytes) -> Message:
    """Turn one line of rclone's stderr into a message."""
    return _hot(line) or _parsed(line)


def _hot(line: bytes) -> Message | None:
    """Read one of the lines that come by the thousand; None for every other."""
    found = _HOT.fullmatch(line)
    if found is None:
        return None
    copied, deleted, skipped, size, name = found.groups()
    path = name.decode("utf-8", "replace")
    size_bytes = None if size is None else int(size)
    if skipped is not None:
        return Skipped(skipped.decode(), path, size_bytes)
    if copied is not None:
        return Copied(path, size_bytes, copied == b"Copied (new)")
    return None if deleted is None else Deleted(path)


def _parsed(line: bytes) -> Message:
    text = line.decode("utf-8", errors="replace").strip()
    try:
        entry = json.loads(text)
    except ValueError:
        return _plain(text)
    if not isinstance(entry, dict):
        return _plain(text)
    stats = entry.get("stats")
    if isinstance(stats, dict):
        return _stats(stats)
    message = str(entry.get("msg", "")).strip()
    level = str(entry.get("level", "info"))
    path = _path(entry)
    skipped = entry.get("skipped")
    if isinstance(skipped, str):
        return Skipped(what=skipped, path=path or "", size_bytes=_int_or_none(entry.get("size")))
    if level in ("error", "critical"):
        return _error(message, path, critical=level == "critical")
    if path is None and _LAST_WORDS.match(message):
        return LastWords(message[:MAX_TEXT_CHARS], classify(message))
    done = None if path is None else _done(message, path, _int_or_none(entry.get("size")))
    return done if done is not None else Remark(level, message[:MAX_TEXT_CHARS], path)


def _path(entry: dict[str, object]) -> str | None:
    """Give the path a message is about; None for a whole remote, which rclone also names."""
    name = entry.get("object")
    kind = entry.get("objectType")
    if not isinstance(name, str) or (isinstance(kind, str) and kind.endswith(".Fs")):
        return None
    return name


def _done(message: str, path: str, size_bytes: int | None) -> Message | None:
    if copied := _COPIED.match(message):
        how, renamed_to = copied.groups()
        return Copied(
            path=path,
            size_bytes=size_bytes,
            new="replaced existing" not in how,
            server_side=how == "server-side copy",
            renamed_to=renamed_to,
        )
    if message == "Deleted":
        return Deleted(path)
    if moved := _MOVED.match(message):
        return MovedServerSide(path, moved[1])
    if message == "Moved into backup dir":
        return MovedToBackup(path)
    if message == "Updated modification time in destination":
        return TimeUpdated(path)
    if message == "Removing directory":
        return DirRemoved(path)
    if message.startswith(("Made directory", "Making directory")):
        return DirMade(path)
    if duplicate := _DUPLICATE.match(message):
        return Duplicate(path + "/" if duplicate[1] == "directory" else path)
    renamed = _RENAMED.match(message)
    return Renamed(path=path, old_path=_ESCAPE.sub(_unquoted, renamed[1])) if renamed else None


def _unquoted(found: re.Match[str]) -> str:
    """Give what Go's escape stands for; a byte that is no UTF-8 stays unknown."""
    short, long, letter = found.groups()
    if letter is not None:
        return _ESCAPED[letter]
    return chr(int(short or long or "fffd", 16))


def _error(message: str, path: str | None, *, critical: bool) -> Message:
    if path is not None and _DIFFERENCE.search(message):
        return Difference(path, message[:MAX_TEXT_CHARS])
    if _CONSEQUENCE.search(message):
        return Remark("error", message[:MAX_TEXT_CHARS], path)
    unplaced = path is not None and message.startswith(_NOT_PLACED)
    if path is not None and unplaced:
        path = final_path(path)
    if plain := no_folder(message):
        return Problem(plain, None, FailureClass.CONFIG, critical)
    words = message if path is None else _without_names(message, path)
    if path and _FOLDER_UNREAD.match(message):
        path += "/"
    return Problem(message[:MAX_TEXT_CHARS], path, classify(words), critical, unplaced)


def _without_names(message: str, path: str) -> str:
    """Leave the names of a file and its folders out of an error: `quota.xlsx` says nothing of one.

    A name that could be a word of the error, without a dot or slash, goes only where a path is.
    """
    names = path.split("/")
    known = {"/".join(names[:upto]) for upto in range(1, len(names) + 1)} | {names[-1]}
    for name in sorted(known - {""}, key=len, reverse=True):
        for spelling in {name, quote(name)}:
            if "/" in name or "." in name:
                message = message.replace(spelling, "")
            else:
                message = re.sub(rf"""(?<=[/"']){re.escape(spelling)}""", "", message)
    return message


def _plain(text: str) -> Message:
    """Read a line that is no JSON: usage errors and crashes come this way."""
    if _CRASH.match(text):
        return Crash(text[:MAX_TEXT_CHARS])
    if _REFUSAL.match(text):
        return Problem(text[:MAX_TEXT_CHARS], None, classify(text), critical=True)
    return Remark("plain", text[:MAX_TEXT_CHARS], None)


def _stats(stats: dict[str, object]) -> Stats:
    flying = stats.get("transferring")
    eta = stats.get("eta")
    return Stats(
        bytes_done=_int(stats, "bytes"),
        bytes_total=_int(stats, "totalBytes"),
        transfers_done=_int(stats, "transfers"),
        transfers_total=_int(stats, "totalTransfers"),
        checks_done=_int(stats, "checks"),
        checks_total=_int(stats, "totalChecks"),
        deletes=_int(stats, "deletes"),
        deleted_dirs=_int(stats, "deletedDirs"),
        renames=_int(stats, "renames"),
        errors=_int(stats, "errors"),
        listed=_int(stats, "listed"),
        speed_bytes_per_s=_number(stats.get("speed")) or 0.0,
        eta_s=_number(eta),
        in_flight=tuple(_flying(flying)) if isinstance(flying, list) else (),
    )


def _flying(entries: list[object]) -> list[InFlight]:
    return [
        InFlight(
            name=str(entry.get("name", "")),
            size_bytes=_int(entry, "size", missing=-1),
            bytes_done=_int(entry, "bytes"),
        )
        for entry in entries
        if isinstance(entry, dict)
    ]


def _number(value: object) -> float | None:
    # Go writes no NaN or infinity, but Python's reader would take them.
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _int_or_none(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _int(values: dict[str, object], key: str, *, missing: int = 0) -> int:
    value = _int_or_none(values.get(key))
    return missing if value is None else value
