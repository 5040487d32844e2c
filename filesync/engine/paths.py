"""Keep every path below its root: names, real paths, links that lead out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from filesync.engine.encodings import as_sent
from filesync.engine.errors import PathRefused
from filesync.engine.request import Endpoint, Remote
from filesync.engine.texts import Text

MAX_PATH_CHARS = 4096
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def validate_path(path: str, *, what: str = Text("the path")) -> str:
    """Give a relative path in its one spelling, without slashes at the ends.

    Raises PathRefused for traversal, control characters, and a colon in the first name, with
    which rclone would take it for another remote. `what` is what the error calls it.
    """
    if len(path) > MAX_PATH_CHARS:
        too_long = Text("{what} is longer than {most} characters", what=what, most=MAX_PATH_CHARS)
        raise PathRefused(too_long, field="path")
    if _CONTROL.search(path):
        raise PathRefused(Text("{what} contains a control character", what=what), field="path")
    names = [name for name in path.split("/") if name not in ("", ".")]
    if ".." in as_sent(path).split("/"):
        raise PathRefused(Text("{path!r} leads out of its root with '..'", path=path), field="path")
    if names and ":" in names[0]:
        raise PathRefused(
            Text(
                "{path!r} has a colon in its first name, which would name another remote", path=path
            ),
            field="path",
        )
    return "/".join(names)


def validate_root(remote: Remote) -> None:
    """Raise PathRefused unless the root is clean, and absolute where it is a local one."""
    if remote.backend == "local" and not remote.root.startswith("/"):
        raise PathRefused(
            Text("the local root {root!r} is not absolute", root=remote.root), field="root"
        )
    try:
        validate_path(remote.root, what=Text("the root"))
    except PathRefused as error:
        raise PathRefused(error.message, field="root") from error


def full_path(endpoint: Endpoint) -> str:
    """Join root and path as they go behind the colon; only a root's own leading slash stays."""
    lead = "/" if endpoint.remote.root.startswith("/") else ""
    parts = (validate_path(endpoint.remote.root), validate_path(endpoint.path))
    return lead + "/".join(part for part in parts if part)


def resolve_local(endpoint: Endpoint, local_roots: tuple[Path, ...]) -> Path:
    """Give the real folder of a local endpoint, which need not exist yet.

    Raises PathRefused when it is outside every allowed root, or a link on the way leads out of
    the endpoint's own root.
    """
    validate_root(endpoint.remote)
    root = real_root(endpoint.remote, local_roots)
    real = Path(os.path.realpath(root / validate_path(endpoint.path)))
    if not real.is_relative_to(root):
        raise PathRefused(
            Text(
                "{path!r} leads out of {root} to {real}",
                path=endpoint.path,
                root=endpoint.remote.root,
                real=str(real),
            ),
            field="path",
        )
    return real


def real_root(remote: Remote, local_roots: tuple[Path, ...]) -> Path:
    """Give the real folder of a local remote's root; raises PathRefused when it is not allowed."""
    root = Path(os.path.realpath(remote.root))
    if not any(root.is_relative_to(os.path.realpath(allowed)) for allowed in local_roots):
        allowed = ", ".join(str(path) for path in local_roots) or Text("none")
        raise PathRefused(
            Text(
                "{root} is outside the allowed local roots ({allowed})",
                root=remote.root,
                allowed=allowed,
            ),
            field="root",
        )
    return root


def folders_above(path: str) -> Iterator[str]:
    """Give the folders that a relative path lies in, the highest first."""
    return (path[:at] for at, letter in enumerate(path) if letter == "/")


def escaping_links(tree: Path, root: Path) -> Iterator[Path | None]:
    """Yield the links below `tree` that lead out of `root`, and None after each folder.

    The None lets a caller do else meanwhile.
    """
    for link in folder_links(os.fspath(tree)):
        if link is None:
            yield None
        elif not Path(os.path.realpath(link)).is_relative_to(root):
            yield Path(link)


def folder_links(tree: str, *, skip: str | None = None) -> Iterator[str | None]:
    """Yield the links below `tree` that rclone may write through, and None after each folder.

    A link to a file is replaced by a file when it is written, so it is harmless; a dangling one
    may become a folder later, so it is not. Folders whose name is `skip` are not looked into.
    """
    folders = [tree]
    while folders:
        folder = folders.pop()
        if os.path.basename(folder) == skip:
            continue
        for link in _links(folder, folders):
            if not os.path.isfile(link):
                yield link
        yield None


def _links(folder: str, folders: list[str]) -> list[str]:
    """Give the links in one folder, and add its own folders to `folders`."""
    links: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    links.append(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
    except OSError:
        # rclone meets the same folder and reports it; nothing is written through it.
        return links
    return links
