"""Which encodings of names keep a path below its root, and what a path is without them.

rclone writes a dot and a slash within a name as full-width letters, and makes the real ones of
them again. Where the storage's encoding does not turn those back, a name leads out of the root.
"""

from __future__ import annotations

from collections.abc import Mapping

from filesync.engine.errors import OptionRefused
from filesync.engine.texts import Text

_REAL = str.maketrans({"\N{FULLWIDTH FULL STOP}": ".", "\N{FULLWIDTH SOLIDUS}": "/"})
# Their servers take a path, in which ".." means the folder above.
_NEEDED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("ftp", "hdfs", "sftp", "webdav"), ("Slash", "Dot")),
    **dict.fromkeys(("filefabric", "filescom", "hidrive", "jottacloud"), ("Slash", "Dot")),
    **dict.fromkeys(("koofr", "mailru", "seafile", "sia", "yandex"), ("Slash", "Dot")),
    "smb": ("Slash", "Dot", "BackSlash"),
}


def as_sent(text: str) -> str:
    """Give a path or a name as a storage gets it whose encoding protects nothing."""
    return text.translate(_REAL)


def check_encoding(backend: str, options: Mapping[str, str]) -> None:
    """Raise OptionRefused for an encoding with which a name could lead out of the root."""
    value = options.get("encoding", "")
    needed = _NEEDED.get(backend, ())
    if value.strip() and not {*needed} <= {part.strip() for part in value.split(",")}:
        raise OptionRefused(
            Text(
                "{name} must hold {needed}: without it a name could lead out of the root",
                name="encoding",
                needed=",".join(needed),
            ),
            field="encoding",
        )
