"""What the docs say to type is typed as it stands there, and does what they promise."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django_celery_beat.models import PeriodicTask

from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config
from tests.filesync.factories import use_broker as use_broker
from tests.project.docs import READMES, UNITS, code_blocks, unit_argv
from tests.project.system import own_environment, run, wait_until
from tests.servers.process import GuardedProcess, free_port, short_temp_dir
from tests.servers.redis import RedisServer

STARTS_WITHIN_S = 60.0
PRODUCTION = "gunicorn "
LOOK_INSIDE = "# "


def lines_of(readme: str, beginning: str, count: int) -> list[str]:
    """Return the commands of the one block that begins so."""
    [block] = [
        lines
        for block in code_blocks(readme, "bash")
        if block.startswith(beginning)
        and len(lines := [line for line in block.splitlines() if line and line[0] != "#"]) == count
    ]
    return block


class Machine:
    """A data folder, a port and a broker, and what is started on them as in the checkout."""

    def __init__(self, broker: RedisServer, stack: ExitStack) -> None:
        self.folder = short_temp_dir("sb-docs-")
        stack.callback(shutil.rmtree, self.folder)
        self._stack = stack
        (self.folder / "data").mkdir()
        self.environment = own_environment(
            self.folder / "data",
            CELERY_BROKER=broker.url,
            SYNCBEAT_PORT=str(free_port()),
            DJANGO_SETTINGS_MODULE="project.settings",
        )
        path = [str(Path(sys.executable).parent), os.environ["PATH"]]
        self.environment["PATH"] = os.pathsep.join(path)

    def start(self, argv: Sequence[str]) -> None:
        log_file = self.folder / f"{len(list(self.folder.glob('*.log')))}.log"
        process = GuardedProcess(argv, log_file=log_file, environment=self.environment)
        self._stack.callback(process.kill)

    def type(self, command: str) -> str:
        done = run(shlex.split(command), self.environment)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def is_whole(self) -> bool:
        """Whether doctor finds a beat, a worker and a broker."""
        done = run(["python", "manage.py", "doctor", "--json"], self.environment)
        found = {entry["what"]: entry["level"] for entry in json.loads(done.stdout)}
        return {found[part] for part in ("beat", "workers", "broker")} == {"ok"}

    def serves(self) -> bool:
        port = self.environment["SYNCBEAT_PORT"]
        code = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{port}/health/ready')"
        return run(["python", "-c", code], self.environment).returncode == 0

    def logs(self) -> str:
        return "\n".join(log.read_text() for log in sorted(self.folder.glob("*.log")))


@pytest.fixture
def machine() -> Iterator[Machine]:
    with ExitStack() as stack:
        machine = Machine(stack.enter_context(RedisServer()), stack)
        machine.type("python manage.py migrate")
        yield machine


@pytest.mark.timeout(240)
@pytest.mark.parametrize("readme", READMES)
def test_the_commands_of_the_readme_make_a_whole_system(readme: str, machine: Machine) -> None:
    production = lines_of(readme, PRODUCTION, 3)
    for command in production:
        machine.start(shlex.split(command))
    assert wait_until(machine.is_whole, timeout_s=STARTS_WITHIN_S), machine.logs()
    assert wait_until(machine.serves, timeout_s=STARTS_WITHIN_S), machine.logs()
    *_, active, scheduled = lines_of(readme, LOOK_INSIDE, 4)
    assert "1 node online" in machine.type(active)
    assert "1 node online" in machine.type(scheduled)


@pytest.mark.timeout(240)
def test_the_units_make_a_whole_system(machine: Machine) -> None:
    for unit in UNITS:
        if unit.suffix == ".service":
            machine.start(unit_argv(unit.read_text()))
    assert wait_until(machine.is_whole, timeout_s=STARTS_WITHIN_S), machine.logs()
    assert wait_until(machine.serves, timeout_s=STARTS_WITHIN_S), machine.logs()


def test_the_commands_that_start_a_role_are_the_same_everywhere() -> None:
    """Apart from a queue, a name and where the program lies."""
    wanted = {
        "worker": "celery --quiet -A project worker --loglevel=info",
        "beat": "celery --quiet -A project beat --loglevel=info",
        "gunicorn": "gunicorn project.wsgi:application --config python:project.web_server",
    }
    pages = {readme: lines_of(readme, PRODUCTION, 3) for readme in READMES}
    pages |= {
        unit.name: [shlex.join(unit_argv(unit.read_text()))]
        for unit in UNITS
        if unit.suffix == ".service"
    }
    for page in ("docs/operations.md", "docs/operations.zh.md"):
        pages[page] = [
            line
            for block in code_blocks(page, "bash")
            for line in block.splitlines()
            if line.startswith(("celery", "gunicorn"))
        ]
    for page, commands in pages.items():
        assert commands
        for command in commands:
            plain = command.rpartition("/bin/")[2] if "/bin/" in command else command
            [role] = [role for role in wanted if role in plain.split()]
            assert plain.startswith(wanted[role]), page
            left = plain.removeprefix(wanted[role]).split()
            assert {word.partition("=")[0] for word in left} <= {
                *("-Q", "--hostname", "--pidfile"),
                *(word for word in left if not word.startswith("-")),
            }, page


@pytest.mark.django_db(transaction=True, reset_sequences=True)
@pytest.mark.parametrize("readme", READMES)
def test_the_python_example_does_what_it_says(
    readme: str, local_root: Path, broker: RedisServer
) -> None:
    config = make_config(local_root, cron="0 2 * * *")
    PeriodicTask.objects.all().delete()
    (block,) = code_blocks(readme, "python")
    code = compile(block, readme, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, Any] = {}

    async def typed() -> None:
        outcome = eval(code, names)
        assert inspect.isawaitable(outcome)
        await outcome

    asyncio.run(typed())
    assert config.pk == 1
    assert PeriodicTask.objects.filter(name="filesync.syncconfig:1").exists()
    assert names["result"]["valid"] is True
    assert broker.client().llen("celery") == 2
    assert names["task_result"].id != names["batch_result"].id
