"""Tokens over REST: one's own, made by a person, shown once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.test import APIClient

from filesync.models import ApiToken
from tests.filesync.factories import make_user

pytestmark = pytest.mark.django_db

TOKENS = "/api/v1/tokens"


@pytest.fixture
def viewer() -> User:
    return make_user("viewer")


def with_token(user: User) -> APIClient:
    return APIClient(HTTP_AUTHORIZATION=f"Bearer {ApiToken.issue(user, 'script')[1]}")


def with_session(user: User, *, csrf: bool = False) -> APIClient:
    client = APIClient(enforce_csrf_checks=csrf)
    client.force_login(user)
    return client


def test_a_token_is_made_in_a_session_and_shown_once(viewer: User) -> None:
    client = with_session(viewer)

    made = client.post(TOKENS, {"name": "laptop"})

    body = made.json()
    assert (made.status_code, body["name"], body["username"]) == (201, "laptop", viewer.username)
    signed_in = APIClient(HTTP_AUTHORIZATION=f"Bearer {body['token']}")
    assert signed_in.get("/api/v1/sync/runs").status_code == 200
    for answer in (client.get(TOKENS), client.get(f"{TOKENS}/{body['id']}")):
        assert body["token"] not in answer.content.decode()
    assert [row["id"] for row in client.get(TOKENS).json()["results"]] == [body["id"]]


def test_a_token_makes_no_other(viewer: User) -> None:
    """It would outlive its own end, and its being revoked."""
    answer = with_token(viewer).post(TOKENS, {"name": "another"})

    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert ApiToken.objects.count() == 1


def test_a_session_makes_none_without_the_csrf_token(viewer: User) -> None:
    answer = with_session(viewer, csrf=True).post(TOKENS, {"name": "another"})

    assert (answer.status_code, ApiToken.objects.count()) == (403, 0)


def test_a_token_is_as_the_model_says_it_may_be(viewer: User) -> None:
    client, now = with_session(viewer), timezone.now()
    week = now + timedelta(days=7)

    made = client.post(TOKENS, {"name": "x", "expires_at": week.isoformat()})
    refused = [
        client.post(TOKENS, {"name": "x"} | body)
        for body in (
            {"name": "x" * 81},
            {"expires_at": now.isoformat()},
            {"expires_at": (now + timedelta(days=36_501)).isoformat()},
            {"user": 1},
        )
    ]

    assert made.status_code == 201
    assert ApiToken.objects.get().expires_at == week
    assert [(answer.status_code, list(answer.json())) for answer in refused] == [
        (400, ["name"]),
        (400, ["expires_at"]),
        (400, ["expires_at"]),
        (400, ["user"]),
    ]


def test_one_sees_and_revokes_one_s_own_and_no_other(viewer: User) -> None:
    mine, _ = ApiToken.issue(viewer, "mine")
    other, _ = ApiToken.issue(make_user("viewer"), "other")
    client = with_session(viewer)

    assert [row["id"] for row in client.get(TOKENS).json()["results"]] == [mine.pk]
    assert client.delete(f"{TOKENS}/{other.pk}").status_code == 404
    assert client.delete(f"{TOKENS}/{mine.pk}").status_code == 204
    assert list(ApiToken.objects.all()) == [other]


def test_a_token_may_revoke_itself(viewer: User) -> None:
    client = with_token(viewer)

    gone = client.delete(f"{TOKENS}/{ApiToken.objects.get().pk}")

    assert (gone.status_code, client.get(TOKENS).status_code) == (204, 401)


def test_a_superuser_sees_and_revokes_all(viewer: User) -> None:
    token, _ = ApiToken.issue(viewer, "lost")
    client = with_token(make_user("superuser"))

    assert token.pk in [row["id"] for row in client.get(TOKENS).json()["results"]]
    assert client.delete(f"{TOKENS}/{token.pk}").status_code == 204
    assert not ApiToken.objects.filter(pk=token.pk).exists()


def test_an_account_makes_tokens_only_so_often(viewer: User) -> None:
    client = with_session(viewer)

    statuses = [client.post(TOKENS, {"name": "x"}).status_code for _ in range(13)]

    assert statuses == [201] * 12 + [429]


def test_the_page_has_a_form_for_who_is_signed_in(viewer: User) -> None:
    page = with_session(viewer).get(TOKENS, HTTP_ACCEPT="text/html").content.decode()

    assert 'name="expires_at"' in page
    assert 'name="name"' in page
