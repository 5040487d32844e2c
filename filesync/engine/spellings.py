"""In which spellings rclone may print a secret, and which parts of one are secrets themselves."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

_GO_ESCAPES = {
    **{'"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f"},
    **{"\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"},
}
_FIELD = r'(?:"(?:[^"]|"")*"|[^",]*)'
_FIELDS = re.compile(rf"{_FIELD}(?:,{_FIELD})*")
#: What follows the name of an option that rclone could not read: its value, more than once. In a
#: line of JSON up to the end of the message, elsewhere up to the end of the line.
UNREAD_VALUE = re.compile(
    rb'(?<=couldn\'t parse config item )(?:(\\"[a-z0-9_]+\\")(?:\\.|[^"\\\n])*|("[a-z0-9_]+").*)'
)
# What names a login in an address of Azure.
_SIGNATURE = "sig"


def spellings(secret: str) -> Iterator[str]:
    """Yield how a log may show a text: as it is, in an address, quoted by Go, within JSON."""
    for text in (secret, go_quoted(secret), quote(secret, safe=""), quote_plus(secret)):
        yield text
        # Go leaves letters beyond ASCII as they are, our own lines do not.
        yield json.dumps(text, ensure_ascii=False)[1:-1]
        yield json.dumps(text)[1:-1]


def go_quoted(text: str) -> str:
    """Give a text as Go's %q writes it, without the quotes around it."""
    return "".join(map(_go_quoted_character, text))


def _go_quoted_character(character: str) -> str:
    code = ord(character)
    if character in _GO_ESCAPES:
        return _GO_ESCAPES[character]
    if 0xDC80 <= code <= 0xDCFF:
        # A byte that is no UTF-8, as Python keeps it.
        return f"\\x{code - 0xDC00:02x}"
    if character.isprintable():
        return character
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def header_fields(value: str) -> list[str] | None:
    """Give the fields of rclone's `headers`: name, value, name, value; None where it reads none."""
    # A header is one line, also within quotes.
    if not _FIELDS.fullmatch(value) or {"\n", "\r"} & set(value):
        return None
    fields = next(csv.reader([value]))
    return fields if len(fields) % 2 == 0 and all(fields[::2]) else None


def parts_of(name: str, value: str) -> list[str]:
    """Give what is printed of a secret by itself: a header's value, the signature of an address."""
    if name == "headers":
        headers = (header_fields(value) or [])[1::2]
        # "Bearer" and the like stand apart from the token.
        return [part for header in headers for part in (header, header.rpartition(" ")[2])]
    if "://" in value:
        return [text for key, text in parse_qsl(urlsplit(value).query) if key == _SIGNATURE]
    return []
