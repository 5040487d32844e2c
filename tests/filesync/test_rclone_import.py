"""`manage.py import_rclone_conf`: an rclone user moves over in one command."""

from __future__ import annotations

import subprocess
import time
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from filesync.engine.ini import obscure, reveal
from filesync.models import Storage
from filesync.services import storages
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_storage
from tests.servers.remote import run_rclone
from tests.servers.webdav import WebdavServer

pytestmark = pytest.mark.django_db

CANARY = "canary-81ce"


def run(file: Path, *arguments: str) -> str:
    out = StringIO()
    call_command("import_rclone_conf", str(file), *arguments, stdout=out)
    return out.getvalue()


def test_what_rclone_wrote_and_encrypted_is_read_by_the_imported_storage(
    local_root: Path, tmp_path: Path, webdav_server: WebdavServer, rclone_binary: Path
) -> None:
    config, folder = tmp_path / "rclone.conf", f"i{time.monotonic_ns()}"
    (webdav_server.root / folder).mkdir()
    dav = dict(webdav_server.remote.options)
    create = [str(rclone_binary), "--config", str(config), "config", "create", "--obscure"]
    subprocess.run(
        [*create, "dav", "webdav", *(f"{name}={value}" for name, value in dav.items())],
        check=True,
        capture_output=True,
    )
    crypt = {"remote": f"dav:{folder}", "password": "one", "password2": "two"}
    subprocess.run(
        [*create, "vault", "crypt", *(f"{name}={value}" for name, value in crypt.items())],
        check=True,
        capture_output=True,
    )
    (tmp_path / "plain-name.txt").write_text("plain")
    run_rclone(config, "copy", str(tmp_path / "plain-name.txt"), "vault:folder")

    said = run(config)

    assert "2 imported, 0 not" in said
    vault = Storage.objects.get(name="vault")
    assert (vault.backend, vault.root, vault.encryption) == ("webdav", folder, "STANDARD")
    listing = storages.browse(vault, "folder", 1).listing
    assert [entry.name for entry in listing.entries] == ["plain-name.txt"]
    assert storages.check_storage(Storage.objects.get(name="dav")).ok
    assert webdav_server.password not in said


CONF = f"""\
[ssh box]
type = sftp
host = box.example
user = kim
pass = {obscure(CANARY)}
key_file = /home/kim/.ssh/id_ed25519
md5sum_command = md5sum
shell_type = unix

[cloud]
type = drive
scope = drive
token = {{"access_token":"{CANARY}","refresh_token":"r","expiry":"2026-01-01T00:00:00Z"}}

[both]
type = union
upstreams = cloud: ssh:

[below]
type = alias
remote = cloud:photos/2026

[odd]
type = crypt
remote = cloud:odd
password = {obscure("x")}
filename_encoding = base32768

[twice]
type = crypt
remote = inner:
password = {obscure("x")}

[inner]
type = crypt
remote = cloud:inner
password = {obscure("x")}

[lost]
type = alias
remote = nowhere:x

[circle]
type = alias
remote = circle:x

[disk]
type = alias
remote = /etc

[unhidden]
type = webdav
url = http://h/
pass = not-obscured!

[taken]
type = ftp
host = h

[new]
type = teleport
"""

OUTCOMES = {
    "ssh box": ("sftp", "key_file: it reads or names a file of this server; paste the key into"),
    "cloud": ("drive", ""),
    "both": (None, "union is not offered: it wraps another remote"),
    "below": ("drive photos/2026", ""),
    "odd": (None, "filename_encoding is not 'base32'"),
    "twice": (None, "encrypted already"),
    "inner": ("drive inner", ""),
    "lost": (None, "there is no section 'nowhere'"),
    "circle": (None, "leads in a circle"),
    "disk": (None, "/etc is outside the allowed local roots"),
    "unhidden": (None, "pass is not obscured"),
    "taken": (None, "a storage of that name exists"),
    "new": (None, "'teleport' is not offered"),
}


def test_each_section_is_imported_or_says_why_not(local_root: Path, tmp_path: Path) -> None:
    make_storage(local_root, name="taken")
    file = tmp_path / "rclone.conf"
    file.write_text(CONF)

    said = run(file)

    blocks = {block.split(": ", 1)[0]: block for block in said.replace("\n  ", " ").splitlines()}
    for name, (became, note) in OUTCOMES.items():
        assert (became or "not imported") in blocks[name]
        assert note in blocks[name]
    imported = {name for name, (became, _) in OUTCOMES.items() if became}
    assert set(Storage.objects.values_list("name", flat=True)) == imported | {"taken"}
    box = Storage.objects.get(name="ssh box")
    assert box.secrets == {"pass": CANARY}
    assert box.options == {"host": "box.example", "user": "kim", "shell_type": "unix"}
    assert Storage.objects.get(name="inner").secrets["encryption_password"] == "x"
    assert CANARY not in said
    assert f"{len(imported)} imported, {len(OUTCOMES) - len(imported)} not" in said


def test_a_dry_run_says_the_same_and_saves_nothing(local_root: Path, tmp_path: Path) -> None:
    make_storage(local_root, name="taken")
    file = tmp_path / "rclone.conf"
    file.write_text(CONF)
    dry = run(file, "--dry-run")
    assert Storage.objects.count() == 1
    assert dry.replace("would be imported", "imported") == run(file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("# Encrypted rclone configuration File\n\nRCLONE_ENCRYPT_V0:\nabc", "is encrypted"),
        ("just text", "no rclone.conf"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(
    tmp_path: Path, content: str | None, said: str
) -> None:
    file = tmp_path / "rclone.conf"
    if content is not None:
        file.write_text(content)
    with pytest.raises(CommandError, match=said) as refusal:
        run(file)
    assert str(file) in str(refusal.value)


@pytest.mark.parametrize("secret", ["a", "\u5bc6\u7801", "x" * 300])
def test_what_rclone_obscured_is_revealed(rclone_binary: Path, secret: str) -> None:
    done = subprocess.run(
        [str(rclone_binary), "obscure", "-"], input=secret, capture_output=True, text=True
    )
    assert reveal(done.stdout.strip()) == secret
    assert reveal(obscure(secret)) == secret


@pytest.mark.parametrize("text", ["short", "not base64 !", "\u5bc6", "A" * 21])
def test_what_is_not_obscured_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which one depends on what is wrong
        reveal(text)
