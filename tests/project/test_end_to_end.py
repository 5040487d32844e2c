"""The main job on a real system: a config saved over HTTP fires by cron and really copies files."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.project.system import (
    STOPS_WITHIN_S,
    Client,
    System,
    processes_of,
    still_alive,
    wait_until,
)
from tests.servers.process import HOST

CRON_WITHIN_S = 90.0
RUN_WITHIN_S = 45.0
TASKS = "/api/v1/task/scheduler"
SYNC = "/api/v1/sync"
TERMINAL = ("SUCCEEDED", "PARTIAL", "FAILED", "CANCELLED", "SKIPPED", "MISSED", "LOST")
# At this rate the tree below takes minutes, so that a run is seen while it runs.
SLOW = "16K"
SLOW_BYTES = 4_000_000

FILES = {
    b"plain.txt": b"hello\n" * 100,
    b"empty": b"",
    "报告/第一季度/汇总 2024.txt".encode(): "年度报告\n".encode() * 2_000,
    "emoji 🗂/naïve café.md".encode(): b"x" * 70_000,
    b".hidden/.dotfile": b"dot",
    b"-rf": b"begins with a dash",
    b'it\'s "quoted" & $HOME `id`;.sh': b"shell",
    b"star * question ? [a-z] {x,y}.log": b"glob",
    b"back\\slash: colon | pipe <a>.txt": b"signs",
    b" leading and trailing ": b"spaces",
    b"line\nbreak\ttab.txt": b"control",
    b"+ plus #hash %41 percent.txt": b"escapes",
    b"n" * 250: b"a long name",
    b"not utf-8 \xff\xfe.bin": bytes(range(256)) * 300,
    b"deep/" + b"/".join([b"d"] * 30) + b"/leaf": b"leaf",
}
TOTAL_BYTES = sum(map(len, FILES.values()))

SPEC_ROUTES = [
    ("POST", f"{TASKS}/refresh-tasks"),
    ("GET", f"{TASKS}/task-status"),
    ("POST", f"{TASKS}/validate-cron"),
    ("DELETE", f"{TASKS}/clear-tasks"),
    ("POST", f"{TASKS}/execute-sync/1"),
    ("POST", f"{TASKS}/execute-all-enabled"),
    ("GET", f"{TASKS}/task-result/5b0c2b0e-0000-4000-8000-000000000000"),
]
RESOURCES = [
    (method, f"{SYNC}/{name}") for name in ("configs", "storages") for method in ("GET", "POST")
] + [("GET", f"{SYNC}/runs"), ("GET", f"{SYNC}/runs/1"), ("POST", f"{SYNC}/runs/1/cancel")]

# One start, and up to a minute until the first slot, fall to whichever test comes first.
pytestmark = [pytest.mark.each_database, pytest.mark.timeout(240)]


@dataclass(slots=True)
class Lab:
    """One running system and what the tests make in it; a test that stops it starts it again."""

    system: System
    http: Client
    made: int = 0
    storages: dict[str, int] = field(default_factory=dict)

    def post(self, path: str, body: object = None, *, status: int = 201) -> Any:
        return self.call("POST", path, body, status=status)

    def call(self, method: str, path: str, body: object = None, *, status: int = 200) -> Any:
        answer = self.http.call(method, path, body)
        if answer.status_code != status:
            raise self.system.failed(f"{method} {path}: {answer.status_code} {answer.text[:1000]}")
        return answer.json()

    def storage(self, folder: str) -> int:
        """Return the id of a local storage on a folder below the allowed root."""
        if folder not in self.storages:
            root = self.system.files / folder
            root.mkdir(parents=True, exist_ok=True)
            body = {"name": folder, "backend": "local", "root": str(root)}
            self.storages[folder] = self.post(f"{SYNC}/storages", body)["id"]
        return self.storages[folder]

    def config(self, source: str, destination: str = "", **fields: object) -> Any:
        """Save a config over REST that copies one folder to another; without a cron of its own."""
        self.made += 1
        destination = destination or f"copy {self.made} of {source}"
        body = {
            "name": f"{source} {self.made}",
            "source_storage": self.storage(source),
            "destination_storage": self.storage(destination),
            "cron": "",
            "enable": True,
        }
        return self.post(f"{SYNC}/configs", body | fields)

    def runs(self, config_id: int) -> list[Any]:
        found: list[Any] = self.call("GET", f"{SYNC}/runs?config={config_id}")["results"]
        return found

    def run_of(self, task_id: str) -> Any:
        return self.call("GET", f"{TASKS}/task-result/{task_id}")["run"]

    def wait_for_state(self, task_id: str, *states: str) -> Any:
        def probe() -> Any:
            run = self.run_of(task_id)
            return run if run["state"] in states else None

        return self.system.wait_for(
            probe, f"task {task_id} is {' or '.join(states)}", timeout_s=RUN_WITHIN_S
        )

    def execute(self, config_id: int, body: object = None) -> str:
        answer = self.post(f"{TASKS}/execute-sync/{config_id}", body, status=202)
        return str(answer["task_id"])

    def periodic_task(self, config_id: int) -> Any:
        """Return three columns of a config's PeriodicTask row, None without one."""
        rows = self.system.query(
            f"list(PeriodicTask.objects.filter(name='filesync.syncconfig:{config_id}')"
            ".values('enabled', 'task', 'kwargs'))"
        )
        assert isinstance(rows, list)
        assert len(rows) <= 1
        return rows[0] if rows else None

    def stored_result(self, task_id: str) -> tuple[str, Any]:
        """Return status and result of the django-celery-results row."""
        row = self.system.query(
            f"list(TaskResult.objects.filter(task_id='{task_id}').values_list('status', 'result'))"
        )
        assert isinstance(row, list)
        assert len(row) == 1, row
        return row[0][0], json.loads(row[0][1])


@dataclass(frozen=True, slots=True)
class Fired:
    """A config that cron fired once: its run, and its PeriodicTask rows before and after."""

    config_id: int
    source: Path
    destination: Path
    run: Any
    row_when_saved: Any
    row_when_disabled: Any


@pytest.fixture(scope="module")
def database_url(pytestconfig: pytest.Config) -> Iterator[str]:
    """Return the address of a fresh PostgreSQL database; empty on SQLite."""
    if pytestconfig.getoption("database") == "sqlite":
        yield ""
        return
    server_url = os.environ["DATABASE_URL"]
    name = f"end_to_end_{secrets.token_hex(4)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    try:
        yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture(scope="module")
def running(database_url: str) -> Iterator[Lab]:
    settings = {"DATABASE_URL": database_url} if database_url else {}
    with System(**settings) as system:
        yield Lab(system, system.client())


@pytest.fixture
def lab(running: Lab) -> Lab:
    """Return the running system, started again where a test before has stopped it."""
    running.system.start()
    return running


@pytest.fixture(scope="module")
def fired(running: Lab) -> Fired:
    running.system.start()
    source = running.system.files / "source"
    write_tree(source)
    config = running.config("source", "destination", cron="* * * * *", remark="每分钟")
    config_id = config["id"]
    row_when_saved = running.periodic_task(config_id)

    def ended() -> Any:
        runs = [run for run in running.runs(config_id) if run["state"] in TERMINAL]
        return runs[-1] if runs else None

    run = running.system.wait_for(ended, "cron has fired a run", timeout_s=CRON_WITHIN_S)
    running.call("PATCH", f"{SYNC}/configs/{config_id}", {"enable": False})
    return Fired(
        config_id,
        source,
        running.system.files / "destination",
        run,
        row_when_saved,
        running.periodic_task(config_id),
    )


@pytest.fixture
def slow(lab: Lab) -> Iterator[str]:
    """Return the task id of a run that is under way and would go on for minutes."""
    (lab.system.files / "slow").mkdir(exist_ok=True)
    (lab.system.files / "slow" / "large.bin").write_bytes(os.urandom(SLOW_BYTES))
    config = lab.config("slow", bandwidth=SLOW)
    task_id = lab.execute(config["id"])
    lab.wait_for_state(task_id, "RUNNING")
    yield task_id
    lab.system.start()
    lab.call("PATCH", f"{SYNC}/configs/{config['id']}", {"enable": False})
    run = lab.run_of(task_id)
    if run["state"] not in TERMINAL:
        lab.post(f"{SYNC}/runs/{run['id']}/cancel", status=202)
        lab.wait_for_state(task_id, *TERMINAL)


def write_tree(root: Path) -> None:
    for name, content in FILES.items():
        path = os.path.join(os.fsencode(root), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)


def read_tree(root: Path) -> dict[bytes, bytes]:
    """Return every file's content by its name in bytes, as not every name is text."""
    found: dict[bytes, bytes] = {}
    top = os.fsencode(root)
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, top)] = file.read()
    return found


# --- the main job


def test_a_saved_config_fires_by_cron_and_copies_byte_for_byte(fired: Fired) -> None:
    assert read_tree(fired.source) == FILES
    assert read_tree(fired.destination) == FILES


def test_the_run_says_that_its_slot_fired_and_what_it_did(fired: Fired) -> None:
    run = fired.run
    assert (run["state"], run["status"], run["trigger"]) == ("SUCCEEDED", "SUCCESS", "CRON")
    assert run["slot"].endswith((":00Z", ":00+08:00"))
    assert run["attempt"] == 1
    assert run["files_transferred"] == len(FILES)
    assert run["bytes_transferred"] == TOTAL_BYTES
    assert run["files_failed"] == run["files_deleted"] == 0
    assert run["message"] == ""
    assert run["duration_s"] > 0


def test_the_run_s_items_name_every_file(fired: Fired, lab: Lab) -> None:
    items = lab.call("GET", f"{SYNC}/runs/{fired.run['id']}/items")
    assert sum(item["size_bytes"] or 0 for item in items) == TOTAL_BYTES
    # rclone spells a control character as its picture, and a byte that is no UTF-8 in its own way.
    pictures = str.maketrans("\n\t", "\u240a\u2409")
    readable = {name.decode().translate(pictures) for name in FILES if b"\xff" not in name}
    assert readable <= {item["path"] for item in items}


def test_the_stored_celery_result_tells_the_same(fired: Fired, lab: Lab) -> None:
    status, result = lab.stored_result(fired.run["task_id"])
    assert status == "SUCCESS"
    for name in ("state", "files_transferred", "bytes_transferred", "files_failed", "duration_s"):
        assert result[name] == fired.run[name]
    assert result["run_id"] == fired.run["id"]
    assert result["config_id"] == fired.config_id


def test_the_task_route_tells_the_same(fired: Fired, lab: Lab) -> None:
    answer = lab.call("GET", f"{TASKS}/task-result/{fired.run['task_id']}")
    assert answer["status"] == "SUCCESS"
    assert (answer["ready"], answer["successful"], answer["failed"]) == (True, True, False)
    assert answer["error"] is None
    assert answer["result"]["bytes_transferred"] == TOTAL_BYTES
    assert answer["run"] == fired.run


def test_saving_writes_the_periodic_task_and_disabling_takes_it_back(fired: Fired) -> None:
    row = {
        "enabled": True,
        "task": "filesync.tasks.sync_file_task",
        "kwargs": json.dumps({"config_id": fired.config_id}),
    }
    assert fired.row_when_saved == row
    assert fired.row_when_disabled == row | {"enabled": False}


def test_deleting_a_config_removes_its_periodic_task(lab: Lab) -> None:
    config_id = lab.config("source", cron="0 2 * * *")["id"]
    assert lab.periodic_task(config_id) is not None
    assert lab.http.call("DELETE", f"{SYNC}/configs/{config_id}").status_code == 204
    assert lab.periodic_task(config_id) is None


def test_clearing_the_cron_takes_the_periodic_task_back(lab: Lab) -> None:
    config_id = lab.config("source", cron="0 2 * * *")["id"]
    lab.call("PATCH", f"{SYNC}/configs/{config_id}", {"cron": ""})
    assert lab.periodic_task(config_id) is None


# --- the routes of the specification


def send_raw(lab: Lab, path: str, *parts: bytes) -> int:
    """Send a POST with a body in chunks as it stands; return the status of the answer."""
    token = lab.http.headers["Authorization"]
    assert isinstance(token, str)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        f"Authorization: {token}\r\n"
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((HOST, lab.system.port), timeout=30) as connection:
        connection.sendall(head.encode())
        for part in parts:
            connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        return int(connection.makefile("rb").readline().split()[1])


def test_a_wish_for_a_dry_run_that_comes_in_chunks_is_heard(lab: Lab) -> None:
    config_id = lab.config("chunks")["id"]
    path = f"{TASKS}/execute-sync/{config_id}"

    torn = send_raw(lab, path, b'b\r\n{"dry_run": \r\n', b"5\r\ntr")
    none = lab.runs(config_id)
    taken = send_raw(lab, path, b'c\r\n{"dry_run": \r\n', b"5\r\ntrue}\r\n0\r\n\r\n")

    assert (torn, none, taken) == (400, [], 202)
    assert [run["dry_run"] for run in lab.runs(config_id)] == [True]


def test_a_body_in_chunks_is_read_no_further_than_any_is_taken(lab: Lab) -> None:
    parts = [b"40000\r\n" + b"x" * 0x40000 + b"\r\n"] * 4

    assert send_raw(lab, f"{SYNC}/configs", *parts, b"1\r\nx\r\n0\r\n\r\n") == 413


def test_a_hook_is_heard_however_much_is_sent_to_it(lab: Lab) -> None:
    config_id = lab.config("hooked")["id"]
    hook = lab.post(f"{SYNC}/configs/{config_id}/hook")["url"]

    answer = lab.http.post(hook, data=b"x" * 20_000_000, timeout=30)

    assert (answer.status_code, len(lab.runs(config_id))) == (202, 1)


def test_a_manual_run_is_accepted_and_succeeds(lab: Lab) -> None:
    write_tree(lab.system.files / "by hand")
    config_id = lab.config("by hand", "by hand copy")["id"]
    answer = lab.post(f"{TASKS}/execute-sync/{config_id}", status=202)
    assert answer.keys() == {"task_id", "config_id", "status"}
    assert (answer["config_id"], answer["status"]) == (config_id, "PENDING")
    run = lab.wait_for_state(answer["task_id"], *TERMINAL)
    assert (run["state"], run["trigger"], run["slot"]) == ("SUCCEEDED", "MANUAL", None)
    assert read_tree(lab.system.files / "by hand copy") == FILES


def test_a_second_run_finds_everything_in_step(lab: Lab) -> None:
    write_tree(lab.system.files / "twice")
    config_id = lab.config("twice")["id"]
    lab.wait_for_state(lab.execute(config_id), "SUCCEEDED")
    again = lab.wait_for_state(lab.execute(config_id), "SUCCEEDED")
    assert (again["files_transferred"], again["bytes_transferred"]) == (0, 0)


def test_a_run_that_fails_says_why_and_is_no_http_error(lab: Lab) -> None:
    config_id = lab.config("source", source_path="no such folder")["id"]
    task_id = lab.execute(config_id)
    run = lab.wait_for_state(task_id, *TERMINAL)
    assert run["state"] == "FAILED"
    answer = lab.call("GET", f"{TASKS}/task-result/{task_id}")
    assert (answer["status"], answer["ready"], answer["failed"]) == ("FAILURE", True, True)
    assert run["message"] in answer["error"]
    assert lab.stored_result(task_id)[0] == "FAILURE"


def test_execute_refuses_what_is_unknown_disabled_or_active(lab: Lab, slow: str) -> None:
    config_id = lab.run_of(slow)["config"]
    active = lab.post(f"{TASKS}/execute-sync/{config_id}", status=409)
    assert active["task_id"] == slow
    assert active.keys() == {"detail", "code", "task_id"}

    disabled = lab.config("source", enable=False)["id"]
    refused = lab.post(f"{TASKS}/execute-sync/{disabled}", status=409)
    assert refused.keys() == {"detail", "code"}
    forced = lab.execute(disabled, {"force": True})
    assert lab.wait_for_state(forced, *TERMINAL)["state"] == "SUCCEEDED"

    unknown = lab.post(f"{TASKS}/execute-sync/999999", status=404)
    assert unknown.keys() == {"detail", "code"}


def test_execute_all_says_for_each_enabled_config_what_became_of_it(lab: Lab, slow: str) -> None:
    active_id = lab.run_of(slow)["config"]
    enabled, disabled = lab.config("source")["id"], lab.config("source", enable=False)["id"]
    answer = lab.post(f"{TASKS}/execute-all-enabled", status=202)
    by_id = {entry["config_id"]: entry for entry in answer["results"]}
    assert by_id[enabled]["status"] == "queued"
    assert by_id[active_id]["status"] != "queued"
    assert by_id[active_id]["task_id"] is None
    assert disabled not in by_id
    for entry in answer["results"]:
        if entry["task_id"] is not None:
            run = lab.wait_for_state(entry["task_id"], *TERMINAL)
            assert run["trigger"] == "BATCH"


def test_a_running_task_shows_progress_in_api_and_inspect_and_can_be_cancelled(
    lab: Lab, slow: str
) -> None:
    def progress() -> Any:
        answer = lab.call("GET", f"{TASKS}/task-result/{slow}")
        return answer if (answer["progress"] or {}).get("bytes_done") else None

    answer = lab.system.wait_for(progress, "progress is seen", timeout_s=RUN_WITHIN_S)
    assert (answer["status"], answer["ready"]) == ("STARTED", False)
    assert answer["progress"]["bytes_total"] == SLOW_BYTES

    inspected = lab.system.celery("inspect", "active", "--json")
    assert inspected.returncode == 0, inspected.stderr
    active = [task for tasks in json.loads(inspected.stdout).values() for task in tasks]
    assert slow in [task["id"] for task in active]

    lab.post(f"{SYNC}/runs/{answer['run']['id']}/cancel", status=202)
    assert lab.wait_for_state(slow, *TERMINAL)["state"] == "CANCELLED"
    assert lab.call("GET", f"{TASKS}/task-result/{slow}")["status"] == "REVOKED"
    assert lab.stored_result(slow)[0] == "REVOKED"


@pytest.mark.parametrize("what", ["active", "scheduled", "ping", "registered"])
def test_celery_inspect_answers_from_another_process(what: str, lab: Lab) -> None:
    done = lab.system.celery("inspect", what, "--json")
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert len(answers) == 1
    if what == "registered":
        assert "filesync.tasks.sync_file_task" in next(iter(answers.values()))


def test_task_status_tells_who_is_alive_and_what_comes_next(lab: Lab, slow: str) -> None:
    config_id = lab.config("source", cron="0 2 * * *", timezone="Asia/Shanghai")["id"]

    def healthy() -> Any:
        answer = lab.call("GET", f"{TASKS}/task-status")
        return answer if answer["beat"]["running"] and answer["workers"] else None

    answer = lab.system.wait_for(healthy, "beat and worker are seen", timeout_s=RUN_WITHIN_S)
    assert any(worker["alive"] for worker in answer["workers"])
    assert answer["broker"] == {"reachable": True}
    assert answer["warnings"] == []
    assert slow in [run["task_id"] for run in answer["running"]]
    following = {entry["config_id"]: entry for entry in answer["scheduled"]}
    assert following[config_id]["next_run"].endswith(("T02:00:00+08:00", "T18:00:00Z"))
    assert lab.http.call("DELETE", f"{SYNC}/configs/{config_id}").status_code == 204


def test_validate_cron_explains_a_good_and_a_bad_expression(lab: Lab) -> None:
    path = f"{TASKS}/validate-cron"
    good = lab.post(path, {"cron": "0 9,18 * * 1-5", "timezone": "Asia/Shanghai"}, status=200)
    assert good["valid"] is True
    assert good.keys() == {
        "valid", "cron", "timezone", "description", "next_runs", "next_run_in_seconds",
    }  # fmt: skip
    assert len(good["next_runs"]) == 5
    assert {moment[11:] for moment in good["next_runs"]} == {"09:00:00+08:00", "18:00:00+08:00"}
    bad = lab.post(path, {"cron": "0 25 * * *"}, status=200)
    assert bad.keys() == {"valid", "field", "error"}
    assert (bad["valid"], bad["field"]) == (False, "hour")


def test_clear_and_refresh_touch_the_rows_of_configs_only(lab: Lab) -> None:
    config_id = lab.config("source", cron="0 3 * * *")["id"]
    foreign = "PeriodicTask.objects.exclude(name__startswith='filesync.').count()"
    daily = "IntervalSchedule.objects.get_or_create(every=1, period='days')[0]"
    theirs = f"dict(task='some.task', enabled=False, interval={daily})"
    lab.system.query(f"PeriodicTask.objects.get_or_create(name='theirs', defaults={theirs})[0].pk")
    others = lab.system.query(foreign)
    assert others
    cleared = lab.call("DELETE", f"{TASKS}/clear-tasks")
    assert cleared.keys() == {"removed"}
    assert cleared["removed"] >= 1
    assert lab.periodic_task(config_id) is None
    assert lab.system.query(foreign) == others

    report = lab.post(f"{TASKS}/refresh-tasks", status=200)
    assert report.keys() == {
        "created", "updated", "unchanged", "removed", "errors", "active_tasks",
    }  # fmt: skip
    assert report["created"] == cleared["removed"]
    assert report["errors"] == []
    assert lab.periodic_task(config_id)["enabled"] is True
    again = lab.post(f"{TASKS}/refresh-tasks", status=200)
    assert (again["created"], again["unchanged"]) == (0, report["created"])


def test_an_unknown_task_is_404(lab: Lab) -> None:
    for task_id in ("5b0c2b0e-0000-4000-8000-000000000000", "nonsense"):
        answer = lab.call("GET", f"{TASKS}/task-result/{task_id}", status=404)
        assert answer.keys() == {"detail", "code"}


@pytest.mark.parametrize(("method", "path"), [*SPEC_ROUTES, *RESOURCES])
def test_nobody_gets_in_without_a_login(method: str, path: str, lab: Lab) -> None:
    anonymous = lab.system.anonymous()
    assert anonymous.call(method, path).status_code == 401
    false_token = {"Authorization": "Bearer sb_nonsense"}
    # Who tries many tokens is also slowed down.
    assert anonymous.call(method, path, headers=false_token).status_code in (401, 429)


@pytest.mark.parametrize(("method", "path"), SPEC_ROUTES)
def test_a_route_has_no_trailing_slash(method: str, path: str, lab: Lab) -> None:
    assert lab.http.call(method, f"{path}/").status_code == 404


def test_a_browser_s_session_needs_the_csrf_token(lab: Lab) -> None:
    browser = lab.system.anonymous()
    browser.call("GET", "/admin/login/")
    form = {
        "username": "admin",
        "password": lab.system.password,
        "csrfmiddlewaretoken": browser.cookies["csrftoken"],
    }
    browser.post(f"{browser.base}/admin/login/", data=form, timeout=10, allow_redirects=False)
    assert browser.call("GET", f"{TASKS}/task-status").status_code == 200
    refresh = f"{TASKS}/refresh-tasks"
    assert browser.call("POST", refresh).status_code == 403
    token = {"X-CSRFToken": browser.cookies["csrftoken"]}
    assert browser.call("POST", refresh, headers=token).status_code == 200


def test_a_route_can_be_browsed(lab: Lab) -> None:
    answer = lab.http.call("GET", f"{TASKS}/task-status", headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")


# --- stopping and starting again


def test_ctrl_c_stops_everything_and_a_second_start_goes_on(lab: Lab, slow: str) -> None:
    """The run that was under way goes back to the queue, and is taken up by the second start."""
    config = lab.call("GET", f"{SYNC}/configs/{lab.run_of(slow)['config']}")
    password, tree = lab.system.password, lab.system.tree()
    assert any("rclone" in process.name() for process in tree)

    assert lab.system.send(signal.SIGINT) == 0
    assert still_alive(tree) == []
    assert processes_of(lab.system.data_dir) == []
    left = lab.system.query(
        f"list(SyncRun.objects.filter(task_id='{slow}').values_list('state', 'reason', 'attempt'))"
    )
    assert left == [["QUEUED", "WORKER_STOPPED", 0]]
    assert lab.stored_result(slow)[0] == "PENDING"

    lab.system.start()
    assert lab.system.password == password
    assert lab.call("GET", f"{SYNC}/configs/{config['id']}") == config
    assert lab.wait_for_state(slow, "RUNNING")["attempt"] == 1


def test_a_killed_supervisor_takes_everything_with_it(lab: Lab) -> None:
    tree = lab.system.tree()
    lab.system.send(signal.SIGKILL)
    wait_until(lambda: not still_alive(tree), timeout_s=STOPS_WITHIN_S)
    assert [process.cmdline() for process in still_alive(tree)] == []
    assert processes_of(lab.system.data_dir) == []
    lab.system.start()
    assert lab.http.call("GET", f"{TASKS}/task-status").status_code == 200
