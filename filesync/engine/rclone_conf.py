"""Read an existing rclone.conf: which of its remotes can be ours, and what must stay behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from filesync.engine import ini, options
from filesync.engine.errors import OptionRefused
from filesync.engine.request import Encryption, NameEncryption, Remote

_ENCRYPTED = "RCLONE_ENCRYPT_V0"
_MAX_DEPTH = 8
# Options of crypt with which files would be written that Syncbeat could not read.
_CRYPT_DEFAULTS: Mapping[str, str] = {
    "filename_encoding": "base32",
    "no_data_encryption": "false",
    "suffix": ".bin",
}


@dataclass(frozen=True, slots=True)
class Imported:
    """One section: the remote it becomes, or why it becomes none; `left_out` says which options
    were refused, and why.
    """

    name: str
    remote: Remote | None
    left_out: tuple[str, ...] = ()
    why_not: str = ""


def read_rclone_conf(text: str) -> tuple[Imported, ...]:
    """Give what each section of an rclone.conf becomes; raises OptionRefused for no such file.

    crypt over another section becomes that one's remote with encryption, alias its remote with a
    longer root.
    """
    if _ENCRYPTED in text[:4096]:
        raise OptionRefused(
            "the file is encrypted: take its encryption away in a copy first "
            "(rclone config encryption remove --config COPY)"
        )
    sections = ini.read_ini(text)
    if not sections:
        raise OptionRefused("no section was found: this is no rclone.conf")
    return tuple(_imported(name, sections) for name in sections)


def _imported(name: str, sections: Mapping[str, Mapping[str, str]]) -> Imported:
    left_out: list[str] = []
    try:
        remote = _remote(name, sections, left_out, depth=0)
    except OptionRefused as error:
        return Imported(name, None, tuple(left_out), error.message)
    return Imported(name, remote, tuple(left_out))


def _remote(
    name: str, sections: Mapping[str, Mapping[str, str]], left_out: list[str], *, depth: int
) -> Remote:
    section = sections[name]
    backend = section.get("type", "")
    if depth > _MAX_DEPTH:
        raise OptionRefused(f"{name} leads in a circle")
    if backend == "alias":
        return _below(section, sections, left_out, depth)
    if backend == "crypt":
        base = _below(section, sections, left_out, depth)
        if base.encryption is not None:
            raise OptionRefused("it encrypts what is encrypted already")
        return replace(base, encryption=_encryption(section))
    policy = options.policy_of(backend)
    plain: dict[str, str] = {}
    secret: dict[str, str] = {}
    for option, value in section.items():
        if option == "type" or not value:
            continue
        kind = policy.classify(option)
        if kind is options.OptionClass.PLAIN:
            plain[option] = value
        elif kind is options.OptionClass.SECRET:
            secret[option] = _revealed(option, value) if option in policy.obscured else value
        else:
            left_out.append(f"{option}: {policy.refused.get(option, 'it is not known')}")
    return Remote(backend, "", plain, secret)


def _below(
    section: Mapping[str, str],
    sections: Mapping[str, Mapping[str, str]],
    left_out: list[str],
    depth: int,
) -> Remote:
    """Give the remote that `remote = section:path` names, its root set to the path."""
    target = section.get("remote", "")
    name, colon, path = target.partition(":")
    if target.startswith("/"):
        return Remote("local", target)
    if not colon or name not in sections:
        raise OptionRefused(f"it stands over {target!r}, and there is no section {name!r}")
    base = _remote(name, sections, left_out, depth=depth + 1)
    if base.encryption is not None and path:
        raise OptionRefused(
            f"it names a folder of {name}, which is encrypted; give the sync that path instead"
        )
    if path.startswith("/"):
        return replace(base, root=path)
    return replace(base, root="/".join(part for part in (base.root, path) if part))


def _encryption(section: Mapping[str, str]) -> Encryption:
    for option, default in _CRYPT_DEFAULTS.items():
        if section.get(option, default) not in ("", default):
            raise OptionRefused(f"its {option} is not {default!r}, which is not offered here")
    try:
        names = NameEncryption(section.get("filename_encryption") or "standard")
    except ValueError:
        raise OptionRefused("its filename_encryption is not known") from None
    return Encryption(
        password=_revealed("password", section.get("password", "")),
        salt=_revealed("password2", section.get("password2", "")),
        names=names,
        folders=section.get("directory_name_encryption", "true") != "false",
    )


def _revealed(option: str, value: str) -> str:
    try:
        return ini.reveal(value) if value else ""
    except ValueError:
        raise OptionRefused(f"its {option} is not obscured as rclone writes it") from None
