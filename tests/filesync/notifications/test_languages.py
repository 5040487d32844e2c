"""Each channel is told in its own language, from the stored run to the real target."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from filesync.engine import FailureClass, Text
from filesync.models import Delivery, NotificationChannel, SyncRun
from filesync.notifications.watch import watch
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import client_of, make_config, make_run, make_user
from tests.filesync.notifications.test_telling import SUCCEEDED, end, make_channel
from tests.filesync.notifications.test_telling import hook as hook
from tests.servers.webhook import WebhookReceiver

pytestmark = pytest.mark.django_db

CHANNELS = "/api/v1/notifications/channels"


def chinese_channel(hook: WebhookReceiver, *events: str) -> NotificationChannel:
    channel = make_channel(hook, events=list(events))
    NotificationChannel.objects.filter(pk=channel.pk).update(language="zh-hans")
    return channel


def test_a_failure_folded_and_its_recovery_are_told_in_the_language_of_the_channel(
    local_root: Path, hook: WebhookReceiver
) -> None:
    chinese_channel(hook, "FAILURE", "RECOVERED")
    config = make_config(local_root, name="Photos", timezone="UTC")
    start = timezone.now().replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=2)
    for minutes in (0, 61):
        run = end(config, at=start + timedelta(minutes=minutes))
        SyncRun.objects.filter(pk=run.pk).update(
            message=Text("{name} is paused: {why}", name="NAS", why="401"),
            advice=FailureClass.NETWORK.advice,
        )
        # Whoever watches may have any language active.
        with translation.override("en"):
            watch(now=start + timedelta(minutes=minutes))
        Delivery.objects.update(created_at=start)
    end(config, SUCCEEDED, at=start + timedelta(minutes=70))
    watch(now=start + timedelta(minutes=70))

    assert hook.titles == [
        "Photos 失败",
        "Photos 失败，自 12:00 起共 2 次",
        "Photos 已恢复，自 12:00 起失败 2 次",
    ]
    lines = hook.bodies[0]["message"].splitlines()
    assert lines[0] == "同步：Photos"
    assert lines[2:4] == ["状态：失败 (NETWORK)", "原因：NAS 已暂停：401"]
    assert lines[4].startswith("下一步：")
    assert FailureClass.NETWORK.advice not in lines[4]


def test_two_channels_are_told_of_one_run_each_in_its_language(
    local_root: Path, hook: WebhookReceiver
) -> None:
    chinese_channel(hook, "SUCCESS", "NOTHING_TO_DO")
    make_channel(hook, events=["SUCCESS", "NOTHING_TO_DO"])
    config = make_config(local_root, name="Photos")
    end(config, SUCCEEDED)
    # A channel without a language is told in that of the installation.
    with translation.override("zh-hans"):
        watch()

    assert sorted(hook.titles) == ["Photos had nothing to do", "Photos 无事可做"]


def test_missed_slots_late_runs_and_silences_are_told_in_the_language_of_the_channel(
    local_root: Path, hook: WebhookReceiver
) -> None:
    chinese_channel(hook, "MISSED", "LATE", "SILENT")
    config = make_config(local_root, name="Photos", cron="0 2 * * *")
    now = timezone.now()
    slot = now - timedelta(days=2)
    make_run(config, state=SyncRun.State.MISSED, slot=slot, finished_at=now)
    make_run(config, slot=slot + timedelta(hours=1))
    watch(now=now)
    watch(now=now + timedelta(seconds=130))

    told = "\n".join(hook.titles)
    for words in ("错过了 1 个同步的 1 个时刻", "次运行迟到", "beat 已无声", "worker"):
        assert words in told
    assert all(not title.isascii() for title in hook.titles)


def test_a_test_message_is_in_the_language_of_the_channel(hook: WebhookReceiver) -> None:
    channel = chinese_channel(hook, "FAILURE")
    client_of("superuser").post(f"{CHANNELS}/{channel.pk}/test")
    assert hook.titles == [f"Syncbeat：测试 {channel.name}"]


def test_the_language_is_chosen_over_the_api(hook: WebhookReceiver) -> None:
    client = client_of("superuser")
    body = {"name": "ops", "url": f"json://{hook.address}/"}
    made = client.post(CHANNELS, body)
    assert made.json()["language"] == ""
    route = f"{CHANNELS}/{made.json()['id']}"
    assert client.patch(route, {"language": "zh-hans"}).json()["language"] == "zh-hans"
    refused = client.patch(route, {"language": "tlh"})
    assert (refused.status_code, list(refused.json())) == (400, ["language"])


def test_the_form_offers_the_language_of_who_makes_the_channel(hook: WebhookReceiver) -> None:
    client = Client(headers={"accept-language": "zh-hans"})
    client.force_login(make_user("superuser"))
    page = reverse("admin:filesync_notificationchannel_add")
    assert client.get(page).context["adminform"].form.initial["language"] == "zh-hans"

    form = {"name": "ops", "events": ["FAILURE"], "new_url": f"json://{hook.address}/"}
    assert client.post(page, form | {"language": "zh-hans"}).status_code == 302
    assert NotificationChannel.objects.get().language == "zh-hans"
