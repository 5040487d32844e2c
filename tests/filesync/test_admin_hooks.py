"""The admin's page of hooks: made, renewed, ended, by those who may change configs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from filesync.models import Hook, SyncRun
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, sign_in

pytestmark = pytest.mark.django_db

LIST = "admin:filesync_hook_changelist"
# What a dialog's own form sends.
SUBMITTED = {"_form_submitted": "True"}


def address_on(text: str) -> str | None:
    found = re.search(r"http://testserver(/api/v1/hooks/hk_[\w-]{43})", text)
    return found[1] if found else None


def make_hook(client: Client, config_id: int) -> str:
    """Make a hook by the form; return the path of the address that the next page shows."""
    page = client.post(reverse("admin:filesync_hook_add"), {"config": config_id}, follow=True)
    address = address_on(page.content.decode())
    assert address is not None
    return address


def test_a_hook_made_in_the_admin_is_shown_once_and_starts_its_config(local_root: Path) -> None:
    config = make_config(local_root)
    client = sign_in("editor")

    address = make_hook(client, config.pk)

    assert address_on(client.get(reverse(LIST)).content.decode()) is None
    assert Client().post(address).status_code == 202
    assert SyncRun.objects.get().config == config


def test_a_renewed_hook_has_a_new_address_and_the_old_one_ends(local_root: Path) -> None:
    config = make_config(local_root)
    client = sign_in("editor")
    old = make_hook(client, config.pk)
    renew = reverse("admin:filesync_hook_renew", args=[Hook.objects.get().pk])

    assert renew in client.get(reverse(LIST)).content.decode()
    client.get(renew)
    assert Client().post(old).status_code == 202
    answer = client.post(renew, SUBMITTED)
    new = address_on(client.get(answer["HX-Redirect"]).content.decode())

    SyncRun.objects.all().delete()
    assert new is not None
    assert Client().post(old).status_code == 404
    assert Client().post(new).status_code == 202


def test_a_hook_that_is_deleted_starts_nothing(local_root: Path) -> None:
    config = make_config(local_root)
    client = sign_in("editor")
    address = make_hook(client, config.pk)

    client.post(
        reverse("admin:filesync_hook_delete", args=[Hook.objects.get().pk]), {"post": "yes"}
    )

    assert not Hook.objects.exists()
    assert Client().post(address).status_code == 404


def test_a_second_hook_of_a_config_is_refused_at_the_field(local_root: Path) -> None:
    config = make_config(local_root)
    client = sign_in("editor")
    address = make_hook(client, config.pk)

    page = client.post(reverse("admin:filesync_hook_add"), {"config": config.pk}, follow=True)

    assert "already exists" in page.content.decode()
    assert Client().post(address).status_code == 202


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_hooks_are_for_editors(local_root: Path, role: str) -> None:
    hook, _ = Hook.issue(make_config(local_root))
    client = sign_in(role)

    answers = [
        client.get(reverse(LIST)),
        client.post(reverse("admin:filesync_hook_add"), {"config": hook.config_id}),
        client.post(reverse("admin:filesync_hook_renew", args=[hook.pk]), SUBMITTED),
        client.post(reverse("admin:filesync_hook_delete", args=[hook.pk]), {"post": "yes"}),
    ]

    assert [answer.status_code for answer in answers] == [403] * 4
    assert Hook.objects.get().token_hash == hook.token_hash


def test_what_is_no_number_renews_no_hook(local_root: Path) -> None:
    hook, _ = Hook.issue(make_config(local_root))
    client = sign_in("editor")

    answer = client.post("/admin/filesync/hook/abc/renew/", SUBMITTED)

    assert "There is no such hook." in client.get(answer["HX-Redirect"]).content.decode()
    assert Hook.objects.get().token_hash == hook.token_hash
