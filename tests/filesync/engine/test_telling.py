"""A secret within a name hides no file, and stays out of what rclone says of it."""

from __future__ import annotations

import json

import pytest

from filesync.engine import Action, Encryption, Endpoint, FailureClass, ItemDone, Method, Remote
from filesync.engine.log import Redactor
from filesync.engine.messages import Copied, Problem, Remark
from filesync.engine.telling import told
from tests.filesync.engine.lab import Lab, write_tree

SECRET = "photo"
blank = Redactor([SECRET])


def line(level: str, text: str, path: str) -> bytes:
    entry = {
        "time": "2026-03-01T02:00:01Z",
        "level": level,
        "msg": text,
        "object": path,
        "objectType": "*local.Object",
        "source": "x.go:1",
    }
    return json.dumps(entry, separators=(",", ":")).encode()


def test_a_name_is_told_and_logged_as_it_is() -> None:
    copied = line("info", "Copied (new)", "photos/1.jpg")
    [(logged, message)] = told([copied], blank)
    assert logged == copied
    assert isinstance(message, Copied)
    assert message.path == "photos/1.jpg"


def test_an_error_keeps_the_name_and_loses_the_secret() -> None:
    failed = line("error", "Failed to copy: http://u:photo@host: permission denied", "photos/1.jpg")
    [(logged, message)] = told([failed], blank)
    assert SECRET.encode() not in logged
    assert isinstance(message, Problem)
    assert message.path == "photos/1.jpg"
    assert SECRET not in message.text
    assert message.failure_class is FailureClass.PERMISSION


@pytest.mark.parametrize("secret", ["two\nlines", "photo"])
def test_plain_lines_are_blanked_one_for_one(secret: str) -> None:
    lines = ["begins with two", "lines, and a photo", "end"]
    read = list(told([text.encode() for text in lines], Redactor([secret])))
    assert len(read) == 3
    assert all(isinstance(message, Remark) for _, message in read)
    assert (secret == "photo") == (b"photo" not in read[1][0])


def test_a_run_tells_the_files_whose_names_hold_the_password_of_the_storage(lab: Lab) -> None:
    store = lab.root / "files" / "store"
    store.mkdir()
    remote = Remote("local", str(store), encryption=Encryption(password=SECRET, salt=""))
    write_tree(lab.source, {"photos/1.jpg": "one", "docs/2": "two"})
    request = lab.asking(Method.INCREMENTAL, destination=Endpoint(remote, "d"))

    ran = lab.run(request)

    added = {
        event.path
        for event in ran.events
        if isinstance(event, ItemDone) and event.action is Action.ADDED
    }
    assert added == {"photos/1.jpg", "docs/2"}
