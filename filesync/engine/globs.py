"""Read rclone's filter patterns as Python regular expressions: pure, and matching nothing itself.

The rules are those of rclone's filtering documentation; the tests hold them against rclone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from re import _parser
from typing import Any

# rclone looks into every folder for these, as it cannot tell where they would match.
_ANYWHERE = re.compile(r"\{[^{}]*(?:\*\*|/)[^{}]*\}|\{\{|\}\}|\{[^{}]*\{")
_LEADING_FLAGS = re.compile(r"\(\?([is]+)\)")
_ESCAPABLE_LETTERS = frozenset("dDsSwWbB")


def compile_glob(glob: str) -> re.Pattern[str]:
    """Give the expression to `search` for in a path; raises re.error when there is none.

    It may take very long, as `check_regex` says: run it where it can be ended.
    """
    # Go's classes such as \w know ASCII only.
    return re.compile(_expression(glob), re.ASCII)


def check_glob(glob: str) -> None:
    """Raise re.error where `compile_glob` could not read a glob, as `check_regex` does."""
    check_regex(_expression(glob), re.ASCII)


def check_regex(regex: str, flags: int = 0) -> None:
    """Raise re.error for what is no regular expression.

    It is only parsed, 1 ms for 1,000 characters: `re.compile` writes out each class such as
    (?i)[!-\\uffff], and took 68 s over 24 kB of them.
    """
    parse_regex(regex, flags)


def parse_regex(regex: str, flags: int = 0) -> Iterable[tuple[Any, Any]]:
    """Give how a regular expression is written, part by part; raises re.error as `check_regex`."""
    try:
        parts: Iterable[tuple[Any, Any]] = _parser.parse(regex, flags)
    except OverflowError as error:
        raise re.error(str(error)) from None
    except RecursionError:
        raise re.error("it is nested too deeply") from None
    return parts


def _expression(glob: str) -> str:
    anchor = "^" if glob.startswith("/") else "(?:^|/)"
    body = "".join(_translated(glob.removeprefix("/")))
    # Go's $ is the very end.
    return rf"{anchor}{body}\Z"


def _translated(glob: str) -> Iterator[str]:
    position = depth = 0
    while position < len(glob):
        char = glob[position]
        if glob.startswith("{{", position):
            end = _regex_end(glob, position + 2)
            yield _group(glob[position + 2 : end])
            position = end + 2
        elif glob.startswith("**", position):
            yield ".*"
            position += 2
        elif char == "\\":
            yield _escape(glob[position + 1 : position + 2])
            position += 2
        elif char == "[":
            end = _class_end(glob, position + 1)
            yield "[" + re.sub(r"([\[&~|])", r"\\\1", glob[position + 1 : end]) + "]"
            position = end + 1
        else:
            depth += {"{": 1, "}": -1}.get(char, 0)
            yield "|" if char == "," and depth else _SIMPLE.get(char) or re.escape(char)
            position += 1


_SIMPLE = {"*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")"}


def _escape(char: str) -> str:
    if (char.isalnum() and char not in _ESCAPABLE_LETTERS) or not char.isascii():
        raise re.error(f"a backslash before {char!r} means nothing")
    return "\\" + char


def _class_end(glob: str, start: int) -> int:
    position = start
    while position < len(glob) and glob[position] != "]":
        position += 2 if glob[position] == "\\" else 1
    if position >= len(glob):
        raise re.error("'[' is not closed")
    return position


def _regex_end(glob: str, start: int) -> int:
    end = glob.find("}}", start)
    if end < 0:
        raise re.error("'{{' is not closed")
    while glob.startswith("}", end + 2):
        end += 1
    return end


def _group(regex: str) -> str:
    flags = _LEADING_FLAGS.match(regex)
    if flags is None:
        return f"(?:{regex})"
    return f"(?{flags[1]}:{regex[flags.end() :]})"


def folders_to_look_into(glob: str) -> list[str]:
    """Give the globs of the folders in which a file of this glob could be; the root is left out."""
    if _ANYWHERE.search(glob):
        return ["/**"]
    rest = re.sub("/{2,}", "/", glob)
    found: list[str] = []
    while True:
        slash, stars = rest.rfind("/"), rest.rfind("**")
        cut = max(slash, stars)
        if cut < 0:
            break
        rest = rest[:cut]
        folder = rest + ("**/" if stars > slash else "/")
        if not found or found[-1] != folder:
            found.append(folder)
    return [folder for folder in found or ["/**"] if folder != "/"]
