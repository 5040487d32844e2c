"""Signing in: tokens in both spellings, sessions with CSRF, and what opens nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from django.test import RequestFactory
from django.utils import timezone
from pytest_django.fixtures import SettingsWrapper
from rest_framework.request import Request
from rest_framework.test import APIClient

from filesync.api.authentication import TokenAuthentication
from filesync.models import ApiToken, SyncRun
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, make_user

pytestmark = pytest.mark.django_db

CONFIGS = "/api/v1/sync/configs"
EXECUTE = "/api/v1/task/scheduler/execute-sync"


def client_with(header: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=header)
    return client


@pytest.fixture
def viewer() -> User:
    return make_user("viewer")


@pytest.mark.parametrize("scheme", ["Bearer", "Token", "bearer", "TOKEN"])
def test_a_token_signs_in_under_both_names(viewer: User, scheme: str) -> None:
    _, text = ApiToken.issue(viewer, "laptop")

    assert client_with(f"{scheme} {text}").get(CONFIGS).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer sb_unknown",
        "Bearer a b",
        "Basic a2ltOnBhc3M=",
        "Bearer \u00e9",
        "Bearer " + "x" * 5000,
    ],
)
def test_what_is_no_token_is_401_and_says_how_to_sign_in(header: str) -> None:
    answer = client_with(header).get(CONFIGS)

    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"
    assert answer.json()["code"] in ("not_authenticated", "authentication_failed")


def test_an_expired_token_is_refused(viewer: User) -> None:
    row, text = ApiToken.issue(viewer, "old", expires_at=timezone.now() + timedelta(hours=1))
    assert client_with(f"Bearer {text}").get(CONFIGS).status_code == 200
    ApiToken.objects.filter(pk=row.pk).update(expires_at=timezone.now() - timedelta(seconds=1))

    assert client_with(f"Bearer {text}").get(CONFIGS).status_code == 401


def test_a_revoked_token_is_refused(viewer: User) -> None:
    row, text = ApiToken.issue(viewer, "lost")
    row.delete()

    assert client_with(f"Bearer {text}").get(CONFIGS).status_code == 401


def test_the_token_of_an_inactive_user_is_refused(viewer: User) -> None:
    _, text = ApiToken.issue(viewer, "laptop")
    User.objects.filter(pk=viewer.pk).update(is_active=False)

    assert client_with(f"Bearer {text}").get(CONFIGS).status_code == 401


def test_one_token_is_revoked_without_the_users_others(viewer: User) -> None:
    lost, lost_text = ApiToken.issue(viewer, "lost")
    _, kept_text = ApiToken.issue(viewer, "kept")
    lost.delete()

    assert client_with(f"Bearer {lost_text}").get(CONFIGS).status_code == 401
    assert client_with(f"Bearer {kept_text}").get(CONFIGS).status_code == 200


def test_a_token_without_an_end_gets_the_configured_lifetime(
    viewer: User, settings: SettingsWrapper
) -> None:
    settings.FILESYNC_TOKEN_LIFETIME = timedelta(days=7)
    before = timezone.now()

    row, _ = ApiToken.issue(viewer, "laptop")

    assert row.expires_at is not None
    assert before + timedelta(days=7) <= row.expires_at <= timezone.now() + timedelta(days=7)


def test_only_a_hash_of_the_token_is_stored(viewer: User) -> None:
    row, text = ApiToken.issue(viewer, "laptop")

    stored = ApiToken.objects.filter(pk=row.pk).values_list()
    assert text not in str(list(stored))
    assert text.removeprefix("sb_") not in str(list(stored))


def test_the_use_of_a_token_is_noted_at_most_once_a_minute(viewer: User) -> None:
    row, text = ApiToken.issue(viewer, "laptop")
    assert row.last_used_at is None

    client_with(f"Bearer {text}").get(CONFIGS)
    row.refresh_from_db()
    first = row.last_used_at
    client_with(f"Bearer {text}").get(CONFIGS)
    row.refresh_from_db()
    assert first is not None
    assert row.last_used_at == first

    long_ago = timezone.now() - timedelta(minutes=2)
    ApiToken.objects.filter(pk=row.pk).update(last_used_at=long_ago)
    client_with(f"Bearer {text}").get(CONFIGS)
    row.refresh_from_db()
    assert row.last_used_at > first


@pytest.mark.parametrize("role", ["operator", "editor", "nobody"])
def test_a_token_may_what_its_user_and_the_groups_may(role: str, rf: RequestFactory) -> None:
    user = make_user(role)
    user.user_permissions.add(Permission.objects.get(codename="view_logentry"))
    _, text = ApiToken.issue(user, "script")

    request = rf.get("/", headers={"Authorization": f"Bearer {text}"})
    signed_in = TokenAuthentication().authenticate(Request(request))

    assert signed_in is not None
    expected = User.objects.get(pk=user.pk).get_all_permissions()
    assert "admin.view_logentry" in expected
    assert signed_in[0].get_all_permissions() == expected


def test_a_refused_token_notes_no_use(viewer: User) -> None:
    row, text = ApiToken.issue(viewer, "old", expires_at=timezone.now() - timedelta(days=1))

    client_with(f"Bearer {text}").get(CONFIGS)

    row.refresh_from_db()
    assert row.last_used_at is None


def test_a_session_reads_without_and_writes_only_with_the_csrf_token(local_root: Path) -> None:
    config = make_config(local_root)
    browser = APIClient(enforce_csrf_checks=True)
    browser.force_login(make_user("operator"))

    page = browser.get(CONFIGS, HTTP_ACCEPT="text/html")
    refused = browser.post(f"{EXECUTE}/{config.pk}")
    wrong = browser.post(f"{EXECUTE}/{config.pk}", HTTP_X_CSRFTOKEN="x" * 32)
    assert page.status_code == 200
    for answer in (refused, wrong):
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
        assert "CSRF" in answer.json()["detail"]
    assert not SyncRun.objects.exists()

    token = browser.cookies["csrftoken"].value
    allowed = browser.post(f"{EXECUTE}/{config.pk}", HTTP_X_CSRFTOKEN=token)
    assert allowed.status_code == 202


def test_a_token_writes_without_csrf(local_root: Path) -> None:
    config = make_config(local_root)
    _, text = ApiToken.issue(make_user("operator"), "script")
    client = APIClient(enforce_csrf_checks=True)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")

    assert client.post(f"{EXECUTE}/{config.pk}").status_code == 202


def test_a_wrong_token_is_refused_even_beside_a_session(viewer: User) -> None:
    browser = APIClient()
    browser.force_login(viewer)

    answer = browser.get(CONFIGS, HTTP_AUTHORIZATION="Bearer sb_wrong")

    assert answer.status_code == 401


def test_the_health_probe_needs_no_login() -> None:
    answer = APIClient().get("/health/live")

    assert (answer.status_code, answer.content) == (200, b"ok\n")
