"""The channels of a sync in its own resource: who sees and chooses them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth.models import Permission
from rest_framework.test import APIClient

from filesync.models import NotificationChannel, SyncConfig
from filesync.services.channels import tell_channels
from tests.filesync.api.test_forms import Form
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import browser_of, client_of, make_config, role_group

pytestmark = pytest.mark.django_db

CONFIGS = "/api/v1/sync/configs"
CHANNELS = "/api/v1/notifications/channels"


def channel(name: str, *configs: SyncConfig) -> NotificationChannel:
    made = NotificationChannel(name=name, events=["FAILURE"])
    made.url = "jsons://example.org/x"
    made.save()
    made.configs.set(configs)
    return made


def told(config: SyncConfig) -> dict[str, list[str]]:
    uses = config.channel_uses.select_related("channel")
    return {use.channel.name: use.events for use in uses}


def blind_editor() -> APIClient:
    """Return a client of an editor who may not see channels."""
    sees = Permission.objects.get(codename="view_notificationchannel")
    role_group("editor").permissions.remove(sees)
    return client_of("editor")


def test_channels_are_chosen_with_their_events_and_given_up(local_root: Path) -> None:
    config, other = make_config(local_root), make_config(local_root)
    mail, chat = channel("mail", config, other), channel("chat", other)
    client, route = client_of("editor"), f"{CONFIGS}/{config.pk}"
    assert client.get(route).json()["channels"] == [{"channel": mail.pk, "events": []}]

    chosen = [{"channel": mail.pk, "events": ["SUCCESS"]}, {"channel": chat.pk}]
    answer = client.patch(route, {"channels": chosen}, format="json")

    # By the names of the channels, not in the order in which they came.
    shown = [{"channel": chat.pk, "events": []}, {"channel": mail.pk, "events": ["SUCCESS"]}]
    assert (answer.status_code, answer.json()["channels"]) == (200, shown)
    assert client.get(route).json()["channels"] == shown
    assert (told(config), told(other)) == (
        {"mail": ["SUCCESS"], "chat": []},
        {"mail": [], "chat": []},
    )
    # What does not name them lets them be.
    for body in ({"remark": "x"}, {"channels": None}):
        assert client.patch(route, body, format="json").json()["channels"] == shown
    assert client.patch(route, {"channels": []}, format="json").json()["channels"] == []
    assert (told(config), told(other)) == ({}, {"mail": [], "chat": []})


def test_a_config_is_made_with_its_channels_and_sent_back_as_it_came(local_root: Path) -> None:
    other = make_config(local_root)
    mail = channel("mail", other)
    client = client_of("editor")
    body = {
        "name": "new",
        "source_storage": other.source_storage_id,
        "source_path": "a",
        "destination_storage": other.source_storage_id,
        "destination_path": "b",
        "channels": [{"channel": mail.pk, "events": ["MISSED", "LATE"]}],
    }

    made = client.post(CONFIGS, body, format="json")

    assert (made.status_code, made.json()["channels"]) == (201, body["channels"])
    again = client.put(f"{CONFIGS}/{made.json()['id']}", body, format="json")
    assert (again.status_code, again.json()["channels"]) == (200, body["channels"])
    assert told(other) == {"mail": []}


def test_lists_leave_them_out(local_root: Path) -> None:
    channel("mail", make_config(local_root))

    (row,) = client_of("editor").get(CONFIGS).json()["results"]

    assert row["channels"] is None


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        ([{}], "This field is required."),
        ([{"events": ["LATE"]}], "This field is required."),
        ([7], "Invalid data. Expected a dictionary, but got int."),
        ("mail", 'Expected a list of items but got type "str".'),
        ([{"channel": 999_999}], "There is no channel 999999."),
        ([{"channel": 0}], "Ensure this value is greater than or equal to 1."),
        ([{"channel": 2**63}], "Ensure this value is less than or equal to"),
        ([{"channel": "{mail}"}], "This is not a whole number."),
        ([{"channel": 1, "event": "LATE"}], "There is no such field."),
        ([{"channel": 1, "events": ["SILENT"]}], '"SILENT" is not a valid choice.'),
        ([{"channel": 1, "events": "LATE"}], 'Expected a list of items but got type "str".'),
    ],
)
@pytest.mark.parametrize("method", ["put", "patch"])
def test_what_is_no_choice_is_refused_at_the_field(
    local_root: Path, channels: object, said: str, method: str
) -> None:
    config, other = make_config(local_root), make_config(local_root)
    channel("mail", config, other)
    client, route = client_of("editor"), f"{CONFIGS}/{config.pk}"
    whole = client.get(route).json()
    kept = ("name", "source_storage", "source_path", "destination_storage", "destination_path")
    body = {name: whole[name] for name in kept} | {"channels": channels}

    answer = getattr(client, method)(route, body, format="json")

    assert (answer.status_code, list(answer.json())) == (400, ["channels"])
    assert answer.json()["channels"][0].startswith(said)
    assert told(config) == {"mail": []}


def test_a_channel_is_chosen_once(local_root: Path) -> None:
    config, other = make_config(local_root), make_config(local_root)
    mail = channel("mail", other)
    twice = [{"channel": mail.pk}, {"channel": mail.pk, "events": ["LATE"]}]

    answer = client_of("editor").patch(f"{CONFIGS}/{config.pk}", {"channels": twice}, format="json")

    assert answer.json() == {"channels": ["Each channel once."]}


def test_no_choice_changes_what_is_told_of_other_syncs(local_root: Path) -> None:
    config = make_config(local_root)
    mine, everything = channel("mine", config), channel("everything")
    client, route = client_of("editor"), f"{CONFIGS}/{config.pk}"

    taken = client.patch(
        route, {"channels": [{"channel": one.pk} for one in (mine, everything)]}, format="json"
    )
    assert taken.status_code == 400
    assert taken.json()["channels"][0].startswith("everything hears of every sync")
    assert (list(mine.configs.all()), list(everything.configs.all())) == ([config], [])

    assert client.patch(route, {"channels": []}, format="json").status_code == 200
    mine.refresh_from_db()
    assert (mine.chosen_only, list(mine.configs.all())) == (True, [])


def test_a_channel_stays_with_chosen_syncs_until_it_is_said_otherwise(local_root: Path) -> None:
    config = make_config(local_root)
    mail, client = channel("mail"), client_of("superuser")
    route = f"{CHANNELS}/{mail.pk}"
    bodies: list[dict[str, object]] = [
        {"configs": [config.pk]},
        {"chosen_only": False},
        {"configs": []},
        {"chosen_only": False},
    ]
    answers = [client.patch(route, body, format="json").json()["chosen_only"] for body in bodies]
    assert answers == [True, True, True, False]


def test_who_may_not_see_channels_neither_sees_nor_chooses_them(local_root: Path) -> None:
    config, other = make_config(local_root), make_config(local_root)
    mail = channel("mail", config, other)
    client, route = blind_editor(), f"{CONFIGS}/{config.pk}"

    shown = client.get(route).json()
    assert shown["channels"] is None
    for channels in ([], [{"channel": mail.pk}]):
        answer = client.patch(route, {"channels": channels}, format="json")
        assert answer.status_code == 403, answer.content
    # What was read is taken back.
    kept = ("name", "source_storage", "source_path", "destination_storage", "destination_path")
    body = {name: shown[name] for name in (*kept, "channels")}
    assert client.put(route, body, format="json").status_code == 200
    assert told(config) == {"mail": []}


def test_a_channel_of_the_api_keeps_the_events_of_the_syncs_that_stay(local_root: Path) -> None:
    config, other = make_config(local_root), make_config(local_root)
    mail = channel("mail", config)
    tell_channels(config, {mail: ["LATE"]})

    answer = client_of("superuser").patch(
        f"{CHANNELS}/{mail.pk}", {"configs": [config.pk, other.pk]}, format="json"
    )

    assert (answer.status_code, sorted(answer.json()["configs"])) == (
        200,
        sorted([config.pk, other.pk]),
    )
    assert (told(config), told(other)) == ({"mail": ["LATE"]}, {"mail": []})


# The form of a page ------------------------------------------------------------------------------


def test_channels_are_lines_of_the_form(local_root: Path) -> None:
    config, other = make_config(local_root), make_config(local_root)
    mail, chat = channel("mail", config, other), channel("chat", config, other)
    tell_channels(config, {mail: ["LATE", "FAILURE"], chat: []})
    editor, route = browser_of("editor"), f"{CONFIGS}/{config.pk}"

    form = Form(editor.get(route).content.decode(), "put").values
    assert form["channels"] == [f"{chat.pk}\n{mail.pk} = LATE, FAILURE\n"]
    assert editor.put(route, form, format="multipart").status_code == 200
    assert told(config) == {"mail": ["LATE", "FAILURE"], "chat": []}

    changed = form | {"channels": [f" {chat.pk}=GUARD  MISSED,LATE\r\n\r\n"]}
    assert editor.put(route, changed, format="multipart").status_code == 200
    assert told(config) == {"chat": ["GUARD", "MISSED", "LATE"]}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("mail", "This is not a whole number."),
        ("9" * 40, "This is not a whole number."),
        ("999999 = LATE", "There is no channel 999999."),
        ("1 = SOON", "&quot;SOON&quot; is not a valid choice."),
    ],
)
def test_a_line_that_cannot_be_is_refused_and_shown_again(
    local_root: Path, line: str, said: str
) -> None:
    config = make_config(local_root)
    editor, route = browser_of("editor"), f"{CONFIGS}/{config.pk}"
    form = Form(editor.get(route).content.decode(), "put").values | {"channels": [line]}

    answer = editor.put(route, form, format="multipart")

    page = answer.content.decode()
    assert answer.status_code == 400
    assert said in page
    assert Form(page, "put").values["channels"] == [f"{line}\n"]


def test_the_form_of_who_may_not_see_channels_has_none(local_root: Path) -> None:
    config, other = make_config(local_root), make_config(local_root)
    channel("mail", config, other)
    blind_editor()
    editor, route = browser_of("editor"), f"{CONFIGS}/{config.pk}"

    form = Form(editor.get(route).content.decode(), "put").values
    assert "channels" not in form
    assert editor.put(route, form | {"remark": ["x"]}, format="multipart").status_code == 200

    config.refresh_from_db()
    assert (config.remark, told(config)) == ("x", {"mail": []})
