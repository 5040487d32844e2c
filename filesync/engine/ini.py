"""Write and read back the private configuration of one run; which options may go in is not here."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from filesync.engine import options
from filesync.engine.errors import OptionRefused
from filesync.engine.request import Remote
from filesync.engine.texts import Text

# rclone's own published key: obscuring hides a password from a glance, it is no encryption.
_OBSCURE_KEY = bytes.fromhex("9c935b48730a554d6bfd7c63c886a92bd390198eb8128afbf4de162b8b95f638")
_IV_BYTES = 16
# goconfig replaces %(name)s by the value of another key of the section, with no way to escape
# it: a url of "http://evil/%(pass)s" would carry the password away.
_INTERPOLATION = re.compile(r"%\([^)]+\)s")
_KEY = re.compile(r"[a-z0-9_]+\Z")
_FENCE = '"""'
CONFIG_FILE = "r.conf"
"""The name of the configuration in the work folder of a run."""


def obscure(text: str) -> str:
    """Hide a password the way `rclone obscure` does."""
    iv = os.urandom(_IV_BYTES)
    cipher = Cipher(algorithms.AES(_OBSCURE_KEY), modes.CTR(iv)).encryptor()
    return base64.urlsafe_b64encode(iv + cipher.update(text.encode())).rstrip(b"=").decode()


def reveal(text: str) -> str:
    """Give the password that was obscured; raises ValueError for what is not obscured.

    `rclone reveal` takes it as an argument only, which every process of the machine could read.
    """
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if len(raw) < _IV_BYTES:
        raise ValueError("too short to be an obscured password")
    cipher = Cipher(algorithms.AES(_OBSCURE_KEY), modes.CTR(raw[:_IV_BYTES])).decryptor()
    return cipher.update(raw[_IV_BYTES:]).decode()


def section_of(remote: Remote, tuned: Mapping[str, str]) -> dict[str, str]:
    """Give the key values of a remote's section; what the user set wins over `tuned`.

    Raises OptionRefused for a value that cannot be written safely.
    """
    values = {"type": remote.backend, **tuned, **remote.options}
    for name, secret in remote.secrets.items():
        if secret:
            values[name] = obscure(secret) if options.is_obscured(remote.backend, name) else secret
    return {
        name: options.on_one_line(remote.backend, name, value)
        for name, value in values.items()
        if value
    }


def render_ini(sections: Mapping[str, Mapping[str, str]]) -> str:
    """Write sections in rclone's configuration format.

    Raises OptionRefused for a value that would end its line, be quoted or be interpolated.
    """
    lines: list[str] = []
    for section, values in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{name} = {_quoted(name, value)}" for name, value in values.items()]
        lines.append("")
    return "\n".join(lines)


def _quoted(name: str, value: str) -> str:
    if not _KEY.match(name):
        raise OptionRefused(Text("{name!r} is no option name", name=name), field=name)
    check_value(name, value)
    if value == value.strip() and not value.startswith(("`", _FENCE)):
        return value
    if "`" not in value:
        return f"`{value}`"
    if _FENCE not in value:
        return f"{_FENCE}{value}{_FENCE}"
    raise OptionRefused(Text("{name} mixes backticks and triple quotes", name=name), field=name)


def check_value(name: str, value: str) -> None:
    """Raise OptionRefused when a one-line value cannot be written without changing its meaning."""
    if re.search(r"[\r\n\0]", value):
        raise OptionRefused(Text("{name} must be one line", name=name), field=name)
    if _INTERPOLATION.search(value):
        raise OptionRefused(
            Text("{name} must not contain %(...)s: rclone would replace it", name=name), field=name
        )


def write_private(path: Path, text: str) -> None:
    """Create a file that only its owner may read; it must not exist yet."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def read_ini(text: str) -> dict[str, dict[str, str]]:
    """Read a configuration as rclone left it; lines of no known shape are passed over."""
    sections: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("[") and stripped.endswith("]"):
            current = sections.setdefault(stripped[1:-1], {})
        elif "=" in stripped and not stripped.startswith(("#", ";")):
            name, _, value = stripped.partition("=")
            current[name.strip()] = _unquoted(value.strip())
    return sections


def _unquoted(value: str) -> str:
    for fence in (_FENCE, "`"):
        if len(value) >= 2 * len(fence) and value.startswith(fence) and value.endswith(fence):
            return value[len(fence) : -len(fence)]
    return value


_NO_SHELL = ("shell_type", "none")


def refreshed(before: Mapping[str, Mapping[str, str]], path: Path) -> dict[str, dict[str, str]]:
    """Give the values that rclone changed or added, by section; a vanished file means none.

    rclone replaces the file (a new inode), so it is read again by its path. What the policy
    refuses is left out: of SFTP, rclone also notes which commands it found on the server. That it
    found no shell is left out too: one refused session says so, of a server that was busy.
    """
    try:
        after = read_ini(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return {}
    changes: dict[str, dict[str, str]] = {}
    for section, values in before.items():
        if values["type"] not in options.POLICY:
            continue  # the encryption over a section, of which rclone changes nothing
        changed = {
            name: value
            for name, value in after.get(section, {}).items()
            if value
            and values.get(name) != value
            and (name, value) != _NO_SHELL
            and options.may_come_back(values["type"], name)
        }
        if changed:
            changes[section] = changed
    return changes


TokensLeft = Callable[[Mapping[str, Mapping[str, str]]], None]
"""Takes the tokens by section ("src", "dst") and option name."""


def refreshed_tokens(work_dir: Path, remotes: Mapping[str, Remote]) -> dict[str, dict[str, str]]:
    """Give the OAuth tokens that rclone has changed, by section; none of a run that was refused."""
    path = work_dir / CONFIG_FILE
    if not path.exists():
        return {}
    before = {section: section_of(remote, {}) for section, remote in remotes.items()}
    changes: dict[str, dict[str, str]] = {}
    for section, values in refreshed(before, path).items():
        backend = before[section]["type"]
        if tokens := {n: v for n, v in values.items() if options.is_oauth_token(backend, n)}:
            changes[section] = tokens
    return changes
