"""Channels in API and admin: the URL goes in and never comes out, Test says why not."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import SettingsWrapper

from filesync.models import NotificationChannel, SyncConfig
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import client_of, make_config, make_user
from tests.servers.process import free_port
from tests.servers.webhook import WebhookReceiver

pytestmark = pytest.mark.django_db

CHANNELS = "/api/v1/notifications/channels"
CANARY = "canary-51c7"


@pytest.fixture(name="hook")
def open_hook(settings: SettingsWrapper) -> Iterator[WebhookReceiver]:
    settings.NOTIFY_NETWORKS = [ipaddress.ip_network("127.0.0.1")]
    with WebhookReceiver() as receiver:
        yield receiver


def admin_client() -> Client:
    client = Client()
    client.force_login(make_user("superuser"))
    return client


def test_a_posted_channel_is_stored_encrypted_and_never_shown(
    local_root: Path, hook: WebhookReceiver
) -> None:
    config = make_config(local_root)
    url = f"json://{hook.address}/{CANARY}"
    client = client_of("superuser")

    answer = client.post(
        CHANNELS, {"name": "ops", "url": url, "events": ["FAILURE"], "configs": [config.pk]}
    )

    assert answer.status_code == 201, answer.content
    channel = NotificationChannel.objects.get()
    assert (channel.url, channel.scheme, channel.events) == (url, "json", ["FAILURE"])
    assert list(channel.configs.all()) == [config]
    assert CANARY not in channel.encrypted_url
    pages = [answer, client.get(CHANNELS), client.get(f"{CHANNELS}/{channel.pk}")]
    assert CANARY not in "".join(page.content.decode() for page in pages)
    assert "Location" not in answer.headers


def test_a_channel_keeps_its_url_when_only_other_fields_change(hook: WebhookReceiver) -> None:
    client = client_of("superuser")
    client.post(CHANNELS, {"name": "ops", "url": f"json://{hook.address}/"})
    channel = NotificationChannel.objects.get()
    assert "NOTHING_TO_DO" not in channel.events
    answer = client.patch(f"{CHANNELS}/{channel.pk}", {"enabled": False})
    assert answer.status_code == 200
    channel.refresh_from_db()
    assert (channel.enabled, channel.url) == (False, f"json://{hook.address}/")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "syslog://"}, "url"),
        ({"url": "json://10.0.0.1/"}, "url"),
        ({"url": "ntfys://ntfy.example.org/x", "events": ["NO_SUCH"]}, "events"),
        ({"url": "ntfys://ntfy.example.org/x", "configs": [999]}, "configs"),
        ({}, "url"),
    ],
)
def test_a_refused_channel_says_so_at_the_field(body: dict[str, object], field: str) -> None:
    answer = client_of("superuser").post(CHANNELS, {"name": "ops", **body})
    assert answer.status_code == 400
    assert list(answer.json()) == [field]


def test_test_sends_one_message_and_keeps_the_outcome(hook: WebhookReceiver) -> None:
    client = client_of("superuser")
    pk = client.post(CHANNELS, {"name": "ops", "url": f"json://{hook.address}/"}).json()["id"]
    assert client.post(f"{CHANNELS}/{pk}/test").json() == {"sent": True, "detail": ""}
    assert hook.titles == ["Syncbeat: test of ops"]
    assert client.get(f"{CHANNELS}/{pk}").json()["last_sent_at"] is not None

    hook.status = 500
    answer = client.post(f"{CHANNELS}/{pk}/test").json()
    assert answer["sent"] is False
    assert "500" in answer["detail"]
    assert client.get(f"{CHANNELS}/{pk}").json()["last_error"] == answer["detail"]


def channel_form(**changes: str) -> dict[str, object]:
    return {"name": "ops", "enabled": "on", "events": ["FAILURE", "GUARD"], "remark": "", **changes}


def test_the_admin_form_takes_the_url_and_never_shows_it(hook: WebhookReceiver) -> None:
    client = admin_client()
    url = f"json://{hook.address}/{CANARY}"
    added = client.post(
        reverse("admin:filesync_notificationchannel_add"), channel_form(new_url=url)
    )
    assert added.status_code == 302
    channel = NotificationChannel.objects.get()
    assert (channel.url, channel.events) == (url, ["FAILURE", "GUARD"])

    change = reverse("admin:filesync_notificationchannel_change", args=[channel.pk])
    assert CANARY not in client.get(change).content.decode()
    assert client.post(change, channel_form(name="renamed")).status_code == 302
    channel.refresh_from_db()
    assert (channel.name, channel.url) == ("renamed", url)


@pytest.mark.parametrize(
    ("url", "said"), [("", "needs a URL"), ("dbus://", "begin with"), ("json://[::1]/", "private")]
)
def test_the_admin_form_refuses_what_cannot_be_used(url: str, said: str) -> None:
    answer = admin_client().post(
        reverse("admin:filesync_notificationchannel_add"), channel_form(new_url=url)
    )
    assert answer.status_code == 200
    assert said in str(answer.context["adminform"].form.errors)
    assert not NotificationChannel.objects.exists()


def save_channel(url: str) -> NotificationChannel:
    channel = NotificationChannel(name="ops")
    channel.url = url
    channel.save()
    return channel


def button_url(client: Client, channel: NotificationChannel) -> str:
    page = client.get(reverse("admin:filesync_notificationchannel_change", args=[channel.pk]))
    (address,) = set(re.findall(r'hx-get="([^"]*test[^"]*)"', page.content.decode()))
    return str(address)


def test_the_test_button_acts_only_on_post(hook: WebhookReceiver) -> None:
    channel = save_channel(f"json://{hook.address}/")
    client = admin_client()
    button = button_url(client, channel)
    client.get(button)
    assert hook.titles == []
    client.post(button, {"_form_submitted": "True"}, follow=True)
    assert hook.titles == ["Syncbeat: test of ops"]


def test_a_dead_channel_s_test_button_says_why(hook: WebhookReceiver) -> None:
    channel = save_channel(f"json://127.0.0.1:{free_port()}/{CANARY}")
    client = admin_client()
    client.post(button_url(client, channel), {"_form_submitted": "True"})
    page = client.get(reverse("admin:filesync_notificationchannel_change", args=[channel.pk]))
    assert "onnection error" in page.content.decode()
    assert CANARY not in page.content.decode()


# The ping URL of a config ------------------------------------------------------------------------


def test_a_ping_url_goes_in_over_the_api_and_never_comes_out(
    local_root: Path, hook: WebhookReceiver
) -> None:
    config = make_config(local_root)
    client, route = client_of("editor"), f"/api/v1/sync/configs/{config.pk}"
    url = f"http://{hook.address}/{CANARY}"
    answer = client.patch(route, {"ping_url": url})
    assert answer.status_code == 200
    assert answer.json()["ping_url_set"] is True
    assert CANARY not in answer.content.decode()
    assert SyncConfig.objects.get().ping_url == url
    assert client.patch(route, {"ping_url": ""}).json()["ping_url_set"] is False


@pytest.mark.parametrize("url", ["http://127.0.0.1/x", "ftp://example.org/", "nonsense"])
def test_a_ping_url_that_cannot_be_used_is_refused_at_the_field(local_root: Path, url: str) -> None:
    config = make_config(local_root)
    answer = client_of("editor").patch(f"/api/v1/sync/configs/{config.pk}", {"ping_url": url})
    assert answer.status_code == 400
    assert list(answer.json()) == ["ping_url"]


def test_a_list_that_is_filtered_by_neither_true_nor_false_is_refused() -> None:
    answer = client_of("superuser").get(f"{CHANNELS}?enabled=perhaps")
    assert (answer.status_code, list(answer.json())) == (400, ["enabled"])
