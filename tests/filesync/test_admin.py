"""The admin: every page renders in both languages, buttons act only on POST, secrets stay in."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.core.cache import cache
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from django_celery_results.models import GroupResult, TaskResult
from pytest_django.fixtures import DjangoAssertNumQueries, SettingsWrapper

from filesync.admin.config_form import METHODS
from filesync.models import (
    ApiToken,
    Delivery,
    Hook,
    NotificationChannel,
    RuleSet,
    RunItem,
    Storage,
    SyncConfig,
    SyncRun,
)
from filesync.services.channels import tell_channels
from filesync.services.rules import use_rule_sets
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import (
    make_config,
    make_run,
    make_storage,
    make_user,
    periodic_row,
    sign_in,
)

pytestmark = pytest.mark.django_db

CANARY = "canary-9e41"
LANGUAGES = ("en", "zh-hans")
# What the browser posts from a button's dialog.
SUBMITTED = {"_form_submitted": "True"}


@pytest.fixture
def superuser() -> Client:
    return sign_in("superuser")


@pytest.fixture
def rows(local_root: Path) -> dict[str, Model]:
    """Return a row of every model that has pages, by its label."""
    config = make_config(
        local_root,
        cron="0 2 * * *",
        source_storage=make_storage(
            local_root,
            backend="webdav",
            options={"url": "https://dav.example.org"},
            secrets={"pass": CANARY},
        ),
    )
    run = make_run(config, state=SyncRun.State.FAILED, failure_class="AUTH", message="refused")
    channel = NotificationChannel(name="mail")
    channel.url = f"json://{CANARY}@example.org"
    channel.save()
    now = timezone.now()
    every = IntervalSchedule.objects.create(every=1, period="hours")
    made: list[Model] = [
        config,
        config.source_storage,
        run,
        RunItem.objects.create(run=run, action="FAILED", path="a.txt", error="no right"),
        channel,
        Delivery.objects.create(
            channel=channel, title="it failed", dedupe_key="x", event="FAILURE"
        ),
        RuleSet.objects.create(name="junk", filters="- *.tmp"),
        ApiToken.issue(make_user("viewer"), "laptop")[0],
        Hook.issue(config)[0],
        User.objects.get(username__startswith="viewer"),
        Group.objects.create(name="operators"),
        PeriodicTask.objects.create(name="report", task="reports.send", interval=every),
        every,
        CrontabSchedule.objects.create(minute="7"),
        SolarSchedule.objects.create(event="sunrise", latitude=1, longitude=2),
        ClockedSchedule.objects.create(clocked_time=now + timedelta(days=1)),
        TaskResult.objects.create(task_id="t", status="SUCCESS", result="{}"),
        GroupResult.objects.create(group_id="g", result="[]"),
    ]
    return {row._meta.label_lower: row for row in made}


PAGES = sorted(model._meta.label_lower for model in admin.site._registry)


def url_of(label: str, page: str, row: Model | None = None) -> str:
    """Return the address of an admin page of a model, or of one of its rows."""
    args = [] if row is None else [row.pk]
    return reverse(f"admin:{label.replace('.', '_')}_{page}", args=args)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("label", PAGES)
def test_every_list_form_and_row_has_a_page(
    rows: dict[str, Model], label: str, language: str
) -> None:
    client = sign_in("superuser", language=language)
    row = rows[label]

    listed = client.get(url_of(label, "changelist"))
    shown = client.get(url_of(label, "change", row))
    added = client.get(url_of(label, "add"))

    assert (listed.status_code, shown.status_code) == (200, 200)
    read_only = label in ("filesync.syncrun", "filesync.runitem", "filesync.delivery")
    assert added.status_code == (403 if read_only else 200)
    for page in (listed, shown):
        text = page.content.decode()
        assert f'lang="{language}"' in text
        assert CANARY not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_first_page_renders(language: str) -> None:
    page = sign_in("superuser", language=language).get(reverse("admin:index"))

    assert page.status_code == 200


def test_every_registered_model_has_a_row_here(rows: dict[str, Model]) -> None:
    assert sorted(rows) == PAGES


def test_nobody_comes_in_without_a_login() -> None:
    for label in PAGES:
        answer = Client().get(url_of(label, "changelist"))
        assert answer.status_code == 302
        assert reverse("admin:login") in answer["Location"]


@pytest.mark.parametrize("label", ["filesync.syncconfig", "filesync.syncrun", "filesync.storage"])
def test_a_list_takes_the_same_number_of_queries_however_long_it_is(
    local_root: Path,
    django_assert_num_queries: DjangoAssertNumQueries,
    django_assert_max_num_queries: DjangoAssertNumQueries,
    label: str,
) -> None:
    client = sign_in("superuser")
    storage = make_storage(local_root)
    config = make_config(local_root, source_storage=storage, cron="0 2 * * *")
    make_run(config, state=SyncRun.State.SUCCEEDED)
    url = url_of(label, "changelist")
    client.get(url)
    with django_assert_max_num_queries(30) as few:
        client.get(url)
    for number in range(19):
        make_storage(local_root)
        more = make_config(
            local_root, source_storage=storage, source_path=f"s{number}", cron="0 2 * * *"
        )
        make_run(more, state=SyncRun.State.SUCCEEDED)

    with django_assert_num_queries(len(few)):
        client.get(url)


@pytest.mark.parametrize("page", ["changelist", "change"])
@pytest.mark.parametrize("label", PAGES)
def test_a_page_takes_the_same_queries_however_much_belongs_to_it(
    rows: dict[str, Model],
    local_root: Path,
    django_assert_num_queries: DjangoAssertNumQueries,
    django_assert_max_num_queries: DjangoAssertNumQueries,
    label: str,
    page: str,
) -> None:
    """The rows of the second half use what the page is of: its storage, schedule, rule set ..."""
    client = sign_in("superuser")
    row = belonging(rows, label)
    url = url_of(label, page, row if page == "change" else None)
    surround(rows, local_root, 2)
    client.get(url)
    cache.clear()
    with django_assert_max_num_queries(40) as few:
        assert client.get(url).status_code == 200
    queries = len(few)
    surround(rows, local_root, 15)
    client.get(url)
    cache.clear()

    with django_assert_num_queries(queries):
        client.get(url)


def belonging(rows: dict[str, Model], label: str) -> Model:
    """Return the row of a model, of schedules that of ours which all configs here have."""
    if label in ("django_celery_beat.periodictask", "django_celery_beat.crontabschedule"):
        task = PeriodicTask.objects.get(crontab__isnull=False)
        return task if label.endswith("task") else cast(Model, task.crontab)
    return rows[label]


def surround(rows: dict[str, Model], root: Path, count: int) -> None:
    """Make rows of every kind that belong to those of `rows`."""
    storage, channel = rows["filesync.storage"], rows["filesync.notificationchannel"]
    run, rule_set, user = rows["filesync.syncrun"], rows["filesync.ruleset"], rows["auth.user"]
    assert isinstance(storage, Storage)
    assert isinstance(channel, NotificationChannel)
    assert isinstance(run, SyncRun)
    assert isinstance(rule_set, RuleSet)
    assert isinstance(user, User)
    for _ in range(count):
        number = SyncConfig.objects.count()
        config = make_config(
            root,
            name=f"surrounding {number}",
            source_storage=storage,
            source_path=f"{number}",
            cron="0 2 * * *",
        )
        use_rule_sets(config, [rule_set])
        tell_channels(config, {channel: []})
        ended = make_run(config, state=SyncRun.State.SUCCEEDED)
        RunItem.objects.create(run=run, action="ADDED", path=f"{number}")
        Delivery.objects.create(channel=channel, dedupe_key=f"{number}", event="FAILURE")
        ApiToken.issue(user, f"{number}")
        Hook.issue(config)
        TaskResult.objects.create(task_id=ended.task_id, status="SUCCESS")
        make_storage(root)
        user.groups.add(Group.objects.create(name=f"{number}"))
        make_user("viewer")


def test_what_uses_a_rule_set_or_a_crontab_is_counted_and_a_click_away(
    rows: dict[str, Model], local_root: Path, superuser: Client
) -> None:
    crontab = belonging(rows, "django_celery_beat.crontabschedule")
    rule_set = rows["filesync.ruleset"]
    surround(rows, local_root, 3)
    other = make_config(local_root, name="of another schedule", cron="5 5 * * *")

    for url, said, listed in (
        (url_of("filesync.ruleset", "changelist"), "3 sync configs", "surrounding"),
        (url_of("filesync.ruleset", "change", rule_set), "3 sync configs", "surrounding"),
        (
            url_of("django_celery_beat.crontabschedule", "change", crontab),
            "4 periodic tasks",
            "filesync.syncconfig:",
        ),
    ):
        html = superuser.get(url).content.decode()
        found = re.search(rf'href="([^"]+)">{said}</a>', html)
        assert found is not None, url
        assert listed not in html
        users = superuser.get(found[1]).content.decode()
        assert users.count(f">{listed}") >= 3
        assert f"{listed}{other.pk}" not in users
        assert other.name not in users


# Sync configs ------------------------------------------------------------------------------------


def config_form(config: SyncConfig, **changes: object) -> dict[str, object]:
    form: dict[str, object] = {
        "name": config.name,
        "remark": "",
        "enable": "on",
        "source_storage": str(config.source_storage_id),
        "source_path": "source",
        "destination_storage": str(config.destination_storage_id),
        "destination_path": "destination",
        "method": "INCREMENTAL",
        "compare": "SIZE_TIME",
        "cron": "0 2 * * *",
        "timezone": "UTC",
        "misfire_policy": "RUN_ONCE",
        "misfire_grace_s": "3600",
        "jitter_s": "0",
        "filters": "",
        "keep_deleted_days": "0",
        "max_delete_files": "1000",
        "max_delete_percent": "50",
        "bandwidth": "",
        "max_attempts": "3",
        "stall_timeout_s": "600",
        "retry_delay_s": "60",
        "rule_set_uses-TOTAL_FORMS": "0",
        "rule_set_uses-INITIAL_FORMS": "0",
    }
    return form | changes


def test_a_saved_form_writes_the_config_and_its_schedule(
    local_root: Path, superuser: Client
) -> None:
    config = make_config(local_root)

    answer = superuser.post(
        url_of("filesync.syncconfig", "change", config), config_form(config, cron=" 5  3 * * * ")
    )

    assert answer.status_code == 302
    config.refresh_from_db()
    row = periodic_row(config)
    assert config.cron == "5 3 * * *"
    assert row is not None
    assert (row.crontab.minute, row.crontab.hour) == ("5", "3")


def test_a_ping_url_is_set_kept_and_removed_and_never_shown(
    local_root: Path, superuser: Client, settings: SettingsWrapper
) -> None:
    settings.NOTIFY_NETWORKS = [ipaddress.ip_network("127.0.0.1")]
    config = make_config(local_root)
    page = url_of("filesync.syncconfig", "change", config)
    url = f"http://127.0.0.1/{CANARY}"
    for typed, kept in ((url, url), ("", url), ("-", "")):
        assert superuser.post(page, config_form(config, new_ping_url=typed)).status_code == 302
        config.refresh_from_db()
        assert config.ping_url == kept
        assert CANARY not in superuser.get(page).content.decode()


def test_the_form_says_what_each_method_deletes(local_root: Path) -> None:
    url = url_of("filesync.syncconfig", "add")

    english = sign_in("superuser").get(url).content.decode()
    chinese = sign_in("superuser", language="zh-hans").get(url).content.decode()

    assert english.count("has not is deleted from the destination.") == 2  # Full and Overwrite
    assert "deleted from the source once its copy is verified" in english
    assert english.count("Nothing is deleted") == 2  # Incremental, and Move at the destination
    assert chinese.count("会从目标端删除") == 2
    assert "后从源端删除" in chinese
    assert len(METHODS) == len(SyncConfig.Method)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("new_ping_url", "http://127.0.0.1/"),
        ("late_after_s", "1"),
        ("cron", "61 * * * *"),
        ("timezone", "Nowhere/Town"),
        ("filters", "*.jpg"),
        ("renames", "IMG_"),
        ("bandwidth", "fast"),
        ("max_shrink_percent", "101"),
        ("source_path", "../up"),
        ("destination_path", "source/sub"),
        ("method", "MIRROR"),
    ],
)
def test_a_refused_form_says_so_at_the_field_and_changes_nothing(
    local_root: Path, superuser: Client, field: str, value: str
) -> None:
    config = make_config(local_root)

    answer = superuser.post(
        url_of("filesync.syncconfig", "change", config),
        config_form(config, **{"remark": "changed", field: value}),
    )

    assert answer.status_code == 200
    errors = answer.context["adminform"].form.errors
    assert list(errors) == ["__all__" if field == "destination_path" else field]
    config.refresh_from_db()
    assert config.remark == ""


BUTTONS = [("run", False), ("dry-run", True)]


@pytest.mark.parametrize(("button", "dry_run"), BUTTONS)
def test_a_button_queues_a_run_only_when_it_is_posted(
    local_root: Path, superuser: Client, button: str, *, dry_run: bool
) -> None:
    config = make_config(local_root)
    url = button_url(superuser, url_of("filesync.syncconfig", "change", config), button)

    assert superuser.get(url).status_code == 200
    assert not SyncRun.objects.exists()

    answer = superuser.post(url, SUBMITTED)
    run = SyncRun.objects.get()
    assert (run.config, run.dry_run, run.state) == (config, dry_run, "QUEUED")
    assert run.requested_by is not None
    assert answer["HX-Redirect"] == url_of("filesync.syncrun", "change", run)


def button_url(client: Client, page: str, path: str) -> str:
    """Return the address behind a button of a page, which must show it."""
    html = client.get(page).content.decode()
    found = re.findall(rf'"([^"]*/{path}/?)"', html)
    assert found, f"{page} shows no button for {path}"
    return str(found[0])


@pytest.mark.parametrize(("button", "dry_run"), BUTTONS)
def test_a_button_of_a_busy_config_says_why_it_did_nothing(
    local_root: Path, superuser: Client, button: str, *, dry_run: bool
) -> None:
    active = make_run(make_config(local_root))
    page = url_of("filesync.syncconfig", "change", active.config)
    url = button_url(superuser, page, button)

    superuser.post(url, SUBMITTED)

    assert SyncRun.objects.count() == 1
    assert str(active.task_id) in superuser.get(page).content.decode()


def test_run_all_queues_every_enabled_config_only_when_it_is_posted(
    local_root: Path, superuser: Client
) -> None:
    make_config(local_root)
    make_config(local_root)
    make_config(local_root, enable=False)
    url = button_url(superuser, url_of("filesync.syncconfig", "changelist"), "run-all")

    superuser.get(url)
    assert not SyncRun.objects.exists()

    superuser.post(url, SUBMITTED)
    assert SyncRun.objects.filter(trigger="BATCH").count() == 2


def test_cancel_ends_a_queued_run_only_when_it_is_posted(
    local_root: Path, superuser: Client
) -> None:
    run = make_run(make_config(local_root))
    url = button_url(superuser, url_of("filesync.syncrun", "change", run), "cancel")

    superuser.get(url)
    run.refresh_from_db()
    assert run.state == "QUEUED"

    superuser.post(url, SUBMITTED)
    run.refresh_from_db()
    assert run.state == "CANCELLED"


@pytest.mark.parametrize("button", ["run", "dry-run"])
def test_a_button_without_the_csrf_token_does_nothing(local_root: Path, button: str) -> None:
    config = make_config(local_root)
    page = url_of("filesync.syncconfig", "change", config)
    url = button_url(sign_in("superuser"), page, button)

    answer = sign_in("superuser", csrf=True).post(url, SUBMITTED)

    assert answer.status_code == 403
    assert not SyncRun.objects.exists()


def test_cancel_without_the_csrf_token_does_nothing(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    url = button_url(sign_in("superuser"), url_of("filesync.syncrun", "change", run), "cancel")

    answer = sign_in("superuser", csrf=True).post(url, SUBMITTED)

    run.refresh_from_db()
    assert (answer.status_code, run.state) == (403, "QUEUED")


@pytest.mark.parametrize(("role", "shown"), [("operator", False), ("superuser", True)])
def test_force_is_a_button_for_those_who_may_use_it(
    local_root: Path, role: str, *, shown: bool
) -> None:
    config = make_config(local_root)
    client = sign_in(role)
    force = reverse("admin:filesync_syncconfig_force_now", args=[config.pk])

    pages = [
        client.get(url_of("filesync.syncconfig", "change", config)).content.decode(),
        client.get(url_of("filesync.syncconfig", "changelist")).content.decode(),
    ]

    assert [force in page for page in pages] == [shown, False]
    run = reverse("admin:filesync_syncconfig_run_now", args=[config.pk])
    assert [run in page for page in pages] == [True, True]


def test_the_dialog_of_force_says_all_that_it_skips(local_root: Path) -> None:
    config = make_config(local_root)
    url = reverse("admin:filesync_syncconfig_force_now", args=[config.pk])

    page = sign_in("superuser").get(url).content.decode()

    assert "once past the guards on deletions, also where it is disabled." in page


def test_the_dry_run_of_a_disabled_sync_is_a_button_that_works(local_root: Path) -> None:
    config = make_config(local_root, enable=False)
    client = sign_in("operator")

    client.post(
        button_url(client, url_of("filesync.syncconfig", "change", config), "dry-run"), SUBMITTED
    )

    run = SyncRun.objects.get()
    assert (run.config, run.dry_run, run.force) == (config, True, False)


def test_buttons_are_for_operators(local_root: Path) -> None:
    config = make_config(local_root)
    run = make_run(make_config(local_root))
    admin_client = sign_in("superuser")
    config_page = url_of("filesync.syncconfig", "change", config)
    run_page = url_of("filesync.syncrun", "change", run)
    urls = [
        button_url(admin_client, config_page, "run"),
        button_url(admin_client, config_page, "dry-run"),
        button_url(admin_client, run_page, "cancel"),
    ]
    viewer, operator = sign_in("viewer"), sign_in("operator")

    assert [viewer.post(url, SUBMITTED).status_code for url in urls] == [403, 403, 403]
    assert SyncRun.objects.filter(state="QUEUED").count() == 1
    assert operator.post(urls[0], SUBMITTED).status_code == 200
    assert operator.post(urls[2], SUBMITTED).status_code == 200
    assert SyncRun.objects.filter(state="CANCELLED").count() == 1


@pytest.mark.parametrize(
    ("action", "before", "after"),
    [("disable_selected", True, False), ("enable_selected", False, True)],
)
def test_selected_configs_are_switched_with_their_schedules(
    local_root: Path, superuser: Client, action: str, *, before: bool, after: bool
) -> None:
    configs = [make_config(local_root, cron="0 2 * * *", enable=before) for _ in range(2)]

    superuser.post(
        url_of("filesync.syncconfig", "changelist"),
        {"action": action, "_selected_action": [config.pk for config in configs]},
    )

    for config in configs:
        config.refresh_from_db()
        row = periodic_row(config)
        assert config.enable is after
        assert row is not None
        assert row.enabled is after


def test_a_switched_selection_leaves_its_history(local_root: Path, superuser: Client) -> None:
    configs = [make_config(local_root, cron="0 2 * * *") for _ in range(2)]
    already_off = make_config(local_root, enable=False)
    chosen = [config.pk for config in (*configs, already_off)]

    superuser.post(
        url_of("filesync.syncconfig", "changelist"),
        {"action": "disable_selected", "_selected_action": chosen},
    )

    entries = LogEntry.objects.order_by("object_id")
    assert [entry.object_id for entry in entries] == [str(config.pk) for config in configs]
    assert {entry.get_change_message() for entry in entries} == {"Changed enable."}


@pytest.mark.parametrize("by_switch", [True, False])
def test_a_config_with_a_broken_cron_is_disabled_and_not_enabled(
    local_root: Path, superuser: Client, *, by_switch: bool
) -> None:
    broken = make_config(local_root, name="Broken", cron="0 2 * * *")
    SyncConfig.objects.filter(pk=broken.pk).update(cron="61 * * * *")
    listed = url_of("filesync.syncconfig", "changelist")

    def ask(action: str) -> str:
        if by_switch:
            url = reverse("admin:filesync_syncconfig_switch", args=[broken.pk])
            superuser.post(url, {"enable": str(action == "enable_selected").lower()})
        else:
            superuser.post(listed, {"action": action, "_selected_action": [broken.pk]})
        broken.refresh_from_db()
        return superuser.get(listed).content.decode()

    ask("disable_selected")
    assert not broken.enable

    page = ask("enable_selected")
    assert not broken.enable
    assert "Broken was not enabled: " in page


def test_of_many_that_were_left_out_the_first_are_told(local_root: Path, superuser: Client) -> None:
    active = [make_run(make_config(local_root)) for _ in range(8)]
    listed = url_of("filesync.syncconfig", "changelist")
    chosen = [run.config_id for run in active]

    for url, posted in (
        (listed, {"action": "run_selected", "_selected_action": chosen}),
        (reverse("admin:filesync_syncconfig_run_all_enabled"), SUBMITTED),
    ):
        superuser.post(url, posted)
        page = superuser.get(listed).content.decode()
        assert sum(str(run.task_id) in page for run in active) == 5
        assert "... and 3 more like these" in page


# Runs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["filesync.syncrun", "filesync.runitem"])
@pytest.mark.parametrize("page", ["change", "delete"])
def test_history_is_written_by_nobody(
    rows: dict[str, Model], superuser: Client, label: str, page: str
) -> None:
    answer = superuser.post(url_of(label, page, rows[label]), {"post": "yes", "state": "X"})

    assert answer.status_code == 403
    assert SyncRun.objects.filter(state="FAILED").count() == 1
    assert RunItem.objects.count() == 1


def test_the_list_of_items_does_not_offer_every_run_as_a_filter(
    local_root: Path, superuser: Client
) -> None:
    config = make_config(local_root)
    for _ in range(60):
        make_run(config, state=SyncRun.State.SUCCEEDED)
    run = make_run(config, state=SyncRun.State.PARTIAL)
    RunItem.objects.create(run=run, action="ADDED", path="a.txt")

    html = superuser.get(
        f"{url_of('filesync.runitem', 'changelist')}?run__id__exact={run.pk}"
    ).content.decode()

    assert "a.txt" in html
    assert html.count("run__id__exact=") < 60


# Storages ----------------------------------------------------------------------------------------


def test_only_a_superuser_changes_storages(local_root: Path) -> None:
    storage = make_storage(local_root)
    editor = sign_in("editor")

    assert editor.get(url_of("filesync.storage", "change", storage)).status_code == 200
    for page, row in (("add", None), ("change", storage), ("delete", storage)):
        answer = editor.post(url_of("filesync.storage", page, row), {"name": "changed"})
        assert answer.status_code == 403


# Tokens and other people's pages -----------------------------------------------------------------


def test_a_new_token_is_shown_once(superuser: Client) -> None:
    user = make_user("viewer")

    page = superuser.post(
        url_of("filesync.apitoken", "add"), {"name": "script", "user": user.pk}, follow=True
    )

    found = re.search(r"sb_[\w-]{43}", page.content.decode())
    assert found is not None
    answer = Client(headers={"authorization": f"Bearer {found[0]}"}).get("/api/v1/sync/configs")
    assert answer.status_code == 200
    again = superuser.get(url_of("filesync.apitoken", "changelist")).content.decode()
    assert found[0] not in again


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Shanghai"])
@pytest.mark.parametrize("day", ["0001-01-01", "2020-01-01", "2300-01-01", "9999-12-31"])
def test_an_end_that_no_token_can_have_is_refused(
    superuser: Client, settings: SettingsWrapper, zone: str, day: str
) -> None:
    settings.TIME_ZONE = zone
    end = {"expires_at_0": day, "expires_at_1": "23:59:59" if day > "2100" else "00:00:00"}
    form = {"name": "script", "user": make_user("viewer").pk}

    page = superuser.post(url_of("filesync.apitoken", "add"), form | end)

    assert "A token expires in the future, after 36500 days at the most." in page.content.decode()
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("page", ["change", "delete"])
def test_our_periodic_rows_are_read_only(local_root: Path, superuser: Client, page: str) -> None:
    row = periodic_row(make_config(local_root, cron="0 2 * * *"))
    url = url_of("django_celery_beat.periodictask", page, row)

    assert superuser.post(url, {"post": "yes", "name": "mine", "enabled": ""}).status_code == 403

    assert row is not None
    row.refresh_from_db()
    assert row.enabled


@pytest.mark.parametrize(
    "action", ["disable_tasks", "toggle_tasks", "enable_tasks", "delete_selected"]
)
def test_actions_on_a_selection_leave_our_rows_alone(
    local_root: Path, superuser: Client, action: str
) -> None:
    ours = periodic_row(make_config(local_root, cron="0 2 * * *"))
    off = periodic_row(make_config(local_root, cron="0 2 * * *", enable=False))
    assert ours is not None
    assert off is not None

    superuser.post(
        url_of("django_celery_beat.periodictask", "changelist"),
        {"action": action, "_selected_action": [ours.pk, off.pk], "post": "yes"},
    )

    ours.refresh_from_db()
    off.refresh_from_db()
    assert (ours.enabled, off.enabled) == (True, False)


def test_a_periodic_row_of_ours_leads_to_its_config(local_root: Path, superuser: Client) -> None:
    config = make_config(local_root, name="Photos", cron="0 2 * * *")
    hourly = IntervalSchedule.objects.create(every=1, period="hours")
    # It only looks like one of ours.
    other = PeriodicTask.objects.create(
        name=f"filesync.syncconfig:{config.pk}0", task="reports.send", interval=hourly
    )

    def shown(row: PeriodicTask | None) -> str:
        url = url_of("django_celery_beat.periodictask", "change", row)
        return superuser.get(url).content.decode()

    link = f'href="{url_of("filesync.syncconfig", "change", config)}">Photos</a>'
    assert link in shown(periodic_row(config))
    assert "belongs to" not in shown(other).lower()


def test_other_peoples_periodic_rows_stay_editable(superuser: Client) -> None:
    every = IntervalSchedule.objects.create(every=1, period="hours")
    row = PeriodicTask.objects.create(name="report", task="reports.send", interval=every)

    superuser.post(
        url_of("django_celery_beat.periodictask", "changelist"),
        {"action": "disable_tasks", "_selected_action": [row.pk]},
    )

    row.refresh_from_db()
    assert not row.enabled


def test_a_crontab_that_our_rows_fire_by_is_neither_changed_nor_deleted(
    local_root: Path, superuser: Client
) -> None:
    config = make_config(local_root, cron="0 2 * * *", timezone="UTC")
    row = periodic_row(config)
    assert row is not None
    crontab = row.crontab
    form = {
        "minute": "9",
        "hour": "9",
        "day_of_month": "*",
        "month_of_year": "*",
        "day_of_week": "*",
        "timezone": "UTC",
    }

    free = CrontabSchedule.objects.create(minute="7")
    for schedule in (free, crontab):
        superuser.post(url_of("django_celery_beat.crontabschedule", "change", schedule), form)
    superuser.post(url_of("django_celery_beat.crontabschedule", "delete", crontab), {"post": "yes"})

    free.refresh_from_db()
    assert (free.minute, free.hour) == ("9", "9")
    crontab.refresh_from_db()
    assert (crontab.minute, crontab.hour) == ("0", "2")
    assert periodic_row(config) is not None


# What staff who are no superusers may do ----------------------------------------------------------


def staff(*permissions: str) -> Client:
    user = User.objects.create_user("clerk", password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def test_staff_make_tokens_for_themselves_only() -> None:
    root = User.objects.create_superuser("root", password="x")
    ApiToken.issue(root, "root's")
    clerk = staff("add_apitoken", "view_apitoken", "delete_apitoken")

    clerk.post("/admin/filesync/apitoken/add/", {"name": "mine", "user": str(root.pk)})

    token = ApiToken.objects.get(name="mine")
    assert token.user.username == "clerk"
    page = clerk.get("/admin/filesync/apitoken/").content.decode()
    assert "mine" in page
    assert "root&#x27;s" not in page
    assert f"user__id__exact={root.pk}" not in page


def test_only_a_superuser_filters_tokens_by_the_names_of_accounts() -> None:
    other = User.objects.create_user("somebody-else")
    page = "/admin/filesync/apitoken/"
    assert other.username in sign_in("superuser").get(page).content.decode()
    clerk = staff("view_apitoken")
    assert other.username not in clerk.get(page).content.decode()


@pytest.mark.parametrize("name", ["run_tasks", "disable_tasks", "delete_selected"])
def test_staff_who_may_only_look_cannot_act_on_periodic_tasks(local_root: Path, name: str) -> None:
    make_config(local_root, cron="0 2 * * *")
    row = PeriodicTask.objects.get()
    clerk = staff("view_periodictask", "change_periodictask", "delete_periodictask")
    data = {"action": name, "_selected_action": [str(row.pk)], "post": "yes"}

    clerk.post("/admin/django_celery_beat/periodictask/", data)

    row.refresh_from_db()
    assert row.enabled
    assert clerk.get("/admin/django_celery_beat/periodictask/add/").status_code == 403
