"""Check a request against every rule, and lay out the private files of its run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from filesync.engine import filters, ini, options, overlap, paths
from filesync.engine.command import RunFiles, Sides
from filesync.engine.errors import EngineError, OptionRefused, PathRefused
from filesync.engine.folders import check_local_folders
from filesync.engine.request import KEPT_FOLDER, Endpoint, Method, Remote, SyncRequest
from filesync.engine.sections import sections_of, target
from filesync.engine.texts import Text


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that passed every check, and what its command lines need."""

    request: SyncRequest
    sides: Sides
    sections: dict[str, dict[str, str]]
    files: RunFiles

    @property
    def one_section(self) -> bool:
        """Whether both sides are one remote, so that the storage itself can move and copy."""
        return "dst" not in self.sections


def validate_remote(remote: Remote, local_roots: tuple[Path, ...]) -> None:
    """Raise OptionRefused or PathRefused when a remote may not be used; touches no network."""
    options.check_options(remote.backend, remote.options, remote.secrets)
    for name, value in [*remote.options.items(), *remote.secrets.items()]:
        if not (options.is_multiline(name) or options.is_obscured(remote.backend, name)):
            ini.check_value(name, value)
    if remote.encryption is not None and not remote.encryption.password:
        raise OptionRefused(
            Text(
                "encryption needs a password; keep a copy of it, without it nobody "
                "can read the files"
            ),
            field="encryption_password",
        )
    paths.validate_root(remote)
    # Rendered once for its own checks (quoting, JSON, real paths); the text is dropped.
    ini.render_ini(sections_of("src", remote, Method.CHECK, local_roots))
    if remote.backend == "local":
        paths.real_root(remote, local_roots)


def validate_request(request: SyncRequest, local_roots: tuple[Path, ...]) -> None:
    """Raise EngineError when a request may not be carried out; walks no tree, asks no network."""
    filters.validate_rules(request.rules)
    filters.validate_limits(request.limits)
    for side, endpoint in (("source", request.source), ("destination", request.destination)):
        try:
            validate_remote(endpoint.remote, local_roots)
            target("src", endpoint, local_roots)
        except PathRefused as error:
            raise PathRefused(error.message, field=f"{side}_path") from error
    overlap.check_no_overlap(request.source, request.destination)


def prepare(request: SyncRequest, work_dir: Path, local_roots: tuple[Path, ...]) -> Prepared:
    """Check a request and give what its run needs; writes nothing. Raises EngineError."""
    request = replace(request, rules=filters.validate_rules(request.rules))
    filters.validate_limits(request.limits)
    for endpoint in (request.source, request.destination):
        validate_remote(endpoint.remote, local_roots)
    overlap.check_no_overlap(request.source, request.destination)
    check_local_folders(request, local_roots)
    for path in request.only_paths or ():
        _check_only_path(path)
    source, destination = request.source, request.destination
    # Kept files move within the destination: with one section they could not be told apart
    # from the transfers, which then are server-side moves and copies too.
    keeps = request.keep_deleted_dir is not None or request.put_back_from is not None
    shared = source.remote == destination.remote and not keeps
    section = "src" if shared else "dst"
    sides = Sides(
        source=target("src", source, local_roots),
        destination=target(section, destination, local_roots),
        backup=_kept(request, request.keep_deleted_dir, local_roots),
        earlier=_kept(request, request.put_back_from, local_roots),
    )
    sections = sections_of("src", source.remote, request.method, local_roots)
    if not shared:
        sections |= sections_of("dst", destination.remote, request.method, local_roots)
    return Prepared(request, sides, sections, RunFiles(work_dir))


def _kept(request: SyncRequest, folder: str | None, local_roots: tuple[Path, ...]) -> str | None:
    """Name a folder of kept files as rclone does."""
    if folder is None:
        return None
    kept = paths.validate_path(folder)
    synced = paths.validate_path(request.destination.path)
    inside = os.path.relpath(f"/{kept}", f"/{synced}")
    if not inside.startswith("..") and inside.split("/")[0] != KEPT_FOLDER:
        raise PathRefused(
            Text(
                "files cannot be kept in {kept!r}: it is inside the destination "
                "and not below its {folder}",
                kept=kept,
                folder=KEPT_FOLDER,
            ),
            field="keep_deleted_dir",
        )
    if kept == "" or synced == kept or synced.startswith(kept + "/"):
        raise PathRefused(
            Text("files cannot be kept in {kept!r}: it contains the destination", kept=kept),
            field="keep_deleted_dir",
        )
    return target("dst", Endpoint(request.destination.remote, kept), local_roots)


def check_links(request: SyncRequest, local_roots: tuple[Path, ...]) -> Iterator[None]:
    """Raise PathRefused when a link would lead a local side out of its root.

    Yields now and then: a tree of a million files takes a second or two.
    """
    yield from check_encrypted_links(request.source, local_roots)
    yield from check_encrypted_links(request.destination, local_roots)
    yield from check_links_below(request.destination, local_roots)
    if request.keep_deleted_dir is not None:
        kept = Endpoint(request.destination.remote, request.keep_deleted_dir)
        yield from check_links_below(kept, local_roots)


def check_links_below(endpoint: Endpoint, local_roots: tuple[Path, ...]) -> Iterator[None]:
    """Raise PathRefused when a link in a local folder that is written leads out of its root."""
    remote = endpoint.remote
    if remote.backend == "local" and remote.encryption is None:
        yield from _checked(paths.resolve_local(endpoint, local_roots), remote, local_roots)


def check_encrypted_links(endpoint: Endpoint, local_roots: tuple[Path, ...]) -> Iterator[None]:
    """Raise PathRefused when a link below an encrypted local root leads out of it.

    The whole root is looked at: which folder a path is, only rclone knows.
    """
    remote = endpoint.remote
    if remote.backend == "local" and remote.encryption is not None:
        yield from _checked(paths.real_root(remote, local_roots), remote, local_roots)


def _checked(tree: Path, remote: Remote, local_roots: tuple[Path, ...]) -> Iterator[None]:
    root = paths.real_root(remote, local_roots)
    for link in paths.escaping_links(tree, root):
        if link is not None:
            raise PathRefused(
                Text(
                    "the symbolic link {link} leads out of {root}; remove it",
                    link=str(link),
                    root=remote.root,
                ),
                field="destination",
            )
        yield


def _check_only_path(path: str) -> None:
    names = path.split("/")
    if not path or path.startswith("/") or "\0" in path or ".." in names:
        raise PathRefused(
            Text("{path!r} is no path of a file below the source", path=path), field="only_paths"
        )


def limited(prepared: Prepared, paths: tuple[str, ...]) -> Prepared:
    """Limit a run that has begun to some of its files; the rest of its private files stays."""
    files = prepared.files
    for path, text in (
        (files.filters, filters.render_only(paths)),
        (files.only, "".join(f"{path}\0" for path in paths)),
    ):
        path.unlink(missing_ok=True)
        ini.write_private(path, text)
    return replace(prepared, request=replace(prepared.request, only_paths=paths))


def write_files(prepared: Prepared) -> None:
    """Write the private files of a run: configuration, filters, the files it is limited to."""
    files = prepared.files
    try:
        ini.write_private(files.config, ini.render_ini(prepared.sections))
        only = prepared.request.only_paths
        if only is None:
            ini.write_private(files.filters, filters.render_filters(prepared.request.rules))
        else:
            ini.write_private(files.filters, filters.render_only(only))
            ini.write_private(files.only, "".join(f"{path}\0" for path in only))
    except OSError as error:
        raise EngineError(
            Text(
                "{folder} cannot be written: {why}",
                folder=str(files.work_dir),
                why=str(error.strerror),
            )
        ) from error
