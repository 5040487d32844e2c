"""The Notifications tab of a sync config: who is told of it, of what, and who may say so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from filesync.models import ChannelUse, Delivery, NotificationChannel, SyncConfig
from filesync.notifications import outbox
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
    assert shown.context["adminform"].form.initial["notified_channels"] == {mine.pk: []}

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


def test_a_channel_that_is_given_up_by_its_only_sync_is_not_turned_to_all(local_root: Path) -> None:
    config = make_config(local_root)
    mine = channel("mine", config)
    page = url_of("filesync.syncconfig", "change", config)
    editor = signed_in("editor")

    assert editor.post(page, config_form(config, remark="changed")).status_code == 302

    mine.refresh_from_db()
    assert (mine.chosen_only, list(mine.configs.all())) == (True, [])
    # It can be chosen again.
    editor.post(page, config_form(config, notified_channels=[mine.pk]))
    assert list(mine.configs.all()) == [config]


@pytest.mark.parametrize(
    ("language", "label", "words"),
    [
        ("en", "hears of", ["every sync", "the chosen syncs", "no sync: none is chosen"]),
        ("zh-hans", "接收通知的同步", ["所有同步", "选定的同步", "没有同步：未选定"]),
    ],
)
def test_the_page_of_a_channel_says_of_which_syncs_it_hears(
    local_root: Path, language: str, label: str, words: list[str]
) -> None:
    config = make_config(local_root)
    superuser = signed_in("superuser", language)
    mine = channel("mine")
    page = url_of("filesync.notificationchannel", "change", mine)
    form = {"name": "mine", "enabled": "on", "events": ["FAILURE"], "remark": ""}

    def heard_of() -> str:
        shown = superuser.get(page).content.decode()
        pattern = rf"{label}</label>.*?readonly[^>]*>(.*?)<"
        (text,) = re.findall(pattern, shown, re.DOTALL | re.IGNORECASE)
        return str(text).strip()

    assert heard_of().startswith(words[0])
    # Choosing syncs ticks the box.
    assert superuser.post(page, form | {"configs": [config.pk]}).status_code == 302
    assert heard_of().startswith(words[1])
    config.delete()
    assert heard_of().startswith(words[2])
    # The page that is sent as it was shown changes nothing; what unticks the box does.
    superuser.post(page, form | {"chosen_only": "on"})
    assert heard_of().startswith(words[2])
    superuser.post(page, form)
    assert heard_of().startswith(words[0])


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


def events_of(config: SyncConfig) -> dict[str, list[str]]:
    uses = config.channel_uses.select_related("channel")
    return {use.channel.name: sorted(use.events) for use in uses}


def test_events_of_this_sync_are_chosen_and_given_up_with_the_form(local_root: Path) -> None:
    config, other = make_config(local_root), make_config(local_root)
    mine, theirs = channel("mine", config, other), channel("theirs", config, other)
    page = url_of("filesync.syncconfig", "change", config)
    editor = signed_in("editor")
    both = [mine.pk, theirs.pk]
    chosen: dict[str, object] = {f"notified_channels_{mine.pk}": ["PARTIAL", "SUCCESS"]}

    editor.post(page, config_form(config, notified_channels=both, **chosen))
    assert events_of(config) == {"mine": ["PARTIAL", "SUCCESS"], "theirs": []}
    assert events_of(other) == {"mine": [], "theirs": []}
    # The page that is sent as it was shown changes nothing.
    shown = ticked(editor.get(page).content.decode())
    assert shown == {"notified_channels": set(map(str, both))} | {
        name: set(events) for name, events in chosen.items() if isinstance(events, list)
    }
    editor.post(page, config_form(config, **{name: list(values) for name, values in shown.items()}))
    assert events_of(config) == {"mine": ["PARTIAL", "SUCCESS"], "theirs": []}

    editor.post(page, config_form(config, notified_channels=both))
    assert events_of(config) == {"mine": [], "theirs": []}


def ticked(page: str) -> dict[str, set[str]]:
    """Return what a browser would send of the boxes of channels and their events."""
    found: dict[str, set[str]] = {}
    for box in re.findall(r"<input[^>]*type=\"checkbox\"[^>]*>", page):
        given = dict(re.findall(r'(\w+)="([^"]*)"', box))
        # Classes of the theme hold the word too.
        is_ticked = re.search(r"\schecked[\s>]", box)
        if is_ticked and given.get("name", "").startswith("notified_channels"):
            found.setdefault(given["name"], set()).add(given["value"])
    return found


@pytest.mark.parametrize("event", ["SILENT", "NO_SUCH", "<b>"])
def test_an_event_that_no_sync_has_is_refused_at_the_field(local_root: Path, event: str) -> None:
    config, other = make_config(local_root), make_config(local_root)
    mine = channel("mine", config, other)
    page = url_of("filesync.syncconfig", "change", config)
    chosen: dict[str, object] = {f"notified_channels_{mine.pk}": [event]}

    answer = signed_in("editor").post(
        page, config_form(config, notified_channels=[mine.pk], **chosen)
    )

    assert list(answer.context["adminform"].form.errors) == ["notified_channels"]
    assert events_of(config) == {"mine": []}


def test_events_of_a_channel_that_is_not_ticked_are_nothing(local_root: Path) -> None:
    config, other = make_config(local_root), make_config(local_root)
    mine = channel("mine", other)
    page = url_of("filesync.syncconfig", "change", config)
    chosen: dict[str, object] = {f"notified_channels_{mine.pk}": ["PARTIAL"]}

    assert signed_in("editor").post(page, config_form(config, **chosen)).status_code == 302

    assert events_of(config) == {}


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "mine: Some files failed (chosen for this sync)"),
        ("zh-hans", "mine: 部分文件失败（只用于此同步）"),
    ],
)
def test_who_may_only_look_is_told_what_is_chosen(
    local_root: Path, language: str, words: str
) -> None:
    config = make_config(local_root)
    channel("mine", config)
    ChannelUse.objects.update(events=["PARTIAL"])

    page = signed_in("viewer", language).get(url_of("filesync.syncconfig", "change", config))

    assert words in page.content.decode()


def test_the_form_of_a_channel_keeps_the_events_of_the_syncs_that_stay(local_root: Path) -> None:
    stays, goes, comes = (make_config(local_root) for _ in range(3))
    mine = channel("mine", stays, goes)
    ChannelUse.objects.update(events=["PARTIAL"])
    page = url_of("filesync.notificationchannel", "change", mine)
    superuser = signed_in("superuser")
    assert f'value="{stays.pk}" selected' in superuser.get(page).content.decode()

    answer = superuser.post(
        page,
        {
            "name": "mine",
            "enabled": "on",
            "events": ["FAILURE"],
            "configs": [stays.pk, comes.pk],
            "remark": "",
        },
    )

    assert answer.status_code == 302
    assert (events_of(stays), events_of(goes), events_of(comes)) == (
        {"mine": ["PARTIAL"]},
        {},
        {"mine": []},
    )


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_who_may_not_change_a_config_changes_no_channels(local_root: Path, role: str) -> None:
    config, other = make_config(local_root), make_config(local_root)
    theirs = channel("theirs", other)
    page = url_of("filesync.syncconfig", "change", config)

    answer = signed_in(role).post(page, config_form(config, notified_channels=[theirs.pk]))

    assert answer.status_code == 403
    assert not config.channels.exists()


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", outbox.SENDERS_DIED), ("zh-hans", "每个要发送它的进程都在发送完成之前结束了")],
)
def test_a_message_says_why_it_was_not_delivered(language: str, said: str) -> None:
    message = Delivery.objects.create(
        channel=channel("ops"),
        title="Photos failed",
        event="FAILURE",
        dedupe_key="one",
        state=Delivery.State.FAILED,
        error=outbox.SENDERS_DIED,
    )
    client = signed_in("superuser", language)
    for page in (
        url_of("filesync.delivery", "changelist"),
        url_of("filesync.delivery", "change", message),
    ):
        assert said in client.get(page).content.decode()
