"""Let a child process write below some folders only, by Linux's Landlock, where the kernel has it.

A walk over the destination finds links that lead out of it, but not those that somebody makes
after the walk; the kernel holds against both, and costs nothing.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from pathlib import Path

# From linux/landlock.h; the numbers of the calls are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
_WRITE_FILE = 1 << 1
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
_REFER = 1 << 13
_TRUNCATE = 1 << 14
# Before version 2 no file could be moved between folders, which keeping files needs.
_LEAST_VERSION, _TRUNCATE_VERSION = 2, 3
# Loaded before any fork: the child of a threaded process must not load libraries.
_LIBC = ctypes.CDLL(None, use_errno=True)


def ruleset(writable: Sequence[Path]) -> int | None:
    """Return a descriptor of rules that allow writing below these folders, and reading anywhere.

    None where the kernel cannot, or a folder is not there. The caller closes it.
    """
    version = _LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    if version < _LEAST_VERSION:
        return None
    rights = _WRITE_FILE | _REMOVE_AND_MAKE | _REFER
    if version >= _TRUNCATE_VERSION:
        rights |= _TRUNCATE
    handled = struct.pack("=Q", rights)
    rules: int = _LIBC.syscall(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    if rules < 0:
        return None
    if all(_allowed(rules, rights, folder) for folder in writable):
        return rules
    os.close(rules)
    return None


def _allowed(rules: int, rights: int, folder: Path) -> bool:
    try:
        place = os.open(folder, os.O_PATH | os.O_CLOEXEC | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        beneath = struct.pack("=Qi", rights, place)
        return bool(_LIBC.syscall(_ADD_RULE, rules, _PATH_BENEATH, beneath, 0) == 0)
    finally:
        os.close(place)


def restrict_self(rules: int) -> None:
    """Hold this process and its children to the rules, for ever; ends it where that fails.

    Called between fork and exec: a child that is not held must not start.
    """
    held = _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    if not held or _LIBC.syscall(_RESTRICT_SELF, rules, 0) != 0:
        os._exit(126)
