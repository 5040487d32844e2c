"""Encryption as a switch of a storage: nothing readable leaves, everything readable comes back."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from filesync.engine import (
    Action,
    Compare,
    Encryption,
    Endpoint,
    Method,
    NameEncryption,
    OptionRefused,
    Outcome,
    PathRefused,
    Remote,
    SyncRequest,
    list_folder,
    probe,
    validate_remote,
    validate_request,
)
from tests.filesync.engine.lab import NO_GUARDS, Lab, engine_remote, files_of, write_tree
from tests.servers.webdav import WebdavServer

ENCRYPTION = Encryption(password="canary-password", salt="canary-salt")
CANARY = "canary-in-plain-sight"
TREE: dict[str, str | bytes] = {
    f"{CANARY}.txt": f"{CANARY} one",
    f"{CANARY}-folder/b.bin": CANARY.encode() * 2000,
    f"{CANARY}-folder/empty": "",
    "\u6587\u4ef6\u5939/\u6587\u4ef6.txt": CANARY,
}


@pytest.fixture(params=["local", "webdav"])
def place(
    request: pytest.FixtureRequest, lab: Lab, webdav_server: WebdavServer
) -> Iterator[tuple[Remote, Path]]:
    """Return an encrypted remote and the folder in which its server keeps what it is given."""
    name = f"e{time.monotonic_ns()}"
    if request.param == "local":
        kept = lab.root / "files" / name
        kept.mkdir()
        yield Remote("local", str(kept), encryption=ENCRYPTION), kept
        return
    remote = replace(engine_remote(webdav_server.remote), encryption=ENCRYPTION)
    kept = webdav_server.root / name
    kept.mkdir()
    yield replace(remote, root="/".join(filter(None, (remote.root, name)))), kept


def upload(lab: Lab, remote: Remote, **changes: object) -> SyncRequest:
    request = SyncRequest(lab.request.source, Endpoint(remote, "up"), guards=NO_GUARDS)
    return replace(request, **changes)  # type: ignore[arg-type]


def seen(folder: Path) -> bytes:
    """Give everything a server could read: each path and each content."""
    paths = list(folder.rglob("*"))
    contents = b"".join(path.read_bytes() for path in paths if path.is_file())
    return "\n".join(str(path.relative_to(folder)) for path in paths).encode() + contents


def fetch(lab: Lab, remote: Remote, into: str) -> Path:
    local = lab.request.source.remote
    ran = lab.run(SyncRequest(Endpoint(remote, "up"), Endpoint(local, into)))
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    return Path(local.root) / into


def test_nothing_readable_reaches_the_storage_and_all_of_it_comes_back(
    lab: Lab, place: tuple[Remote, Path]
) -> None:
    remote, kept = place
    write_tree(lab.source, TREE)
    ran = lab.run(upload(lab, remote))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    stored = seen(kept)
    assert len(stored) > len(CANARY) * 2000
    assert CANARY.encode() not in stored
    assert "\u6587\u4ef6".encode() not in stored
    assert files_of(fetch(lab, remote, "back")) == files_of(lab.source)
    assert lab.run(upload(lab, remote)).result.totals.files_transferred == 0


def test_full_deletes_and_sends_again_what_changed(lab: Lab, place: tuple[Remote, Path]) -> None:
    remote, _ = place
    write_tree(lab.source, {**TREE, "gone": "gone"})
    lab.run(upload(lab, remote))
    (lab.source / "gone").unlink()
    (lab.source / f"{CANARY}.txt").write_text("another length")
    ran = lab.run(upload(lab, remote, method=Method.FULL))

    assert ran.result.outcome is Outcome.SUCCEEDED, ran.result.failure
    assert (ran.result.totals.files_transferred, ran.result.totals.files_deleted) == (1, 1)
    assert files_of(fetch(lab, remote, "back")) == files_of(lab.source)


def test_move_and_overwrite_work(lab: Lab, place: tuple[Remote, Path]) -> None:
    remote, _ = place
    write_tree(lab.source, TREE)
    lab.run(upload(lab, remote))
    again = lab.run(upload(lab, remote, method=Method.OVERWRITE))
    assert again.result.totals.files_transferred == len(TREE)
    before = files_of(lab.source)
    moved = lab.run(upload(lab, remote, method=Method.MOVE))
    assert moved.result.outcome is Outcome.SUCCEEDED, moved.result.failure
    assert files_of(lab.source) == {}
    assert files_of(fetch(lab, remote, "back")) == before


def test_check_by_checksum_reads_what_was_encrypted(lab: Lab, place: tuple[Remote, Path]) -> None:
    remote, _ = place
    write_tree(lab.source, TREE)
    lab.run(upload(lab, remote))
    write_tree(lab.source, {f"{CANARY}.txt": f"{CANARY} two"})
    ran = lab.run(upload(lab, remote, method=Method.CHECK, compare=Compare.CHECKSUM))
    assert ran.actions() == {(Action.DIFFERS, f"{CANARY}.txt")}


def test_check_is_in_step_by_size_and_time_after_an_upload(
    lab: Lab, place: tuple[Remote, Path]
) -> None:
    remote, _ = place
    write_tree(lab.source, TREE)
    lab.run(upload(lab, remote))
    ran = lab.run(upload(lab, remote, method=Method.CHECK))
    assert (ran.result.outcome, ran.actions()) == (Outcome.SUCCEEDED, set())

    edited = lab.source / f"{CANARY}.txt"
    edited.write_text(f"{CANARY} two")
    later_s = time.time() + 5
    os.utime(edited, (later_s, later_s))
    ran = lab.run(upload(lab, remote, method=Method.CHECK))
    assert ran.result.outcome is Outcome.SUCCEEDED
    assert ran.actions() == {(Action.DIFFERS, f"{CANARY}.txt")}


def test_it_is_tested_and_browsed_in_plain_words(lab: Lab, place: tuple[Remote, Path]) -> None:
    remote, _ = place
    write_tree(lab.source, TREE)
    lab.run(upload(lab, remote))
    roots = (lab.root / "files",)
    assert probe(remote, "up", rclone=lab.rclone, local_roots=roots).entries == 3
    listing = list_folder(remote, "up", rclone=lab.rclone, local_roots=roots)
    assert [(entry.name, entry.is_dir) for entry in listing.entries] == [
        (f"{CANARY}-folder", True),
        ("\u6587\u4ef6\u5939", True),
        (f"{CANARY}.txt", False),
    ]
    assert listing.entries[2].size_bytes == len(f"{CANARY} one")


@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL])
def test_a_wrong_password_fails_and_changes_nothing(
    lab: Lab, place: tuple[Remote, Path], method: Method
) -> None:
    """Without strict names the folder would look empty, and everything be sent once more."""
    remote, kept = place
    write_tree(lab.source, TREE)
    lab.run(upload(lab, remote))
    before = seen(kept)
    # The folder's own name encrypts differently too: it would be a new one beside the old.
    wrong = replace(remote, encryption=Encryption("another"))
    ran = lab.run(upload(lab, wrong, method=method))

    assert ran.result.outcome is not Outcome.SUCCEEDED
    assert seen(kept) == before
    result = probe(wrong, "", rclone=lab.rclone, local_roots=(lab.root / "files",))
    assert result.failure is not None
    assert "encryption password" in result.failure.advice


@pytest.mark.parametrize(
    ("names", "folders", "readable"),
    [
        (NameEncryption.STANDARD, True, (False, False)),
        (NameEncryption.STANDARD, False, (False, True)),
        (NameEncryption.OBFUSCATE, True, (False, False)),
        (NameEncryption.OFF, True, (True, True)),
    ],
)
def test_names_are_hidden_as_chosen_and_contents_always(
    lab: Lab, names: NameEncryption, folders: bool, readable: tuple[bool, bool]
) -> None:
    kept = lab.root / "files" / "kept"
    kept.mkdir()
    encryption = Encryption("password", names=names, folders=folders)
    remote = Remote("local", str(kept), encryption=encryption)
    write_tree(lab.source, {"folder-name/file-name": CANARY})
    assert lab.run(upload(lab, remote)).result.outcome is Outcome.SUCCEEDED

    stored = seen(kept)
    assert CANARY.encode() not in stored
    assert (b"file-name" in stored, b"folder-name" in stored) == readable
    assert files_of(fetch(lab, remote, "back")) == files_of(lab.source)


def test_a_password_is_needed() -> None:
    with pytest.raises(OptionRefused) as refusal:
        validate_remote(Remote("webdav", encryption=Encryption("")), ())
    assert refusal.value.field == "encryption_password"


def test_the_password_is_shown_nowhere(lab: Lab, place: tuple[Remote, Path]) -> None:
    remote, _ = place
    write_tree(lab.source, TREE)
    ran = lab.run(upload(lab, remote))
    for text in (repr(remote), str(ran.events), str(ran.result.log_tail)):
        assert ENCRYPTION.password not in text
        assert ENCRYPTION.salt not in text


@pytest.mark.parametrize("encrypted_side", ["source", "destination"])
def test_a_link_out_of_an_encrypted_root_is_refused(lab: Lab, encrypted_side: str) -> None:
    kept, outside = lab.root / "files" / "kept", lab.root / "outside"
    kept.mkdir()
    outside.mkdir()
    (kept / "link").symlink_to(outside)
    remote = Remote("local", str(kept), encryption=Encryption("p", names=NameEncryption.OFF))
    write_tree(lab.source, TREE)
    ran = lab.run(replace(lab.request, **{encrypted_side: Endpoint(remote, "up")}))  # type: ignore[arg-type]

    assert ran.result.failure is not None
    assert str(kept / "link") in ran.result.failure.message
    assert list(outside.iterdir()) == []
    with pytest.raises(PathRefused):
        list_folder(remote, "up", rclone=lab.rclone, local_roots=(lab.root / "files",))


def test_an_encrypted_and_a_plain_storage_over_one_folder_overlap(lab: Lab) -> None:
    root = str(lab.root / "files")
    encrypted = Remote("local", root, encryption=ENCRYPTION)
    request = SyncRequest(Endpoint(Remote("local", root), "a"), Endpoint(encrypted, "b"))
    with pytest.raises(PathRefused, match="overlap"):
        validate_request(request, (lab.root / "files",))
    apart = replace(request, source=Endpoint(encrypted, "a"))
    validate_request(apart, (lab.root / "files",))
