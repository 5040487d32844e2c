"""What rclone offers, in its own words, as the policy allows it: backends, options, presets."""

from __future__ import annotations

import functools
import json
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filesync.engine.binary import check_rclone
from filesync.engine.errors import RcloneUnusable
from filesync.engine.options import POLICY, OptionClass


@dataclass(frozen=True, slots=True)
class Example:
    """A value that is offered, and what it means; `provider` as in OptionInfo."""

    value: str
    help: str
    provider: str


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """One option as a form needs it.

    `exclusive`: only the examples are values. `provider`: a comma-separated list of values of the
    option "provider" with which it counts, all but them after "!", always when empty.
    """

    name: str
    help: str
    type: str
    default: str
    required: bool
    secret: bool
    advanced: bool
    exclusive: bool
    provider: str
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Backend:
    """An offered backend; `options` are those that may be set, `refused` says why others not."""

    name: str
    description: str
    options: tuple[OptionInfo, ...]
    refused: Mapping[str, str]
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Preset:
    """A backend under the name people look for; `ask` is what only the person knows."""

    name: str
    title: str
    backend: str
    options: Mapping[str, str]
    ask: tuple[str, ...]
    root: str
    hint: str


def _load_presets(path: Path) -> tuple[Preset, ...]:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(
        Preset(
            name=name,
            title=entry["title"],
            backend=entry["backend"],
            options=entry["options"],
            ask=tuple(entry["ask"].split()),
            root=entry["root"],
            hint=entry.get("hint", ""),
        )
        for name, entry in document.items()
    )


PRESETS = _load_presets(Path(__file__).with_name("presets.toml"))


def catalogue(rclone: Path) -> Mapping[str, Backend]:
    """Give the offered backends by name; raises RcloneUnusable.

    The answer is kept for as long as the binary stays the same.
    """
    check_rclone(rclone)
    facts = rclone.stat()
    return _catalogue(rclone, facts.st_mtime_ns, facts.st_size)


@functools.lru_cache(maxsize=2)
def _catalogue(rclone: Path, mtime_ns: int, size_bytes: int) -> Mapping[str, Backend]:
    try:
        answer = subprocess.run(  # noqa: S603 - an argument list, never a shell
            [str(rclone), "config", "providers", "--config", ""],
            capture_output=True,
            timeout=20,
            check=True,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        )
        providers = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise RcloneUnusable(f"{rclone} does not list its backends: {error}") from error
    backends = [_backend(entry) for entry in providers if entry["Name"] in POLICY]
    return {backend.name: backend for backend in sorted(backends, key=lambda each: each.name)}


def _backend(entry: Mapping[str, Any]) -> Backend:
    policy = POLICY[entry["Name"]]
    allowed = (OptionClass.PLAIN, OptionClass.SECRET)
    return Backend(
        name=entry["Name"],
        description=entry["Description"],
        options=tuple(
            _option(option, secret=policy.classify(option["Name"]) is OptionClass.SECRET)
            for option in entry["Options"]
            if policy.classify(option["Name"]) in allowed
        ),
        refused=policy.refused,
        needs=policy.needs,
    )


def _option(option: Mapping[str, Any], *, secret: bool) -> OptionInfo:
    return OptionInfo(
        name=option["Name"],
        help=option["Help"],
        type=option["Type"],
        default=option["DefaultStr"],
        required=option["Required"],
        secret=secret,
        # What rclone hides in its own forms it fills in itself.
        advanced=option["Advanced"] or option["Hide"] != 0,
        exclusive=option["Exclusive"],
        provider=option.get("Provider", ""),
        examples=tuple(
            Example(example["Value"], example["Help"], example.get("Provider", ""))
            for example in option.get("Examples") or ()
        ),
    )
