"""No path leaves its root: not by its words, not by a link, not by being another remote."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from filesync.engine import (
    KEPT_FOLDER,
    Encryption,
    Endpoint,
    FailureClass,
    Method,
    Outcome,
    PathRefused,
    Remote,
    validate_path,
    validate_remote,
)
from filesync.engine.overlap import check_no_overlap, only_a_look_tells
from filesync.engine.paths import escaping_links, full_path, resolve_local
from tests.filesync.engine.lab import Lab, Ran, tree, write_tree


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("", ""),
        ("/", ""),
        ("a/b", "a/b"),
        ("/a//b/./c/", "a/b/c"),
        ("a b/\u6587\u4ef6", "a b/\u6587\u4ef6"),
        ("a/b:c", "a/b:c"),
        ("..a/b..", "..a/b.."),
        ("...", "..."),
        ("-rf", "-rf"),
    ],
)
def test_a_path_has_one_spelling(path: str, clean: str) -> None:
    assert validate_path(path) == clean
    assert validate_path(clean) == clean


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../x",
        "a/../b",
        "a/..",
        "/..",
        "\uff0e\uff0e/x",
        "a/.\uff0e",
        "a\uff0f..\uff0fb",
        "a/./../b",
        ":local:/etc",
        ":local,copy_links=true:/etc",
        ":sftp,ssh='sh -c id':",
        "remote:path",
        "src:/etc",
        "dst,copy_links=true:/etc",
        "./remote:path",
        "/remote:path",
        "a\nb",
        "a\rb",
        "a\0b",
        "a\x7f",
        "x" * 5000,
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(PathRefused) as refusal:
        validate_path(path)
    assert refusal.value.code == "path_refused"
    assert refusal.value.field == "path"


@pytest.mark.parametrize(
    ("root", "path", "full"),
    [
        ("", "", ""),
        ("bucket", "", "bucket"),
        ("bucket/prefix/", "a/b", "bucket/prefix/a/b"),
        ("/srv/data", "a", "/srv/data/a"),
        ("/", "a", "/a"),
        ("/", "", "/"),
        ("", "a/b/", "a/b"),
    ],
)
def test_root_and_path_are_joined(root: str, path: str, full: str) -> None:
    assert full_path(Endpoint(Remote("sftp", root), path)) == full


@pytest.mark.parametrize("root", ["", "relative", "/a/../b", "/a\nb"])
def test_a_local_root_is_absolute_and_clean(root: str) -> None:
    with pytest.raises(PathRefused):
        validate_remote(Remote("local", root), (Path("/"),))


def test_a_local_root_must_be_below_an_allowed_one(tmp_path: Path) -> None:
    allowed, other = tmp_path / "allowed", tmp_path / "allowed-not"
    allowed.mkdir()
    other.mkdir()
    (allowed / "link").symlink_to(other)
    validate_remote(Remote("local", str(allowed)), (allowed,))
    validate_remote(Remote("local", str(allowed / "later")), (allowed,))
    for root in (other, tmp_path, allowed / "link", allowed / "link" / "below"):
        with pytest.raises(PathRefused):
            validate_remote(Remote("local", str(root)), (allowed,))
    with pytest.raises(PathRefused):
        validate_remote(Remote("local", str(allowed)), ())


def test_a_path_through_a_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    root.mkdir()
    other.mkdir()
    (root / "out").symlink_to(other)
    (root / "real").mkdir()
    (root / "in").symlink_to(root / "real")
    remote = Remote("local", str(root))

    assert resolve_local(Endpoint(remote, "in"), (tmp_path,)) == root / "real"
    for path in ("out", "out/deeper"):
        # Another allowed root does not help: the storage's own root is the limit.
        with pytest.raises(PathRefused, match="leads out"):
            resolve_local(Endpoint(remote, path), (tmp_path,))


@pytest.mark.parametrize(
    ("one", "other"),
    [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("", "a"), ("a", ""), ("a/", "/a")],
)
@pytest.mark.parametrize(
    "remote",
    [Remote("local", "/tmp"), Remote("webdav", "", {"url": "http://h/"}), Remote("s3", "bucket")],
)
def test_sides_that_contain_each_other_are_refused(remote: Remote, one: str, other: str) -> None:
    with pytest.raises(PathRefused, match="overlap"):
        check_no_overlap(Endpoint(remote, one), Endpoint(remote, other))


def test_overlap_is_seen_across_two_storages_of_one_place(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    whole, part = Remote("local", str(tmp_path)), Remote("local", str(tmp_path / "link"))
    with pytest.raises(PathRefused):
        check_no_overlap(Endpoint(whole), Endpoint(part))
    one = Remote("webdav", "", {"url": "http://h/dav/", "user": "u"}, {"pass": "old"})
    other = Remote("webdav", "a", {"url": "http://h/dav", "user": "u"}, {"pass": "new"})
    with pytest.raises(PathRefused):
        check_no_overlap(Endpoint(one), Endpoint(other))


def dav(url: str, root: str = "", path: str = "in", **options: str) -> Endpoint:
    return Endpoint(Remote("webdav", root, {"url": url, **options}), path)


def at(backend: str, root: str, path: str = "in", **options: str) -> Endpoint:
    return Endpoint(Remote(backend, root, options), path)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (dav("http://h", "x"), dav("http://h/x")),
        (dav("http://h/dav", "x"), dav("http://h/dav/x/", path="in/deeper")),
        (dav("http://h/a%20b"), dav("http://h", "a b")),
        (dav("http://h", "/x"), dav("http://h", "x")),
        (dav("http://h:80/"), dav("http://H/")),
        (dav("https://h:443"), dav("https://h.", user="")),
        (at("sftp", "/d", host="h", port="22"), at("sftp", "/d", host="H")),
        (at("sftp", "d", "", host="h"), at("sftp", "/", "", host="h")),
        (at("ftp", "d", host="h", port="21"), at("ftp", "d", host="h")),
        (at("smb", "s", host="h", port="445"), at("smb", "/s", host="h")),
        (at("s3", "b/x", endpoint="http://h"), at("s3", "/b/x", endpoint="http://h")),
        (
            at("s3", "b", endpoint="https://h", provider="Minio"),
            at("s3", "b", endpoint="h:443", provider="Other"),
        ),
    ],
)
def test_two_spellings_of_one_place_are_refused(one: Endpoint, other: Endpoint) -> None:
    for source, destination in ((one, other), (other, one)):
        with pytest.raises(PathRefused, match="overlap"):
            check_no_overlap(source, destination)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (at("sftp", "", host="h"), at("sftp", "/home/u", host="h")),
        (at("sftp", "/d", host="h", user="u"), at("sftp", "/d", host="h", user="v")),
        (at("smb", "Share/A", host="h"), at("smb", "share/a", host="h")),
        (dav("http://h"), dav("http://alias")),
        (dav("http://h", path="in"), dav("http://h", path="out")),
        (at("s3", "b", endpoint="http://h"), at("s3", "b", endpoint="http://alias")),
    ],
)
def test_what_the_spelling_does_not_tell_is_left_to_a_look(one: Endpoint, other: Endpoint) -> None:
    for source, destination in ((one, other), (other, one)):
        check_no_overlap(source, destination)
        assert only_a_look_tells(source, destination)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (at("local", "/tmp", "a"), at("local", "/tmp", "b")),
        (at("webdav", "", "a"), at("s3", "b", "a")),
        (at("s3", "b", "a"), at("s3", "b", "c")),
        (
            Endpoint(Remote("sftp", "a"), "in"),
            Endpoint(Remote("sftp", "b", encryption=Encryption("secret")), "in"),
        ),
    ],
)
def test_two_places_for_certain_need_no_look(one: Endpoint, other: Endpoint) -> None:
    check_no_overlap(one, other)
    assert not only_a_look_tells(one, other)


@pytest.mark.parametrize(
    ("source", "destination"),
    [("a", "mount"), ("a/in", "mount"), ("a", "mount/in"), ("a/new", "mount/new")],
)
def test_a_bind_mount_is_a_second_spelling(tmp_path: Path, source: str, destination: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a folder")
    (tmp_path / "a" / "in").mkdir(parents=True)
    (tmp_path / "mount").mkdir()
    mount = ["mount", "--bind", str(tmp_path / "a"), str(tmp_path / "mount")]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let us mount a folder")
    remote = Remote("local", str(tmp_path))
    try:
        for one, other in ((source, destination), (destination, source)):
            with pytest.raises(PathRefused, match="overlap"):
                check_no_overlap(Endpoint(remote, one), Endpoint(remote, other))
        check_no_overlap(Endpoint(remote, "a/in"), Endpoint(remote, "mount/out"))
    finally:
        subprocess.run(["umount", str(tmp_path / "mount")], check=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Endpoint(Remote("local", "/tmp"), "a"), Endpoint(Remote("local", "/tmp"), "ab")),
        (Endpoint(Remote("local", "/tmp"), "a"), Endpoint(Remote("sftp", "/tmp"), "a")),
        (
            Endpoint(Remote("s3", "b", {"endpoint": "http://one"}), "a"),
            Endpoint(Remote("s3", "b", {"endpoint": "http://two"}), "a"),
        ),
    ],
)
def test_sides_beside_each_other_are_allowed(one: Endpoint, other: Endpoint) -> None:
    check_no_overlap(one, other)


def test_a_link_out_of_the_tree_is_named(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    write_tree(root, {"a/b/file": "1", "c/file": "2"})
    outside.mkdir()
    (outside / "file").write_text("1")
    (root / "a" / "inside").symlink_to(root / "c")
    (root / "a" / "to-file").symlink_to(outside / "file")
    assert set(escaping_links(root, root)) == {None}
    link = root / "a" / "b" / "link"
    link.symlink_to(outside)
    assert set(escaping_links(root, root)) == {None, link}


def refused(ran: Ran, word: str) -> None:
    failure = ran.result.failure
    assert ran.result.outcome is Outcome.FAILED
    assert failure is not None
    assert failure.failure_class is FailureClass.CONFIG
    assert word in failure.message


@pytest.mark.parametrize("method", [Method.INCREMENTAL, Method.FULL])
@pytest.mark.parametrize("dangling", [False, True])
def test_a_linked_folder_in_the_destination_is_not_written_through(
    lab: Lab, tmp_path: Path, method: Method, dangling: bool
) -> None:
    outside = tmp_path / "outside"
    if not dangling:
        outside.mkdir()
    write_tree(lab.source, {"sub/link/file": "escaped"})
    (lab.destination / "sub").mkdir()
    (lab.destination / "sub" / "link").symlink_to(outside)
    ran = lab.run(lab.asking(method))

    refused(ran, str(lab.destination / "sub" / "link"))
    assert not (outside / "file").exists()


def test_a_linked_folder_where_files_are_kept_is_not_written_through(
    lab: Lab, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    write_tree(lab.source, {"a": "1"})
    write_tree(lab.destination, {"link/gone": "1"})
    (lab.root / "files" / "kept").mkdir()
    (lab.root / "files" / "kept" / "link").symlink_to(outside)
    ran = lab.run(lab.asking(Method.FULL, keep_deleted_dir="kept"))

    refused(ran, "link")
    assert tree(outside) == {}


@pytest.mark.parametrize(
    "kept", ["destination", "destination/kept", "", "..", "../x", f"destination/x/{KEPT_FOLDER}"]
)
def test_files_cannot_be_kept_where_they_would_be_synced(lab: Lab, kept: str) -> None:
    write_tree(lab.source, {"a": "1"})
    before = tree(lab.destination)
    ran = lab.run(lab.asking(Method.FULL, keep_deleted_dir=kept))

    refused(ran, "keep" if kept[:2] != ".." else "..")
    assert tree(lab.destination) == before


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", "a\0b"])
def test_a_run_cannot_be_limited_to_a_path_outside(lab: Lab, path: str) -> None:
    refused(lab.run(lab.asking(Method.INCREMENTAL, only_paths=(path,))), "only_paths")
