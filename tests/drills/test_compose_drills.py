"""Drills on compose.yaml, Dockerfile and the compose parts of docs/operations.md, by a real engine.

The images of other servers are stand-ins (tests/containers): what is drilled is ours, from the
build and the order of the start to health checks, volumes, stops, upgrade and restore.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest

from tests.drills.stack import PASSWORD, ROLES, SLOW, Stack, make_certificate
from tests.project.docs import block_with
from tests.servers.docker import DockerHost, requires_docker

pytestmark = [pytest.mark.drill, pytest.mark.timeout(1200), requires_docker]

# As many seconds, at the bandwidth SLOW.
LONG_FILES = 60
# A program that SIGKILL ended.
KILLED = "137"


@pytest.fixture(scope="module")
def host() -> Iterator[DockerHost]:
    with DockerHost() as host:
        yield host


@pytest.fixture
def stack(host: DockerHost) -> Iterator[Stack]:
    yield Stack(host)
    host.empty()


def test_the_first_steps_lead_to_a_sync_that_has_run(stack: Stack) -> None:
    stack.configure()
    said = stack.first_steps()
    assert [line for line in said.splitlines() if not line.startswith("ok ")] == []
    assert stack.signs_in("admin", PASSWORD)

    photos = stack.add_sync("photos", files=3)
    stack.execute(photos)
    stack.wait_for_states(photos, ["SUCCEEDED"])
    assert stack.is_copied("photos")
    # What the image's user writes belongs to it, in a volume that began empty.
    owners = stack.in_files("stat --format=%u:%g /data /data/files /data/files/photos/to/1")
    assert set(owners.split()) == {"10001:10001"}

    *_, scale = block_with("docker compose up -d --build").splitlines()
    assert scale.endswith("--scale worker=3")
    stack.host.type(scale)
    assert len(stack.containers("worker")) == 3
    stack.wait_for(lambda: len(stack.status()["workers"]) == 3, "three workers answer")


def test_when_the_leading_beat_is_killed_the_other_fires_the_next_slots(stack: Stack) -> None:
    stack.configure()
    stack.first_steps()
    leader = stack.leader()
    [container] = [one for one in stack.containers("beat") if one.startswith(leader)]
    stack.host.type(f"docker kill {container}")

    minutely = stack.add_sync("minutely", files=1, cron="* * * * *")
    stack.wait_for(lambda: stack.states(minutely)[-1:] == ["SUCCEEDED"], "a slot is fired")
    assert stack.leader() != leader


def test_an_upgrade_under_a_run_replaces_every_container_and_loses_nothing(stack: Stack) -> None:
    stack.configure(WORKERS="2")
    stack.first_steps()
    old = {role: set(stack.containers(role)) for role in ROLES}
    long = stack.add_sync("long", files=LONG_FILES, bandwidth=SLOW)
    build, migrate, *replace = block_with("docker compose build").splitlines()

    newer = stack.host.folder_there / "project" / "__init__.py"
    newer.write_text(newer.read_text() + "NEWER = True\n")
    stack.host.type(build, timeout_s=600)
    stack.execute(long)
    stack.wait_for_states(long, ["RUNNING"])
    stack.host.type(migrate)
    assert stack.states(long) == ["RUNNING"], "the run ended too early to matter"
    stack.host.type("\n".join(replace))

    image = stack.inspect("syncbeat", "{{.Id}}")
    for role, count in {"web": 1, "worker": 2, "beat": 2}.items():
        new = stack.containers(role)
        assert len(new) == count
        assert not old[role].intersection(new)
        assert {stack.inspect(one, "{{.Image}}") for one in new} == {image}
    stack.wait_until_ready()
    stack.wait_for_states(long, ["SUCCEEDED"])
    assert stack.is_copied("long")


def test_a_backup_is_restored_under_compose_as_the_page_says(stack: Stack) -> None:
    stack.configure()
    stack.first_steps()
    kept = stack.add_sync("kept", files=1)
    stack.execute(kept)
    stack.wait_for_states(kept, ["SUCCEEDED"])
    stack.host.type(block_with("docker compose exec -T postgres pg_dump"))
    stack.add_sync("later", files=1)

    stack.host.type(block_with("docker compose stop web worker beat"), timeout_s=600)
    stack.wait_until_ready()
    assert [one["name"] for one in stack.api("/sync/configs")["results"]] == ["kept"]
    assert stack.states(kept) == ["SUCCEEDED"]
    stack.execute(kept)
    stack.wait_for_states(kept, ["SUCCEEDED", "SUCCEEDED"])


def test_all_services_stop_within_their_grace_and_go_on_where_they_were(stack: Stack) -> None:
    stack.configure()
    stack.first_steps()
    long = stack.add_sync("long", files=LONG_FILES, bandwidth=SLOW)
    stack.execute(long)
    stack.wait_for_states(long, ["RUNNING"])
    services = stack.host.type("docker compose ps --services").split()
    containers = [one for service in services for one in stack.containers(service)]
    assert len(containers) == len(["postgres", "redis", "web", "worker", "beat", "beat"])
    assert stack.states(long) == ["RUNNING"], "the run ended too early to matter"
    stack.host.type("docker compose stop")
    codes = {one: stack.inspect(one, "{{.Name}} {{.State.ExitCode}}") for one in containers}
    assert [code for code in codes.values() if code.endswith(KILLED)] == []

    stack.host.type("docker compose down && docker compose up -d")
    stack.wait_until_ready()
    stack.wait_for_states(long, ["SUCCEEDED"])
    assert stack.is_copied("long")


def test_with_rabbitmq_and_the_proxy_it_is_reached_by_https_alone(stack: Stack) -> None:
    stack.configure(
        COMPOSE_PROFILES="proxy,rabbitmq",
        RABBITMQ_PASSWORD="rabbit",
        CELERY_BROKER="amqp://syncbeat:rabbit@rabbitmq:5672//",
        SYNCBEAT_HTTPS="1",
        SYNCBEAT_CSRF_TRUSTED_ORIGINS="https://localhost",
        TLS_FOLDER="./certificates",
        LOG_LEVEL="warning",
    )
    make_certificate(stack.host, PurePosixPath("certificates"))
    said = stack.first_steps()
    assert [line for line in said.splitlines() if not line.startswith("ok ")] == []

    stack.base = "https://localhost"
    stack.wait_for(lambda: stack.answers("/admin/login/"), "the proxy serves")
    assert stack.signs_in("admin", PASSWORD)
    photos = stack.add_sync("photos", files=3)
    stack.execute(photos)
    stack.wait_for_states(photos, ["SUCCEEDED"])
    queues = "docker compose exec -T rabbitmq rabbitmqctl --quiet list_queues name"
    assert "celery" in stack.host.type(queues).split()
    assert stack.status_code("https://localhost/metrics") == "403"
    assert stack.status_code("http://localhost/admin/") == "301"

    stack.host.type("docker compose up -d --no-deps --force-recreate web")
    stack.wait_for(lambda: stack.answers("/admin/login/"), "the new web server is found")
