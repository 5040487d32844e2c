"""The admin's own pages: dashboard, a run, the list of configs, a day ahead, and their polls."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.contrib.admin.models import LogEntry
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_celery_results.models import TaskResult
from pytest_django.fixtures import DjangoAssertNumQueries

from filesync import engine, selectors
from filesync.engine.log import command_line
from filesync.models import (
    NotificationChannel,
    RuleSet,
    RunItem,
    Storage,
    SyncConfig,
    SyncRun,
)
from filesync.services.channels import tell_channels
from filesync.services.documents import progress_document
from filesync.services.leases import Claim
from filesync.services.rules import use_rule_sets
from filesync.services.run_logs import log_path
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import (
    make_config,
    make_run,
    make_storage,
    periodic_row,
    sign_in,
)
from tests.filesync.nasty_names import nasty_names

pytestmark = pytest.mark.django_db

INDEX = "/admin/"
CONFIGS = "/admin/filesync/syncconfig/"
RUNS = "/admin/filesync/syncrun/"
AHEAD = "/admin/filesync/syncconfig/ahead/"
SUBMITTED = {"_form_submitted": "True"}
PROGRESS: dict[str, object] = {
    "percent": 42.0,
    "bytes_done": 420,
    "bytes_total": 1000,
    "files_done": 3,
    "files_total": 9,
    "checks_done": 5,
    "deletes": 1,
    "errors": 0,
    "speed_bytes_per_s": 2048.0,
    "eta_s": 75.0,
    "in_flight": [{"name": "a <b>.jpg", "size_bytes": 10, "bytes_done": 5}],
}


@pytest.fixture
def superuser() -> Client:
    cache.clear()
    return sign_in("superuser")


class Page(HTMLParser):
    """Reads a page as a browser does: texts of the elements of a class, and scripts that run."""

    def __init__(self, html: str, wanted: str) -> None:
        super().__init__()
        self._wanted = wanted
        self._open: list[str] | None = None
        self._depth = 0
        self.texts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if self._open is not None:
            self._depth += 1
        elif self._wanted in (found.get("class") or "").split():
            self._open, self._depth = [], 0

    def handle_endtag(self, tag: str) -> None:
        if self._open is None:
            return
        if self._depth == 0:
            self.texts.append("".join(self._open))
            self._open = None
        else:
            self._depth -= 1

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self._open.append(data)


# The dashboard -----------------------------------------------------------------------------------


def test_the_first_visit_shows_three_steps_and_ticks_what_is_done(
    local_root: Path, superuser: Client
) -> None:
    assert superuser.get(INDEX).content.decode().count(">done<") == 0

    make_storage(local_root)

    page = superuser.get(INDEX).content.decode()
    assert "Three steps" in page
    assert page.count(">done<") == 1
    make_run(make_config(local_root), state=SyncRun.State.SUCCEEDED)
    assert "Three steps" not in superuser.get(INDEX).content.decode()


def test_the_dashboard_shows_what_failed_why_and_what_to_do(
    local_root: Path, superuser: Client
) -> None:
    run = make_run(
        make_config(local_root, name="Photos"),
        state=SyncRun.State.FAILED,
        failure_class="QUOTA",
        message="507 <Insufficient> Storage",
        advice="Free space, then run again.",
    )

    page = superuser.get(INDEX).content.decode()

    assert "Quota used up" in page
    assert "507 &lt;Insufficient&gt; Storage" in page
    assert "Free space, then run again." in page
    assert reverse("admin:filesync_syncrun_retry_now", args=[run.pk]) in page


def test_a_failure_is_told_by_the_remark_of_its_sync_where_it_has_one(
    local_root: Path, superuser: Client
) -> None:
    make_run(make_config(local_root, name="a1", remark="Photos"), state=SyncRun.State.FAILED)
    make_run(make_config(local_root, name="Letters"), state=SyncRun.State.LOST)
    gone = make_config(local_root, name="Gone", remark="unknown by now")
    make_run(gone, state=SyncRun.State.PARTIAL)
    gone.delete()

    page = superuser.get(INDEX).content.decode()

    failures = page[page.index('aria-labelledby="failures"') :]
    shown = re.findall(r">(Photos|Letters|Gone|a1|unknown by now)<", failures)
    assert shown == ["Gone", "Letters", "Photos"]


def test_the_dashboards_poll_tells_what_runs_in_words(local_root: Path, superuser: Client) -> None:
    run = make_run(
        make_config(local_root, name="Photos"), state=SyncRun.State.RUNNING, progress=PROGRESS
    )

    told = superuser.get("/admin/live/").json()

    (running,) = told["runs"]
    assert running["name"] == "Photos"
    assert (running["percent"], running["percent_words"]) == (42.0, "42 %")
    assert running["amount"] == "420\xa0bytes of 1000\xa0bytes, 3 of 9 files"
    assert (running["speed"], running["eta"]) == ("2.0\xa0KB/s", "1 min 15 s left")
    assert running["in_flight"] == [{"name": "a <b>.jpg", "size": "10\xa0bytes", "percent": 50}]
    assert running["cancel_url"] == reverse("admin:filesync_syncrun_cancel_now", args=[run.pk])
    assert told["nothing_runs"] is False
    assert [vital["name"] for vital in told["vitals"]] == [
        "Web",
        "Workers",
        "Beat",
        "Broker",
        "Database",
    ]


def test_where_no_bytes_are_to_come_files_are_counted(local_root: Path, superuser: Client) -> None:
    # As of an undoing that only removes what a run had added.
    told = progress_document(engine.Progress(0, 0, 3, 12, 0, 0, 3, 0, 0.0, None))
    make_run(make_config(local_root), state=SyncRun.State.RUNNING, progress=told)

    (running,) = superuser.get("/admin/live/").json()["runs"]

    assert (running["percent_words"], running["amount"]) == ("25 %", "3 of 12 files")
    assert progress_document(engine.Progress(0, 0, 0, 0, 0, 0, 0, 0, 0.0, None))["percent"] is None


def test_the_strip_is_told_in_each_readers_language(local_root: Path) -> None:
    run = make_run(make_config(local_root, name="Photos"), state=SyncRun.State.SUCCEEDED)

    def label(language: str) -> str:
        (tick,) = sign_in("viewer", language=language).get("/admin/live/").json()["strip"]
        assert tick["url"] == reverse("admin:filesync_syncrun_change", args=[run.pk])
        return str(tick["label"])

    assert label("en").startswith("Photos: Succeeded")
    assert label("zh-hans").startswith("Photos: 成功")
    SyncRun.objects.filter(pk=run.pk).update(state="LOST")
    assert label("en").startswith("Photos: Lost")


def test_the_poll_and_the_status_share_one_answer_of_the_broker(
    local_root: Path, superuser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def answer() -> bool:
        asked.append(True)
        return True

    monkeypatch.setattr(selectors, "broker_reachable", answer)
    monkeypatch.setattr(selectors, "PAGE_WAITS_S", 20)

    for _ in range(2):
        vitals = superuser.get("/admin/live/").json()["vitals"]
        status = superuser.get("/api/v1/task/scheduler/task-status").json()

        assert [vital["words"] for vital in vitals if vital["name"] == "Broker"] == ["answers"]
        assert status["broker"] == {"reachable": True}
    assert len(asked) == 1


def test_a_button_makes_a_demo_for_those_who_may_add_storages(
    local_root: Path, superuser: Client
) -> None:
    editor = sign_in("editor")
    assert "/admin/demo/" in superuser.get(INDEX).content.decode()
    assert "/admin/demo/" not in editor.get(INDEX).content.decode()
    assert editor.post("/admin/demo/").status_code == 403
    assert superuser.get("/admin/demo/").status_code == 403
    assert not SyncConfig.objects.exists()

    answer = superuser.post("/admin/demo/")

    config = SyncConfig.objects.get(name="Demo")
    assert answer["HX-Redirect"] == f"{CONFIGS}{config.pk}/change/"
    assert (config.cron, config.enable) == ("* * * * *", True)
    source = local_root / "demo" / "source"
    assert len([path for path in source.rglob("*") if path.is_file()]) == 300
    assert any("文件夹" in path.name for path in source.iterdir())


def test_the_demo_takes_over_nothing_of_its_name(local_root: Path, superuser: Client) -> None:
    config = make_config(
        local_root, name="Demo", method=SyncConfig.Method.MOVE, enable=False, cron=""
    )

    answer = superuser.post("/admin/demo/")

    assert answer["HX-Redirect"] == INDEX
    assert "rename it first" in superuser.get(INDEX).content.decode()
    config.refresh_from_db()
    assert (config.method, config.enable, config.cron) == ("MOVE", False, "")
    assert not Storage.objects.filter(name__startswith="Demo").exists()


def test_a_demo_that_cannot_be_made_says_why(local_root: Path, superuser: Client) -> None:
    (local_root / "demo").write_text("a file")

    answer = superuser.post("/admin/demo/")

    assert answer["HX-Redirect"] == INDEX
    assert "The demo was not made" in superuser.get(INDEX).content.decode()
    assert not SyncConfig.objects.exists()


def test_polls_are_for_those_who_may_see_runs(local_root: Path) -> None:
    run = make_run(make_config(local_root))
    urls = [
        "/admin/live/",
        f"{RUNS}{run.pk}/live/",
        f"{CONFIGS}live/?ids=1",
        f"{RUNS}{run.pk}/items.csv",
        f"{RUNS}{run.pk}/log/",
    ]
    nobody, viewer = sign_in("nobody"), sign_in("viewer")

    assert [nobody.get(url).status_code for url in urls] == [403] * len(urls)
    assert [viewer.get(url).status_code for url in urls] == [200] * len(urls)
    assert Client().get("/admin/live/").status_code == 302
    assert sign_in("nobody").get(INDEX).status_code == 200


@pytest.mark.parametrize(
    "url",
    [
        INDEX,
        "/admin/live/",
        RUNS,
        f"{RUNS}?finished_at_from=2026-01-01&finished_at_to=2099-01-01",
        CONFIGS,
        AHEAD,
        f"{AHEAD}?window=week",
        f"{CONFIGS}live/",
        "/admin/filesync/notificationchannel/add/",
        "/admin/django_celery_beat/periodictask/",
        "/admin/django_celery_beat/periodictask/add/",
        "/admin/django_celery_beat/crontabschedule/",
        "/admin/django_celery_results/taskresult/",
    ],
)
def test_pages_take_the_same_queries_however_much_there_is(
    local_root: Path,
    superuser: Client,
    django_assert_num_queries: DjangoAssertNumQueries,
    django_assert_max_num_queries: DjangoAssertNumQueries,
    url: str,
) -> None:
    def more(count: int) -> None:
        for _ in range(count):
            config = make_config(local_root, cron=f"{SyncConfig.objects.count()} 2 * * *")
            run = make_run(config, state=SyncRun.State.FAILED, failure_class="AUTH")
            TaskResult.objects.create(task_id=run.task_id, status="FAILURE")
            make_run(config, state=SyncRun.State.RUNNING, progress=PROGRESS)
        ids = ",".join(str(pk) for pk in SyncConfig.objects.values_list("pk", flat=True))
        asked["ids"] = ids

    asked: dict[str, str] = {}
    more(2)
    superuser.get(url, asked)
    cache.clear()
    with django_assert_max_num_queries(31) as few:
        superuser.get(url, asked)
    queries = len(few)
    more(15)
    # The schedules are read once after they changed.
    superuser.get(url, asked)
    cache.clear()

    with django_assert_num_queries(queries):
        superuser.get(url, asked)


def test_forms_do_not_write_out_every_config_and_every_schedule(
    local_root: Path, superuser: Client
) -> None:
    for number in range(5):
        make_config(local_root, name=f"unchosen-{number}", cron=f"{number} 2 * * *")

    channel = superuser.get("/admin/filesync/notificationchannel/add/").content.decode()
    task = superuser.get("/admin/django_celery_beat/periodictask/add/").content.decode()

    assert "unchosen-" not in channel
    assert 'name="configs"' in channel
    chosen = Page(task, "").tags
    (crontab,) = [attrs for tag, attrs in chosen if attrs.get("name") == "crontab"]
    assert "/admin/autocomplete/" in str(crontab["data-ajax--url"])
    assert "0 2 * * *" not in task


def test_a_result_is_found_by_its_tasks_whole_id(local_root: Path, superuser: Client) -> None:
    run = make_run(make_config(local_root), state=SyncRun.State.FAILED)
    TaskResult.objects.create(task_id=run.task_id, status="FAILURE")
    TaskResult.objects.create(task_id="other", status="IGNORED")
    url = "/admin/django_celery_results/taskresult/"

    def shown(query: str) -> set[str]:
        page = superuser.get(f"{url}?{query}").content.decode()
        return {task for task in (str(run.task_id), "other") if f">{task}<" in page}

    assert shown("") == {str(run.task_id), "other"}
    assert shown(f"q={run.task_id}") == {str(run.task_id)}
    assert shown("q=oth") == set()
    assert shown("status=IGNORED") == {"other"}
    assert shown("status=SUCCESS") == set()
    today = timezone.localdate()
    assert shown(f"date_done_from={today}&date_done_to={today}") == {str(run.task_id), "other"}
    assert shown(f"date_done_to={today - timedelta(days=2)}") == set()


# One run -----------------------------------------------------------------------------------------


def test_a_failed_run_says_why_and_what_to_do(local_root: Path, superuser: Client) -> None:
    run = make_run(
        make_config(local_root, name="Photos", max_attempts=3),
        state=SyncRun.State.FAILED,
        attempt=2,
        failure_class="AUTH",
        message="401 Unauthorized",
        advice="Correct the password.",
    )

    page = superuser.get(f"{RUNS}{run.pk}/change/").content.decode()

    for text in ("Login refused", "401 Unauthorized", "Correct the password.", "2 of at most 3"):
        assert text in page
    assert "Run again" in page
    assert str(run.task_id) in page


def test_items_are_searched_and_chosen_by_action(local_root: Path, superuser: Client) -> None:
    run = make_run(make_config(local_root), state=SyncRun.State.PARTIAL)
    for number in range(60):
        RunItem.objects.create(run=run, action="ADDED", path=f"photos/{number}.jpg", size_bytes=7)
    RunItem.objects.create(run=run, action="FAILED", path="photos/9.raw", error="no right")
    url = f"{RUNS}{run.pk}/change/"

    def paths(query: str) -> list[str]:
        return Page(superuser.get(f"{url}?{query}").content.decode(), "sb-path").texts[1:]

    assert len(paths("")) == 50
    assert len(paths("page=2")) == 11
    assert paths("q=RAW") == ["photos/9.raw"]
    assert paths("action=FAILED") == ["photos/9.raw"]
    assert paths("q=9.&action=ADDED") == [f"photos/{tens}9.jpg" for tens in ("", 1, 2, 3, 4, 5)]
    assert "no right" in superuser.get(f"{url}?action=FAILED").content.decode()


def test_the_csv_holds_every_chosen_item_and_no_formula(
    local_root: Path, superuser: Client
) -> None:
    run = make_run(make_config(local_root), state=SyncRun.State.PARTIAL)
    for path in ("=1+1", 'a,"b"\nc', "报表.xlsx"):
        RunItem.objects.create(run=run, action="ADDED", path=path, size_bytes=7)
    RunItem.objects.create(run=run, action="FAILED", path="x", error="@sum")

    answer = superuser.get(f"{RUNS}{run.pk}/items.csv")

    text = b"".join(answer.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    assert list(csv.reader(io.StringIO(text))) == [
        ["action", "path", "size_bytes", "error", "old_path"],
        ["ADDED", "'=1+1", "7", "", ""],
        ["ADDED", 'a,"b"\nc', "7", "", ""],
        ["ADDED", "报表.xlsx", "7", "", ""],
        ["FAILED", "x", "", "'@sum", ""],
    ]
    chosen = superuser.get(f"{RUNS}{run.pk}/items.csv?action=FAILED")
    assert len(b"".join(chosen.streaming_content).splitlines()) == 2  # type: ignore[attr-defined]


def test_a_renamed_file_is_shown_and_found_by_both_names(
    local_root: Path, superuser: Client
) -> None:
    renamed = {
        "action": "RENAMED",
        "path": "new/a.raw",
        "size_bytes": 7 << 20,
        "old_path": "=old/<b>.raw",
    }
    plan = {"renames": 1, "bytes_renamed": 7 << 20, "items": [renamed]}
    config = make_config(local_root)
    done = make_run(config, state=SyncRun.State.SUCCEEDED)
    SyncRun.objects.filter(pk=done.pk).update(files_renamed=1)
    RunItem.objects.create(run=done, **renamed)
    rehearsed = make_run(config, state=SyncRun.State.SUCCEEDED, dry_run=True, plan=plan)

    for run in (done, rehearsed):
        url = f"{RUNS}{run.pk}/change/"
        for query in ("", "q=A.RAW", "q=old/", "action=RENAMED"):
            html = superuser.get(f"{url}?{query}").content.decode()
            assert "new/a.raw" in html
            assert "before: =old/&lt;b&gt;.raw" in html
        assert "new/a.raw" not in superuser.get(f"{url}?q=other").content.decode()
        csv_text = b"".join(
            superuser.get(f"{RUNS}{run.pk}/items.csv").streaming_content  # type: ignore[attr-defined]
        ).decode()
        assert f"RENAMED,new/a.raw,{7 << 20},,'=old/<b>.raw" in csv_text
    page = superuser.get(f"{RUNS}{rehearsed.pk}/change/").content.decode()
    assert "7.0\xa0MB only to rename" in page


def test_a_plan_tells_what_it_knows_of_folders_and_times(
    local_root: Path, superuser: Client
) -> None:
    config = make_config(local_root)
    plan: dict[str, object] = {"adds": 0, "dirs_removed": 0, "bytes_to_send": 0}
    # An earlier version did not store the other two.
    of_before = make_run(config, state=SyncRun.State.SUCCEEDED, dry_run=True, plan=plan)
    plan = plan | {"dirs_made": 2, "times_updated": 3}
    run = make_run(config, state=SyncRun.State.SUCCEEDED, dry_run=True, plan=plan)

    def told(shown: SyncRun) -> str:
        page = superuser.get(f"{RUNS}{shown.pk}/change/").content.decode()
        return re.sub(r"<[^>]*>", "", page.partition('<h2 id="plan">')[2])

    assert "folders to make: 2" in told(run)
    assert "folders to remove: 0" in told(run)
    assert "times to set: 3" in told(run)
    assert "folders to remove: 0" in told(of_before)
    assert "folders to make" not in told(of_before)
    assert "times to set" not in told(of_before)


PLANNED: dict[str, object] = {
    "adds": 60,
    "deletes": 1,
    "bytes_to_send": 7,
    "items": [
        {"action": "DELETED", "path": "photos/9.raw", "size_bytes": 7},
        *({"action": "ADDED", "path": f"photos/{n}.jpg", "size_bytes": 7} for n in range(60)),
    ],
    "items_left_off": 1234,
}


@pytest.mark.parametrize("kind", ["dry run", "guarded"])
def test_a_plan_is_searched_and_downloaded_and_says_what_it_left_off(
    local_root: Path, superuser: Client, kind: str
) -> None:
    run = make_run(
        make_config(local_root),
        state=SyncRun.State.FAILED if kind == "guarded" else SyncRun.State.SUCCEEDED,
        failure_class="GUARD" if kind == "guarded" else "",
        dry_run=kind == "dry run",
        plan=PLANNED,
    )
    RunItem.objects.create(run=run, action="FAILED", path="photos/9.left", error="changed since")
    url = f"{RUNS}{run.pk}/change/"

    def paths(query: str) -> list[str]:
        return Page(superuser.get(f"{url}?{query}").content.decode(), "sb-path").texts[1:]

    assert paths("")[:3] == ["photos/9.left", "photos/9.raw", "photos/0.jpg"]
    assert len(paths("")) == 50
    assert len(paths("page=2")) == 12
    assert paths("q=9.RAW") == paths("action=DELETED") == ["photos/9.raw"]
    assert paths("action=FAILED") == ["photos/9.left"]
    page = superuser.get(url).content.decode()
    assert "What it would do" in page
    assert "1234 more are only counted" in page
    answer = superuser.get(f"{RUNS}{run.pk}/items.csv?q=9.")
    text = b"".join(answer.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    assert [row[:3] for row in csv.reader(io.StringIO(text))][1:4] == [
        ["FAILED", "photos/9.left", ""],
        ["DELETED", "photos/9.raw", "7"],
        ["ADDED", "photos/9.jpg", "7"],
    ]


def test_a_run_that_did_something_shows_that_and_not_its_plan(
    local_root: Path, superuser: Client
) -> None:
    run = make_run(
        make_config(local_root), state=SyncRun.State.PARTIAL, failure_class="GUARD", plan=PLANNED
    )
    SyncRun.objects.filter(pk=run.pk).update(files_transferred=1)
    RunItem.objects.create(run=run, action="ADDED", path="sent.jpg", size_bytes=7)

    page = superuser.get(f"{RUNS}{run.pk}/change/").content.decode()

    assert Page(page, "sb-path").texts[1:] == ["sent.jpg"]
    assert "only counted" not in page
    answer = superuser.get(f"{RUNS}{run.pk}/items.csv")
    assert len(b"".join(answer.streaming_content).splitlines()) == 2  # type: ignore[attr-defined]


def test_a_check_that_is_rehearsed_shows_the_differences_that_it_found(
    local_root: Path, superuser: Client
) -> None:
    run = make_run(
        make_config(local_root), state=SyncRun.State.SUCCEEDED, dry_run=True, plan={"items": []}
    )
    RunItem.objects.create(run=run, action="DIFFERS", path="other.jpg")

    page = superuser.get(f"{RUNS}{run.pk}/change/").content.decode()

    assert Page(page, "sb-path").texts[1:] == ["other.jpg"]
    assert "What it would do" not in page


def test_five_hundred_nasty_names_stay_text(local_root: Path, superuser: Client) -> None:
    config = make_config(local_root)
    run = make_run(config, state=SyncRun.State.PARTIAL, message="</script><b id=broken>")
    names = nasty_names()
    RunItem.objects.bulk_create(
        RunItem(run=run, action="ADDED", path=name, error=name) for name in names
    )
    flying = [{"name": name, "size_bytes": 10, "bytes_done": 5} for name in names]
    moving = make_run(
        make_config(local_root),
        state=SyncRun.State.RUNNING,
        progress=PROGRESS | {"in_flight": flying},
    )

    shown: list[str] = []
    for number in range(1, 11):
        html = superuser.get(f"{RUNS}{run.pk}/change/?page={number}").content.decode()
        page = Page(html, "sb-path")
        shown += page.texts[1:]
        assert not [tag for tag in page.tags if tag[1].get("id") == "broken"]
        assert not [
            name for _tag, attrs in page.tags for name in attrs if name in ("onerror", "onload")
        ]
    assert shown == names
    for url in (INDEX, f"{RUNS}{moving.pk}/change/"):
        page = Page(superuser.get(url).content.decode(), "sb-path")
        assert not [tag for tag in page.tags if tag[1].get("id") == "broken"]
    told = superuser.get(f"{RUNS}{moving.pk}/live/").json()
    assert [file["name"] for file in told["in_flight"]] == names


def test_the_log_shows_commands_and_last_lines_also_of_one_still_being_written(
    local_root: Path, superuser: Client
) -> None:
    run = make_run(make_config(local_root), state=SyncRun.State.RUNNING, progress=PROGRESS)
    url = f"{RUNS}{run.pk}/change/"
    assert "There is no log yet" in superuser.get(url).content.decode()
    assert run.lease_token is not None
    spoken = {"time": "2026-03-01T02:00:09Z", "level": "error", "object": "<x>", "msg": "no"}
    lines = [
        command_line(["rclone", "copy", "src:/a b", "dst:/c"]),
        json.dumps(spoken).encode(),
        json.dumps({"stats": {"bytes": 1}, "msg": "noise"}).encode(),
        b"plain words",
    ]
    path = log_path(run, Claim(run.pk, run.lease_token))
    path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n")[:-8])

    page = superuser.get(url).content.decode()

    assert "rclone copy &#x27;src:/a b&#x27; dst:/c" in page
    assert "2026-03-01T02:00:09Z ERROR    &lt;x&gt;: no" in page
    assert "plain words" in page
    assert "noise" not in page
    told = superuser.get(f"{RUNS}{run.pk}/log/").json()
    assert told["lines"].endswith("\nplain words")
    assert (told["found"], told["note"], told["ended"]) == (True, "", False)


def test_a_run_that_is_not_there_is_not_found(superuser: Client) -> None:
    for url in (f"{RUNS}999/change/", f"{RUNS}999/live/", f"{RUNS}x/change/"):
        assert superuser.get(url).status_code == 404


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", {"a", "b", "c", "gone"}),
        ("state__in=FAILED,PARTIAL,LOST", {"b", "gone"}),
        ("state__in=QUEUED,RUNNING", {"c"}),
        ("storage={storage}", {"a"}),
        ("config__id__exact={config}", {"a"}),
        ("finished_at_from=2020-06-01&finished_at_to=2020-06-01", {"b"}),
        ("finished_at_from=2020-06-02", {"a", "gone"}),
        ("finished_at_to=2020-05-31", set()),
        ("q=name-c", {"c"}),
        ("q=NIGHTLY", {"a"}),
        ("q=name-gone", {"gone"}),
        ("q={run}", {"a"}),
        ("q=%00", {"a", "b", "c", "gone"}),
    ],
)
def test_runs_are_chosen_by_state_storage_config_and_date(
    local_root: Path, superuser: Client, query: str, shown: set[str]
) -> None:
    first = make_config(local_root, name="name-a", remark="nightly")
    old = datetime(2020, 6, 1, 12, tzinfo=UTC)
    run = make_run(first, state=SyncRun.State.SUCCEEDED)
    gone = make_config(local_root, name="name-gone")
    make_run(gone, state=SyncRun.State.FAILED)
    gone.delete()
    lost = make_run(
        make_config(local_root, name="name-b"), state=SyncRun.State.LOST, finished_at=old
    )
    SyncRun.objects.filter(pk=lost.pk).update(created_at=old)
    make_run(make_config(local_root, name="name-c"))
    filled = query.format(storage=first.source_storage_id, config=first.pk, run=run.pk)

    page = superuser.get(f"{RUNS}?{filled}").content.decode()

    assert set(re.findall(r">name-(\w+) #", page)) == shown


# Sync configs ------------------------------------------------------------------------------------


def test_the_list_says_schedule_and_next_run_in_the_configs_zone(local_root: Path) -> None:
    make_config(local_root, name="Photos", cron="30 2 * * *", timezone="Asia/Shanghai")
    make_config(local_root, name="By hand")

    english = sign_in("superuser").get(CONFIGS).content.decode()
    chinese = sign_in("superuser", language="zh-hans").get(CONFIGS).content.decode()

    assert "At 02:30 every day" in english
    assert re.search(r"\d{4}-\d\d-\d\d 02:30 CST", english)
    assert "only by hand" in english
    assert "每天 02:30" in chinese


def test_the_lists_poll_tells_the_latest_run_of_each_config(
    local_root: Path, superuser: Client
) -> None:
    config, other = make_config(local_root), make_config(local_root)
    make_run(config, state=SyncRun.State.FAILED)
    latest = make_run(config, state=SyncRun.State.RUNNING, progress=PROGRESS)
    make_run(other, state=SyncRun.State.SUCCEEDED)

    told = superuser.get(f"{CONFIGS}live/?ids={config.pk},999,x").json()["scopes"]

    assert list(told) == [f"config-{config.pk}"]
    assert (told[f"config-{config.pk}"]["id"], told[f"config-{config.pk}"]["percent"]) == (
        latest.pk,
        42.0,
    )


def test_the_switch_turns_a_config_and_its_schedule_off_by_post_only(
    local_root: Path, superuser: Client
) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    url = f"{CONFIGS}{config.pk}/switch/"

    off = {"enable": "false"}
    assert superuser.get(url, off).status_code == 403
    assert sign_in("operator").post(url, off).status_code == 403
    assert sign_in("superuser", csrf=True).post(url, off).status_code == 403
    config.refresh_from_db()
    assert config.enable

    assert superuser.post(url, off).status_code == 200
    config.refresh_from_db()
    row = periodic_row(config)
    assert row is not None
    assert (config.enable, row.enabled) == (False, False)


def test_the_switch_sets_what_its_page_offered_whatever_was_set_meanwhile(
    local_root: Path, superuser: Client
) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    url = f"{CONFIGS}{config.pk}/switch/"
    seen = superuser.get(CONFIGS).content.decode()
    assert f'data-post="{url}" data-body="enable=false"' in seen
    SyncConfig.objects.update(enable=False)

    # Two pages that both show it enabled: the second click must not enable it again.
    for _ in range(2):
        assert superuser.post(url, {"enable": "false"}).status_code == 200
        config.refresh_from_db()
        assert not config.enable
    assert not LogEntry.objects.filter(object_id=str(config.pk)).exists()
    assert f'data-post="{url}" data-body="enable=true"' in superuser.get(CONFIGS).content.decode()
    assert superuser.post(url, {"enable": "true"}).status_code == 200
    config.refresh_from_db()
    assert config.enable
    assert LogEntry.objects.filter(object_id=str(config.pk)).count() == 1
    assert superuser.post(url).status_code == 400
    config.refresh_from_db()
    assert config.enable


def test_a_duplicate_is_disabled_and_has_a_free_name(local_root: Path, superuser: Client) -> None:
    config = make_config(local_root, name="Photos", cron="0 2 * * *", filters="- *.tmp")
    url = f"{CONFIGS}{config.pk}/duplicate/"
    assert superuser.get(url).status_code == 200
    assert SyncConfig.objects.count() == 1

    superuser.post(url, SUBMITTED)
    answer = superuser.post(url, SUBMITTED)

    names = list(SyncConfig.objects.order_by("pk").values_list("name", "enable", "filters"))
    assert names == [
        ("Photos", True, "- *.tmp"),
        ("Photos (copy)", False, "- *.tmp"),
        ("Photos (copy 2)", False, "- *.tmp"),
    ]
    newest = SyncConfig.objects.latest("pk")
    assert answer["HX-Redirect"] == f"{CONFIGS}{newest.pk}/change/"
    assert sign_in("operator").post(url, SUBMITTED).status_code == 403


def test_a_duplicate_has_the_rule_sets_and_the_channels_with_their_events(
    local_root: Path, superuser: Client
) -> None:
    config = make_config(local_root, name="Photos")
    rule_sets = [RuleSet.objects.create(name=name, filters="- *.tmp") for name in ("b", "a")]
    use_rule_sets(config, rule_sets)
    mail, chat = (NotificationChannel.objects.create(name=name) for name in ("mail", "chat"))
    tell_channels(config, {mail: ["FAILURE", "SUCCESS"], chat: []})
    everything = NotificationChannel.objects.create(name="everything")

    superuser.post(f"{CONFIGS}{config.pk}/duplicate/", SUBMITTED)

    for each in SyncConfig.objects.all():
        assert [use.rule_set for use in each.rule_set_uses.all()] == rule_sets
        assert {use.channel: use.events for use in each.channel_uses.all()} == {
            mail: ["FAILURE", "SUCCESS"],
            chat: [],
        }
    assert SyncConfig.objects.count() == 2
    assert not everything.configs.exists()


def test_history_leads_to_the_runs_of_the_config(local_root: Path, superuser: Client) -> None:
    config = make_config(local_root)
    menu = Page(superuser.get(CONFIGS).content.decode(), "sb-path")
    links = {str(attrs.get("href")) for tag, attrs in menu.tags if tag == "a"}

    answer = superuser.get(f"{CONFIGS}{config.pk}/runs/")

    # Not the stock page of changes, whose address has a name that is easily taken.
    assert f"{CONFIGS}{config.pk}/runs/" in links
    assert f"{CONFIGS}{config.pk}/history/" not in links
    assert answer["Location"] == f"{RUNS}?config__id__exact={config.pk}"


def test_the_form_asks_the_servers_own_validator(local_root: Path, superuser: Client) -> None:
    config = make_config(local_root, cron="0 2 * * *")

    page = superuser.get(f"{CONFIGS}{config.pk}/change/").content.decode()

    assert 'data-cron-check="/api/v1/task/scheduler/validate-cron"' in page
    assert "filesync/cron.js" in page
    assert "filesync/folders.js" in page
    assert "filesync/rules.js" in page
    for tab in ("Source &amp; target", "Schedule", "Rules", "Limits &amp; safety"):
        assert tab in page


# A day ahead -------------------------------------------------------------------------------------


def test_the_day_ahead_tells_clashes_and_spreads_them_on_confirmation(
    local_root: Path, superuser: Client
) -> None:
    storage = make_storage(local_root, max_concurrent_runs=1)
    configs = [
        make_config(
            local_root,
            name=f"sync {number}",
            source_storage=storage,
            source_path=f"s{number}",
            destination_path=f"d{number}",
            cron="0 2 * * *",
        )
        for number in range(3)
    ]

    page = superuser.get(AHEAD).content.decode()
    assert "sync 0, sync 1, sync 2" in page
    moves = re.findall(r'name="move" value="([^"]+)"', page)
    assert len(moves) == 2
    assert not SyncConfig.objects.exclude(cron="0 2 * * *").exists()

    SyncConfig.objects.filter(pk=moves[1].split("|")[0]).update(cron="5 5 * * *")
    answer = superuser.post(AHEAD, {"move": moves}, follow=True).content.decode()

    moved = SyncConfig.objects.get(pk=moves[0].split("|")[0])
    row = periodic_row(moved)
    assert row is not None
    assert moved.cron == moves[0].split("|")[2] != "0 2 * * *"
    assert row.crontab.minute == moved.cron.split()[0]
    assert SyncConfig.objects.get(pk=moves[1].split("|")[0]).cron == "5 5 * * *"
    assert "edited meanwhile" in answer
    assert len({config.pk for config in configs}) == 3


def test_only_those_who_may_change_configs_spread_them(local_root: Path) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    move = {"move": f"{config.pk}|0 2 * * *|7 2 * * *"}

    assert sign_in("viewer").get(AHEAD).status_code == 200
    assert sign_in("nobody").get(AHEAD).status_code == 403
    assert sign_in("viewer").post(AHEAD, move).status_code == 403
    assert sign_in("superuser", csrf=True).post(AHEAD, move).status_code == 403
    config.refresh_from_db()
    assert config.cron == "0 2 * * *"


@pytest.mark.parametrize(
    "text", ["x|0 2 * * *|7 2 * * *", "1|0 2 * * *", "", "1|0 2 * * *|61 * * * *"]
)
def test_a_move_that_was_tampered_with_changes_nothing(
    local_root: Path, superuser: Client, text: str
) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    sent = text.replace("1|", f"{config.pk}|", 1)

    assert superuser.post(AHEAD, {"move": sent}).status_code == 302

    config.refresh_from_db()
    assert config.cron == "0 2 * * *"


def test_the_week_is_drawn_too(local_root: Path, superuser: Client) -> None:
    config = make_config(local_root, name="Photos", cron="*/5 * * * *")
    make_run(
        config,
        state=SyncRun.State.SUCCEEDED,
        started_at=timezone.now() - timedelta(minutes=2),
        finished_at=timezone.now(),
    )

    page = superuser.get(f"{AHEAD}?window=week").content.decode()

    assert "Photos" in page
    assert "usually 2 min 0 s" in page


def test_the_fullest_times_are_named_and_every_start_is_drawn(
    local_root: Path, superuser: Client
) -> None:
    for number in range(3):
        make_config(local_root, name=f"night {number}", cron="0 2 * * *", timezone="UTC")
    for number in range(2):
        make_config(local_root, name=f"morning {number}", cron="0 6 * * *", timezone="UTC")
    make_config(local_root, name="noon", cron="0 12 * * *", timezone="UTC")

    page = superuser.get(AHEAD).content.decode()

    heading = re.search(r'<h2 id="starts">.*?</h2>', page, re.DOTALL)
    assert heading is not None
    assert re.findall(r":00: (\d) starts", heading[0]) == ["3", "2"]
    bars = re.findall(r"<title>[^<]*: (\d) starts</title><rect[^>]* height=\"([\d.]+)\"", page)
    assert sorted(bars) == [("1", "33.3"), ("2", "66.7"), ("3", "100.0")]


def test_every_config_is_on_one_of_the_pages_of_the_day_ahead(
    local_root: Path, superuser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filesync.admin.ahead.LANES", 2)
    storage, other = make_storage(local_root, name="small"), make_storage(local_root)
    for number in range(5):
        make_config(
            local_root,
            name=f"sync {number}",
            remark="The remark" if number == 4 else "",
            cron=f"{number * 10} 2 * * *",
            source_storage=storage if number in (1, 3, 4) else other,
        )

    def drawn(query: str) -> list[str]:
        page = superuser.get(f"{AHEAD}?{query}").content.decode()
        return re.findall(r'href="[^"]*/change/">(sync \d|The remark)</a>', page)

    by_page = [drawn(f"page={number}") for number in (1, 2, 3)]
    assert [len(names) for names in by_page] == [2, 2, 1]
    assert {name for names in by_page for name in names} == {
        *(f"sync {number}" for number in range(4)),
        "The remark",
    }
    assert drawn("") == by_page[0]
    assert drawn("page=99") == by_page[2]
    chosen = f"storage={storage.pk}"
    assert {*drawn(chosen), *drawn(f"{chosen}&page=2")} == {"sync 1", "sync 3", "The remark"}
    page = superuser.get(f"{AHEAD}?window=week&{chosen}").content.decode()
    assert "page 1 of 2" in page
    assert f'href="?window=week&amp;storage={storage.pk}&amp;page=2#lanes"' in page


def test_a_week_tells_the_clashes_of_each_of_its_days_and_of_one_storage_all(
    local_root: Path, superuser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.utils.timezone.now", lambda: datetime(2026, 3, 4, tzinfo=UTC))
    storage = make_storage(local_root, name="small", max_concurrent_runs=1)
    for number in range(2):
        make_config(
            local_root,
            name=f"weekly {number}",
            source_storage=storage,
            source_path=f"{number}",
            destination_path=f"to {number}",
            cron="0 2 * * 0",
            timezone="UTC",
        )

    every = superuser.get(f"{AHEAD}?window=week").content.decode()
    one = superuser.get(f"{AHEAD}?window=week&storage={storage.pk}").content.decode()

    tabs = re.findall(r'href="(\?window=week[^"]*)#clashes"[^>]*>([^<]*)</a>', every)
    assert [date for _link, date in tabs] == [f"03-{4 + day:02}" for day in range(7)]
    pages = [superuser.get(AHEAD + unescape(link)).content.decode() for link, _date in tabs]
    # From Wednesday on: Sunday's are those of the fifth day.
    assert ["weekly 0, weekly 1" in page for page in pages] == [day == 4 for day in range(7)]
    assert "From 03-08 00:00 to 03-09 00:00" in pages[4]
    assert re.findall(r'aria-current="page">(03-\d\d)', pages[4]) == ["03-08"]
    assert pages[0].count("aria-current") == every.count("aria-current")
    assert ("weekly 0, weekly 1" in one, "#clashes" in one) == (True, False)


@pytest.mark.parametrize("query", ["window=week&day=7", "window=week&day=x", "day=3", "day=-1"])
def test_a_day_that_there_is_not_is_another_one(superuser: Client, query: str) -> None:
    assert superuser.get(f"{AHEAD}?{query}").status_code == 200


@pytest.mark.parametrize(
    ("now", "said", "chinese"),
    [
        (
            datetime(2026, 3, 28, 12, tzinfo=UTC),
            "Europe/Berlin: clocks go forward by 60 minutes, to 2026-03-29 03:00. "
            "Fires near it: Photos.",
            "拨快",
        ),
        (
            datetime(2026, 10, 24, 12, tzinfo=UTC),
            "Europe/Berlin: clocks go back by 60 minutes, to 2026-10-25 02:00. "
            "Fires near it: Photos.",
            "回拨",
        ),
    ],
)
def test_a_night_in_which_the_clocks_change_is_told(
    local_root: Path, monkeypatch: pytest.MonkeyPatch, now: datetime, said: str, chinese: str
) -> None:
    make_config(
        local_root, name="sync", remark="Photos", cron="30 2 * * *", timezone="Europe/Berlin"
    )
    monkeypatch.setattr("django.utils.timezone.now", lambda: now)

    assert said in sign_in("viewer").get(AHEAD).content.decode()
    assert chinese in sign_in("viewer", language="zh-hans").get(AHEAD).content.decode()


@pytest.mark.only_on("sqlite")
@pytest.mark.parametrize(
    ("page", "active"),
    [
        ("filesync_syncconfig_ahead", ["A day ahead"]),
        ("filesync_syncconfig_changelist", ["Sync configs"]),
        ("filesync_syncconfig_add", ["Sync configs"]),
        ("filesync_storage_changelist", ["Storages"]),
    ],
)
def test_the_menu_shows_the_one_page_that_one_is_on(
    superuser: Client, page: str, active: list[str]
) -> None:
    answer = superuser.get(reverse(f"admin:{page}"))

    groups = answer.context["sidebar_navigation"]
    assert [
        item["title"] for group in groups for item in group["items"] if item["active"]
    ] == active
