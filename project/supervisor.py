"""The supervisor of `manage.py up`: starts processes in order, restarts and stops them.

What is started is decided by the command; nothing here knows Django, Redis or Celery.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

PR_SET_PDEATHSIG = 1
# Loaded before any fork: the child of a threaded process must not load libraries.
LIBC = ctypes.CDLL(None, use_errno=True)
FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 30.0
# A process that lived this long starts afresh: its next restart waits no longer than the first.
HEALTHY_S = 60.0

Say = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Service:
    """One process to keep running; `ready` says whether those after it may start."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    ready: Callable[[], bool] = lambda: True
    stop_signal: signal.Signals = signal.SIGTERM
    stop_s: float = 15.0


@dataclass(slots=True)
class _Child:
    service: Service
    process: subprocess.Popen[str] | None = None
    started_at: float = 0.0
    backoff_s: float = FIRST_BACKOFF_S
    start_at: float = field(default_factory=time.monotonic)


class ServiceNotReady(Exception):
    """A service ended, or did not become ready, while the system was starting."""


class Supervisor:
    """Runs services as children of their own sessions; they die with this process."""

    def __init__(self, services: Sequence[Service], say: Say) -> None:
        self._children = [_Child(service) for service in services]
        self._say = say
        self._stopping = threading.Event()

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for."""
        return self._stopping.is_set()

    def request_stop(self) -> None:
        """End `watch` soon; safe in a signal handler."""
        self._stopping.set()

    def start(self, *, timeout_s: float = 30.0) -> None:
        """Start all in order, each when the one before is ready.

        Raises:
            ServiceNotReady: one ended or is not ready in time; those before it still run.
        """
        for child in self._children:
            self._spawn(child)
            deadline = time.monotonic() + timeout_s
            while not child.service.ready():
                if self._stopping.is_set():
                    return
                if child.process is None or child.process.poll() is not None:
                    raise ServiceNotReady(f"{child.service.name} ended while starting")
                if time.monotonic() > deadline:
                    raise ServiceNotReady(
                        f"{child.service.name} was not ready in {timeout_s:.0f} s"
                    )
                time.sleep(0.1)

    def watch(self) -> None:
        """Restart what ends, with a growing pause, until a stop is asked for."""
        while not self._stopping.wait(0.5):
            self.tend()

    def tend(self) -> None:
        """Look after the services once: restart what ended and has waited its pause.

        Call it from the thread that called `start`: the kernel's death signal follows the thread
        that started a process, not the process.
        """
        for child in self._children:
            self._revive(child)

    def stop(self) -> None:
        """Stop all in reverse order; what does not end in its time is killed with its session."""
        self._stopping.set()
        for child in reversed(self._children):
            self._stop_child(child)

    def _stop_child(self, child: _Child) -> None:
        process, service = child.process, child.service
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(service.stop_signal)
            try:
                process.wait(service.stop_s)
            except subprocess.TimeoutExpired:
                self._say(service.name, f"did not stop in {service.stop_s:.0f} s, killed")
        self._kill_session(process)
        process.wait()

    def _spawn(self, child: _Child) -> None:
        service = child.service
        child.process = subprocess.Popen(  # noqa: S603 - our own argv, no shell
            list(service.argv),
            env=dict(service.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        child.started_at = time.monotonic()
        threading.Thread(
            target=self._forward, args=(service.name, child.process), daemon=True
        ).start()

    def _forward(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._say(name, line.rstrip())

    def _revive(self, child: _Child) -> None:
        now = time.monotonic()
        process = child.process
        if process is not None:
            if process.poll() is None:
                return
            self._kill_session(process)
            if now - child.started_at > HEALTHY_S:
                child.backoff_s = FIRST_BACKOFF_S
            self._say(
                child.service.name,
                f"ended with {process.returncode}, starts again in {child.backoff_s:.0f} s",
            )
            child.process = None
            child.start_at = now + child.backoff_s
            child.backoff_s = min(child.backoff_s * 2, LONGEST_BACKOFF_S)
        elif now >= child.start_at:
            self._spawn(child)

    @staticmethod
    def _kill_session(process: subprocess.Popen[str]) -> None:
        """Kill what is left of a service's process group; it bears the leader's pid."""
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def _die_with_parent() -> None:
    """Ask the kernel to stop this child when the supervisor dies, however it dies.

    A shell starts what it puts in the background with Ctrl-C ignored, and children inherit that.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
