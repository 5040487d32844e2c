"""Make names that rename rules would match, from how their expressions are written: pure.

Nothing is matched here: an expression can be written so that matching takes years.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from filesync.engine.globs import parse_regex

_ANY = "a"
_MOST_CHARS = 60
_IN_CLASS = {"CATEGORY_DIGIT": "1", "CATEGORY_SPACE": " "}
_NOT_IN_CLASS = "a1-~"


def examples(rules: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Give names for (regular expression, replacement) rules, each whole and within a longer one.

    A few that anything may be called are among them.
    """
    names = ["a", "IMG_0001.JPG", "a b.tar.gz"]
    for pattern, _ in rules:
        name = _example(pattern)
        names += [name, f"a{name}", f"{name}a", f"a{name}a"]
    return tuple(dict.fromkeys(name for name in names if 0 < len(name) <= 4 * _MOST_CHARS))


def _example(pattern: str) -> str:
    try:
        return _written(parse_regex(pattern))[:_MOST_CHARS]
    except re.error:
        return ""


def _written(items: Iterable[tuple[Any, Any]]) -> str:
    text = ""
    for kind, value in items:
        if len(text) < _MOST_CHARS:
            text += _one(str(kind), value)
    return text


def _one(kind: str, value: Any) -> str:
    if kind == "LITERAL":
        return chr(value)
    if kind == "ANY":
        return _ANY
    if kind == "NOT_LITERAL":
        return _outside([("LITERAL", value)])
    if kind == "IN":
        inside = [(str(name), bounds) for name, bounds in value]
        return _outside(inside[1:]) if inside[0][0] == "NEGATE" else _inside(*inside[0])
    if kind in ("MAX_REPEAT", "MIN_REPEAT"):
        least, _, items = value
        times: int = min(max(least, 1), _MOST_CHARS)
        return _written(items) * times
    if kind == "SUBPATTERN":
        return _written(value[-1])
    return _written(value[1][0]) if kind == "BRANCH" else ""


def _inside(kind: str, value: Any) -> str:
    if kind == "CATEGORY":
        return _IN_CLASS.get(str(value), _ANY)
    return chr(value[0] if kind == "RANGE" else value)


def _outside(inside: Sequence[tuple[str, Any]]) -> str:
    """Give a character that none of these covers."""
    for char in _NOT_IN_CLASS:
        if not any(_covers(kind, value, char) for kind, value in inside):
            return char
    return ""


def _covers(kind: str, value: Any, char: str) -> bool:
    if kind == "CATEGORY":
        return str(value) in ("CATEGORY_WORD", "CATEGORY_DIGIT") and char.isalnum()
    low, high = value if kind == "RANGE" else (value, value)
    return bool(low <= ord(char) <= high)
