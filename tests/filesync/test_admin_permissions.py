"""Who may see and do what in the admin: every address of it, once as each role."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.test import Client
from django.urls import NoReverseMatch, URLPattern, URLResolver, reverse
from django.utils import timezone
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from django_celery_results.models import GroupResult, TaskResult

from filesync.models import (
    ApiToken,
    Delivery,
    Hook,
    NotificationChannel,
    RuleSet,
    RunItem,
    SyncRun,
)
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, make_run, make_user

pytestmark = pytest.mark.django_db
# No row decides: asked on one database, they would say the same on the other.
once = pytest.mark.only_on("sqlite")

ROLES = ("viewer", "operator", "editor", "superuser")
ANYBODY, OPERATOR, EDITOR, SUPERUSER, NOBODY = range(5)
"""The first of the roles that may; those behind it may too."""

# Per model: who sees its pages, adds, changes and deletes.
MODELS = {
    "auth_group": (SUPERUSER, SUPERUSER, SUPERUSER, SUPERUSER),
    "auth_user": (SUPERUSER, SUPERUSER, SUPERUSER, SUPERUSER),
    "django_celery_beat_clockedschedule": (SUPERUSER, SUPERUSER, SUPERUSER, SUPERUSER),
    "django_celery_beat_crontabschedule": (SUPERUSER, SUPERUSER, SUPERUSER, SUPERUSER),
    "django_celery_beat_intervalschedule": (SUPERUSER, SUPERUSER, SUPERUSER, SUPERUSER),
    "django_celery_beat_periodictask": (SUPERUSER, SUPERUSER, SUPERUSER, SUPERUSER),
    "django_celery_beat_solarschedule": (SUPERUSER, SUPERUSER, SUPERUSER, SUPERUSER),
    "django_celery_results_groupresult": (SUPERUSER, SUPERUSER, SUPERUSER, SUPERUSER),
    "django_celery_results_taskresult": (SUPERUSER, SUPERUSER, SUPERUSER, SUPERUSER),
    # Of tokens everybody has his own, and is led away from others'.
    "filesync_apitoken": (ANYBODY, ANYBODY, ANYBODY, ANYBODY),
    "filesync_delivery": (ANYBODY, NOBODY, NOBODY, NOBODY),
    "filesync_hook": (EDITOR, EDITOR, NOBODY, EDITOR),
    "filesync_notificationchannel": (ANYBODY, SUPERUSER, SUPERUSER, SUPERUSER),
    "filesync_ruleset": (ANYBODY, EDITOR, EDITOR, EDITOR),
    "filesync_runitem": (ANYBODY, NOBODY, NOBODY, NOBODY),
    "filesync_storage": (ANYBODY, SUPERUSER, SUPERUSER, SUPERUSER),
    "filesync_syncconfig": (ANYBODY, EDITOR, EDITOR, EDITOR),
    "filesync_syncrun": (ANYBODY, NOBODY, NOBODY, NOBODY),
}
# Everything else: who may ask for it, and who may post to it.
PAGES = {
    "auth_user_password_change": (SUPERUSER, SUPERUSER),
    "autocomplete": (NOBODY, ANYBODY),  # without the field it is for; 405, whoever posts
    "dashboard_demo": (NOBODY, SUPERUSER),
    "dashboard_live": (ANYBODY, ANYBODY),
    "filesync_hook_renew": (EDITOR, EDITOR),
    "filesync_notificationchannel_send_test": (SUPERUSER, SUPERUSER),
    "filesync_storage_browse_draft": (ANYBODY, SUPERUSER),  # 405, whoever asks
    "filesync_storage_browse_now": (OPERATOR, OPERATOR),
    "filesync_storage_test_draft": (ANYBODY, SUPERUSER),  # 405, whoever asks
    "filesync_storage_test_now": (OPERATOR, OPERATOR),
    "filesync_syncconfig_ahead": (ANYBODY, ANYBODY),
    "filesync_syncconfig_dry_run_now": (OPERATOR, OPERATOR),
    "filesync_syncconfig_duplicate": (EDITOR, EDITOR),
    "filesync_syncconfig_force_now": (SUPERUSER, SUPERUSER),
    "filesync_syncconfig_live": (ANYBODY, ANYBODY),
    "filesync_syncconfig_run_all_enabled": (OPERATOR, OPERATOR),
    "filesync_syncconfig_run_now": (OPERATOR, OPERATOR),
    "filesync_syncconfig_show_runs": (ANYBODY, ANYBODY),
    "filesync_syncconfig_switch": (NOBODY, EDITOR),
    "filesync_syncrun_cancel_now": (NOBODY, NOBODY),  # it has ended
    "filesync_syncrun_items_csv": (ANYBODY, ANYBODY),
    "filesync_syncrun_live": (ANYBODY, ANYBODY),
    "filesync_syncrun_log": (ANYBODY, ANYBODY),
    "filesync_syncrun_restore_now": (NOBODY, NOBODY),  # it kept nothing
    "filesync_syncrun_retry_failed_now": (OPERATOR, OPERATOR),
    "filesync_syncrun_retry_now": (OPERATOR, OPERATOR),
    "index": (ANYBODY, ANYBODY),
    "jsi18n": (ANYBODY, ANYBODY),
    "logout": (ANYBODY, ANYBODY),
    "password_change": (ANYBODY, ANYBODY),
    "password_change_done": (ANYBODY, ANYBODY),
    "search": (ANYBODY, ANYBODY),
}
NOT_ASKED = {
    "login",  # for everybody
    "None",  # where a row's plain address leads on to its page
    "app_list",  # the list of a whole app, of what one may see
    "view_on_site",  # no model has an address of its own outside of the admin
}


def who_may() -> dict[str, tuple[int, int]]:
    """Give who may ask for each address, and who may post to it."""
    found = dict(PAGES)
    for model, (sees, adds, changes, deletes) in MODELS.items():
        found |= {
            f"{model}_changelist": (sees, sees),
            f"{model}_history": (sees, sees),
            f"{model}_add": (adds, adds),
            f"{model}_change": (sees, changes),
            f"{model}_delete": (deletes, deletes),
        }
    return found


@pytest.fixture
def rows(local_root: Path) -> dict[str, Model]:
    """Return a row of every model that has pages, by app and model name."""
    run = make_run(make_config(local_root), state=SyncRun.State.SUCCEEDED)
    assert run.config is not None
    channel = NotificationChannel(name="mail")
    # Refused before anything is sent: it lies in a private network.
    channel.url = "json://127.0.0.1:1/"
    channel.save()
    hourly = IntervalSchedule.objects.create(every=1, period="hours")
    made: list[Model] = [
        run,
        run.config,
        run.config.source_storage,
        RunItem.objects.create(run=run, action="FAILED", path="a.txt"),
        Hook.issue(run.config)[0],
        channel,
        Delivery.objects.create(channel=channel, dedupe_key="x", event="FAILURE"),
        RuleSet.objects.create(name="junk", filters="- *.tmp"),
        ApiToken.issue(make_user("viewer"), "laptop")[0],
        User.objects.get(username__startswith="viewer"),
        Group.objects.create(name="operators"),
        PeriodicTask.objects.create(name="report", task="reports.send", interval=hourly),
        hourly,
        CrontabSchedule.objects.create(minute="7"),
        SolarSchedule.objects.create(event="sunrise", latitude=1, longitude=2),
        ClockedSchedule.objects.create(clocked_time=timezone.now()),
        TaskResult.objects.create(task_id="t", status="SUCCESS", result="{}"),
        GroupResult.objects.create(group_id="g", result="[]"),
    ]
    return {row._meta.label_lower.replace(".", "_"): row for row in made}


def addresses() -> list[str]:
    """Give the names of all addresses of the admin."""
    return sorted(_names(admin.site.get_urls()))


def _names(patterns: list[URLPattern | URLResolver]) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            found |= _names(pattern.url_patterns)
        else:
            found.add(str(pattern.name))
    return found


def address_of(name: str, rows: dict[str, Model]) -> str:
    model = next((label for label in rows if name.startswith(f"{label}_")), None)
    for args in ([], [rows[model].pk] if model else []):
        try:
            return reverse(f"admin:{name}", args=args)
        except NoReverseMatch:
            continue
    raise AssertionError(f"{name} needs other arguments")


def test_the_matrix_names_every_address() -> None:
    assert set(addresses()) == who_may().keys() | NOT_ASKED


@once
def test_who_is_not_signed_in_is_sent_to_the_login(rows: dict[str, Model]) -> None:
    client = Client()
    for name in who_may():
        url = address_of(name, rows)
        for answer in (client.get(url), client.post(url)):
            assert (answer.status_code, name) == (302, name)
            wanted = "/admin/" if name == "logout" else "/admin/login/"
            assert answer["Location"].startswith(wanted), name


@once
@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_do_what_it_should_and_no_more(rows: dict[str, Model], role: str) -> None:
    """A superuser's pages are opened elsewhere, in both languages: here what even he may not."""
    client, rank = Client(), ROLES.index(role)
    client.force_login(make_user(role))
    wrong = {}
    for name, (asks, posts) in who_may().items():
        url = address_of(name, rows)
        if rank < asks or role != "superuser":
            status = client.get(url).status_code
            if (status == 403) != (rank < asks):
                wrong[f"GET {name}"] = status
        if rank < posts:
            status = client.post(url, {}).status_code
            if status != 403:
                wrong[f"POST {name}"] = status
    assert wrong == {}


def test_asking_for_a_page_changes_nothing(rows: dict[str, Model]) -> None:
    """Also not for one of a button, of which a superuser sees every one here."""
    ended, kept, waiting = rows["filesync_syncrun"], _run_that_kept(rows), _run_that_waits(rows)
    client = Client()
    client.force_login(make_user("superuser"))
    client.get(reverse("admin:index"))
    before = _contents()

    asked = set()
    for name in who_may():
        for run in (ended, kept, waiting):
            url = address_of(name, rows | {"filesync_syncrun": run})
            if url not in asked:
                asked.add(url)
                if client.get(url).status_code == 200:
                    assert _contents() == before, f"GET {url}"

    buttons = ("cancel", "restore", "retry", "retry-failed", "force", "run-all", "test", "renew")
    assert [button for button in buttons if not any(f"/{button}/" in url for url in asked)] == []


def _run_that_kept(rows: dict[str, Model]) -> SyncRun:
    run = rows["filesync_syncrun"]
    assert isinstance(run, SyncRun)
    assert run.config is not None
    kept = make_run(run.config, state=SyncRun.State.SUCCEEDED)
    SyncRun.objects.filter(pk=kept.pk).update(kept_until=timezone.now() + timedelta(days=1))
    return kept


def _run_that_waits(rows: dict[str, Model]) -> SyncRun:
    run = rows["filesync_syncrun"]
    assert isinstance(run, SyncRun)
    assert run.config is not None
    return make_run(run.config)


def _contents() -> dict[str, list[object]]:
    """Return every row of every table that the admin's buttons may write."""
    apps_seen = ("filesync", "scheduler", "django_celery_beat", "django_celery_results", "admin")
    return {
        model._meta.label: list(model._default_manager.order_by("pk").values())
        for model in apps.get_models()
        if model._meta.app_label in apps_seen
    }


IMPOSSIBLE = ("abc", "0", "-1", "1 OR 1=1", "\u0663", "1" + 30 * "0")


@pytest.mark.parametrize("wrong", IMPOSSIBLE)
def test_an_id_that_no_row_can_have_is_told_and_breaks_nothing(
    rows: dict[str, Model], wrong: str
) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(make_user("superuser"))
    broken = {}
    for name in who_may():
        try:
            url = reverse(f"admin:{name}", args=[wrong])
        except NoReverseMatch:
            continue
        for method, answer in (
            ("GET", client.get(url)),
            ("POST", client.post(url, {"_form_submitted": "True"})),
        ):
            if answer.status_code >= 500:
                broken[f"{method} {url}"] = answer.status_code
    assert broken == {}


@pytest.mark.parametrize("wrong", IMPOSSIBLE)
@pytest.mark.parametrize(
    "url",
    [
        "/admin/filesync/syncconfig/live/?ids={}",
        "/admin/filesync/syncconfig/?rule_sets__id__exact={}",
        "/admin/filesync/syncconfig/ahead/?storage={}",
        "/admin/filesync/syncconfig/ahead/?page={}",
        "/admin/filesync/syncrun/?storage={}",
        "/admin/filesync/syncrun/?config__id__exact={}",
        "/admin/filesync/syncrun/?q={}",
        "/admin/filesync/runitem/?run__id__exact={}",
        "/admin/filesync/syncrun/?p={}",
        "/admin/django_celery_beat/periodictask/?crontab__id__exact={}",
    ],
)
def test_a_query_that_no_row_can_fit_breaks_nothing(
    rows: dict[str, Model], url: str, wrong: str
) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(make_user("superuser"))

    assert client.get(url.format(quote(wrong))).status_code in (200, 302)


@pytest.mark.parametrize("wrong", IMPOSSIBLE)
def test_a_move_of_what_no_row_can_be_breaks_nothing(wrong: str) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(make_user("superuser"))

    answer = client.post(
        "/admin/filesync/syncconfig/ahead/", {"move": f"{wrong}|0 2 * * *|7 2 * * *"}
    )

    assert answer.status_code == 302
