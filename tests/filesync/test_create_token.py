"""`manage.py create_token`: a token for a user, printed once, with an end."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from rest_framework.test import APIClient

from filesync.models import ApiToken
from tests.filesync.factories import make_user

pytestmark = pytest.mark.django_db


def create(*arguments: str) -> str:
    out = StringIO()
    call_command("create_token", *arguments, stdout=out)
    (text,) = out.getvalue().splitlines()
    return text


def test_what_it_prints_signs_in_and_is_kept_nowhere() -> None:
    user = make_user("viewer")

    text = create(user.username, "--name", "laptop")

    client = APIClient(HTTP_AUTHORIZATION=f"Bearer {text}")
    assert client.get("/api/v1/sync/runs").status_code == 200
    row = ApiToken.objects.get()
    assert (row.user, row.name) == (user, "laptop")
    assert text not in str(ApiToken.objects.values_list())


def test_a_user_has_several_and_each_may_have_its_own_end() -> None:
    user = make_user("viewer")
    before = timezone.now()

    first, second = create(user.username), create(user.username, "--days", "7")

    assert first != second
    ends = [row.expires_at or before for row in ApiToken.objects.order_by("pk")]
    assert ends[0] > before + timedelta(days=300)
    assert before + timedelta(days=7) <= ends[1] <= timezone.now() + timedelta(days=7)


def test_an_unknown_user_gets_none() -> None:
    with pytest.raises(CommandError, match="no user nobody-here"):
        create("nobody-here")

    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("days", ["0", "-1", "36501", "999999999999", "9" * 40, f"-{'9' * 40}"])
def test_a_life_that_no_token_can_have_is_refused(days: str) -> None:
    user = make_user("viewer")

    with pytest.raises(CommandError, match=rf"^--days is {days}; it must be from 1 to 36500$"):
        create(user.username, "--days", days)

    assert not ApiToken.objects.exists()


def test_the_longest_life_is_a_hundred_years() -> None:
    user = make_user("viewer")

    create(user.username, "--days", "36500")

    end = ApiToken.objects.get().expires_at
    assert end is not None
    assert end > timezone.now() + timedelta(days=36_499)


@pytest.mark.parametrize(("name", "said"), [("x" * 81, "at most 80 characters"), ("", "blank")])
def test_a_name_that_no_token_can_have_is_refused(name: str, said: str) -> None:
    user = make_user("viewer")

    with pytest.raises(CommandError, match=f"^--name: .*{said}"):
        create(user.username, "--name", name)

    assert not ApiToken.objects.exists()
