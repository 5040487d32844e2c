"""What rules let through, held against rclone itself."""

from __future__ import annotations

import random
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from filesync.engine import OWN_RULE, FilterRefused, Rules, decide, validate_filters
from filesync.engine.filters import render_filters

NAMES = ["a", "b", "ab", "a.txt", "b.jpg", "A.TXT", "x y", "cache", "c++", "a-b", "1", "a,b", "{a}"]
PIECES = [
    *("a", "b", "ab", "*", "?", "**", "*.txt", "*.jpg", "[ab]", "[^a]*", "[!a]", "[a-c]?"),
    *("{a,b}", "{a,b.jpg}", "{{a+.*}}", "{{(?i)a\\.txt}}", "{{.*b}}", "cache", "x y", "c++", r"\*"),
    *(r"a\.txt", r"\{a\}", "a,b", "{*.txt,cache}", "{a/b,cache}", "{{[ab]{1,2}}}"),
]


def random_rule(rnd: random.Random) -> str:
    """Make a rule that is not refused, of up to three names."""
    while True:
        pieces = [rnd.choice(PIECES) for _ in range(rnd.choice((1, 1, 1, 2, 2, 3)))]
        glob = ("/" if rnd.random() < 0.3 else "") + "/".join(pieces)
        rule = f"{rnd.choice('+-')} {glob}{rnd.choice(('', '', '/', '/**', '/*'))}"
        with suppress(FilterRefused):
            return validate_filters([rule])[0]


def random_tree(rnd: random.Random, folder: Path) -> list[str]:
    """Fill a folder with empty files at random places; return their paths."""
    for _ in range(60):
        path = folder.joinpath(*(rnd.choice(NAMES) for _ in range(rnd.randint(1, 4))))
        if any(parent.is_file() for parent in path.parents) or path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def listed_by_rclone(rclone: Path, folder: Path, rules: Path) -> set[str]:
    argv: list[str | Path] = [rclone, "lsf", "-R", "--files-only", "--config", "/dev/null"]
    argv += ["--filter-from", rules]
    answer = subprocess.run([*argv, folder], capture_output=True, text=True, check=True)
    return set(answer.stdout.splitlines())


def test_rclone_itself_lets_the_same_files_through(tmp_path: Path, rclone_binary: Path) -> None:
    rnd = random.Random(20_261_124)
    tree = tmp_path / "tree"
    tree.mkdir()
    paths = random_tree(rnd, tree)
    assert len(paths) > 30
    ways: set[bool] = set()
    for _ in range(150):
        lines = [random_rule(rnd) for _ in range(rnd.randint(1, 5))]
        if rnd.random() < 0.5:
            lines.append(rnd.choice(("- *", "- **", "- /**")))
        rules = tmp_path / "rules"
        rules.write_text("\n".join(lines))
        going = {found.path for found in decide(lines, paths) if found.goes}
        assert going == listed_by_rclone(rclone_binary, tree, rules), lines
        ways |= {path in going for path in paths}
    assert ways == {True, False}


def test_rclone_leaves_the_same_files_of_syncbeat_alone(
    tmp_path: Path, rclone_binary: Path
) -> None:
    tree, rules = tmp_path / "tree", tmp_path / "rules"
    names = (".syncbeat-kept", ".syncbeat-kept-not", ".syncbeat-marker-01", "x.syncbeat-kept", "a")
    for folders in (".", *names, *(f"{above}/{name}" for above in names for name in names)):
        for name in ("file", ".syncbeat-marker-02", "a.syncbeat-marker-03"):
            (tree / folders).mkdir(parents=True, exist_ok=True)
            (tree / folders / name).touch()
    paths = [str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()]
    rules.write_text(render_filters(Rules()))
    going = {found.path for found in decide([OWN_RULE], paths) if found.goes}

    assert going == listed_by_rclone(rclone_binary, tree, rules)
    kept = {path for path in paths if ".syncbeat-kept" in path.split("/")}
    markers = {path for path in paths if path.endswith("/.syncbeat-marker-02")}
    assert going == set(paths) - kept - markers - {".syncbeat-marker-02"}


@pytest.mark.parametrize(
    ("path", "goes", "rule"),
    [
        ("cache/x.jpg", False, 0),
        ("photos/x.jpg", True, 1),
        ("photos/x.JPG", False, 3),
        ("tmp/deep/x.jpg", False, 2),
        ("notes.txt", False, 3),
    ],
)
def test_the_first_rule_that_matches_decides(path: str, goes: bool, rule: int) -> None:
    lines = ["- /cache/**", "+ /photos/*.jpg", "- tmp/", "- *"]

    (decision,) = decide(lines, [path])

    assert (decision.goes, decision.rule) == (goes, rule)


def test_what_no_rule_names_goes() -> None:
    (decision,) = decide(["- *.tmp"], ["a/b.txt"])

    assert (decision.goes, decision.rule) == (True, None)


@pytest.mark.parametrize(
    "pattern", ["[]", "[z-a]", "{{(}}", r"a\q", r"\1", "{{a}}[", "\\\N{ROCKET}", "{{a(?i)b}}"]
)
def test_a_pattern_that_rclone_cannot_read_is_refused(pattern: str) -> None:
    with pytest.raises(FilterRefused):
        validate_filters([f"- {pattern}"])
