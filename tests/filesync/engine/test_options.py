"""Every option of every backend is known, and what could run or read something is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from filesync.engine import (
    ADDRESSES,
    POLICY,
    REFUSED_BACKENDS,
    OptionClass,
    OptionRefused,
    PathRefused,
    Remote,
    list_folder,
    tidy_secret,
    validate_remote,
)
from filesync.engine.encodings import check_encoding
from filesync.engine.ini import section_of
from filesync.engine.process import clean_environment
from tests.filesync.engine.lab import engine_remote
from tests.servers.sftp import SftpServer

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


def test_the_policy_knows_every_backend_and_no_other(providers: dict[str, dict[str, Any]]) -> None:
    assert {*POLICY, *REFUSED_BACKENDS} == set(providers)
    assert not {*POLICY} & {*REFUSED_BACKENDS}


@pytest.mark.parametrize("backend", list(POLICY))
def test_the_policy_knows_every_option_and_no_other(
    providers: dict[str, dict[str, Any]], backend: str
) -> None:
    policy = POLICY[backend]
    groups = (policy.plain, policy.secret, policy.obscured, set(policy.refused))
    assert set().union(*groups) == set(providers[backend])
    assert sum(map(len, groups)) == len(providers[backend])
    assert set(policy.needs) <= policy.plain | policy.secret | policy.obscured


@pytest.mark.parametrize("backend", list(REFUSED_BACKENDS))
def test_the_policy_knows_the_options_of_refused_backends_too(
    providers: dict[str, dict[str, Any]], backend: str
) -> None:
    assert REFUSED_BACKENDS[backend].options == set(providers[backend])


@pytest.mark.parametrize("backend", list(POLICY))
def test_passwords_are_obscured_exactly_where_rclone_wants_it(
    providers: dict[str, dict[str, Any]], backend: str
) -> None:
    wanted = {name for name, option in providers[backend].items() if option["IsPassword"]}
    assert POLICY[backend].obscured == wanted - set(POLICY[backend].refused)


# What rclone calls sensitive but a person must be able to see and compare: who and where.
VISIBLE = {
    *("host", "user", "domain", "spn", "access_key_id", "sse_kms_key_id"),
    *("sse_customer_key_md5", "client_id", "root_folder_id", "team_drive", "resource_key"),
    *("drive_id", "tenant", "impersonate", "impersonate_admin", "namenode", "username"),
    *("cloud_name", "email", "account", "url", "user_id", "tenant_id", "tenant_domain"),
    *("project_number", "user_project", "apple_id", "root_folder_slug", "api_url"),
    *("workspace_id", "account_id", "device_id", "application_credential_id"),
    *("application_credential_name", "root_id", "deleted_id", "base_folder_uuid", "public_key"),
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
        assert not {"command", "msi", "env"} & set(name.split("_")), name
        assert name not in ("ssh", "profile", "links", "copy_links", "remote", "upstreams")


@pytest.mark.parametrize(
    "backend",
    [
        *("alias", "crypt", "union", "combine", "chunker", "hasher", "compress", "cache"),
        *(
            "archive",
            "memory",
            "oracleobjectstorage",
            "tardigrade",
            "",
            "LOCAL",
            "local ",
            "sftp\nssh = x",
        ),
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
        ("hdfs", "service_principal_name"),
        ("azureblob", "use_msi"),
        ("azureblob", "use_az"),
        ("azurefiles", "client_certificate_path"),
        ("google cloud storage", "env_auth"),
        ("google photos", "proxy"),
        ("box", "box_config_file"),
        ("swift", "env_auth"),
        ("qingstor", "env_auth"),
        ("mega", "debug"),
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


@pytest.mark.parametrize(
    "url",
    ["https://kim:canary@h/", "HTTP://kim:can@ary@h", " http://:canary@h/x", "s3+x://a:canary@h"],
)
def test_a_password_in_an_address_is_refused_unseen(url: str) -> None:
    with pytest.raises(OptionRefused, match="among the secrets") as refusal:
        validate_remote(Remote("webdav", "", {"url": url}), ROOTS)
    assert "canary" not in str(refusal.value)


@pytest.mark.parametrize("url", ["https://kim@h/", "http://h:5244/a@b:c", "http://h/?a=b:c@d"])
def test_an_address_without_a_password_is_allowed(url: str) -> None:
    validate_remote(Remote("webdav", "", {"url": url}), ROOTS)


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
        Remote("google cloud storage", "b", {"anonymous": "true"}),
        Remote("google cloud storage", "b", {}, {"token": '{"access_token": "a"}'}),
        Remote("linkbox", "", {"email": "e"}, {"token": "no JSON"}),
        Remote("http", "", {"url": "http://h/"}),
    ],
)
def test_what_people_need_is_allowed(remote: Remote) -> None:
    validate_remote(remote, ROOTS)


def test_a_remote_never_shows_its_secrets() -> None:
    remote = Remote("webdav", "", {"url": "http://h/"}, {"pass": "canary"})
    assert "canary" not in repr(remote)
    assert "canary" not in str(remote)


@pytest.mark.parametrize(
    ("options", "secrets"),
    [
        ({}, {}),
        ({"project_number": "1"}, {}),
        ({"anonymous": "false"}, {}),
        ({}, {"service_account_credentials": ""}),
    ],
)
def test_google_storage_without_a_login_of_its_own_is_refused(
    options: dict[str, str], secrets: dict[str, str]
) -> None:
    """rclone would take the identity of the machine."""
    with pytest.raises(OptionRefused, match="login of this server"):
        validate_remote(Remote("google cloud storage", "b", options, secrets), ROOTS)


@pytest.mark.parametrize(
    "token",
    [
        "canary",
        "[]",
        "{}",
        '{"refresh_token": "canary"}',
        '{"access_token": 5}',
        '{"access_token": "canary", "refresh_token": []}',
        '{"access_token": "canary", "expiry": "tomorrow"}',
        '{"access_token": "canary", "expiry": "2026-01-01T00:00:00"}',
        "[" * 60_000,
    ],
)
@pytest.mark.parametrize("backend", ["drive", "google cloud storage"])
def test_a_token_that_rclone_could_not_read_is_refused_unseen(backend: str, token: str) -> None:
    with pytest.raises(OptionRefused) as refusal:
        validate_remote(Remote(backend, "", {}, {"token": token}), ROOTS)
    assert refusal.value.field == "token"
    assert "canary" not in str(refusal.value)


@pytest.mark.parametrize(
    "credentials",
    [
        '{"type": "external_account", "credential_source": {"file": "/etc/passwd"}}',
        '{"type": "external_account", "credential_source": {"executable": {"command": "id"}}}',
        '{"type": "authorized_user"}',
        "{}",
        "/etc/passwd",
    ],
)
@pytest.mark.parametrize("backend", ["drive", "google cloud storage"])
def test_credentials_that_would_look_on_this_server_are_refused(
    backend: str, credentials: str
) -> None:
    secrets = {"service_account_credentials": credentials}
    with pytest.raises(OptionRefused, match="service_account"):
        validate_remote(Remote(backend, "", {}, secrets), ROOTS)


def test_of_a_token_only_what_rclone_knows_is_written_in_one_spelling() -> None:
    """Go reads names in any case, so that `Expiry` would win over what was checked."""
    token = {"access_token": "a", "Expiry": 5, "expiry": "2026-01-01 00:00:00+00:00", "x": 1}
    written = section_of(Remote("drive", "", {}, {"token": json.dumps(token)}), {})["token"]
    assert json.loads(written) == {"access_token": "a", "expiry": "2026-01-01T00:00:00+00:00"}


def test_what_rclone_authorize_prints_can_be_pasted_whole() -> None:
    printed = (
        "Paste the following into your remote machine --->\n"
        '{"access_token":"a","expiry":"2026-01-01T00:00:00.123456789+02:00"}\n'
        "<---End paste\n"
    )
    assert json.loads(tidy_secret("token", printed))["access_token"] == "a"
    assert tidy_secret("pass", printed) == printed


def test_no_login_of_the_machine_is_used_where_one_is_missing(
    rclone_binary: Path, tmp_path: Path
) -> None:
    config = tmp_path / "r.conf"
    config.write_text("[src]\ntype = google cloud storage\ntoken = broken\n")
    environment = clean_environment(tmp_path, {"GOOGLE_APPLICATION_CREDENTIALS": "/etc/hostname"})
    argv = [str(rclone_binary), "lsf", "--config", str(config), "src:bucket"]
    argv += ["--retries", "1", "--low-level-retries", "1"]
    answer = subprocess.run(argv, env=environment, capture_output=True, text=True)
    assert answer.returncode != 0
    assert "127.0.0.1:1" in answer.stderr


LOOKS_LIKE_AN_ADDRESS = re.compile(
    r"url|uri|host|endpoint|server|domain|proxy|^port$|protocol|tls|ssl|https|cert|node|zone|"
    r"region|address|redirect|site|provider|insecure|account$|^auth$"
)
NO_ADDRESS = {
    *("disable_site_permission", "list_url_encode", "tenant_domain"),
    *("server_side_across_configs", "server_side_encryption", "tls_cache_size", "use_arn_region"),
}


def test_every_option_that_looks_like_an_address_is_reviewed() -> None:
    """Where a stored login goes must not change with the login in place."""
    names = {
        name
        for policy in POLICY.values()
        for name in policy.plain | policy.secret | policy.obscured
    }
    looking = {name for name in names if LOOKS_LIKE_AN_ADDRESS.search(name)}

    assert looking - ADDRESSES == NO_ADDRESS
    assert names >= ADDRESSES


@pytest.mark.parametrize("headers", ["a", "a,b,c", 'A,Bearer "x', ",b", 'A,"b"c', 'A,"b'])
def test_headers_that_rclone_cannot_read_are_refused(headers: str) -> None:
    remote = Remote("webdav", "", {"url": "http://h/"}, {"headers": headers})
    with pytest.raises(OptionRefused, match="Name,value") as refused:
        validate_remote(remote, ROOTS)
    assert refused.value.field == "headers"


def test_headers_in_quotes_are_taken() -> None:
    headers = 'Cookie,"a=""b"", c=d",X-Token,t'
    validate_remote(Remote("http", "", {"url": "http://h/"}, {"headers": headers}), ROOTS)


def test_a_full_width_path_shows_nothing_outside_the_root(
    sftp_server: SftpServer, rclone_binary: Path
) -> None:
    share, private = sftp_server.root / "share", sftp_server.root / "private"
    for folder in (share, private):
        folder.mkdir()
    (private / "secret.txt").write_text("x")
    given = engine_remote(sftp_server.remote)
    look = partial(list_folder, rclone=rclone_binary, local_roots=())
    try:
        plain = replace(given, root="share")
        with pytest.raises(PathRefused):
            look(plain, "\uff0e\uff0e/private")
        with pytest.raises(OptionRefused):
            look(replace(plain, options={**plain.options, "encoding": "None"}), "x")
    finally:
        shutil.rmtree(share)
        shutil.rmtree(private)


@pytest.mark.parametrize("encoding", ["None", "Raw", "Slash", "Dot", "Slash,LeftPeriod", "0"])
@pytest.mark.parametrize(
    ("backend", "options"),
    [
        ("sftp", {"host": "h", "user": "u"}),
        ("ftp", {"host": "h", "user": "u"}),
        ("smb", {"host": "h", "user": "u"}),
        ("webdav", {"url": "http://h/"}),
    ],
)
def test_an_encoding_that_lets_names_lead_out_is_refused(
    backend: str, options: dict[str, str], encoding: str
) -> None:
    remote = Remote(backend, "", {**options, "encoding": encoding}, {"pass": "x"})
    with pytest.raises(OptionRefused, match="Slash,Dot") as refused:
        validate_remote(remote, ROOTS)
    assert refused.value.field == "encoding"


def test_an_encoding_that_keeps_names_below_the_root_is_taken() -> None:
    options = {"url": "http://h/", "encoding": "Slash, Dot,Ctl"}
    validate_remote(Remote("webdav", "", options, {"pass": "x"}), ROOTS)
    options = {"host": "h", "user": "u", "encoding": "Slash,Dot,BackSlash"}
    validate_remote(Remote("smb", "", options, {"pass": "x"}), ROOTS)
    # Keys, not paths: nothing is above a bucket.
    options = {"provider": "AWS", "encoding": "None"}
    login = {"access_key_id": "a"}
    validate_remote(Remote("s3", "b", options | login, {"secret_access_key": "x"}), ROOTS)


@pytest.mark.parametrize("backend", [name for name, policy in POLICY.items() if name != "local"])
def test_what_rclone_takes_by_itself_is_an_encoding_that_is_taken(
    providers: dict[str, dict[str, Any]], backend: str
) -> None:
    if "encoding" in providers[backend]:
        check_encoding(backend, {"encoding": providers[backend]["encoding"]["DefaultStr"]})
