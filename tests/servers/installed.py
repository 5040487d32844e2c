"""Which of Debian's servers this machine has, and how a test asks for them; none is started here.

A test that needs a missing one is skipped, counted and named at the end of the run (tests.ground).
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

# The sbin folders are missing in the PATH of most accounts that are not root.
PROGRAM_PATH = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"]
)
SKIP_REASON = "not installed here: "
INSTALL_HINT = "Install with tests/install_services.sh"
RABBITMQ_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
APACHE_MODULES = Path("/usr/lib/apache2/modules")


def program(name: str) -> str | None:
    """Return the path of a program, those in sbin too; None when it is missing."""
    return shutil.which(name, path=PROGRAM_PATH)


def has_samba() -> bool:
    # smbd hands each session to its account, which only root may do.
    return os.geteuid() == 0 and bool(program("smbd") and program("smbpasswd"))


SERVERS: Mapping[str, Callable[[], bool]] = MappingProxyType(
    {
        "rabbitmq": lambda: RABBITMQ_SERVER.exists() and bool(program("epmd")),
        "openssh": lambda: bool(program("sshd")),
        "apache": lambda: bool(program("apache2")) and (APACHE_MODULES / "mod_dav.so").exists(),
        "samba": has_samba,
        "chromium": lambda: bool(program("chromium")),
        "openssl": lambda: bool(program("openssl")),
        "sqlite3": lambda: bool(program("sqlite3")),
        "systemd": lambda: bool(program("systemd-analyze")),
    }
)


def missing(*names: str) -> list[str]:
    """Return those of the named servers that are not installed; an unknown name is a KeyError."""
    return [name for name in names if not SERVERS[name]()]


def requires(*names: str) -> pytest.MarkDecorator:
    """Return the mark that skips, and counts, a test where a named server is missing."""
    absent = missing(*names)
    return pytest.mark.skipif(bool(absent), reason=SKIP_REASON + ", ".join(absent))


def skip_unless_installed(*names: str) -> None:
    """Skip, and count, the running test where a named server is missing; for fixtures."""
    if absent := missing(*names):
        pytest.skip(SKIP_REASON + ", ".join(absent))


def not_run_line(skip_reasons: Iterable[str]) -> str | None:
    """Sum up what was not run for want of servers; None when nothing was left out."""
    prefix = f"Skipped: {SKIP_REASON}"
    reasons = [reason.removeprefix(prefix) for reason in skip_reasons if reason.startswith(prefix)]
    if not reasons:
        return None
    counted = Counter(name for reason in reasons for name in reason.split(", "))
    by_name = ", ".join(f"{name} ({count})" for name, count in sorted(counted.items()))
    tests = "1 test needs" if len(reasons) == 1 else f"{len(reasons)} tests need"
    return f"NOT RUN: {tests} servers that are not installed here: {by_name}. {INSTALL_HINT}"
