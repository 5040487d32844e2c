"""A corpus of what a person with bad intent would try to save; no test stands here.

In every text {marker} is a file that a command would make, {outside} a folder beyond the roots
that holds a secret, and {root} the allowed root.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from filesync.engine import POLICY, REFUSED_BACKENDS

TOUCH = "touch {marker}"
URL = "http://127.0.0.1:1"


@dataclass(frozen=True, slots=True)
class HostileStorage:
    """A storage that must not be saved, tested or run."""

    backend: str
    options: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    root: str = ""


def refused_options() -> Iterator[HostileStorage]:
    """Give every refused option of every backend, with the value that would do the most harm."""
    for backend, policy in POLICY.items():
        root = "{root}" if backend == "local" else ""
        for name in policy.refused:
            value = TOUCH if name.endswith(("command", "ssh")) else "{outside}/secret"
            yield HostileStorage(backend, {name: value}, root=root)
            yield HostileStorage(backend, {}, {name: value}, root=root)


WRAPPED = ("{outside}", ":local:{outside}", ':sftp,ssh="touch {marker}":x', "src:", "/")
SPELLINGS = (
    "LOCAL",
    "local ",
    " local",
    "local\n",
    "loc\u0430l",
    ":local",
    "sftp,ssh=id",
    "",
    "..",
)


def refused_backends() -> Iterator[HostileStorage]:
    """Give the backends that wrap others, over what they must not reach, and odd spellings."""
    for backend in REFUSED_BACKENDS:
        for target in WRAPPED:
            yield HostileStorage(backend, {"remote": target, "upstreams": target})
    for backend in SPELLINGS:
        yield HostileStorage(backend, {}, {}, "{outside}")


KEYS = (
    *("global.metadata_mapper", "override.ssh", "override.metadata_mapper", "global.rc"),
    *("metadata_mapper", "name_transform", "ssh ", "SSH", "\u0455sh", "type", "remote", "rc_addr"),
    *("bearer_token_command\n", "a]\n[src", "url\ntype", "", "=", "vendor = x\nunix_socket"),
    *("server_command", "copy_links", "links", "proxy_command", "password_command", "config"),
)


def unknown_keys() -> Iterator[HostileStorage]:
    """Give keys that no policy knows: dotted, of rclone itself, of other backends, broken."""
    for key in KEYS:
        yield HostileStorage("webdav", {"url": URL, key: TOUCH})
        yield HostileStorage("webdav", {"url": URL}, {key: TOUCH})
    for key in ("global.metadata_mapper", "override.copy_links", "encoding", "links"):
        yield HostileStorage("local", {key: TOUCH}, root="{root}")


INJECTIONS = (
    "x\nbearer_token_command = touch {marker}",
    "x\r\nbearer_token_command = touch {marker}",
    "x\rbearer_token_command = touch {marker}",
    "x\n[src]\ntype = local",
    "x\0y",
    "http://evil/%(pass)s",
    "%(bearer_token)s",
    "`\nbearer_token_command = touch {marker}\n`",
    '"""\nbearer_token_command = touch {marker}\n"""',
    '`"""`',
)


def injected_values() -> Iterator[HostileStorage]:
    """Give values that would end their line, be quoted or be interpolated."""
    for value in INJECTIONS:
        yield HostileStorage("webdav", {"url": value})
        yield HostileStorage("sftp", {"host": value})
        if value != '`"""`':
            yield HostileStorage("webdav", {"url": URL, "user": value})
            yield HostileStorage("webdav", {"url": URL}, {"bearer_token": value})


ROOTS = (
    *("{outside}", "{outside}/", "/", "/etc", "/proc/self/root{outside}", "{root}/../outside"),
    *("{root}/./../outside", "{root}//..//outside", "..", "../outside", "outside", "~", "$HOME"),
    *("", ".", "{root}\nx", "{root}\0", "{root}/link", "{root}/link/deeper", "file://{outside}"),
    *(":local:{outside}", "src:{outside}", "local:{outside}", "{root}x", "\\{outside}"),
)


def outside_roots() -> Iterator[HostileStorage]:
    """Give roots of local storages that are not below the allowed one."""
    for root in ROOTS:
        yield HostileStorage("local", root=root)
    for root in (":local:/etc", "a/../../b", "..", "x\ny", ":sftp,ssh=id:", "b\0"):
        yield HostileStorage("webdav", {"url": URL}, root=root)


CREDENTIALS = (
    '{{"type": "external_account", "credential_source": {{"file": "{outside}/secret"}}}}',
    '{{"type": "external_account", "credential_source": {{"executable": '
    '{{"command": "touch {marker}"}}}}}}',
    "{outside}/secret",
)


def logins_of_the_server() -> Iterator[HostileStorage]:
    """Give credentials that would make rclone use a file, program or identity of the server."""
    for backend in ("drive", "google cloud storage"):
        for credentials in CREDENTIALS:
            yield HostileStorage(backend, {}, {"service_account_credentials": credentials})
    for options in ({}, {"anonymous": "false"}, {"project_number": "1"}):
        yield HostileStorage("google cloud storage", options, root="bucket")
    for token in ("x", "{{}}", '{{"access_token": 1}}', "[" * 5000):
        yield HostileStorage("google cloud storage", {}, {"token": token}, "bucket")


def storages() -> list[HostileStorage]:
    return [
        *refused_options(),
        *refused_backends(),
        *unknown_keys(),
        *injected_values(),
        *outside_roots(),
        *logins_of_the_server(),
    ]


PATHS = (
    *("..", "../outside", "a/../../outside", "./../outside", "a/./.././../outside", "/../outside"),
    *(":local:{outside}", ":local,copy_links:{outside}", "local:{outside}", "src:x", "dst:"),
    *(':sftp,ssh="touch {marker}":x', "c:x", "\n..", "a\nb", "a\0b", "a\x1bb", "link", "link/x"),
    "link/../../outside",
)
FILTERS = (
    *("! ", "!", "- a\r! ", "+ a\x00b", "include *", "--filter-from {outside}/secret", "*.jpg"),
    *("+ {{{{(}}}}", "- [", "- a]", "- {{a", "@{outside}/secret", "+", "-", "+\t", "- ***"),
    *(". {outside}/secret", "+x", "-- /", "H x", "R x"),
)
LIMITS = ("1M --rc", "08:00,1M --ask-password", "$(touch {marker})", "`id`", "1M\n--rc", "fast")
