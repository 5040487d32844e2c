"""Write rename rules as rclone's --name-transform, so that the first rule that matches decides.

rclone applies every transform to what the one before it made, and Go's expressions know no
lookahead. So a rule marks what it renamed, each later one lets marked names pass, and the last
transform takes the marks away. The marks are code points that Unicode keeps for such use and
gives to no text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_DONE, _OPEN, _CLOSE = "\ufdd0", "\ufdd1", "\ufdd2"
MARKS = frozenset((_DONE, _OPEN, _CLOSE))
# Go's template: $$ is a dollar, $1 and ${1} a group. A name takes all word characters it can get.
_NUMBERED = re.compile(r"\$(?:(\$)|([0-9]+)(?!\w)|\{([0-9]+)\})")


def name_transforms(rules: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Give the values of --name-transform for (regular expression, replacement) rules."""
    if len(rules) < 2:
        return tuple(_regex(pattern, replacement) for pattern, replacement in rules)
    (pattern, replacement), *later = rules
    return (
        _regex(pattern, replacement + _DONE),
        *(transform for rule in later for transform in _unless_done(*rule)),
        _regex(_DONE, ""),
    )


def _unless_done(pattern: str, replacement: str) -> tuple[str, str, str]:
    """Apply a rule to names that no earlier one renamed.

    A marked name matches the first alternative as a whole and is put before what the rule would
    write, which is cut off again; every other name is marked where the rule wrote.
    """
    written = _OPEN + _NUMBERED.sub(_one_further, replacement) + _CLOSE
    return (
        _regex(f"((?s:^.*{_DONE}.*$))|(?:{pattern})", "${1}" + written),
        _regex(f"(?s)^([^{_OPEN}]*{_DONE}[^{_OPEN}]*){_OPEN}.*$", "${1}"),
        _regex(f"(?s){_OPEN}([^{_CLOSE}]*){_CLOSE}", "${1}" + _DONE),
    )


def _one_further(found: re.Match[str]) -> str:
    """Count a group one further, for the guard's is the first; $0 stays what was matched."""
    dollar, bare, braced = found.groups()
    if dollar is not None:
        return found[0]
    number = int(bare or braced)
    return f"${{{number + 1 if number else 0}}}"


def _regex(pattern: str, replacement: str) -> str:
    """Write one transform; rclone splits it at '=', so the pattern has that as \\x3d."""
    escaped = pattern.replace("=", r"\x3d")
    return f"file,regex={escaped}/{replacement}"
