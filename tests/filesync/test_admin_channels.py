"""The Notifications tab of a sync config: who is told of it, of what, and who may say so."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from filesync.models import NotificationChannel, SyncConfig
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, make_user
from tests.filesync.test_admin import config_form, url_of

pytestmark = pytest.mark.django_db


def channel(name: str, *configs: SyncConfig, enabled: bool = True) -> NotificationChannel:
    made = NotificationChannel(name=name, enabled=enabled, events=["FAILURE", "LATE"])
    made.url = "jsons://example.org/hook-canary"
    made.save()
    made.configs.set(configs)
    return made


def signed_in(role: str, language: str = "en") -> Client:
    client = Client(headers={"accept-language": language})
    client.force_login(make_user(role))
    return client


def test_channels_are_chosen_and_given_up_with_the_form(local_root: Path) -> None:
    config, other = make_config(local_root), make_config(local_root)
    mine, theirs = channel("mine", config, other), channel("theirs", other)
    page = url_of("filesync.syncconfig", "change", config)
    editor = signed_in("editor")
    shown = editor.get(page)
    assert shown.context["adminform"].form.initial["notified_channels"] == [mine]

    saved = editor.post(page, config_form(config, notified_channels=[theirs.pk]))

    assert saved.status_code == 302
    assert list(config.channels.all()) == [theirs]
    # No other sync is touched.
    assert sorted(other.channels.values_list("name", flat=True)) == ["mine", "theirs"]


def test_a_new_config_has_the_channels_of_its_form(local_root: Path) -> None:
    other = make_config(local_root)
    theirs = channel("theirs", other)

    form = config_form(
        other, name="new", destination_path="elsewhere", notified_channels=[theirs.pk]
    )
    answer = signed_in("editor").post(url_of("filesync.syncconfig", "add"), form)

    assert answer.status_code == 302
    assert list(SyncConfig.objects.get(name="new").channels.all()) == [theirs]


def test_a_channel_that_hears_of_this_sync_alone_is_not_turned_to_all(local_root: Path) -> None:
    config = make_config(local_root)
    mine = channel("mine", config)
    page = url_of("filesync.syncconfig", "change", config)

    answer = signed_in("editor").post(page, config_form(config, remark="changed"))

    errors = answer.context["adminform"].form.errors
    assert list(errors) == ["notified_channels"]
    assert "mine hears of this sync alone" in str(errors)
    assert list(mine.configs.all()) == [config]
    config.refresh_from_db()
    assert config.remark == ""


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["Notifications", "A run failed, A run is late", "off (switched off)"]),
        ("zh-hans", ["通知", "运行失败, ", "off（已关闭）"]),
    ],
)
def test_the_tab_says_who_is_told_of_what(
    local_root: Path, language: str, words: list[str]
) -> None:
    config = make_config(local_root)
    channel("everything")
    channel("off", config, enabled=False)
    page = url_of("filesync.syncconfig", "change", config)

    for role in ("editor", "viewer"):
        shown = signed_in(role, language).get(page).content.decode()
        for text in (*words, "everything: "):
            assert text in shown, role
        assert "canary" not in shown


def test_who_may_not_see_channels_neither_sees_nor_changes_them(local_root: Path) -> None:
    config, other = make_config(local_root), make_config(local_root)
    mine, theirs = channel("mine-canary", config, other), channel("theirs-canary", other)
    channel("everything-canary")
    user = make_user("editor")
    role = user.groups.get()
    role.permissions.remove(Permission.objects.get(codename="view_notificationchannel"))
    client = Client()
    client.force_login(user)
    page = url_of("filesync.syncconfig", "change", config)

    assert "canary" not in client.get(page).content.decode()
    saved = client.post(page, config_form(config, notified_channels=[theirs.pk], remark="x"))

    assert saved.status_code == 302
    assert list(config.channels.all()) == [mine]


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_who_may_not_change_a_config_changes_no_channels(local_root: Path, role: str) -> None:
    config, other = make_config(local_root), make_config(local_root)
    theirs = channel("theirs", other)
    page = url_of("filesync.syncconfig", "change", config)

    answer = signed_in(role).post(page, config_form(config, notified_channels=[theirs.pk]))

    assert answer.status_code == 403
    assert not config.channels.exists()
