"""What README, docs, Dockerfile and compose.yaml say, read for tests; no promises are here."""

from __future__ import annotations

import argparse
import ast
import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from celery.bin.celery import celery as celery_cli
from celery.worker.control import Panel
from click import Context
from django.core.management import get_commands, load_command_class

from tests.servers.process import REPOSITORY

READMES = {"README.md": "en", "README.zh.md": "zh-hans"}
PAGES = (
    *READMES,
    "CHANGELOG.md",
    "docs/architecture.md",
    "docs/developing.md",
    "docs/guide.md",
    "docs/guide.zh.md",
    "docs/operations.md",
    "docs/operations.zh.md",
    "docs/reliability.md",
)

UNITS = sorted((REPOSITORY / "docs" / "systemd").iterdir())

Command = list[str]


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def code_blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", read(name), re.DOTALL | re.MULTILINE)


def block_with(words: str) -> str:
    """Return the one block of commands of docs/operations.md that begins with these words."""
    blocks = code_blocks("docs/operations.md", "bash")
    [block] = [block for block in blocks if block.startswith(words)]
    return block


def block_commands(name: str) -> Iterator[Command]:
    """Yield the command lines of the bash blocks, `NAME=$(command)` as that command."""
    for block in code_blocks(name, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            inner = re.sub(r"^[A-Z]+=\$\((.*)\)$", r"\1", line)
            words = shlex.split(inner, comments=True)
            if words and not re.match(r"[A-Z]+=", words[0]):
                yield words


def inline_commands(name: str) -> Iterator[Command]:
    """Yield what stands as a command in the running text, with the flags its table row lists."""
    prose = re.sub(r"^```.*?^```$", "", read(name), flags=re.DOTALL | re.MULTILINE)
    for line in prose.splitlines():
        spans = re.findall(r"`([^`]+)`", line)
        flags = [span for span in spans if span.startswith("--")]
        for span in spans:
            words = shlex.split(span) if span.startswith(("python ", "celery ", "make ")) else []
            if words[:1] == ["python"] and line.startswith("|"):
                check_flags(words[2], flags)
            if words:
                yield words


def exec_start(unit: str) -> str:
    """Return the command line of a systemd unit, with the variables that the unit itself sets."""
    [found] = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    line = str(found)
    for name, value in re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE):
        line = line.replace(f"${{{name}}}", value)
    return line.replace("%%", "%")


def unit_argv(unit: str) -> Command:
    """Return what a systemd unit starts, with the programs and the folder of this checkout."""
    line = exec_start(unit)
    line = line.replace("/opt/syncbeat/.venv/bin", str(Path(sys.executable).parent))
    line = line.replace("/opt/syncbeat", str(REPOSITORY)).replace("%i", "1")
    return shlex.split(line)


def manage_parser(command: str) -> argparse.ArgumentParser:
    app = get_commands()[command]
    loaded = load_command_class(app, command) if isinstance(app, str) else app
    return loaded.create_parser("manage.py", command)


def check_flags(command: str, flags: Sequence[str]) -> None:
    known = manage_parser(command).format_help()
    assert [flag for flag in flags if flag not in known] == []


def check_celery(args: Command) -> None:
    context = Context(celery_cli)
    _, words, _ = celery_cli.make_parser(context).parse_args(list(args))
    command = celery_cli.commands[words[0]]
    command.make_parser(context).parse_args(words[1:])
    if words[0] == "inspect":
        assert words[1] in Panel.meta


def check_compose_command(args: Command) -> None:
    services = yaml.safe_load(read("compose.yaml"))["services"]
    match args:
        case ["build"] | ["up", "-d"] | ["up", "-d", "--build"]:
            pass
        case ["run", "--rm", service]:
            assert services[service]["command"]
        case ["run", "--rm", service, *inner]:
            assert service in services
            check(inner)
        case ["exec", "-T", "postgres", *_]:
            # Typed as they stand, in tests/project/test_backup.py.
            pass
        case ["up", "-d", "--no-deps", *names] | ["stop", *names]:
            assert names
            assert set(names) <= set(services)
        case ["up", "-d", "--scale", scale]:
            name, _, count = scale.partition("=")
            assert name in services
            assert int(count) > 0
        case _:
            raise ValueError(f"docker compose {shlex.join(args)}")


def check_systemctl(args: Command) -> None:
    names = {unit.name for unit in UNITS}
    match args:
        case ["enable", "--now", *units] | ["restart", *units]:
            for unit in units:
                name = re.sub(r"@\w+", "@", unit)
                assert name in names or f"{name}.service" in names
        case _:
            raise ValueError(f"systemctl {shlex.join(args)}")


SYSTEMD_RUN_OPTIONS = {"--pipe", "--wait", "--uid", "--property", "--working-directory"}


def systemd_run_options(args: Command) -> list[str]:
    return list(itertools.takewhile(lambda word: word.startswith("--"), args))


def check_systemd_run(args: Command) -> None:
    """Look at what it starts; that systemd knows these options is asked in test_docs.py."""
    options = systemd_run_options(args)
    assert {option.partition("=")[0] for option in options} <= SYSTEMD_RUN_OPTIONS
    program, *rest = args[len(options) :]
    check([Path(program).name, *rest])


def check_make(args: Command) -> None:
    makefile = read("Makefile")
    targets = re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)
    variables = re.findall(r"^export (.*)$", makefile, re.MULTILINE)[0].split()
    for word in args:
        name, equals, _ = word.partition("=")
        assert name in (variables if equals else targets)


def check(command: Command) -> None:
    """Fail unless the command exists and would understand its flags."""
    match command:
        case ["python", "manage.py", name, *args]:
            manage_parser(name).parse_args(args)
        case ["celery", *args]:
            check_celery(args)
        case ["gunicorn", *args]:
            argv = [sys.executable, "-m", "gunicorn", *args, "--check-config"]
            subprocess.run(argv, cwd=REPOSITORY, check=True, capture_output=True)
        case ["docker", "compose", *args]:
            check_compose_command(args)
        case ["make", "-C", folder, *args]:
            assert folder.startswith("/opt/syncbeat")
            check_make(args)
        case ["make", *args]:
            check_make(args)
        case ["systemctl", *args]:
            check_systemctl(args)
        case ["systemd-run", *args]:
            check_systemd_run(args)
        case ["ln", "-sfn", "/opt/syncbeat-2", "/opt/syncbeat"]:
            pass
        case ["tests/containers/install.sh"]:
            assert os.access(REPOSITORY / command[0], os.X_OK)
        case ["curl", *_]:
            curl_request(command[1:])
        case [".", ".venv/bin/activate"]:
            pass
        case ["pg_dump" | "pg_restore" | "sqlite3" | "rm" | "cp", *_]:
            # Typed as they stand, in tests/project/test_backup.py.
            pass
        case _:
            raise ValueError(f"nothing here can check {shlex.join(command)}")


@dataclass(frozen=True, slots=True)
class Request:
    """What a curl line asks for."""

    method: str
    url: str
    headers: dict[str, str]
    body: str


def curl_request(args: Command) -> Request:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("-X")
    parser.add_argument("-d", default="")
    parser.add_argument("url")
    given = parser.parse_args(args)
    headers = dict(header.split(": ", 1) for header in given.H)
    return Request(given.X or ("POST" if given.d else "GET"), given.url, headers, given.d)


def settings_read() -> dict[str, list[str]]:
    """Return the environment variables of project.settings, each with what its cell must show."""
    found: dict[str, list[str]] = {}
    for node in ast.walk(ast.parse(read("project/settings.py"))):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func).startswith("env.")):
            continue
        if not (node.args and isinstance(node.args[0], ast.Constant)):
            continue
        values = [*node.args[1:2], *(keyword.value for keyword in node.keywords)]
        shown = [str(value.value) for value in values if isinstance(value, ast.Constant)]
        found[str(node.args[0].value)] = [text.lower() for text in shown]
    return found


def settings_table(readme: str) -> dict[str, str]:
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \| [^|]+ \|$", read(readme), re.MULTILINE)
    assert len(rows) == len({name for name, _ in rows})
    return dict(rows)


def env_example() -> dict[str, str]:
    """Return the names of .env.example, each with "#" where it is commented out."""
    lines = re.findall(r"^(#?)([A-Z_]+)=", read(".env.example"), re.MULTILINE)
    return {name: mark for mark, name in lines}


def compose_variables() -> dict[str, str]:
    """Return the variables compose.yaml reads, each with ":?" where it must be set."""
    return dict(re.findall(r"\$\{([A-Z_]+)(:.)", read("compose.yaml")))


def compose_document(**environment: str) -> dict[str, Any]:
    """Return compose.yaml with its variables filled in; one that is asked for and missing fails."""

    def value(found: re.Match[str]) -> str:
        name, kind, default = found.groups()
        if kind == ":?" and not environment.get(name):
            raise KeyError(name)
        return environment.get(name) or default

    text = re.sub(r"\$\{([A-Z_]+)(:[-?])([^}]*)\}", value, read("compose.yaml"))
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def dockerfile() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, each with its arguments on one line."""
    text = re.sub(r"^#.*\n", "", read("Dockerfile"), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.partition(" ") for line in text.splitlines() if line]
    return [(instruction, arguments.strip()) for instruction, _, arguments in lines]
