"""Targets of messages: whether one may be used, and how it is sent to."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import apprise
import requests
from apprise.conversion import convert_between
from django.conf import settings

from filesync.engine.texts import Text
from filesync.errors import FilesyncError
from filesync.notifications.mentions import CHATS, without_mentions
from filesync.notifications.network import (
    CUT_AFTER_S,
    AddressRefused,
    TooSlow,
    guarded,
    is_permitted,
    refusal,
    resolve,
)
from filesync.notifications.schemes import FILE_OPTIONS, SCHEMES

PING_TIMEOUT_S = (4.0, 6.0)
SHORTEST_SECRET = 4
LONGEST_REASON = 500
_PLAIN = apprise.NotifyFormat.TEXT

Severity = Literal["info", "success", "warning", "failure"]


class TargetRefused(FilesyncError):
    """A target that may not be used as it is; trying again does not help."""

    code = "target_refused"
    retryable = False


class SendFailed(FilesyncError):
    """The target did not take a message; it may do so later."""

    code = "send_failed"
    retryable = True


@dataclass(frozen=True, slots=True)
class Message:
    """What is told: `severity` is apprise's word for the colour of it."""

    title: str
    body: str
    severity: Severity


def scheme_of(url: str) -> str:
    return url.partition("://")[0].strip().lower() if "://" in url else ""


def check_target(url: str) -> None:
    """Refuse a URL that apprise or Syncbeat cannot use, or whose host is in a private network.

    A host that does not resolve now passes: it is asked again when something is sent.

    Raises:
        TargetRefused: with what is wrong; never with the URL, which holds secrets.
    """
    plugin = _plugin(url)
    _check_host(str(getattr(plugin, "smtp_host", "") or "") or _host(url))


def check_ping_url(url: str) -> None:
    """Refuse a ping URL that is no HTTP address, or whose host is in a private network.

    Raises:
        TargetRefused: with what is wrong.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise TargetRefused(Text("a ping URL begins with http:// or https:// and names a host"))
    if parts.fragment or any(character.isspace() for character in url):
        raise TargetRefused(Text("a ping URL has no blanks and no #"))
    _check_host(host)


def send_message(url: str, message: Message) -> None:
    """Send one message through apprise, in this thread, as the plain text that it is.

    Raises:
        TargetRefused: the target may not be used.
        SendFailed: it did not take the message.
    """
    plugin = _plugin(url)
    if scheme_of(url) in CHATS:
        message = replace(
            message,
            title=without_mentions(message.title),
            body=without_mentions(message.body),
        )
    # Names of files stand in it, and Telegram's plugin does not convert what it is handed alone.
    spoken = plugin.resolve_format(_PLAIN)
    heading = spoken if plugin.title_maxlen <= 0 else _PLAIN
    with _complaints() as complaints, _guarded():
        taken = plugin.notify(
            title=convert_between(_PLAIN, heading, message.title),  # type: ignore[no-untyped-call]
            body=convert_between(_PLAIN, spoken, message.body),  # type: ignore[no-untyped-call]
            body_format=spoken,
            notify_type=apprise.NotifyType(message.severity),
        )
    if not taken:
        said = scrubbed("; ".join(complaints), url)
        raise SendFailed(said or Text("the target did not take it"))


def send_ping(url: str, suffix: str) -> None:
    """Call a ping URL in the manner of healthchecks.io: /start, the plain URL, or /fail.

    Raises:
        TargetRefused: the URL may not be used.
        SendFailed: it did not answer with success.
    """
    check_ping_url(url)
    parts = urlsplit(url)
    path = parts.path.rstrip("/") + (f"/{suffix}" if suffix else "")
    address = parts._replace(path=path).geturl()
    try:
        with _guarded():
            answer = requests.get(
                address,
                timeout=PING_TIMEOUT_S,
                allow_redirects=False,
                headers={"User-Agent": "Syncbeat"},
                stream=True,
            )
            answer.close()
    except requests.RequestException as error:
        raise SendFailed(
            Text("the ping URL did not answer ({kind})", kind=type(error).__name__)
        ) from None
    if not 200 <= answer.status_code < 300:
        raise SendFailed(Text("the ping URL answered {code}", code=answer.status_code))


def scrubbed(text: str, url: str) -> str:
    """Return `text` without any part of `url` that may be a secret."""
    parts = urlsplit(url)
    pieces = {unquote(piece) for piece in parts.path.split("/")}
    pieces |= {unquote(piece) for piece in parts.netloc.replace("@", ":").split(":")}
    pieces |= {value for _, value in parse_qsl(parts.query)} | {parts.path, url}
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) >= SHORTEST_SECRET:
            text = text.replace(piece, "***")
    return text[:LONGEST_REASON]


def _plugin(url: str) -> apprise.NotifyBase:
    scheme = scheme_of(url)
    if scheme not in SCHEMES:
        raise TargetRefused(
            Text(
                "{scheme} cannot be used; it must begin with one of {known}",
                scheme=scheme or Text("a URL without ://"),
                known=", ".join(sorted(SCHEMES)),
            )
        )
    named = {name.lower().lstrip("+-:") for name, _ in parse_qsl(urlsplit(url).query)}
    if files := named & FILE_OPTIONS:
        raise TargetRefused(
            Text(
                "{names} would read a file of the server: leave out", names=", ".join(sorted(files))
            )
        )
    asset = apprise.AppriseAsset(
        app_id="Syncbeat",
        app_desc="Syncbeat",
        app_url=settings.PUBLIC_URL,
        storage_mode="memory",
        secure_logging=True,
        async_mode=False,
    )
    with _complaints():
        plugin = apprise.Apprise.instantiate(url, asset=asset)
    if not isinstance(plugin, apprise.NotifyBase):
        raise TargetRefused(
            Text(
                "this is no complete {scheme}:// URL; apprise's documentation shows its parts",
                scheme=scheme,
            )
        )
    return plugin


def _host(url: str) -> str:
    """Return the host of a URL, empty for a service whose URL holds a token in its place."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        raise TargetRefused(Text("the host or port of the URL cannot be read")) from None
    return host if "." in host or ":" in host or host == "localhost" else ""


def _check_host(host: str) -> None:
    if not host:
        return
    try:
        addresses = resolve(host)
    except (OSError, UnicodeError):
        return
    for address in addresses:
        if not is_permitted(address, settings.NOTIFY_NETWORKS):
            raise TargetRefused(refusal(address))


@contextmanager
def _guarded() -> Iterator[None]:
    try:
        with guarded(settings.NOTIFY_NETWORKS):
            yield
    except AddressRefused as error:
        raise TargetRefused(error.args[0]) from None
    except TooSlow:
        text = Text("the target was not done within {seconds} seconds", seconds=CUT_AFTER_S)
        raise SendFailed(text) from None


class _Complaints(logging.Handler):
    """Collects what apprise logs in one thread: it says why only there."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread = threading.get_ident()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            self.said.append(record.getMessage())


@contextmanager
def _complaints() -> Iterator[list[str]]:
    handler = _Complaints()
    logger = logging.getLogger("apprise")
    logger.addHandler(handler)
    try:
        yield handler.said
    finally:
        logger.removeHandler(handler)
