"""The log keeps what happened and never a secret, in bounded space."""

from __future__ import annotations

import errno
import gzip
import json
import random
import re
import subprocess
import time
import zlib
from pathlib import Path

import pytest

from filesync.engine import Remote
from filesync.engine import log as log_module
from filesync.engine.log import (
    CUT_MARK,
    MIN_SECRET_CHARS,
    TAIL_LINES,
    Redactor,
    RunLog,
    render_line,
    secrets_of,
)
from tests.servers.remote import RCLONE


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("hunter2", "pass hunter2 end"),
        ("p@ss/word", "http://u:p%40ss%2Fword@h/"),
        ('quo"te\\d', json.dumps({"msg": 'quo"te\\d'})),
        ("\u5bc6\u7801\u5bc6\u7801", "x \u5bc6\u7801\u5bc6\u7801 y"),
        ('say "ho\\\u5bc6', 'parsing "say \\"ho\\\\\u5bc6" failed'),
        ('say "ho\\\u5bc6', json.dumps({"msg": 'say "ho\\\u5bc6'}, ensure_ascii=False)),
        ('say "ho\\', json.dumps({"msg": 'parsing "say \\"ho\\\\" failed'})),
        ("two words&", "http://h/?apikey=two+words%26&x=1"),
        ("tab\there\x01\x7f\u00a0", r"tab\there\x01\x7f\u00a0"),
    ],
)
def test_a_secret_is_blanked_in_every_spelling(secret: str, text: str) -> None:
    blanked = Redactor([secret])(text.encode()).decode()
    assert "[secret]" in blanked
    assert secret not in blanked
    assert not {"ho", "words", "here"} & set(re.findall("[a-z]+", blanked))


def test_the_longer_of_two_secrets_is_blanked_whole() -> None:
    assert Redactor(["hunter2", "hunter2-more"])(b"hunter2-more") == b"[secret]"


def test_a_very_short_secret_does_not_blank_every_path() -> None:
    short = "x" * (MIN_SECRET_CHARS - 1)
    assert Redactor([short, ""])(b"xxxxx") == b"xxxxx"


def test_the_strings_inside_a_token_are_secrets() -> None:
    token = {"access_token": "aaaa", "refresh_token": "rrrr", "token_type": "Bearer", "expiry": "e"}
    found = secrets_of(Remote("drive", "", {}, {"token": json.dumps(token)}))
    assert {"aaaa", "rrrr"} <= set(found)
    assert "Bearer" not in found


@pytest.mark.parametrize(
    ("option", "value", "part"),
    [
        ("headers", "Cookie,abcdef,Authorization,Bearer TOKEN", "TOKEN"),
        ("headers", 'Cookie,"a""b,c"', 'a"b,c'),
        ("sas_url", "https://h/c?sv=1&sig=ab%2Bcd%3D", "ab+cd="),
    ],
)
def test_what_is_printed_of_a_secret_by_itself_is_one(option: str, value: str, part: str) -> None:
    assert part in secrets_of(Remote("webdav", "", {}, {option: value}))


def test_the_value_of_an_option_that_rclone_cannot_read_is_blanked() -> None:
    words = (
        """Failed: couldn't parse config item "headers" = "A,B \\"canary" as L: "canary" failed"""
    )
    kept = """Failed: couldn't parse config item "headers" = [secret]"""
    line = json.dumps({"msg": words, "source": "cmd.go"}).encode()
    assert json.loads(Redactor([])(line)) == {"msg": kept, "source": "cmd.go"}
    assert Redactor([])(f"{words}\nnext".encode()).decode() == f"{kept}\nnext"


def test_rclone_shows_no_header_that_it_cannot_read(tmp_path: Path) -> None:
    headers = 'Authorization,Bearer "canary'
    conf = tmp_path / "r.conf"
    conf.write_text(f"[src]\ntype = webdav\nurl = http://127.0.0.1:9/\nheaders = {headers}\n")
    argv = [str(RCLONE), "lsf", "--config", str(conf), "--use-json-log", "src:"]
    said = subprocess.run(argv, capture_output=True, check=False, timeout=30).stderr
    assert b"canary" in said
    for secrets in ([], [headers]):
        blanked = Redactor(secrets)(said)
        assert b"canary" not in blanked
        assert json.loads(blanked)["level"] == "critical"


def test_the_lines_of_a_key_are_secrets() -> None:
    found = secrets_of(Remote("sftp", "", {}, {"key_pem": "-----BEGIN-----\nMIIcanary\n"}))
    assert "MIIcanary" in found


def test_the_file_is_capped_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "MAX_LOG_BYTES", 100_000)
    monkeypatch.setattr(log_module, "FLUSH_EVERY_S", 0)
    path = tmp_path / "log.gz"
    log = RunLog(path)
    for _ in range(1000):
        # Twice as long as what it packs to, for that is what counts.
        log.write(random.randbytes(500).hex().encode() + b"\n")
    log.close()
    log.close()
    packed = path.read_bytes()
    assert len(packed) < 110_000
    *lines, cut, last = gzip.decompress(packed).splitlines()
    assert 150 < len(lines) < 250
    assert cut.startswith(CUT_MARK)
    assert last == CUT_MARK + b": %d lines more are not in it" % (1000 - len(lines))


def test_the_file_can_be_read_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filesync.engine.log.FLUSH_EVERY_S", 0)
    path = tmp_path / "log.gz"
    log = RunLog(path)

    log.write(b"one\n")
    log.write(b"two\n")

    with path.open("rb") as file:
        assert zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(file.read()) == b"one\ntwo\n"
    log.close()


def test_a_line_after_which_none_comes_can_be_read_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.gz"
    log = RunLog(path)
    log.write(b"one\n")
    log.write(b"two\n")
    log.flush_when_due()
    before = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(path.read_bytes())
    later_s = time.monotonic() + log_module.FLUSH_EVERY_S
    monkeypatch.setattr("filesync.engine.log.time.monotonic", lambda: later_s)
    log.flush_when_due()

    after = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(path.read_bytes())
    assert (before, after) == (b"one\n", b"one\ntwo\n")
    log.close()


def test_a_full_disk_costs_the_rest_of_the_log_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("filesync.engine.log.FLUSH_EVERY_S", 0)
    log = RunLog(Path("/dev/full"))

    log.write(b"one\n")
    log.write(random.randbytes(1 << 20).hex().encode() + b"\n")
    log.flush_when_due()
    log.close()
    log.close()


def test_a_disk_that_was_full_for_a_while_leaves_a_log_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filesync.engine.log.FLUSH_EVERY_S", 0)
    path = tmp_path / "log.gz"
    log = RunLog(path)
    log.write(b"one\n")

    def fail() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(log._file, "flush", fail)
        log.write(b"two\n")
    log.write(b"three\n")
    log.close()

    *_, last = gzip.decompress(path.read_bytes()).splitlines()
    assert last == CUT_MARK + b": 1 lines more are not in it"


def test_the_tail_is_bounded_in_lines_and_in_length() -> None:
    log = RunLog(None)
    lines = [b"%d " % number + b"x" * 100_000 for number in range(TAIL_LINES + 50)]
    for batch in (lines[:30], lines[30:]):
        log.remember(batch)
    assert len(log.tail) == TAIL_LINES
    assert log.tail[0].startswith("50 ")
    assert max(map(len, log.tail)) == 2000


@pytest.mark.parametrize("end", ["\n", "\r", "\u2028", "\x85", "\x1b[2J"])
def test_a_name_cannot_write_a_line_of_its_own(end: str) -> None:
    entry = {"time": "t", "level": "info", "msg": f"Copied{end}", "object": f"a{end}t ERROR    b"}
    shown = render_line(json.dumps(entry).encode())
    assert len(shown.splitlines()) == 1
    assert shown.isprintable()
    assert shown.startswith("t INFO     a\\")
    assert render_line(f"panic\t1{end.strip()}".encode()).replace("\t", "").isprintable()
