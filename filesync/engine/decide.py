"""Tell which files a list of rules lets through and which rule decides: pure.

It must say what rclone would do, folders included: a file whose folder is not looked into does
not go, whatever a rule says about the file itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from filesync.engine.globs import compile_glob, folders_to_look_into


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one path; `rule` is the index of the line that decides, None if none does."""

    path: str
    goes: bool
    rule: int | None


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    goes: bool
    index: int


def decide(lines: Sequence[str], paths: Sequence[str]) -> tuple[Decision, ...]:
    """Decide each file path by checked filter lines, the first match wins; no match: it goes.

    A regular expression in a rule may take very long on a path made for it: run it where it can
    be ended.
    """
    file_rules, folder_rules = _read(lines)
    return tuple(_decide(path, file_rules, folder_rules) for path in paths)


def _decide(path: str, file_rules: Sequence[_Rule], folder_rules: Sequence[_Rule]) -> Decision:
    names = path.split("/")
    for depth in range(1, len(names)):
        folder = _first(folder_rules, "/".join(names[:depth]) + "/")
        if folder is not None and not folder.goes:
            return Decision(path, False, folder.index)
    rule = _first(file_rules, path)
    return Decision(path, rule is None or rule.goes, None if rule is None else rule.index)


def _first(rules: Sequence[_Rule], path: str) -> _Rule | None:
    return next((rule for rule in rules if rule.pattern.search(path)), None)


def _read(lines: Sequence[str]) -> tuple[list[_Rule], list[_Rule]]:
    """Give the rules for files and those for folders, of which one line may make several."""
    files: list[_Rule] = []
    folders: list[_Rule] = []
    for index, line in enumerate(lines):
        goes, glob = line.startswith("+"), line[2:]
        about_folders = glob.endswith("/")
        about_files = not about_folders
        if about_folders and not goes:
            glob += "**"
        if "**" in glob:
            about_files = about_folders = True
        rule = _Rule(compile_glob(glob), goes, index)
        if about_files:
            files.append(rule)
            if goes or glob == "*":
                folders += [
                    _Rule(compile_glob(folder), goes, index)
                    for folder in folders_to_look_into(glob)
                ]
        if about_folders:
            folders.append(rule)
    return files, folders
