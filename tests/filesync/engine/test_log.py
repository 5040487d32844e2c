"""The log keeps what happened and never a secret, in bounded space."""

from __future__ import annotations

import gzip
import json
import random
import time
import zlib
from pathlib import Path

import pytest

from filesync.engine import Remote
from filesync.engine import log as log_module
from filesync.engine.log import CUT_MARK, MIN_SECRET_CHARS, TAIL_LINES, Redactor, RunLog, secrets_of


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("hunter2", "pass hunter2 end"),
        ("p@ss/word", "http://u:p%40ss%2Fword@h/"),
        ('quo"te\\d', json.dumps({"msg": 'quo"te\\d'})),
        ("\u5bc6\u7801\u5bc6\u7801", "x \u5bc6\u7801\u5bc6\u7801 y"),
    ],
)
def test_a_secret_is_blanked_in_every_spelling(secret: str, text: str) -> None:
    blanked = Redactor([secret])(text.encode()).decode()
    assert "[secret]" in blanked
    assert secret not in blanked


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


def test_the_tail_is_bounded_in_lines_and_in_length() -> None:
    log = RunLog(None)
    lines = [b"%d " % number + b"x" * 100_000 for number in range(TAIL_LINES + 50)]
    for batch in (lines[:30], lines[30:]):
        log.remember(batch)
    assert len(log.tail) == TAIL_LINES
    assert log.tail[0].startswith("50 ")
    assert max(map(len, log.tail)) == 2000
