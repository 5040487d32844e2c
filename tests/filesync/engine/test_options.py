"""Every option of every backend is known, and what could run or read something is refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from filesync.engine import POLICY, OptionClass, OptionRefused, Remote, validate_remote

ROOTS = (Path("/"),)


@pytest.fixture(scope="module")
def providers(rclone_binary: Path) -> dict[str, dict[str, Any]]:
    """Return rclone's own options by backend and name."""
    argv = [str(rclone_binary), "config", "providers"]
    answer = subprocess.run(argv, capture_output=True, check=True)
    return {
        provider["Name"]: {option["Name"]: option for option in provider["Options"]}
        for provider in json.loads(answer.stdout)
    }


@pytest.mark.parametrize("backend", list(POLICY))
def test_the_policy_knows_every_option_and_no_other(
    providers: dict[str, dict[str, Any]], backend: str
) -> None:
    policy = POLICY[backend]
    groups = (policy.plain, policy.secret, policy.obscured, set(policy.refused or {}))
    assert set().union(*groups) == set(providers[backend])
    assert sum(map(len, groups)) == len(providers[backend])


@pytest.mark.parametrize("backend", list(POLICY))
def test_passwords_are_obscured_exactly_where_rclone_wants_it(
    providers: dict[str, dict[str, Any]], backend: str
) -> None:
    wanted = {name for name, option in providers[backend].items() if option["IsPassword"]}
    assert POLICY[backend].obscured == wanted


# What rclone calls sensitive but a person must be able to see and compare: who and where.
VISIBLE = {
    *("host", "user", "domain", "spn", "access_key_id", "sse_kms_key_id"),
    *("sse_customer_key_md5", "client_id", "root_folder_id", "team_drive", "resource_key"),
    *("drive_id", "tenant", "impersonate", "impersonate_admin"),
}


@pytest.mark.parametrize("backend", list(POLICY))
def test_sensitive_options_are_secrets(providers: dict[str, dict[str, Any]], backend: str) -> None:
    policy = POLICY[backend]
    for name, option in providers[backend].items():
        if option["Sensitive"] and name not in VISIBLE:
            assert policy.classify(name) in (OptionClass.SECRET, OptionClass.REFUSED), name


@pytest.mark.parametrize("backend", list(POLICY))
def test_options_that_smell_of_commands_or_server_files_are_refused(backend: str) -> None:
    policy = POLICY[backend]
    for name in (*policy.plain, *policy.secret, *policy.obscured):
        assert not name.endswith(("_command", "_file", "_path")), name
        assert name not in ("ssh", "env_auth", "profile", "set_env", "links", "copy_links")


@pytest.mark.parametrize(
    "backend",
    [
        *("alias", "crypt", "union", "combine", "chunker", "hasher", "compress", "cache"),
        *("archive", "http", "memory", "", "LOCAL", "local ", "sftp\nssh = x"),
    ],
)
def test_a_backend_that_is_not_offered_is_refused(backend: str) -> None:
    with pytest.raises(OptionRefused) as refusal:
        validate_remote(Remote(backend, "/tmp"), ROOTS)
    assert refusal.value.field == "backend"


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        ("sftp", "ssh"),
        ("sftp", "server_command"),
        ("sftp", "md5sum_command"),
        ("sftp", "key_file"),
        ("sftp", "known_hosts_file"),
        ("sftp", "key_use_agent"),
        ("sftp", "set_env"),
        ("webdav", "bearer_token_command"),
        ("webdav", "unix_socket"),
        ("s3", "env_auth"),
        ("s3", "shared_credentials_file"),
        ("s3", "profile"),
        ("drive", "service_account_file"),
        ("drive", "token_url"),
        ("smb", "kerberos_ccache"),
        ("local", "copy_links"),
        ("local", "encoding"),
        ("sftp", "global.metadata_mapper"),
        ("sftp", "override.ssh"),
        ("webdav", "metadata_mapper"),
        ("webdav", "name_transform"),
        ("webdav", "type"),
        ("webdav", "remote"),
        ("webdav", "unknown"),
        ("webdav", "URL"),
        ("webdav", "url "),
    ],
)
@pytest.mark.parametrize("as_secret", [False, True])
def test_a_dangerous_or_unknown_option_is_refused(backend: str, name: str, as_secret: bool) -> None:
    values = {name: "x"}
    remote = Remote(backend, "/tmp", *(({}, values) if as_secret else (values, {})))
    with pytest.raises(OptionRefused) as refusal:
        validate_remote(remote, ROOTS)
    assert refusal.value.field == name
    assert refusal.value.code == "option_refused"


def test_a_secret_among_the_options_is_refused() -> None:
    with pytest.raises(OptionRefused, match="secret"):
        validate_remote(Remote("webdav", "", {"pass": "canary"}), ROOTS)


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b", "%(pass)s"])
@pytest.mark.parametrize(
    ("backend", "name"), [("webdav", "url"), ("webdav", "bearer_token"), ("sftp", "host")]
)
def test_a_value_that_could_inject_is_refused(backend: str, name: str, value: str) -> None:
    secret = POLICY[backend].classify(name) is OptionClass.SECRET
    values = {name: value}
    remote = Remote(backend, "", *(({}, values) if secret else (values, {})))
    with pytest.raises(OptionRefused) as refusal:
        validate_remote(remote, ROOTS)
    assert refusal.value.field == name


@pytest.mark.parametrize(
    "remote",
    [
        Remote("local", "/tmp", {"one_file_system": "true"}),
        Remote("webdav", "", {"url": "http://h/"}, {"pass": "x", "headers": "Cookie,a=b"}),
        Remote("sftp", "/srv", {"host": "h", "user": "u"}, {"key_pem": "-----\nabc\n-----"}),
        Remote("s3", "b", {"provider": "Alibaba"}, {"secret_access_key": "x"}),
        Remote("webdav", "", {"url": "http://h/"}, {"user": "hidden by choice"}),
    ],
)
def test_what_people_need_is_allowed(remote: Remote) -> None:
    validate_remote(remote, ROOTS)


def test_a_remote_never_shows_its_secrets() -> None:
    remote = Remote("webdav", "", {"url": "http://h/"}, {"pass": "canary"})
    assert "canary" not in repr(remote)
    assert "canary" not in str(remote)
