"""What is written into the private configuration is what rclone reads out of it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from filesync.engine import OptionRefused, Remote
from filesync.engine.ini import (
    obscure,
    read_ini,
    refreshed,
    render_ini,
    section_of,
    write_private,
)


def rclone_reads(rclone: Path, folder: Path, text: str) -> dict[str, dict[str, str]]:
    config = folder / "r.conf"
    config.write_text(text)
    argv = [str(rclone), "--config", str(config), "config", "dump"]
    answer = subprocess.run(argv, capture_output=True, check=True)
    found: dict[str, dict[str, str]] = json.loads(answer.stdout)
    return found


VALUES = [
    "plain",
    "with space",
    " around ",
    "\ttab\t",
    "a=b:c",
    "#hash",
    ";semicolon",
    "back\\slash",
    '"quoted"',
    "'quoted'",
    "`ticked`",
    "`",
    "``",
    "in`side",
    '"""fenced"""',
    '"""',
    "[section]",
    "%20percent%",
    "%(open",
    "100%s",
    "$HOME ${x}",
    "\u5bc6\u7801 \N{ROCKET}",
    '{"access_token":"a","expiry":"2026-11-24T11:14:00Z"}',
    "ends with tick`",
    "x" * 5000,
]


@pytest.mark.parametrize("value", VALUES)
def test_rclone_reads_what_was_written(rclone_binary: Path, tmp_path: Path, value: str) -> None:
    text = render_ini({"src": {"type": "webdav", "url": value, "user": "after"}})
    read = rclone_reads(rclone_binary, tmp_path, text)

    assert read == {"src": {"type": "webdav", "url": value, "user": "after"}}
    assert read_ini(text) == read


@pytest.mark.parametrize(
    "value",
    [
        "a\nssh = sh -c id",
        "a\r\n[dst]\ntype = alias",
        "a\rb",
        "a\0b",
        "http://evil/%(pass)s",
        "%(x)s",
        '`both """',
    ],
)
def test_a_value_that_would_mean_something_else_is_refused(value: str) -> None:
    with pytest.raises(OptionRefused) as refusal:
        render_ini({"src": {"type": "webdav", "url": value}})
    assert refusal.value.field == "url"


@pytest.mark.parametrize("name", ["a.b", "a b", "A", "", "a\nb", "a=b", "[x]"])
def test_a_key_that_is_no_option_name_is_refused(name: str) -> None:
    with pytest.raises(OptionRefused):
        render_ini({"src": {name: "x"}})


@pytest.mark.parametrize("secret", ["", "a", "correct horse", "\u5bc6\u7801", "x" * 300, "\n"])
def test_rclone_reveals_what_was_obscured(rclone_binary: Path, secret: str) -> None:
    argv = [str(rclone_binary), "reveal", "--", obscure(secret)]
    answer = subprocess.run(argv, capture_output=True, text=True)
    assert answer.stdout.removesuffix("\n") == secret


def test_only_what_rclone_wants_obscured_is_obscured() -> None:
    values = section_of(
        Remote("webdav", "", {"url": "http://h"}, {"pass": "secret", "bearer_token": "token"}), {}
    )
    assert values["bearer_token"] == "token"
    assert values["pass"] not in ("secret", "")


def test_the_users_option_wins_over_the_tuned_one() -> None:
    remote = Remote("webdav", "", {"pacer_min_sleep": "50ms"})
    assert section_of(remote, {"pacer_min_sleep": "0s"})["pacer_min_sleep"] == "50ms"


def test_an_empty_value_is_left_out() -> None:
    assert section_of(Remote("webdav", "", {"user": ""}, {"pass": ""}), {}) == {"type": "webdav"}


def test_a_pasted_key_and_a_pasted_token_become_one_line() -> None:
    key = "-----BEGIN KEY-----\r\nabc\r\n-----END KEY-----\r\n"
    sftp = section_of(Remote("sftp", "", {}, {"key_pem": key}), {})
    assert sftp["key_pem"] == "-----BEGIN KEY-----\\nabc\\n-----END KEY-----"
    token = '{\n  "access_token": "a"\n}'
    drive = section_of(Remote("drive", "", {}, {"token": token}), {})
    assert json.loads(drive["token"]) == {"access_token": "a"}
    assert "\n" not in drive["token"]


def test_a_broken_token_is_refused_without_showing_it() -> None:
    with pytest.raises(OptionRefused) as refusal:
        section_of(Remote("drive", "", {}, {"token": "{canary\n"}), {})
    assert "canary" not in str(refusal.value)


def test_a_private_file_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "r.conf"
    write_private(path, "x")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write_private(path, "y")
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the kernel
        write_private(link, "z")
    assert not target.exists()


def test_changed_and_added_values_are_found_by_path(tmp_path: Path) -> None:
    path = tmp_path / "r.conf"
    before = {
        "src": {"type": "drive", "token": "old", "scope": "drive"},
        "dst": {"type": "webdav", "pass": "obscured"},
    }
    path.write_text(render_ini(before))
    assert refreshed(before, path) == {}
    after = {"src": {**before["src"], "token": "new", "team_drive": "7"}, "dst": before["dst"]}
    replacement = tmp_path / "new"
    replacement.write_text(render_ini(after))
    os.replace(replacement, path)
    assert refreshed(before, path) == {"src": {"token": "new", "team_drive": "7"}}
    commands = {"dst": {**before["dst"], "bearer_token_command": "x", "type_unknown": "y"}}
    path.write_text(render_ini({**before, **commands}))
    assert refreshed(before, path) == {}
    path.unlink()
    assert refreshed(before, path) == {}
