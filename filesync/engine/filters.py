"""Check rules and limits in rclone's syntax, and render the filter file of a run."""

from __future__ import annotations

import re
from collections.abc import Sequence

from filesync.engine.encodings import as_sent
from filesync.engine.errors import FilterRefused, LimitRefused
from filesync.engine.globs import check_glob, check_regex
from filesync.engine.renames import MARKS
from filesync.engine.request import KEPT_FOLDER, Limits, Rules
from filesync.engine.texts import Text

MAX_LINES = 2000
"""The most filter lines that one text may have; a run may have those of several."""
MAX_LINES_OF_RUN = 10 * MAX_LINES
MAX_LINE_CHARS = 1000
"""Of a filter line, and of a rename rule."""
_UNKNOWN = "\ufffd"
_LITERAL = re.compile(rf"[*?\[\]{{}}\\,]|{_UNKNOWN}|\s(?=$)")
MARKER_PREFIX = ".syncbeat-marker-"
"""How the names of files begin that a run writes and removes to see which folders are one."""
# At every depth: a storage whose root is further up sees another one's kept files below. Tied to
# the beginning, as each path of a run is held against it: so rclone needs a third less time.
OWN_RULE = f"- /{{**/,}}{{{KEPT_FOLDER}/**,{MARKER_PREFIX}*}}"
"""The rule by which every run leaves kept files and markers alone."""
# Go takes all letters, digits and underscores after a dollar into a group's name.
_RUN_ON_GROUP = re.compile(r"(?<!\$)(?:\$\$)*(?P<group>\$[0-9]+)(?=[^\W0-9])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Go's regular expressions have none of these, and rclone panics at one it cannot read.
_NOT_IN_GO = re.compile(r"\(\?(?:[=!>#(]|<[=!]|P=)|\\[1-9]|[*+?}]\+")
_RATE = r"(?:off|\d+(?:\.\d+)?[BKMGTP]?(?::(?:off|\d+(?:\.\d+)?[BKMGTP]?))?)"
_SLOT = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)-)?(?:[01]\d|2[0-3]):[0-5]\d"
_BANDWIDTH = re.compile(rf"{_RATE}|{_SLOT},{_RATE}(?: {_SLOT},{_RATE})*")


def filter_lines(text: str) -> tuple[str, ...]:
    """Give the filter rules of a text, without blank lines and # comments."""
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def rename_rules(text: str) -> tuple[tuple[str, str], ...]:
    """Give (regular expression, replacement) per rule, without blank lines and # comments.

    Raises:
        FilterRefused: a line has no "=>".
    """
    return tuple(map(_rename_rule, filter_lines(text)))


def _rename_rule(line: str) -> tuple[str, str]:
    pattern, arrow, replacement = line.rpartition("=>")
    if not arrow:
        raise FilterRefused(
            Text(
                "rename rule {line!r} must be 'regular expression => replacement'", line=line[:60]
            ),
            field="renames",
        )
    return pattern.strip(), replacement.strip()


def validate_filters(lines: Sequence[str], *, most: int = MAX_LINES) -> tuple[str, ...]:
    """Give the filter lines without blanks at their ends; raises FilterRefused naming the line."""
    if len(lines) > most:
        raise FilterRefused(Text("more than {most} filter lines", most=most), field="filters")
    return tuple(_filter_line(number, line) for number, line in enumerate(lines, start=1))


def _filter_line(number: int, line: str) -> str:
    where = Text("filter line {number} ({line!r})", number=number, line=line[:60])
    if _CONTROL.search(line):
        raise FilterRefused(
            Text("{where} contains a line break or control character", where=where), field="filters"
        )
    line = line.strip()
    if len(line) > MAX_LINE_CHARS:
        raise FilterRefused(
            Text(
                "{where} is longer than {most} characters",
                where=where,
                most=MAX_LINE_CHARS,
            ),
            field="filters",
        )
    if line[:2] not in ("+ ", "- ") or not line[2:].strip():
        raise FilterRefused(
            Text("{where} must be '+ pattern' or '- pattern'", where=where), field="filters"
        )
    complaint = _pattern_complaint(line[2:].strip()) or _glob_complaint(line[2:])
    if complaint:
        raise FilterRefused(
            Text("{where} {complaint}", where=where, complaint=complaint), field="filters"
        )
    return line


def _pattern_complaint(pattern: str) -> Text | None:
    """Say why rclone could not read a glob pattern; None when it can."""
    if "***" in pattern:
        return Text("has more than two stars in a row")
    if "{{" in pattern:
        return _regex_complaint(pattern)
    in_class = in_braces = escaped = False
    for char in pattern:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
        elif char == "]":
            return Text("has ']' without '['")
        elif char == "{":
            if in_braces:
                return Text("nests '{{'")
            in_braces = True
        elif char == "}":
            if not in_braces:
                return Text("has '}}' without '{{'")
            in_braces = False
    if in_class or in_braces:
        return Text("leaves '[' or '{{' open")
    return Text("ends with a backslash") if escaped else None


def _glob_complaint(pattern: str) -> Text | None:
    try:
        check_glob(pattern)
    except re.error as error:
        return Text("cannot be read: {error}", error=str(error))
    return None


def _regex_complaint(pattern: str) -> Text | None:
    opened, closed = pattern.count("{{"), pattern.count("}}")
    if opened != 1 or closed != 1 or pattern.index("{{") > pattern.index("}}"):
        return Text("must hold one '{{{{regular expression}}}}'")
    return _go_regex_complaint(pattern[pattern.index("{{") + 2 : pattern.index("}}")])


def _go_regex_complaint(regex: str) -> Text | None:
    if _NOT_IN_GO.search(regex):
        return Text("uses what Go's regular expressions do not have (lookaround, back reference)")
    try:
        check_regex(regex)
    except re.error as error:
        return Text("is no regular expression: {error}", error=str(error))
    return None


def validate_rules(rules: Rules) -> Rules:
    """Give the rules with their filter lines trimmed; raises FilterRefused naming the field."""
    for name in ("min_size_bytes", "max_size_bytes", "min_age_s", "max_age_s"):
        value: int | None = getattr(rules, name)
        if value is not None and value < 0:
            raise FilterRefused(Text("{name} must not be negative", name=name), field=name)
    for low, high in (("min_size_bytes", "max_size_bytes"), ("min_age_s", "max_age_s")):
        least: int | None = getattr(rules, low)
        most: int | None = getattr(rules, high)
        if least is not None and most is not None and least > most:
            raise FilterRefused(
                Text("{low} is greater than {high}: no file could match", low=low, high=high),
                field=low,
            )
    for pattern, replacement in rules.renames:
        _check_rename(pattern, replacement)
    return Rules(
        filters=validate_filters(rules.filters, most=MAX_LINES_OF_RUN),
        min_size_bytes=rules.min_size_bytes,
        max_size_bytes=rules.max_size_bytes,
        min_age_s=rules.min_age_s,
        max_age_s=rules.max_age_s,
        renames=rules.renames,
    )


def _check_rename(pattern: str, replacement: str) -> None:
    where = Text("rename rule {pattern!r}", pattern=pattern[:60])
    if not pattern:
        raise FilterRefused(Text("a rename rule has no pattern"), field="renames")
    if len(pattern + replacement) > MAX_LINE_CHARS:
        raise FilterRefused(
            Text("{where} is longer than {most} characters", where=where, most=MAX_LINE_CHARS),
            field="renames",
        )
    # rclone splits the rule at '/' and '=': a name has no slash, and "\x3d" stands for '='.
    if MARKS & set(pattern + replacement):
        raise FilterRefused(
            Text(
                "{where} contains a code point that is no character (U+FDD0 to U+FDD2)", where=where
            ),
            field="renames",
        )
    if _CONTROL.search(pattern + replacement) or "/" in pattern + as_sent(replacement):
        raise FilterRefused(
            Text("{where} contains '/' or a control character", where=where), field="renames"
        )
    if "=" in replacement:
        raise FilterRefused(
            Text("{where}: rclone cannot put '=' into a name", where=where), field="renames"
        )
    if run_on := _RUN_ON_GROUP.search(replacement):
        raise FilterRefused(
            Text(
                "{where}: {group} and what follows it are read as one name, of no "
                "group; write ${{{number}}}",
                where=where,
                group=run_on["group"],
                number=run_on["group"][1:],
            ),
            field="renames",
        )
    if as_sent(replacement) in (".", ".."):
        raise FilterRefused(
            Text("{where} would name a file {replacement!r}", where=where, replacement=replacement),
            field="renames",
        )
    complaint = _go_regex_complaint(pattern)
    if complaint:
        raise FilterRefused(
            Text("{where} {complaint}", where=where, complaint=complaint), field="renames"
        )


def validate_limits(limits: Limits) -> None:
    """Raise LimitRefused for a limit that is out of range or not in rclone's syntax."""
    ranges: tuple[tuple[str, float | None, float, float], ...] = (
        ("transfers", limits.transfers, 1, 64),
        ("checkers", limits.checkers, 1, 128),
        ("calls_per_s", limits.calls_per_s, 0.01, 1000),
        ("max_bytes", limits.max_bytes, 1, 1 << 60),
        ("max_files", limits.max_files, 1, 1 << 40),
        ("max_runtime_s", limits.max_runtime_s, 1, 366 * 86400),
        ("stall_timeout_s", limits.stall_timeout_s, 1, 366 * 86400),
    )
    for name, value, least, most in ranges:
        if value is not None and not least <= value <= most:
            raise LimitRefused(
                Text(
                    "{name} must be between {least:g} and {most:g}",
                    name=name,
                    least=least,
                    most=most,
                ),
                field=name,
            )
    if limits.bandwidth is not None and not _BANDWIDTH.fullmatch(limits.bandwidth):
        raise LimitRefused(
            Text(
                "bandwidth {bandwidth!r} must be a rate like '512K' or a timetable "
                "like '08:00,512K 23:00,off'",
                bandwidth=limits.bandwidth,
            ),
            field="bandwidth",
        )


def is_speakable(path: str) -> bool:
    """Whether a path from a log names its file exactly: bytes that are no UTF-8 it cannot show."""
    return _UNKNOWN not in path


def render_only(paths: Sequence[str]) -> str:
    """Write a filter file that lets only these paths of a log through."""
    lines = (f"+ /{literal(path)}\n" for path in paths)
    return "".join((*lines, "- *\n"))


def render_folders(names: Sequence[str]) -> str:
    """Write a filter file that lets only these folders of a root through, with all in them."""
    # Two stars: with one, every folder would be looked at, and be empty where its files are not.
    return "".join((*(f"+ /{literal(name)}/**\n" for name in names), "- **\n"))


def literal(path: str) -> str:
    """Write a path of a log as a pattern; what it could not show is any but printable ASCII."""
    return _LITERAL.sub(_escaped, path)


def _escaped(found: re.Match[str]) -> str:
    text = found[0]
    if text == _UNKNOWN:
        return "[^ -~]"
    # rclone cuts blanks from the end of a line.
    return f"[{text}]" if text.isspace() else "\\" + text


def render_filters(rules: Rules) -> str:
    """Write the filter file; what is Syncbeat's own is left alone before any other rule."""
    return "".join(f"{line}\n" for line in (OWN_RULE, *rules.filters))
