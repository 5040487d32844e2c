"""What is accepted as a rule is what rclone accepts, and nothing that reads as something else."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from filesync.engine import (
    FilterRefused,
    LimitRefused,
    Limits,
    Rules,
    rename_rules,
    validate_filters,
    validate_limits,
    validate_rules,
)
from filesync.engine.filters import render_filters

GOOD = [
    "- *.tmp",
    "+ *.jpg",
    "- /only/at/root/**",
    "- folder/**",
    "+ [a-z]?.{jpg,png}",
    r"- \[literal\]",
    r"- {{^.*\.(jpg|png)$}}",
    "- a{{[0-9]+}}b",
    "+ \u6587\u4ef6/**",
    "- with space.txt",
    "- -dash",
    "- !bang",
    "- #hash",
    "- {a,b}*",
    "- [^a]",
    "- [!a]",
    "- **",
]
BAD = [
    "",
    "!",
    "! ",
    "*.tmp",
    "-*.tmp",
    "- ",
    "+",
    "# comment",
    "; comment",
    "- a\n+ b",
    "- a\r",
    "- a\0",
    "- ***",
    "- [a",
    "- a]",
    "- {a",
    "- a}",
    "- {a,{b}}",
    "- a\\",
    "- {{[}}",
    "- {{a",
    "- a}}{{b",
    "- {{(?=a)b}}",
    r"- {{(a)\1}}",
    "- " + "x" * 2000,
]


def rclone_accepts(rclone: Path, folder: Path, text: str) -> bool:
    file = folder / "filter"
    file.write_text(text)
    argv = [str(rclone), "--config", "/dev/null", "lsf", "--filter-from", str(file), str(folder)]
    return subprocess.run(argv, capture_output=True, timeout=20).returncode == 0


@pytest.mark.parametrize("line", GOOD)
def test_an_accepted_line_is_accepted_by_rclone(
    rclone_binary: Path, tmp_path: Path, line: str
) -> None:
    assert validate_filters([line]) == (line,)
    assert rclone_accepts(rclone_binary, tmp_path, render_filters(Rules(filters=(line,))))


@pytest.mark.parametrize("line", BAD)
def test_a_refused_line_names_its_number(line: str) -> None:
    with pytest.raises(FilterRefused) as refusal:
        validate_filters(["- fine", line])
    assert "line 2" in refusal.value.message
    assert refusal.value.field == "filters"
    assert refusal.value.code == "filter_refused"


HEAVY = "(?i)x" + "[!-\uffff]" * 150


def test_rules_are_read_without_writing_out_their_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling this one takes a second of CPU, and a text may hold a hundred such."""
    rules = Rules(filters=(f"- {{{{{HEAVY}}}}}",), renames=((HEAVY, "x"),))
    compiled = Mock(wraps=re.compile)
    monkeypatch.setattr(re, "compile", compiled)

    assert validate_rules(rules) == rules
    assert not compiled.called


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a{99999999999}", "the repetition number is too large"),
        ("(" * 490 + ")" * 490, "nested too deeply"),
        ("a" * 1001, "longer than 1000 characters"),
        ("(a", "unterminated"),
    ],
)
def test_an_expression_that_cannot_be_read_is_refused_with_the_reason(
    pattern: str, reason: str
) -> None:
    depth = len(inspect.stack())
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + 500)
    try:
        for rules in (Rules(filters=(f"- {{{{{pattern}}}}}",)), Rules(renames=((pattern, "b"),))):
            with pytest.raises(FilterRefused, match=reason):
                validate_rules(rules)
    finally:
        sys.setrecursionlimit(limit)


def test_lines_keep_their_order_and_lose_blanks_at_the_end() -> None:
    assert validate_filters(["+ a ", "  - b"]) == ("+ a", "- b")


def test_too_many_lines_are_refused() -> None:
    with pytest.raises(FilterRefused):
        validate_filters(["- a"] * 2001)


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        (Rules(min_size_bytes=-1), "min_size_bytes"),
        (Rules(max_age_s=-1), "max_age_s"),
        (Rules(min_size_bytes=2, max_size_bytes=1), "min_size_bytes"),
        (Rules(min_age_s=2, max_age_s=1), "min_age_s"),
        (Rules(filters=("x",)), "filters"),
        (Rules(renames=(("", "x"),)), "renames"),
        (Rules(renames=(("[", "x"),)), "renames"),
        (Rules(renames=(("a/b", "x"),)), "renames"),
        (Rules(renames=(("a", "../x"),)), "renames"),
        (Rules(renames=(("a", ".."),)), "renames"),
        (Rules(renames=(("a", "..\uff0fx"),)), "renames"),
        (Rules(renames=(("a", "\uff0e."),)), "renames"),
        (Rules(renames=(("a", "x=y"),)), "renames"),
        (Rules(renames=(("^a(b)", "$1中"),)), "renames"),
        (Rules(renames=(("^a(b)", "$$$1x"),)), "renames"),
        (Rules(renames=(("a", "x\n"),)), "renames"),
        (Rules(renames=(("(?<=a)b", "x"),)), "renames"),
        (Rules(renames=((r"(a)\1", "x"),)), "renames"),
        (Rules(renames=(("a++", "x"),)), "renames"),
        (Rules(renames=(("a", "\ufdd0"),)), "renames"),
    ],
)
def test_rules_that_cannot_work_are_refused(rules: Rules, field: str) -> None:
    with pytest.raises(FilterRefused) as refusal:
        validate_rules(rules)
    assert refusal.value.field == field


def test_a_rename_rule_is_an_expression_and_what_stands_for_it() -> None:
    text = "# no arrows in names\n(.*)=>(.*) => ${1}-${2}\n\n^IMG_ =>\n"

    assert rename_rules(text) == (("(.*)=>(.*)", "${1}-${2}"), ("^IMG_", ""))
    with pytest.raises(FilterRefused, match="rename rule 'a -> b' must be") as refusal:
        rename_rules("x => y\na -> b")
    assert refusal.value.field == "renames"


@pytest.mark.parametrize(
    "renames", [(("^(.*)\\.txt$", "${1}.md"),), (("a=b", "c"), ("x", "")), (("\u6587", "\u4ef6"),)]
)
def test_rename_rules_that_rclone_reads_are_accepted(renames: tuple[tuple[str, str], ...]) -> None:
    rules = Rules(renames=renames)
    assert validate_rules(rules) == rules


@pytest.mark.parametrize(
    "bandwidth",
    ["512K", "1.5M", "10", "off", "1M:512K", "08:00,512K 23:00,off", "Mon-08:00,1M Sun-23:59,off"],
)
def test_a_bandwidth_that_is_accepted_is_accepted_by_rclone(
    rclone_binary: Path, bandwidth: str
) -> None:
    validate_limits(Limits(bandwidth=bandwidth))
    argv = [str(rclone_binary), "--config", "/dev/null", "lsf", "--bwlimit", bandwidth, "/dev"]
    assert subprocess.run(argv, capture_output=True, timeout=20).returncode == 0


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        (Limits(bandwidth="fast"), "bandwidth"),
        (Limits(bandwidth=""), "bandwidth"),
        (Limits(bandwidth="1M "), "bandwidth"),
        (Limits(bandwidth="1M --rc"), "bandwidth"),
        (Limits(bandwidth="8:00,1M"), "bandwidth"),
        (Limits(bandwidth="24:00,1M"), "bandwidth"),
        (Limits(bandwidth="08:00,1M\n23:00,off"), "bandwidth"),
        (Limits(transfers=0), "transfers"),
        (Limits(transfers=65), "transfers"),
        (Limits(checkers=0), "checkers"),
        (Limits(calls_per_s=0), "calls_per_s"),
        (Limits(calls_per_s=float("nan")), "calls_per_s"),
        (Limits(max_bytes=0), "max_bytes"),
        (Limits(max_files=0), "max_files"),
        (Limits(max_runtime_s=0), "max_runtime_s"),
        (Limits(stall_timeout_s=0), "stall_timeout_s"),
    ],
)
def test_a_limit_out_of_range_is_refused(limits: Limits, field: str) -> None:
    with pytest.raises(LimitRefused) as refusal:
        validate_limits(limits)
    assert refusal.value.field == field


def test_kept_files_are_left_alone_before_any_other_rule() -> None:
    text = render_filters(Rules(filters=("+ **",)))
    assert text.splitlines() == [
        "- /{**/,}{.syncbeat-kept/**,.syncbeat-marker-*}",
        "+ **",
    ]
