"""Behind the proxy of docs/proxy: HTTPS all the way to the cookies, and who a caller is."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import pytest
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool

from tests.project.docs import unit_argv
from tests.project.system import own_environment, run_command, wait_until
from tests.servers.installed import requires
from tests.servers.process import (
    HOST,
    REPOSITORY,
    GuardedProcess,
    answers_tcp,
    free_port,
    short_temp_dir,
)
from tests.servers.proxy import NAME, ComposeProxyServer, ProxyServer

pytestmark = [requires("apache"), pytest.mark.timeout(180)]

UNIT = REPOSITORY / "docs" / "systemd" / "syncbeat-web.service"
STARTS_WITHIN_S = 60.0
CUT_OFF_WITHIN_S = 30.0
WRONG_PASSWORDS = 3
LOGIN = "/admin/login/"
PASSWORD = "correct horse battery"


@dataclass(frozen=True, slots=True)
class Site:
    """A web server as its unit starts it, and the proxy before it."""

    web_port: int
    proxy: ProxyServer

    def browser(self, *, address: str = HOST) -> HTTPSConnectionPool:
        """Return a client that looks at the certificate, and calls from an address of loopback."""
        return HTTPSConnectionPool(
            HOST,
            self.proxy.port,
            server_hostname=NAME,
            assert_hostname=NAME,
            ca_certs=str(self.proxy.certificate),
            source_address=(address, 0),
        )


@pytest.fixture(scope="module", params=[ProxyServer, ComposeProxyServer])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    folder = short_temp_dir("sb-proxy-")
    port = free_port()
    environment = own_environment(
        folder / "data",
        SYNCBEAT_PORT=str(port),
        SYNCBEAT_HTTPS="1",
        SYNCBEAT_ALLOWED_HOSTS=NAME,
        SYNCBEAT_CSRF_TRUSTED_ORIGINS=f"https://{NAME}",
        SYNCBEAT_PUBLIC_URL=f"https://{NAME}",
        SYNCBEAT_SIGN_INS_PER_MINUTE=str(WRONG_PASSWORDS),
        DJANGO_SETTINGS_MODULE="project.settings",
        DJANGO_SUPERUSER_PASSWORD=PASSWORD,
    )
    (folder / "data").mkdir()
    for command in ("migrate", "createsuperuser --noinput --username root --email root@localhost"):
        done = run_command(command.split(), environment)
        assert done.returncode == 0, done.stderr
    web = GuardedProcess(
        unit_argv(UNIT.read_text()), log_file=folder / "web.log", environment=environment
    )
    try:
        assert wait_until(lambda: answers_tcp(port), timeout_s=STARTS_WITHIN_S), (
            folder / "web.log"
        ).read_text()
        with request.param(port) as proxy:
            yield Site(port, proxy)
    finally:
        web.kill()
        shutil.rmtree(folder)


def ask(
    pool: HTTPConnectionPool, method: str, path: str, body: str = "", **headers: str
) -> BaseHTTPResponse:
    """Send a request as a browser does; redirects are answers."""
    given = {"Host": NAME} | {name.replace("_", "-"): value for name, value in headers.items()}
    return pool.request(
        method, path, body=body.encode() or None, headers=given, redirect=False, retries=False
    )


def sign_in(
    pool: HTTPSConnectionPool, password: str, *, user: str = "root", **headers: str
) -> BaseHTTPResponse:
    """Fill in the form of the login page, with its cookie, its token and the page as the origin."""
    page = ask(pool, "GET", LOGIN)
    cookie = SimpleCookie(page.headers["Set-Cookie"])["csrftoken"].value
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.data.decode())[:1]
    fields = {"username": user, "password": password, "csrfmiddlewaretoken": token}
    sent = {
        "Cookie": f"csrftoken={cookie}",
        "Content_Type": "application/x-www-form-urlencoded",
        "Origin": f"https://{NAME}",
        "Referer": f"https://{NAME}{LOGIN}",
    }
    return ask(pool, "POST", LOGIN, urlencode(fields), **(sent | headers))


def cookies_of(answer: BaseHTTPResponse) -> Mapping[str, str]:
    """Return the attributes of each cookie by its name."""
    lines = answer.headers.getlist("Set-Cookie")
    return {line.partition("=")[0]: line.partition(";")[2] for line in lines}


def test_somebody_signs_in_over_https_and_gets_cookies_for_https_only(site: Site) -> None:
    answer = sign_in(site.browser(), PASSWORD)
    assert (answer.status, answer.headers["Location"]) == (302, "/admin/")
    cookies = cookies_of(answer)
    assert set(cookies) == {"csrftoken", "sessionid"}
    assert all("; Secure" in f";{attributes}" for attributes in cookies.values())
    assert "HttpOnly" in cookies["sessionid"]
    assert "max-age=31536000" in answer.headers["Strict-Transport-Security"]


def test_plain_http_is_sent_to_https_whatever_the_caller_claims(site: Site) -> None:
    plain = HTTPConnectionPool(HOST, site.proxy.plain_port)
    answer = ask(plain, "GET", "/admin/login/?next=/", X_Forwarded_Proto="https")
    assert answer.status == 301
    assert answer.headers["Location"] == f"https://{NAME}/admin/login/?next=/"


def test_a_protocol_that_the_caller_claims_is_replaced_by_the_proxy(site: Site) -> None:
    answer = ask(site.browser(), "GET", LOGIN, X_Forwarded_Proto="http")
    assert answer.status == 200


def test_who_goes_past_the_proxy_is_sent_to_https(site: Site) -> None:
    direct = HTTPConnectionPool(HOST, site.web_port)
    answer = ask(direct, "GET", LOGIN)
    assert (answer.status, answer.headers["Location"]) == (301, f"https://{NAME}{LOGIN}")


def test_a_form_of_another_site_is_refused(site: Site) -> None:
    answer = sign_in(site.browser(), PASSWORD, Origin="https://evil.example.net")
    assert answer.status == 403


def test_another_name_is_refused(site: Site) -> None:
    answer = ask(site.browser(), "GET", LOGIN, Host="evil.example.net")
    assert answer.status == 400


def test_wrong_passwords_count_for_the_caller_s_address_and_not_for_the_proxy_s(site: Site) -> None:
    caller, other = site.browser(address="127.0.0.2"), site.browser(address="127.0.0.3")
    for claimed in range(WRONG_PASSWORDS):
        answer = sign_in(caller, "wrong", user="eve", X_Forwarded_For=f"10.0.0.{claimed}")
        assert answer.status == 200
    assert sign_in(caller, "wrong", user="eve", X_Forwarded_For="10.0.0.99").status == 429
    assert sign_in(other, "wrong", user="eve", X_Forwarded_For="127.0.0.2").status == 200


def test_slow_callers_stop_nobody_and_are_cut_off(site: Site) -> None:
    context = ssl.create_default_context(cafile=str(site.proxy.certificate))
    head = f"POST {LOGIN} HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 40000\r\n\r\n"
    # What is shorter Apache gathers itself before it calls the web server.
    sent = head.encode() + b"x" * 20_000
    with ExitStack() as stack:
        headless = stack.enter_context(socket.create_connection((HOST, site.proxy.plain_port)))
        headless.sendall(b"GET / HTTP/1.1\r\nHost: s")
        slow: list[socket.socket] = [headless]
        for _ in range(8):
            plain = stack.enter_context(socket.create_connection((HOST, site.proxy.port)))
            safe = stack.enter_context(context.wrap_socket(plain, server_hostname=NAME))
            safe.sendall(sent)
            slow.append(safe)
        direct = HTTPConnectionPool(HOST, site.web_port, timeout=5)
        assert ask(direct, "GET", "/health/live").status == 200
        for caller in slow:
            caller.settimeout(CUT_OFF_WITHIN_S)
            assert caller.recv(1000)[:11] in (b"HTTP/1.1 40", b"")


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
def test_probes_and_metrics_are_not_for_the_public(site: Site, path: str) -> None:
    answer = ask(site.browser(), "GET", path)
    assert answer.status == 403
    assert "Apache" in answer.headers["Server"]


def test_a_probe_on_the_machine_needs_neither_name_nor_tls(site: Site) -> None:
    direct = HTTPConnectionPool(HOST, site.web_port)
    assert ask(direct, "GET", "/health/live", Host="10.1.2.3").status == 200


def test_a_page_of_the_api_links_to_https(site: Site) -> None:
    token = sign_in(site.browser(), PASSWORD)
    session = SimpleCookie(token.headers["Set-Cookie"].replace(", sessionid", "; sessionid"))
    cookie = f"sessionid={session['sessionid'].value}"
    answer = ask(site.browser(), "GET", "/api/v1/", Cookie=cookie, Accept="application/json")
    assert answer.status == 200
    assert f"https://{NAME}/" in answer.data.decode()
