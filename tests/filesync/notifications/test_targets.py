"""Which targets are allowed, what is refused when, and that no secret gets out."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from contextlib import suppress
from html import unescape
from pathlib import Path
from unittest.mock import Mock
from urllib.parse import urlsplit

import apprise
import pytest
import requests
from apprise.apprise import N_MGR
from pytest_django.fixtures import SettingsWrapper

from filesync.notifications import network
from filesync.notifications.mentions import CHATS, without_mentions
from filesync.notifications.schemes import SCHEMES
from filesync.notifications.targets import (
    Message,
    SendFailed,
    TargetRefused,
    check_ping_url,
    check_target,
    scrubbed,
    send_message,
    send_ping,
)
from tests.servers.process import free_port
from tests.servers.webhook import MailServer, WebhookReceiver

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]
HELLO = Message("hello", "how are you", "info")


@pytest.fixture
def loopback_allowed(settings: SettingsWrapper) -> None:
    settings.NOTIFY_NETWORKS = LOOPBACK


@pytest.mark.parametrize(
    "url",
    [
        "syslog://",
        "dbus://",
        "qt://",
        "kde://",
        "glib://",
        "gnome://",
        "windows://",
        "macosx://",
        "blink1://",
        "rsyslog://203.0.113.5",
        "growl://203.0.113.5",
        "mqtt://203.0.113.5/topic",
        "irc://203.0.113.5/room",
        "file:///etc/passwd",
        "no scheme at all",
        "",
    ],
)
def test_what_acts_on_this_machine_or_speaks_other_protocols_is_refused(url: str) -> None:
    with pytest.raises(TargetRefused, match="it must begin with one of"):
        check_target(url)


@pytest.mark.parametrize(
    "url",
    [
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?template=/etc/passwd",
        "mailto://u:p@example.org?pgpkey=/etc/passwd",
        "mailto://u:p@example.org?PGP=yes",
    ],
)
def test_options_that_read_a_file_of_the_server_are_refused(url: str) -> None:
    with pytest.raises(TargetRefused, match="would read a file"):
        check_target(url)


def test_every_allowed_scheme_is_known_to_apprise_and_speaks_http_or_mail() -> None:
    for scheme in SCHEMES:
        module = N_MGR[scheme].__module__
        source = Path(apprise.__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
        assert "import requests" in source.read_text() or ".email." in module, scheme


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.5.4",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "a host name",
    ],
)
def test_addresses_that_are_not_public_are_not_permitted(address: str) -> None:
    assert not network.is_permitted(address, [])


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_public_addresses_are_permitted(address: str) -> None:
    assert network.is_permitted(address, [])


def test_an_allowed_network_is_permitted_and_no_other() -> None:
    assert network.is_permitted("127.0.0.9", LOOPBACK)
    assert not network.is_permitted("10.0.0.1", LOOPBACK)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1"])
def test_a_private_target_is_refused_when_it_is_used(host: str) -> None:
    port = free_port()
    with pytest.raises(TargetRefused, match=r"private network|no complete"):
        send_message(f"json://{host}:{port}/", HELLO)
    with pytest.raises(TargetRefused, match="private network"):
        send_ping(f"http://{host}:{port}/", "start")


@pytest.mark.parametrize("url", ["json://127.0.0.1/", "json://localhost:80/", "ntfy://10.1.2.3/x"])
def test_a_private_target_is_refused_when_it_is_saved(url: str) -> None:
    with pytest.raises(TargetRefused, match="SYNCBEAT_NOTIFY_NETWORKS"):
        check_target(url)


def test_a_name_that_resolves_to_another_address_when_it_is_used_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The name is public when it is looked up beforehand, and loopback when it is connected to."""
    answers = iter(["93.184.216.34"] * 2)
    with WebhookReceiver() as receiver:
        port = int(receiver.address.rpartition(":")[2])

        def rebinding(*_: object, **__: object) -> list[object]:
            address = next(answers, "127.0.0.1")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        check_target(f"json://rebind.example.org:{port}/")
        next(answers)
        with pytest.raises(TargetRefused, match="private network"):
            send_message(f"json://rebind.example.org:{port}/", HELLO)
    assert receiver.paths == []


@pytest.mark.usefixtures("loopback_allowed")
def test_a_ping_does_not_follow_a_redirect() -> None:
    with WebhookReceiver() as receiver:
        receiver.status, receiver.location = 302, "http://169.254.169.254/latest"
        with pytest.raises(SendFailed, match="302"):
            send_ping(f"http://{receiver.address}/x", "")
    assert receiver.paths == ["/x"]


@pytest.mark.usefixtures("loopback_allowed")
def test_a_message_arrives_over_http_and_by_mail() -> None:
    with WebhookReceiver() as receiver, MailServer() as mail:
        send_message(f"json://{receiver.address}/hook", HELLO)
        send_message(mail.url, HELLO)
    assert [(body["title"], body["message"]) for body in receiver.bodies] == [
        ("hello", "how are you")
    ]
    (arrived,) = mail.mails
    assert arrived["Subject"] == "hello"
    assert "how are you" in arrived.as_string()


LURE = Message(
    "<b>photos</b> failed",
    'Reason: <a href="https://evil.example/login">sign in</a> & more\n\nNext step: look at it',
    "failure",
)


@pytest.mark.usefixtures("loopback_allowed")
@pytest.mark.parametrize("options", ["", "&format=html", "&format=markdown"])
def test_markup_in_a_name_is_no_markup_in_a_mail(options: str) -> None:
    with MailServer() as mail:
        send_message(mail.url + options, LURE)

    (arrived,) = mail.mails
    plain, html = (arrived.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert "<a href=" not in (html.get_content() if html else "")
    if not options:
        assert arrived["Subject"] == LURE.title
        assert html is None
        assert plain.get_content().strip().splitlines() == LURE.body.splitlines()


@pytest.mark.usefixtures("loopback_allowed")
def test_a_webhook_gets_the_text_as_it_is() -> None:
    with WebhookReceiver() as receiver:
        send_message(f"json://{receiver.address}/hook", LURE)

    assert [(body["title"], body["message"]) for body in receiver.bodies] == [
        (LURE.title, LURE.body)
    ]


def test_markup_in_a_name_is_no_markup_in_telegram(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes HTML only, and its title is a part of the body."""
    post = Mock(return_value=Mock(status_code=200, content=b'{"ok": true, "result": {}}'))
    monkeypatch.setattr(requests, "post", post)

    send_message("tgram://123456789:abcdefg_hijklmnop/12315544/", LURE)

    text = json.loads(post.call_args.kwargs["data"])["text"]
    assert "<a" not in text
    assert "<b><b>" not in text
    assert "&lt;b&gt;photos&lt;/b&gt; failed" in text
    assert "sign in&lt;/a&gt; &amp; more\r\nNext step" in text


UUID = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
SERVICES = {
    f"dingtalk://{'a' * 64}/": "oapi.dingtalk.com",
    f"dingtalk://SECabc123@{'a' * 64}/13812345678": "oapi.dingtalk.com",
    f"wecombot://{UUID}": "qyapi.weixin.qq.com",
    f"feishu://{UUID}": "open.feishu.cn",
    f"lark://{UUID}": "open.larksuite.com",
    "schan://SCT123abc": "sctapi.ftqq.com",
    "bark://bark.example.org/devicekey": "bark.example.org",
    "barks://api.day.app/devicekey": "api.day.app",
    "tgram://123456789:abcdefg_hijklmnop/12315544/": "api.telegram.org",
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general": "hooks.slack.com",
    "jsons://example.org/hook": "example.org",
    "forms://example.org/hook": "example.org",
    "xmls://example.org/hook": "example.org",
}


@pytest.mark.parametrize(("url", "host"), SERVICES.items())
def test_a_named_service_is_allowed_and_gets_title_and_text(
    monkeypatch: pytest.MonkeyPatch, url: str, host: str
) -> None:
    """The services themselves are on the internet: what is handed to `requests` is looked at."""
    taken = b'{"ok": true, "code": 0, "errcode": 0, "StatusCode": 0, "result": {}}'
    content = b"ok" if url.startswith("slack") else taken
    request = Mock(return_value=Mock(status_code=200, content=content, text=content.decode()))
    monkeypatch.setattr(requests.Session, "request", request)
    check_target(url)

    send_message(url, HELLO)

    sent = request.call_args.kwargs
    assert (sent["method"].lower(), urlsplit(sent["url"]).hostname) == ("post", host)
    payload = sent["data"]
    said = json.dumps(payload) if isinstance(payload, dict) else payload
    said = said.decode() if isinstance(said, bytes) else str(said)
    assert HELLO.title in said
    assert HELLO.body in said


@pytest.mark.parametrize(
    "url",
    [
        "mailtos://user:password@example.org",
        "mailto://user:password@example.org?to=ops@example.org",
        "mailtos://example.org:465?smtp=mail.example.org&from=a@example.org&to=b@example.org",
    ],
)
def test_a_mail_account_is_allowed(url: str) -> None:
    check_target(url)


@pytest.mark.usefixtures("loopback_allowed")
def test_a_message_arrives_at_a_bark_server_of_one_s_own() -> None:
    with WebhookReceiver() as receiver:
        send_message(f"bark://{receiver.address}/devicekey", HELLO)
    (body,) = receiver.bodies
    assert (receiver.paths, body["title"], body["body"]) == (["/push"], HELLO.title, HELLO.body)


@pytest.mark.usefixtures("loopback_allowed")
def test_a_dead_target_says_why_without_its_secrets() -> None:
    url = f"json://user:canary-password@127.0.0.1:{free_port()}/canary-path?+X=canary-value"
    with pytest.raises(SendFailed) as failed:
        send_message(url, HELLO)
    assert "canary" not in str(failed.value)
    assert "onnection error" in str(failed.value)


def test_scrubbed_removes_every_part_of_the_url_that_may_be_secret() -> None:
    url = "json://user:s3cr%20et@example.org/to%2Fken/?key=va%20lue"
    text = scrubbed("user s3cr et to/ken va lue example.org /to%2Fken/ ok", url)
    assert text == "*** *** *** *** *** *** ok"


@pytest.mark.parametrize(
    ("word", "path"), [("start", "/ping/abc/start"), ("", "/ping/abc"), ("fail", "/ping/abc/fail")]
)
@pytest.mark.usefixtures("loopback_allowed")
def test_a_ping_goes_to_the_path_that_monitors_expect(word: str, path: str) -> None:
    with WebhookReceiver() as receiver:
        send_ping(f"http://{receiver.address}/ping/abc", word)
    assert receiver.paths == [path]


@pytest.mark.usefixtures("loopback_allowed")
def test_a_ping_keeps_its_query() -> None:
    with WebhookReceiver() as receiver:
        send_ping(f"http://{receiver.address}/ping/?key=1", "start")
    assert receiver.paths == ["/ping/start?key=1"]


@pytest.mark.parametrize(
    "url", ["ftp://example.org/x", "https://", "example.org/x", "http://a b", "http://x.org/#a"]
)
def test_a_ping_url_that_is_no_http_address_is_refused(url: str) -> None:
    with pytest.raises(TargetRefused):
        check_ping_url(url)


def test_connections_outside_a_guarded_block_are_left_alone() -> None:
    with WebhookReceiver() as receiver:
        host, _, port = receiver.address.rpartition(":")
        with pytest.raises(network.AddressRefused), network.guarded([]):
            socket.create_connection((host, int(port)))
        socket.create_connection((host, int(port))).close()


ID = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
NAMED = Message(
    "@everyone failed",
    '<at user_id="all">x</at> @channel a@here @all <!channel> <@U123> @**all** <users/all> <#C1>',
    "failure",
)
MENTION = re.compile(r"@(?:everyone|channel|here|all|[*]{2})|<(?:at|!|@|users|#)")


@pytest.mark.parametrize(
    "url",
    [
        f"feishu://{ID}",
        f"lark://{ID}",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "mmosts://example.org/3ccdd113474722377935511fc85d3dd4",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general",
        "gchat://workspace/key/token",
        f"wecombot://{ID}",
        f"zulip://bot@org/{'a' * 32}/stream",
        f"dingtalk://{'a' * 64}/",
    ],
)
def test_a_name_calls_nobody_in_a_chat(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"ok": True, "code": 0, "errcode": 0, "StatusCode": 0, "result": "success"}
    reply = Mock(status_code=200, content=json.dumps(body).encode(), text="ok")
    request = Mock(return_value=reply)
    monkeypatch.setattr(requests.Session, "request", request)
    with suppress(SendFailed):
        send_message(url, NAMED)
    sent = request.call_args.kwargs
    payload = sent.get("json") or sent.get("data")
    fields = json.loads(payload) if isinstance(payload, str | bytes) else payload
    text = json.dumps(fields, ensure_ascii=False)
    assert "failed" in text
    assert not MENTION.search(unescape(text))


def test_what_calls_nobody_is_left_as_it_is() -> None:
    plain = "kim@example.org:/a@b, 1 < 2, <b>, <atom>, a @ b"
    assert without_mentions(plain) == plain
    assert CHATS < SCHEMES
    assert not CHATS & {"mailto", "json", "xml", "form"}
