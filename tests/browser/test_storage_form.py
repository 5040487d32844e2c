"""The form of a storage in a real browser: found by name, tested before it is saved, no secret."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit, Visitor
from tests.project.system import System
from tests.servers.webdav import WebdavServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

ADD = "/admin/filesync/storage/add/"
expect.set_options(timeout=30_000)


def everything_shown(visit: Visit) -> str:
    """Give the page's markup, and what its fields hold."""
    values = visit.page.evaluate(
        "[...document.querySelectorAll('input, textarea, select')].map((one) => one.value)"
    )
    return visit.page.content() + str(values)


def test_a_storage_is_found_tested_browsed_and_saved(system: System, visitor: Visitor) -> None:
    visit = visitor()
    with WebdavServer() as server:
        (server.root / "photos" / "2024").mkdir(parents=True)
        page = visit.go(ADD)
        page.fill("[name=q]", "nextcl")
        expect(page.get_by_role("link", name="Amazon S3")).to_be_hidden()
        page.get_by_role("link", name="Nextcloud").click()

        page.fill("[name=name]", "cloud")
        page.fill("[name=option_url]", server.url)
        page.fill("[name=option_vendor]", "other")
        page.fill("[name=option_user]", server.account)
        page.fill("[name=secret_pass]", "wrong-canary")
        page.get_by_role("button", name="Test what stands here").click()
        answer = page.locator("[data-draft-answer]")
        expect(answer).to_contain_text("Login refused")
        expect(answer).to_contain_text("Correct the user name")

        page.fill("[name=secret_pass]", server.password)
        page.get_by_role("button", name="Test what stands here").click()
        expect(answer).to_contain_text("The connection works")
        page.get_by_role("button", name="Choose the root path").click()
        page.get_by_role("button", name="photos", exact=True).click()
        expect(page.locator("[name=root]")).to_have_value("photos")
        expect(page.get_by_role("button", name="2024", exact=True)).to_be_visible()
        page.get_by_role("button", name="one folder up", exact=True).click()
        expect(page.locator("[name=root]")).to_have_value("")
        page.get_by_role("button", name="photos", exact=True).click()

        page.click("[name=_save]")
        page.locator("#result_list").get_by_role("link", name="cloud").click()
        expect(page.locator("[name=root]")).to_have_value("photos")
        state = page.locator(".field-secret_pass [data-secret-state]")
        expect(state).to_have_text("set")
        assert server.password not in everything_shown(visit)

        # The stored password is used, but not at another address.
        page.get_by_role("button", name="Test what stands here").click()
        expect(answer).to_contain_text("The connection works")
        page.fill("[name=option_url]", "http://127.0.0.1:1")
        page.get_by_role("button", name="Test what stands here").click()
        expect(answer).to_contain_text("address (url) changed")
        assert server.password not in everything_shown(visit)


def test_options_that_do_not_count_with_the_provider_are_hidden(visitor: Visitor) -> None:
    page = visitor(language="zh-hans").go(f"{ADD}?preset=aliyun-oss")
    endpoints = "#option_endpoint_examples option:enabled"
    expect(page.locator("[name=option_region]")).to_be_hidden()
    expect(page.locator("[name=option_endpoint]")).to_be_visible()
    first = page.locator(endpoints).first
    expect(first).to_have_attribute("value", "oss-accelerate.aliyuncs.com")

    page.fill("[name=option_provider]", "TencentCOS")
    expect(first).to_have_attribute("value", "cos.ap-beijing.myqcloud.com")

    page.fill("[name=option_provider]", "AWS")
    expect(page.locator("[name=option_region]")).to_be_visible()


def test_the_form_is_filled_in_and_saved_without_its_script(visitor: Visitor) -> None:
    page = visitor().page
    page.route(
        "**/storage.js", lambda route: route.fulfill(body="", content_type="text/javascript")
    )
    base = page.url.partition("/admin/")[0]
    page.goto(f"{base}{ADD}")
    page.fill("[name=q]", "webdav")
    page.press("[name=q]", "Enter")
    expect(page.get_by_role("link", name="s3", exact=True)).to_have_count(0)
    page.get_by_role("link", name="webdav", exact=True).click()
    expect(page.get_by_role("button", name="Test what stands here")).to_be_hidden()
    page.fill("[name=name]", "plain")
    page.fill("[name=option_url]", "http://127.0.0.1:1")
    page.fill("[name=secret_pass]", "plain-canary")
    page.click("[name=_save]")

    page.locator("#result_list").get_by_role("link", name="plain").click()

    expect(page.locator("[name=option_url]")).to_have_value("http://127.0.0.1:1")
    expect(page.locator(".field-secret_pass [data-secret-state]")).to_have_text("set")
