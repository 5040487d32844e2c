"""Let a child process read and write at some places only, by Linux's Landlock, where there is one.

A walk over a tree finds links that lead out of it, but not those that somebody makes after the
walk; the kernel holds against both, for some 3 microseconds of each file that is copied. Which
places is `confine`'s to say.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

# From linux/landlock.h; the numbers of the calls are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_READ = _READ_FILE | _READ_DIR
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
_REFER = 1 << 13
_TRUNCATE = 1 << 14
# Before version 2 no file could be moved between folders, which keeping files needs.
_LEAST_VERSION, _TRUNCATE_VERSION = 2, 3
# Loaded before any fork: the child of a threaded process must not load libraries.
_LIBC = ctypes.CDLL(None, use_errno=True)


def ruleset(*, writable: Sequence[Path], readable: Sequence[Path]) -> int | None:
    """Return a descriptor of rules: read and write below the first folders, read at the others.

    None where the kernel cannot. All paths are real ones, without links; a readable one may be a
    file, and one that cannot be opened is left out. The caller closes the descriptor.

    Raises:
        OSError: a writable folder is not there, or a link stands in its place by now.
    """
    version = _LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    if version < _LEAST_VERSION:
        return None
    write = _WRITE_FILE | _REMOVE_AND_MAKE | _REFER
    if version >= _TRUNCATE_VERSION:
        write |= _TRUNCATE
    handled = struct.pack("=Q", write | _READ)
    rules: int = _LIBC.syscall(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    if rules < 0:
        return None
    try:
        for folder in writable:
            _allow(rules, write | _READ, folder)
        for place in readable:
            # What is left out is denied, and need not be there for this run.
            with suppress(OSError):
                _allow(rules, _READ, place)
    except BaseException:
        os.close(rules)
        raise
    return rules


def _allow(rules: int, rights: int, path: Path) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        mode = os.fstat(place).st_mode
        # It, or a folder on the way, may have become a link since the path was made real.
        if stat.S_ISLNK(mode) or os.readlink(f"/proc/self/fd/{place}") != str(path):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        if not stat.S_ISDIR(mode):
            rights &= _READ_FILE
        beneath = struct.pack("=Qi", rights, place)
        if _LIBC.syscall(_ADD_RULE, rules, _PATH_BENEATH, beneath, 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(place)


def restrict_self(rules: int) -> None:
    """Hold this process and its children to the rules, for ever; ends it where that fails.

    Called between fork and exec: a child that is not held must not start.
    """
    held = _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    if not held or _LIBC.syscall(_RESTRICT_SELF, rules, 0) != 0:
        os._exit(126)
