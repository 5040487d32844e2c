"""Run one rclone process: a clean environment, a group of its own, lines out, an end for sure.

What the lines mean is not known here.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from filesync.engine.errors import RcloneUnusable
from filesync.engine.landlock import restrict_self

KILL_AFTER_S = 10.0
"""From SIGTERM to SIGKILL: with a dead SFTP server rclone took 40 s to end by itself."""

MAX_LINE_BYTES = 1 << 20
_PIPE_BYTES = 1 << 20
# rclone writes each line by itself; woken for each, we would cost a third of a core. Nothing waits
# at its end: the wait is over when the pipe hangs up.
_GATHER_MS = 50
# A pipe of 64 KiB would be full long before.
_GATHER_SMALL_MS = 5
_PR_SET_PDEATHSIG = 1
_NOTHING: Mapping[str, str] = MappingProxyType({})
# What an administrator sets for the whole machine; everything else is kept from rclone, whose
# RCLONE_* variables would override our flags.
_INHERITED = (
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
# Loaded before any fork: the child of a threaded process must not load libraries.
_LIBC = ctypes.CDLL(None, use_errno=True)


def clean_environment(work_dir: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """Give the child's whole environment; HOME and TMPDIR are inside the run."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(work_dir),
        "TMPDIR": str(work_dir),
        "XDG_CONFIG_HOME": str(work_dir),
        "XDG_CACHE_HOME": str(work_dir / "cache"),
        "LANG": "C.UTF-8",
        # Where a login is missing, the libraries of Google and Amazon ask the machine's metadata
        # service for the machine's own: they find nobody there.
        "GCE_METADATA_HOST": "127.0.0.1:1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    environment.update({name: inherited[name] for name in _INHERITED if name in inherited})
    return environment


def _before_exec(parent_pid: int, rules: int | None) -> Callable[[], None]:
    def in_child() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # The parent may have gone before the call took effect.
        if os.getppid() != parent_pid:
            os._exit(127)
        if rules is not None:
            restrict_self(rules)

    return in_child


class RcloneProcess:
    """A started rclone whose stderr is read line by line, without a thread.

    The pipe holds 1 MiB: a slow reader slows rclone down instead of filling memory. Leaving the
    context kills the whole group. `rules` say below which folders it may read and write (see
    landlock), `runtime` what its memory may be spent on (see tuning).
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        work_dir: Path,
        stdout_path: Path | None = None,
        inherit: tuple[int, ...] = (),
        rules: int | None = None,
        runtime: Mapping[str, str] = _NOTHING,
    ) -> None:
        self._fd, write_fd = os.pipe2(os.O_CLOEXEC)
        try:
            with open(stdout_path or os.devnull, "wb") as stdout:
                self._child = subprocess.Popen(  # noqa: S603 - an argument list, never a shell
                    list(argv),
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=write_fd,
                    cwd=work_dir,
                    env={**clean_environment(work_dir, os.environ), **runtime},
                    start_new_session=True,
                    preexec_fn=_before_exec(os.getpid(), rules),
                    pass_fds=inherit,
                )
        except OSError as error:
            os.close(self._fd)
            raise RcloneUnusable(f"{argv[0]} cannot be started: {error.strerror}") from error
        finally:
            os.close(write_fd)
        os.set_blocking(self._fd, False)
        self._gather_ms = _GATHER_SMALL_MS
        with contextlib.suppress(OSError):  # a quota of the user may forbid it
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            self._gather_ms = _GATHER_MS
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._hang_up = select.poll()
        self._hang_up.register(self._fd, 0)
        self._rest = b""
        self._cutting = False
        self._terminated_at: float | None = None
        self.ended = False

    @property
    def pid(self) -> int:
        """The process's number, which is its group's too."""
        return self._child.pid

    def read_lines(self, timeout_s: float) -> list[bytes]:
        """Wait for output at most `timeout_s`; sets `ended` once there will be no more."""
        self._kill_when_overdue()
        if not self._poll.poll(timeout_s * 1000):
            gone = self._child.poll() is not None
            if not (gone and self._poll.poll(0)):
                # A grandchild could hold the pipe open after rclone itself is gone.
                self.ended = gone
                return []
            # Its last words came between the wait and its end.
        self._hang_up.poll(self._gather_ms)
        try:
            chunk = os.read(self._fd, _PIPE_BYTES)
        except BlockingIOError:
            return []
        if not chunk:
            self.ended = True
            rest, self._rest = self._rest, b""
            return [rest] if rest else []
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return self._bounded(lines)

    def _bounded(self, lines: list[bytes]) -> list[bytes]:
        """Cut what has no end of line in sight, and drop the remainder of a cut line."""
        if self._cutting and lines:
            self._cutting = False
            lines = lines[1:]
        if len(self._rest) > MAX_LINE_BYTES:
            if not self._cutting:
                lines.append(self._rest[:MAX_LINE_BYTES])
            self._cutting, self._rest = True, b""
        return [line for line in lines if line]

    def terminate(self) -> None:
        """Ask the group to end; `read_lines` kills it after KILL_AFTER_S."""
        if self._terminated_at is None:
            self._terminated_at = time.monotonic()
            self._signal(signal.SIGTERM)

    def wait(self) -> int:
        """Give the exit code once `ended`; negative for a signal, as subprocess does."""
        try:
            return self._child.wait(timeout=KILL_AFTER_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            return self._child.wait()

    def _kill_when_overdue(self) -> None:
        started = self._terminated_at
        if started is not None and time.monotonic() - started > KILL_AFTER_S:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # While the leader is not reaped its number cannot belong to another group.
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._signal(signal.SIGKILL)
        self._child.wait()
        os.close(self._fd)
