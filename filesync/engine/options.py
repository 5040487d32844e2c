"""The policy of options: which backends and which of their options a person may set.

Every option of an allowed backend is plain, secret or refused with its reason; one that this
file does not know is refused. Values are checked here, written in ini.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from filesync.engine.errors import OptionRefused


class OptionClass(enum.StrEnum):
    """How an option is treated."""

    PLAIN = "PLAIN"
    SECRET = "SECRET"  # noqa: S105 - the name of a class
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True)
class BackendPolicy:
    """The options of one backend; `obscured` ones are what rclone calls IsPassword."""

    plain: frozenset[str]
    secret: frozenset[str] = frozenset()
    obscured: frozenset[str] = frozenset()
    refused: Mapping[str, str] | None = None

    def classify(self, name: str) -> OptionClass | None:
        """Give the class of an option; None when the policy does not know it."""
        if name in self.secret or name in self.obscured:
            return OptionClass.SECRET
        if name in self.plain:
            return OptionClass.PLAIN
        return OptionClass.REFUSED if name in (self.refused or {}) else None


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_COMMAND = "it runs a program on this server"
_SERVER_FILE = "it reads a file of this server"
_SERVER_LOGIN = "it uses a login of this server itself"
_LINKS = "it follows or writes symbolic links, which may lead out of the root"
_LEAKS_LOGIN = "it could send the stored token to another server"
_PROMPT = "it asks at a terminal, and there is none"
_NAMES = "it changes how names are protected on this server's disk"

_OAUTH_REFUSED = {"auth_url": _LEAKS_LOGIN, "token_url": _LEAKS_LOGIN}

POLICY: Mapping[str, BackendPolicy] = {
    "local": BackendPolicy(
        plain=_names(
            """nounc skip_links skip_specials unicode_normalization no_check_updated
            one_file_system case_sensitive case_insensitive no_clone no_preallocate no_sparse
            no_set_modtime fatal_if_no_space time_type hashes description"""
        ),
        refused={
            "copy_links": _LINKS,
            "links": _LINKS,
            "zero_size_links": _LINKS,
            "encoding": _NAMES,
            "metadata_restore_special_bits": "it would let a source make setuid programs",
        },
    ),
    "webdav": BackendPolicy(
        plain=_names(
            """url vendor user encoding pacer_min_sleep nextcloud_chunk_size
            owncloud_exclude_shares owncloud_exclude_mounts auth_redirect description"""
        ),
        secret=_names("bearer_token headers"),
        obscured=_names("pass"),
        refused={
            "bearer_token_command": _COMMAND,
            "unix_socket": "it opens a socket of this server",
        },
    ),
    "s3": BackendPolicy(
        plain=_names(
            """provider access_key_id region endpoint location_constraint acl bucket_acl
            requester_pays server_side_encryption sse_customer_algorithm sse_kms_key_id
            sse_customer_key_md5 storage_class upload_cutoff chunk_size max_upload_parts
            copy_cutoff disable_checksum upload_concurrency force_path_style v2_auth
            use_dual_stack use_accelerate_endpoint use_arn_region leave_parts_on_error list_chunk
            list_version list_url_encode no_check_bucket no_head no_head_object encoding
            memory_pool_flush_time memory_pool_use_mmap disable_http2 download_url
            directory_markers use_multipart_etag use_unsigned_payload use_presigned_request
            use_data_integrity_protections versions version_at version_deleted decompress
            might_gzip use_accept_encoding_gzip no_system_metadata use_already_exists
            use_multipart_uploads list_versions_oldest_first use_x_id sign_accept_encoding
            directory_bucket ibm_resource_instance_id object_lock_mode
            object_lock_retain_until_date object_lock_legal_hold_status
            bypass_governance_retention bucket_object_lock_enabled object_lock_set_after_upload
            object_lock_supported description"""
        ),
        secret=_names(
            "secret_access_key session_token sse_customer_key sse_customer_key_base64 ibm_api_key"
        ),
        refused={
            "env_auth": _SERVER_LOGIN,
            "shared_credentials_file": _SERVER_FILE,
            "profile": _SERVER_FILE,
            "role_arn": _SERVER_LOGIN,
            "role_session_name": _SERVER_LOGIN,
            "role_session_duration": _SERVER_LOGIN,
            "role_external_id": _SERVER_LOGIN,
            "sts_endpoint": _LEAKS_LOGIN,
            "ibm_iam_endpoint": _LEAKS_LOGIN,
            "sdk_log_mode": "it writes secrets into the log",
        },
    ),
    "sftp": BackendPolicy(
        plain=_names(
            """host user port pubkey pin_host_key host_keys use_insecure_cipher
            disable_hashcheck path_override encoding set_modtime shell_type hashes skip_links
            subsystem use_fstat disable_concurrent_reads disable_concurrent_writes idle_timeout
            chunk_size concurrency connections ciphers key_exchange macs host_key_algorithms
            copy_is_hardlink description"""
        ),
        secret=_names("key_pem socks_proxy http_proxy"),
        obscured=_names("pass key_file_pass"),
        refused={
            "ssh": _COMMAND,
            "server_command": _COMMAND,
            "md5sum_command": _COMMAND,
            "sha1sum_command": _COMMAND,
            "crc32sum_command": _COMMAND,
            "sha256sum_command": _COMMAND,
            "blake3sum_command": _COMMAND,
            "xxh3sum_command": _COMMAND,
            "xxh128sum_command": _COMMAND,
            "set_env": "it sets variables for programs that are run",
            "key_file": _SERVER_FILE + "; paste the key into key_pem",
            "pubkey_file": _SERVER_FILE + "; paste it into pubkey",
            "known_hosts_file": _SERVER_FILE + "; use host_keys",
            "key_use_agent": _SERVER_LOGIN,
            "ask_password": _PROMPT,
        },
    ),
    "ftp": BackendPolicy(
        plain=_names(
            """host user port tls explicit_tls concurrency no_check_certificate disable_epsv
            disable_mlsd disable_utf8 writing_mdtm force_list_hidden idle_timeout close_timeout
            tls_cache_size disable_tls13 allow_insecure_tls_ciphers shut_timeout no_check_upload
            encoding description"""
        ),
        secret=_names("socks_proxy http_proxy"),
        obscured=_names("pass"),
        refused={"ask_password": _PROMPT},
    ),
    "smb": BackendPolicy(
        plain=_names(
            """host user port domain spn idle_timeout hide_special_share case_insensitive
            encoding description"""
        ),
        obscured=_names("pass"),
        refused={"use_kerberos": _SERVER_LOGIN, "kerberos_ccache": _SERVER_FILE},
    ),
    "drive": BackendPolicy(
        plain=_names(
            """client_id client_credentials scope root_folder_id team_drive auth_owner_only
            use_trash copy_shortcut_content skip_gdocs show_all_gdocs skip_checksum_gphotos
            shared_with_me trashed_only starred_only formats export_formats import_formats
            allow_import_name_change use_created_date use_shared_date list_chunk impersonate
            alternate_export upload_cutoff chunk_size acknowledge_abuse keep_revision_forever
            size_as_quota v2_download_min_size pacer_min_sleep pacer_burst
            server_side_across_configs disable_http2 stop_on_upload_limit stop_on_download_limit
            skip_shortcuts skip_dangling_shortcuts resource_key fast_list_bug_fix metadata_owner
            metadata_permissions metadata_labels metadata_enforce_expansive_access encoding
            description"""
        ),
        secret=_names("client_secret token service_account_credentials"),
        refused={
            **_OAUTH_REFUSED,
            "service_account_file": _SERVER_FILE + "; use service_account_credentials",
            "env_auth": _SERVER_LOGIN,
        },
    ),
    "onedrive": BackendPolicy(
        plain=_names(
            """client_id client_credentials region upload_cutoff chunk_size drive_id
            drive_type root_folder_id access_scopes tenant disable_site_permission
            expose_onenote_files server_side_across_configs list_chunk no_versions hard_delete
            link_scope link_type hash_type av_override delta metadata_permissions encoding
            description"""
        ),
        secret=_names("client_secret token link_password"),
        refused={**_OAUTH_REFUSED, "tenant_url": _LEAKS_LOGIN},
    ),
    "dropbox": BackendPolicy(
        plain=_names(
            """client_id client_credentials chunk_size impersonate impersonate_admin
            shared_files shared_folders skip_shared_folders skip_unowned_folders pacer_min_sleep
            encoding root_namespace export_formats skip_exports show_all_exports batch_mode
            batch_size batch_timeout batch_commit_timeout description"""
        ),
        secret=_names("client_secret token"),
        refused=_OAUTH_REFUSED,
    ),
}

_MULTILINE = frozenset({"key_pem", "token", "service_account_credentials"})


def policy_of(backend: str) -> BackendPolicy:
    """Give the policy of a backend; raises OptionRefused when the backend is not offered."""
    policy = POLICY.get(backend)
    if policy is None:
        raise OptionRefused(
            f"{backend!r} is not offered; choose one of {', '.join(POLICY)}", field="backend"
        )
    return policy


def is_obscured(backend: str, name: str) -> bool:
    """Whether rclone wants the value of this option obscured."""
    return name in policy_of(backend).obscured


def may_come_back(backend: str, name: str) -> bool:
    """Whether a value that rclone changed may be stored with the remote's own options."""
    policy = policy_of(backend)
    return name not in policy.obscured and policy.classify(name) in (
        OptionClass.PLAIN,
        OptionClass.SECRET,
    )


def is_multiline(name: str) -> bool:
    """Whether a person may paste several lines, which are then written as one."""
    return name in _MULTILINE


def check_options(backend: str, options: Mapping[str, str], secrets: Mapping[str, str]) -> None:
    """Raise OptionRefused for the first option that may not be set, or not in this mapping."""
    policy = policy_of(backend)
    for name in [*options, *secrets]:
        kind = policy.classify(name)
        if kind is None:
            raise OptionRefused(f"{backend} has no known option {name!r}", field=name)
        if kind is OptionClass.REFUSED:
            reason = (policy.refused or {})[name]
            raise OptionRefused(f"{backend} option {name} is refused: {reason}", field=name)
        if kind is OptionClass.SECRET and name in options:
            raise OptionRefused(f"{name} is a secret and belongs among the secrets", field=name)
