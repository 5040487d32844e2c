"""One line of rclone's log, one message: the lines are real ones of rclone 1.75."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filesync.engine import Failure, FailureClass, InFlight
from filesync.engine.advice import GUARD_ADVICE
from filesync.engine.classify import classify
from filesync.engine.lines import MAX_TEXT_CHARS, parse_line
from filesync.engine.messages import (
    Copied,
    Crash,
    Deleted,
    Difference,
    DirMade,
    DirRemoved,
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


def line(msg: str, level: str = "info", **more: object) -> bytes:
    return json.dumps({"level": level, "msg": msg, **more}).encode()


FS = {"object": "Local file system at /data", "objectType": "*local.Fs"}
FILE = {"object": "d/f.bin", "objectType": "*local.Object"}
NOT_PLACED = "partial file rename failed: "


def logged(name: str, msg: str, **more: object) -> bytes:
    """Return a line as Go's encoder writes it: fields in this order, no blanks, raw UTF-8."""
    level = "notice" if "skipped" in more else "info"
    facts = {"time": "2026-11-24T19:21:36.691469563Z", "level": level, "msg": msg, **more}
    facts |= {"object": name, "objectType": "*local.Object", "source": "operations/copy.go:382"}
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode()


@given(
    st.text(st.characters(codec="utf-8"), min_size=1),
    st.sampled_from(
        [
            ("Copied (new)", {"size": 7}),
            ("Copied (new)", {}),
            ("Copied (replaced existing)", {"size": -1}),
            ("Deleted", {}),
            ("Skipped copy as --dry-run is set (size 7)", {"skipped": "copy", "size": 7}),
            ("Skipped delete as --dry-run is set", {"skipped": "delete"}),
            ("Skipped nothing", {}),
        ]
    ),
)
def test_the_short_way_to_read_a_line_says_what_the_long_one_does(
    name: str, said: tuple[str, dict[str, object]]
) -> None:
    """A blank before the end makes a line one that only the long way reads."""
    msg, more = said
    line = logged(name, msg, **more)
    assert parse_line(line) == parse_line(line[:-1] + b" }")


@pytest.mark.parametrize(
    "line",
    [
        logged("d/f.bin", "Copied (new)", size=3),
        logged("\u6587\u4ef6.txt", "Copied (replaced existing)", size=3),
        logged("d/f.bin", "Deleted"),
        logged("d/f.bin", "Skipped copy as --dry-run is set", skipped="copy", size=3),
    ],
)
def test_what_comes_for_each_file_is_read_the_short_way(
    line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filesync.engine.lines.json.loads", pytest.fail)
    assert not isinstance(parse_line(line), Remark)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (line("Copied (new)", size=3225, **FILE), Copied("d/f.bin", 3225, True)),
        (line("Copied (replaced existing)", size=5, **FILE), Copied("d/f.bin", 5, False)),
        (
            line("Copied (new) to: new.md", size=4, **FILE),
            Copied("d/f.bin", 4, True, renamed_to="new.md"),
        ),
        (line("Multi-thread Copied (new)", size=9, **FILE), Copied("d/f.bin", 9, True)),
        (line("Copied (server-side copy)", **FILE), Copied("d/f.bin", None, True, True)),
        (line("Deleted", **FILE), Deleted("d/f.bin")),
        (line("Moved (server-side)", **FILE), MovedServerSide("d/f.bin")),
        (
            line("Moved (server-side) to: new.md", **FILE),
            MovedServerSide("d/f.bin", renamed_to="new.md"),
        ),
        (line("Moved into backup dir", **FILE), MovedToBackup("d/f.bin")),
        (line('Renamed from "old name"', **FILE), Renamed("d/f.bin", "old name")),
        (
            line(
                r'Renamed from "\"q\" \\n \x41 \a\n\t \u200b \U000e0001 \xff\xfe ' + '\N{ROCKET}"',
                **FILE,
            ),
            Renamed(
                "d/f.bin",
                '"q" \\n \ufffd \a\n\t \u200b \U000e0001 \ufffd\ufffd \N{ROCKET}',
            ),
        ),
        (line("Updated modification time in destination", **FILE), TimeUpdated("d/f.bin")),
        (line("Removing directory", object="gone", objectType="string"), DirRemoved("gone")),
        (
            line("Made directory with metadata (mtime=2026-11-24T11:14:00Z)", object="sub"),
            DirMade("sub"),
        ),
        (
            line(
                "Skipped copy as --dry-run is set (size 10)",
                "notice",
                skipped="copy",
                size=10,
                **FILE,
            ),
            Skipped("copy", "d/f.bin", 10),
        ),
        (
            line("Skipped remove directory", "notice", skipped="remove directory", object="gone"),
            Skipped("remove directory", "gone", None),
        ),
        (line("sizes differ", "error", **FILE), Difference("d/f.bin", "sizes differ")),
        (line("md5 differ", "error", **FILE), Difference("d/f.bin", "md5 differ")),
        (
            line("file not in webdav root 'up'", "error", **FILE),
            Difference("d/f.bin", "file not in webdav root 'up'"),
        ),
        (
            line("Failed to copy: open /x: permission denied", "error", **FILE),
            Problem(
                "Failed to copy: open /x: permission denied",
                "d/f.bin",
                FailureClass.PERMISSION,
                False,
            ),
        ),
        *(
            (
                line(f"{NOT_PLACED}can't move object", "error", object=f"d/{named}"),
                Problem(
                    f"{NOT_PLACED}can't move object",
                    f"d/{told}",
                    FailureClass.NAME_NOT_ALLOWED,
                    False,
                    unplaced=True,
                ),
            )
            for named, told in (
                ("f.bin.b7804dfd.ecdb6f2.partial", "f.bin"),
                ("f.bin.b7804dfd.partial", "f.bin"),
                (f"{'长' * 34}.b7804dfd.partial", f"{'长' * 34}.b7804dfd.partial"),
            )
        ),
        (
            line('Failed to create file system for "src:": didn\'t find section', "critical"),
            Problem(
                'Failed to create file system for "src:": didn\'t find section',
                None,
                FailureClass.CONFIG,
                True,
            ),
        ),
        (
            line("error reading source root directory: directory not found", "error", **FS),
            Problem(
                "error reading source root directory: directory not found",
                None,
                FailureClass.NOT_FOUND,
                False,
            ),
        ),
        (
            line("not deleting files as there were IO errors", "error", **FS),
            Remark("error", "not deleting files as there were IO errors", None),
        ),
        (
            line("Attempt 1/1 failed with 2 errors and: x", "error"),
            Remark("error", "Attempt 1/1 failed with 2 errors and: x", None),
        ),
        (
            line("Failed to sync with 6 errors: last error was: quota exceeded", "notice"),
            LastWords(
                "Failed to sync with 6 errors: last error was: quota exceeded", FailureClass.QUOTA
            ),
        ),
        (
            line("Failed to backend: NewFs: no such host", "notice"),
            LastWords("Failed to backend: NewFs: no such host", FailureClass.NETWORK),
        ),
        (
            line("There was nothing to transfer"),
            Remark("info", "There was nothing to transfer", None),
        ),
        (
            b"Error: unknown flag: --nonsense",
            Problem("Error: unknown flag: --nonsense", None, FailureClass.CONFIG, True),
        ),
        (b"panic: regexp: Compile(`[`): error", Crash("panic: regexp: Compile(`[`): error")),
        (b"fatal error: runtime: out of memory", Crash("fatal error: runtime: out of memory")),
        (b"runtime: out of memory: cannot", Crash("runtime: out of memory: cannot")),
        (b"SIGSEGV: segmentation violation", Crash("SIGSEGV: segmentation violation")),
        (b"runtime.goexit()", Remark("plain", "runtime.goexit()", None)),
        (b"  --flag   help text", Remark("plain", "--flag   help text", None)),
        (b"", Remark("plain", "", None)),
        (b"[1, 2]", Remark("plain", "[1, 2]", None)),
        (b'"text"', Remark("plain", '"text"', None)),
        (
            b'{"level":"info","msg":"Copied (new)","object":"a","size":NaN}',
            Copied("a", None, True),
        ),
        (b"{}", Remark("info", "", None)),
        (b'{"level":"error","msg":', Remark("plain", '{"level":"error","msg":', None)),
    ],
)
def test_a_line_becomes_its_message(text: bytes, message: Message) -> None:
    assert parse_line(text) == message


WORDS = (
    *("Copied (new)", "Multi-thread Copied (new)", "replaced existing", "server-side copy"),
    *("Copied (server-side copy) to: x", "Copied (replaced existing)", "x) to: y"),
    *("Moved (server-side)", "Moved (server-side) to: x", "Moved into backup dir", "Deleted"),
    *("Renamed from x", "Updated modification time in destination", "Removing directory"),
    *("Made directory", "Making directory", "Duplicate object found in source", "sizes differ"),
    *("file not in x", "md5 differ", "not deleting files as there were IO errors", "Error: x"),
    *("Attempt 1/1 failed", "No common hash found", "Cancelling sync due to fatal error"),
    *("Can't retry any of the errors", "Fatal error received - x", "corrupted on transfer: x"),
    *("partial file rename failed: x", "failed to open directory", "x CRITICAL: y", "panic: x"),
    *("error reading destination root directory", "Failed to sync with 2 errors: x"),
    *("Skipped copy as --dry-run is set", "Can't follow symlink", "There was nothing to transfer"),
    *("max transfer limit reached as set by --max-transfer", "context canceled"),
)
"""All that the reader, or who takes its messages, knows rclone's messages by."""


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(
    "told",
    [
        "Copied (new) to: {}",
        "Copied (replaced existing) to: {}",
        "Copied (server-side copy) to: {}",
        "Multi-thread Copied (new) to: {}",
        "Multi-thread Copied (replaced existing) to: {}",
        "Moved (server-side) to: {}",
        'Renamed from "{}"',
    ],
)
def test_a_name_is_not_taken_for_what_was_done(told: str, word: str) -> None:
    def message(name: str, new: str) -> Message:
        return parse_line(line(told.format(new), object=name, objectType="*local.Object"))

    for new in (word, f"d/{word}.md", f"{word}/f"):
        plain, odd = message("f.bin", "plain"), message(new, new)
        assert not isinstance(plain, Remark)
        assert type(odd) is type(plain)
        assert repr(odd).replace(repr(new), "?") == (
            repr(plain).replace("'f.bin'", "?").replace("'plain'", "?")
        )


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("level", ["error", "info", "notice"])
@pytest.mark.parametrize(
    "told", ["Failed to copy: open /x/{}: permission denied", "Set {}", 'open "{}": is a directory']
)
def test_a_name_in_other_words_changes_nothing(told: str, word: str, level: str) -> None:
    def message(name: str) -> Message:
        return parse_line(line(told.format(name), level, **FILE))

    plain, odd = message("plain"), message(word)
    assert isinstance(plain, Problem | Remark)
    assert odd == replace(plain, text=told.format(word))


def test_a_name_in_a_line_of_no_json_is_no_refusal() -> None:
    text = "open /x CRITICAL: y: no such file"
    assert parse_line(text.encode()) == Remark("plain", text, None)
    text = "2026/11/24 19:21:36 CRITICAL: Failed to load config file"
    assert isinstance(parse_line(text.encode()), Problem)


def test_statistics_are_read_with_what_is_in_flight() -> None:
    stats = {
        "bytes": 100,
        "totalBytes": 200,
        "transfers": 1,
        "totalTransfers": 3,
        "checks": 4,
        "totalChecks": 5,
        "deletes": 6,
        "deletedDirs": 7,
        "renames": 8,
        "errors": 9,
        "listed": 10,
        "speed": 12.5,
        "eta": None,
        "lastError": "x",
        "transferring": [{"name": "a", "size": 5, "bytes": 2, "eta": None}, {"name": "b"}, 7],
    }
    assert parse_line(line("\nTransferred: ...", "notice", stats=stats)) == Stats(
        bytes_done=100,
        bytes_total=200,
        transfers_done=1,
        transfers_total=3,
        checks_done=4,
        checks_total=5,
        deletes=6,
        deleted_dirs=7,
        renames=8,
        errors=9,
        listed=10,
        speed_bytes_per_s=12.5,
        eta_s=None,
        in_flight=(InFlight("a", 5, 2), InFlight("b", -1, 0)),
    )


def test_invalid_utf8_is_read_as_replacement_characters() -> None:
    assert parse_line(b'{"level":"info","msg":"Deleted","object":"a\xff"}') == Deleted("a\ufffd")


def test_a_long_error_is_cut() -> None:
    message = parse_line(line("x" * 100_000, "error"))
    assert isinstance(message, Problem)
    assert len(message.text) == MAX_TEXT_CHARS


# A small alphabet: drawing from all of Unicode first builds a table for seconds.
texts = st.text('aZ0 ":/\n\0\u6587', max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=8,
)
known_keys = st.sampled_from(["level", "msg", "object", "objectType", "size", "skipped", "stats"])
stats_keys = st.sampled_from(["bytes", "eta", "speed", "transferring", "lastError", "errors"])


@given(
    st.dictionaries(
        known_keys, json_values | st.dictionaries(stats_keys, json_values), max_size=7
    ).map(lambda entry: json.dumps(entry).encode())
    | st.binary()
)
def test_every_line_becomes_some_message(text: bytes) -> None:
    parse_line(text)


@pytest.mark.parametrize(
    ("text", "failure_class"),
    [
        ("couldn't list files: 401 Unauthorized", FailureClass.AUTH),
        ("couldn't list files: 401 Not Authorized", FailureClass.AUTH),
        ("ssh: handshake failed: ssh: unable to authenticate", FailureClass.AUTH),
        ('failed to make FTP connection to "h:21": 530 "Login incorrect."', FailureClass.AUTH),
        ("couldn't fetch token: invalid_grant: maybe token expired?", FailureClass.AUTH),
        ("response error: The attempted logon is invalid.", FailureClass.AUTH),
        ("api error InvalidAccessKeyId: unknown, StatusCode: 403,", FailureClass.AUTH),
        ("api error SignatureDoesNotMatch: x", FailureClass.AUTH),
        ("open /a: permission denied", FailureClass.PERMISSION),
        (
            "https response error StatusCode: 403, RequestID: x, AccessDenied",
            FailureClass.PERMISSION,
        ),
        ("Update Put failed: 403 Forbidden", FailureClass.PERMISSION),
        ("write /a: read-only file system", FailureClass.PERMISSION),
        ("directory not found", FailureClass.NOT_FOUND),
        ("open /a: no such file or directory", FailureClass.NOT_FOUND),
        ("api error NoSuchBucket: The bucket does not exist", FailureClass.NOT_FOUND),
        ("Put failed: Not Found: 404 Not Found", FailureClass.NOT_FOUND),
        ("write /a.partial: no space left on device", FailureClass.DISK_FULL),
        ("preallocate: file too big for remaining disk space", FailureClass.DISK_FULL),
        ("googleapi: Error 403: storageQuotaExceeded", FailureClass.QUOTA),
        ("Put failed: 507 Insufficient Storage", FailureClass.QUOTA),
        ("write /a: disk quota exceeded", FailureClass.DISK_FULL),
        ("googleapi: Error 403: rateLimitExceeded", FailureClass.RATE_LIMITED),
        ("429 Too Many Requests", FailureClass.RATE_LIMITED),
        ("api error SlowDown: Please reduce your request rate", FailureClass.RATE_LIMITED),
        ("too_many_write_operations/..", FailureClass.RATE_LIMITED),
        ("dial tcp 127.0.0.1:9: connect: connection refused", FailureClass.NETWORK),
        ("dial tcp: lookup nowhere: no such host", FailureClass.NETWORK),
        ("read tcp: i/o timeout", FailureClass.NETWORK),
        ("unexpected EOF", FailureClass.NETWORK),
        ("Put failed: 502 Bad Gateway", FailureClass.NETWORK),
        ("unchunked simple update failed: 408 Request Timeout", FailureClass.NETWORK),
        ("unchunked simple update failed: 522", FailureClass.NETWORK),
        ("open /a/b: file name too long", FailureClass.NAME_NOT_ALLOWED),
        ("invalid file name", FailureClass.NAME_NOT_ALLOWED),
        ("path/malformed_path/..", FailureClass.NAME_NOT_ALLOWED),
        ("can't overwrite directory with file", FailureClass.NAME_NOT_ALLOWED),
        ("mkdir /a/b: not a directory", FailureClass.NAME_NOT_ALLOWED),
        ("open /a/b: is a directory", FailureClass.NAME_NOT_ALLOWED),
        ("Put mkParentDir failed: is a file not a directory", FailureClass.NAME_NOT_ALLOWED),
        ("open /not a directory/a: permission denied", FailureClass.PERMISSION),
        ("tls: failed to verify certificate: x509: unknown authority", FailureClass.CONFIG),
        ("can't sync or move files on overlapping remotes", FailureClass.CONFIG),
        ("failed to parse private key file: ssh: no key found", FailureClass.CONFIG),
        ("Got fatal error on delete: --max-delete threshold reached", FailureClass.GUARD),
        ("corrupted on transfer: md5 hashes differ", FailureClass.INTERNAL),
        ("", FailureClass.INTERNAL),
    ],
)
def test_rclones_words_tell_the_failure_class(text: str, failure_class: FailureClass) -> None:
    assert classify(text) is failure_class


@pytest.mark.parametrize(
    ("path", "words", "failure_class"),
    [
        ("quota-2026.xlsx", "open /src/{}: permission denied", FailureClass.PERMISSION),
        ("rate limit/a", "open /src/{}: permission denied", FailureClass.PERMISSION),
        ("quota/x/y", "mkdir /dst/quota/x: permission denied", FailureClass.PERMISSION),
        ("unauthorized", "open /src/{}: no such file or directory", FailureClass.NOT_FOUND),
        ("slow down.txt", 'Put "http://h/slow%20down.txt": unexpected EOF', FailureClass.NETWORK),
        ("deep/throttle.md", 'lstat "throttle.md": permission denied', FailureClass.PERMISSION),
        # Words of the error that a file happens to be called stay.
        ("quota", "Failed to copy: user quota exceeded", FailureClass.QUOTA),
        ("quota/a.txt", "a.txt: 507 Insufficient Storage, quota used up", FailureClass.QUOTA),
    ],
)
def test_what_a_file_is_called_is_not_what_is_wrong_with_it(
    path: str, words: str, failure_class: FailureClass
) -> None:
    text = words.format(path)
    entry = {"level": "error", "msg": text, "object": path, "objectType": "*local.Object"}

    message = parse_line(json.dumps(entry).encode())

    assert message == Problem(text, path, failure_class, critical=False)


@pytest.mark.parametrize("name", ["401", "report-403.pdf", "track 429 mix", "404/429/507"])
def test_a_number_in_a_name_is_no_status(name: str) -> None:
    assert classify(f"Failed to copy: hash of /data/{name} differs") is FailureClass.INTERNAL


@pytest.mark.parametrize("failure_class", list(FailureClass))
def test_every_failure_class_says_what_to_do(failure_class: FailureClass) -> None:
    assert failure_class.advice.endswith(".")
    assert isinstance(failure_class.retryable, bool)
    assert Failure.of(failure_class, "x").advice == failure_class.advice


@pytest.mark.parametrize(
    ("failure_class", "message", "begins"),
    [
        (FailureClass.INTERNAL, "a: corrupted on transfer: sizes differ", "Nothing to do"),
        (FailureClass.INTERNAL, "can't copy - source file is being updated", "Nothing to do"),
        (FailureClass.NAME_NOT_ALLOWED, "mkdir /a: not a directory", "At the destination"),
        (FailureClass.NAME_NOT_ALLOWED, "invalid file name", "The storage does not accept"),
        (FailureClass.PERMISSION, "not a directory/a: permission denied", "The login works"),
    ],
)
def test_words_that_say_more_than_their_class_have_advice_of_their_own(
    failure_class: FailureClass, message: str, begins: str
) -> None:
    assert Failure.of(failure_class, message).advice.startswith(begins)


@pytest.mark.parametrize("guard", GUARD_ADVICE)
def test_a_guard_with_advice_of_its_own_says_that(guard: str) -> None:
    failure = Failure.of(FailureClass.GUARD, "x", guard=guard)
    assert failure.advice == GUARD_ADVICE[guard]
    assert failure.advice.endswith(".")
    assert failure.advice != FailureClass.GUARD.advice


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('failed to open directory "d/f.bin": open /d/f.bin: permission denied', "d/f.bin/"),
        ("error reading source directory: permission denied", "d/f.bin/"),
        ("error reading destination directory: permission denied", "d/f.bin/"),
        ("failed to open: permission denied", "d/f.bin"),
    ],
)
def test_a_folder_that_could_not_be_listed_is_no_file(text: str, path: str) -> None:
    facts = {"object": "d/f.bin", "objectType": "string"}

    assert parse_line(line(text, "error", **facts)) == Problem(
        text, path, FailureClass.PERMISSION, critical=False
    )
