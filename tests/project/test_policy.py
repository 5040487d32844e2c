"""What pages may load and run: nothing of another host, no script that stands in a page."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

PAGES = [
    "/admin/",
    "/admin/filesync/syncconfig/",
    "/admin/filesync/syncconfig/add/",
    "/admin/filesync/syncconfig/ahead/",
    "/admin/filesync/syncrun/",
    "/admin/filesync/storage/add/",
    "/admin/django_celery_beat/periodictask/add/",
    "/admin/auth/user/add/",
    "/admin/password_change/",
    "/api/docs",
    "/api/redoc",
    "/api/v1/sync/configs",
]
EXECUTABLE = re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>", re.IGNORECASE)
HANDLER = re.compile(r"<[^>]*\son(click|load|error|submit|change|mouseover)=", re.IGNORECASE)
LOADED = re.compile(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)=["'](https?:)?//""")


@pytest.fixture
def browser() -> Client:
    client = Client(headers={"accept": "text/html"})
    client.force_login(User.objects.create_superuser("root", password="x"))
    return client


def policy(client: Client, page: str) -> dict[str, str]:
    header = client.get(page)["Content-Security-Policy"]
    return dict(part.split(" ", 1) for part in header.split("; "))


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["/admin/login/", *PAGES, "/nowhere"])
def test_every_page_forbids_other_hosts_and_inline_scripts(browser: Client, page: str) -> None:
    found = policy(browser, page)

    assert found["default-src"] == "'self'"
    scripts = found.get("script-src", found["default-src"])
    assert "unsafe" not in scripts
    assert not re.search(r"https?:|\*", " ".join(found.values()))
    assert (found["frame-ancestors"], found["object-src"]) == ("'none'", "'none'")


@pytest.mark.django_db
@pytest.mark.parametrize("page", PAGES)
def test_no_page_needs_what_the_policy_forbids(browser: Client, page: str) -> None:
    answer = browser.get(page)

    html = answer.content.decode()
    assert answer.status_code == 200
    assert EXECUTABLE.findall(html) == []
    assert LOADED.findall(html) == []
    if page.startswith("/admin"):
        assert HANDLER.findall(html) == []
        assert "<style" not in html
        assert not re.search(r'\sstyle="', html)
