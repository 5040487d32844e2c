"""Tell the failure class from rclone's words; the words come from many storages, so by pattern."""

from __future__ import annotations

import re

from filesync.engine.advice import IN_THE_WAY
from filesync.engine.errors import FailureClass


def _status(*codes: int) -> str:
    """Match an HTTP status where a server's answer puts one, not a number inside a name."""
    either = "|".join(str(code) for code in codes)
    return rf"(?:status ?code:? ?|error |: |\()(?:{either})\b(?:[ ,)]|$)"


# Read from top to bottom: a refused login mentions the handshake, a full disk the write that
# failed, so the narrow classes stand above the wide ones.
_CLASSES: tuple[tuple[FailureClass, re.Pattern[str]], ...] = tuple(
    (failure_class, re.compile("|".join(patterns), re.IGNORECASE))
    for failure_class, patterns in (
        (FailureClass.GUARD, (r"--max-delete threshold reached",)),
        (
            FailureClass.DISK_FULL,
            (
                r"no space left on device",
                r"too big for remaining disk space",
                r"disk (?:is )?full|not enough (?:disk )?space",
                # A quota of a file system is the disk's, not an account's.
                r"disk quota exceeded",
            ),
        ),
        (
            FailureClass.RATE_LIMITED,
            (
                r"too many requests",
                r"rate ?limit",
                r"slow ?down",
                r"throttl",
                r"too_many_(?:requests|write_operations)",
                _status(429),
            ),
        ),
        (
            FailureClass.QUOTA,
            (r"quota", r"insufficient.?(?:storage|space)", r"upload limit", _status(507)),
        ),
        (
            FailureClass.AUTH,
            (
                r"unauthori[sz]ed",
                r"unable to authenticate",
                r"authentication (?:failed|failure|required)",
                r"log[io]n (?:incorrect|failed|failure|is invalid)|\b530\b",
                r"wrong password|bad username",
                r"invalid_grant|invalid_client|token (?:has )?expired|invalid ?token",
                r"(?:couldn't fetch|empty) token",
                r"undecryptable (?:dir |file )?name",
                r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidClientTokenId",
                _status(401),
            ),
        ),
        (
            FailureClass.PERMISSION,
            (
                r"permission denied",
                r"access ?(?:is )?denied",
                r"forbidden",
                r"operation not permitted",
                r"read-only file system",
                _status(403),
            ),
        ),
        (
            FailureClass.NAME_NOT_ALLOWED,
            (
                r"file ?name too long|path too long|name is too long",
                r"(?:invalid|illegal|restricted|disallowed|malformed) (?:file ?|object )?"
                r"(?:name|path|char)",
                r"(?:name|path)_?not_?allowed|KeyTooLong|malformed_path",
                *IN_THE_WAY,
            ),
        ),
        (
            FailureClass.CONFIG,
            (
                r"x509|certificate",
                r"overlapping|overlap",
                r"unknown (?:flag|command)|invalid argument|didn't find section|unknown type",
                r"unsupported protocol scheme|first path segment in URL|invalid URL",
                r"failed to (?:parse|load|obscure|reveal)",
            ),
        ),
        (
            FailureClass.NETWORK,
            (
                r"connection (?:refused|reset|timed out|lost)|broken pipe|\bEOF\b",
                r"no such host|server misbehaving|no route to host|network is unreachable",
                r"i/o timeout|deadline exceeded|tls: |handshake|use of closed",
                r"bad gateway|service unavailable|\bdial (?:tcp|unix)",
                r"(?:gateway|request) time-?out",
                # From 520 on they are those of a proxy that did not reach the server.
                _status(408, 500, 502, 503, 504, *range(520, 525)),
            ),
        ),
        (
            FailureClass.NOT_FOUND,
            (
                r"(?:directory|object|file|bucket|item) (?:was )?not found",
                r"no such (?:file|directory|bucket|key)|NoSuch(?:Bucket|Key)",
                r"file does not exist",
                _status(404),
            ),
        ),
    )
)


def classify(text: str) -> FailureClass:
    """Tell the class of a failure from rclone's words; INTERNAL when none fits."""
    for failure_class, pattern in _CLASSES:
        if pattern.search(text):
            return failure_class
    return FailureClass.INTERNAL
