"""Which texts an option takes by its type in rclone's catalogue; what it may mean is not here."""

from __future__ import annotations

import re
from collections.abc import Mapping

BOOLEANS = ("true", "false")

_DURATION = re.compile(
    r"off|-?(?:\d+(?:\.\d*)?|\.\d+)(?:[dwMy]|(?:ns|us|µs|ms|s|m|h)"
    r"(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))*)?"
)
_SIZE = re.compile(r"off|-?\d+(?:\.\d+)?(?:[BKMGTPE]|[KMGTPE]i?B?)?", re.IGNORECASE)
_PATTERNS: Mapping[str, re.Pattern[str]] = {
    "int": re.compile(r"[+-]?\d+"),
    "float64": re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"),
    "Duration": _DURATION,
    "SizeSuffix": _SIZE,
    "bool": re.compile(r"true|false|t|f|0|1", re.IGNORECASE),
    "Tristate": re.compile(r"unset|true|false|t|f|0|1", re.IGNORECASE),
}


def fits(type_name: str, value: str) -> bool:
    """Whether rclone could read a value of this type; of types that are texts any can be."""
    pattern = _PATTERNS.get(type_name)
    return pattern is None or pattern.fullmatch(value) is not None


def choices_of(type_name: str) -> tuple[str, ...]:
    """Give all values of a type that has few, in rclone's spelling; none of others."""
    if type_name in ("bool", "Tristate"):
        return BOOLEANS
    # rclone names some types by their values.
    return tuple(type_name.split("|")) if "|" in type_name else ()
