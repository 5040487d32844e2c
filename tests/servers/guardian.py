"""Starts one program and ends everything below it when the test process dies; run, not imported.

    python -I -S guardian.py PARENT_PID USER PROGRAM [ARGUMENT ...]

It kills all that is left when the program ends, when it gets SIGTERM, and when its parent dies.
PDEATHSIG on the program itself was tried and is not enough: a change of user clears it (Apache),
children outlive it (OpenSSH), and a paused program does not act on it.

PDEATHSIG follows the thread that started this: start servers from a thread that lives as long.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
WATCHED = {signal.SIGTERM, signal.SIGCHLD}


def main() -> None:
    parent_pid, user, argv = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    set_process_option(PR_SET_PDEATHSIG, signal.SIGTERM)
    # What detaches itself becomes our child, so that nothing gets away.
    set_process_option(PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != parent_pid:
        sys.exit("the parent is gone")
    program_pid = os.fork()
    if program_pid == 0:
        become(user, argv)
    status = wait_for(program_pid)
    end_all_children()
    code = os.waitstatus_to_exitcode(status) if status is not None else -signal.SIGKILL
    sys.exit(code if code >= 0 else 128 - code)


def set_process_option(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        sys.exit(f"prctl({option}) failed: {os.strerror(ctypes.get_errno())}")


def become(user: str, argv: list[str]) -> None:
    """Turn this process into the program; does not return."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    try:
        if user:
            account = pwd.getpwnam(user)
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
        os.execvp(argv[0], argv)
    except (OSError, KeyError) as error:
        print(f"{argv[0]} as {user or 'this account'}: {error}", file=sys.stderr, flush=True)
    os._exit(127)


def wait_for(program_pid: int) -> int | None:
    """Wait until the program ends and return its wait status; None after SIGTERM."""
    while signal.sigwait(WATCHED) != signal.SIGTERM:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == program_pid:
                return status
            if pid == 0:
                break
    return None


def end_all_children() -> None:
    """Kill until no child is left: those of a killed one become ours and come next."""
    listing = Path(f"/proc/self/task/{os.getpid()}/children")
    while True:
        for pid in listing.read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


if __name__ == "__main__":
    main()
