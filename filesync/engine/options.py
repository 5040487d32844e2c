"""The policy of options: which backends and which of their options a person may set.

The reviewed list is policy.toml beside this file; what it does not know is refused. Values are
checked here, written in ini.
"""

from __future__ import annotations

import enum
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from filesync.engine.encodings import check_encoding
from filesync.engine.errors import OptionRefused
from filesync.engine.spellings import header_fields
from filesync.engine.texts import Text

_NONE: Mapping[str, str] = MappingProxyType({})


class OptionClass(enum.StrEnum):
    """How an option is treated."""

    PLAIN = "PLAIN"
    SECRET = "SECRET"  # noqa: S105 - the name of a class
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True)
class BackendPolicy:
    """The options of one backend; `obscured` ones are what rclone calls IsPassword.

    `refused` maps an option to its reason. One of `needs` must be set, where there are any.
    """

    plain: frozenset[str]
    secret: frozenset[str] = frozenset()
    obscured: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=lambda: _NONE)
    needs: tuple[str, ...] = ()

    def classify(self, name: str) -> OptionClass | None:
        """Give the class of an option; None when the policy does not know it."""
        if name in self.secret or name in self.obscured:
            return OptionClass.SECRET
        if name in self.plain:
            return OptionClass.PLAIN
        return OptionClass.REFUSED if name in self.refused else None


@dataclass(frozen=True, slots=True)
class RefusedBackend:
    """A backend that is not offered, why, and the options it would have."""

    why: str
    options: frozenset[str]


def _load(
    document: Mapping[str, Any],
) -> tuple[dict[str, BackendPolicy], dict[str, RefusedBackend]]:
    reasons, instead = document["reasons"], document["instead"]
    offered: dict[str, BackendPolicy] = {}
    refused: dict[str, RefusedBackend] = {}
    for backend, entry in document["backends"].items():
        if "why" in entry:
            refused[backend] = RefusedBackend(entry["why"], _names(entry, "options"))
            continue
        because: dict[str, str] = {}
        for reason, names in entry.get("refused", {}).items():
            for name in names.split():
                better = instead.get(f"{backend}.{name}")
                because[name] = reasons[reason] + (f"; {better}" if better else "")
        offered[backend] = BackendPolicy(
            plain=_names(entry, "plain"),
            secret=_names(entry, "secret"),
            obscured=_names(entry, "password"),
            refused=because,
            needs=tuple(entry.get("needs", "").split()),
        )
    return offered, refused


def _names(entry: Mapping[str, str], key: str) -> frozenset[str]:
    return frozenset(entry.get(key, "").split())


POLICY: Mapping[str, BackendPolicy]
REFUSED_BACKENDS: Mapping[str, RefusedBackend]
_DOCUMENT = tomllib.loads(Path(__file__).with_name("policy.toml").read_text(encoding="utf-8"))
POLICY, REFUSED_BACKENDS = _load(_DOCUMENT)
ADDRESSES = _names(_DOCUMENT["addresses"], "names")
"""Options that say where a login is sent, or how it is protected on the way."""

# A person pastes these as several lines.
_JSON_FILES = frozenset({"service_account_credentials", "config_credentials"})
_MULTILINE = frozenset({"key_pem", "token"}) | _JSON_FILES
# What `rclone authorize` prints around the token.
_PASTED = re.compile(r"--->\s*(\{.*\})\s*<---", re.DOTALL)
_LOGIN_IN_URL = re.compile(r"\s*[a-z][a-z0-9+.-]*://[^/?#@]*:[^/?#]*@", re.IGNORECASE)
_TOKEN_TEXTS = ("access_token", "token_type", "refresh_token", "expiry")


def policy_of(backend: str) -> BackendPolicy:
    """Give the policy of a backend; raises OptionRefused when the backend is not offered."""
    policy = POLICY.get(backend)
    if policy is not None:
        return policy
    if backend in REFUSED_BACKENDS:
        why = REFUSED_BACKENDS[backend].why
        raise OptionRefused(
            Text("{backend} is not offered: {why}", backend=backend, why=why), field="backend"
        )
    raise OptionRefused(
        Text(
            "{backend!r} is not offered; choose one of {offered}",
            backend=backend,
            offered=", ".join(sorted(POLICY)),
        ),
        field="backend",
    )


def is_obscured(backend: str, name: str) -> bool:
    """Whether rclone wants the value of this option obscured."""
    return name in policy_of(backend).obscured


def address_of(values: Mapping[str, str]) -> dict[str, str]:
    """Give what decides where the login goes, of the options and secrets of one remote."""
    return {name: values[name] for name in sorted(ADDRESSES & values.keys()) if values[name]}


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


def on_one_line(backend: str, name: str, value: str) -> str:
    """Give a value as rclone reads it in one line; raises OptionRefused for broken JSON."""
    if name == "key_pem":
        return value.strip().replace("\r\n", "\n").replace("\n", "\\n")
    if is_oauth_token(backend, name):
        return canonical_token(value)
    if name in _JSON_FILES:
        return json.dumps(_json_object(name, value))
    return value


def is_oauth_token(backend: str, name: str) -> bool:
    """Whether this is the JSON that `rclone authorize` prints for the backend."""
    return name == "token" and "token_url" in policy_of(backend).refused


def tidy_secret(name: str, value: str) -> str:
    """Give a secret without what was pasted around it: the arrows of `rclone authorize`."""
    pasted = _PASTED.search(value) if name == "token" else None
    return pasted.group(1) if pasted else value


def check_options(backend: str, options: Mapping[str, str], secrets: Mapping[str, str]) -> None:
    """Raise OptionRefused for the first option that may not be set, or not in this mapping."""
    policy = policy_of(backend)
    for name in [*options, *secrets]:
        kind = policy.classify(name)
        if kind is None:
            raise OptionRefused(
                Text("{backend} has no known option {name!r}", backend=backend, name=name),
                field=name,
            )
        if kind is OptionClass.REFUSED:
            reason = policy.refused[name]
            raise OptionRefused(
                Text(
                    "{backend} option {name} is refused: {reason}",
                    backend=backend,
                    name=name,
                    reason=reason,
                ),
                field=name,
            )
        if kind is OptionClass.SECRET and name in options:
            raise OptionRefused(
                Text("{name} is a secret and belongs among the secrets", name=name), field=name
            )
    for name, value in options.items():
        if _LOGIN_IN_URL.match(value):
            raise OptionRefused(
                Text(
                    "{name} holds a password, and options are shown: leave it out of "
                    "the address and put it among the secrets",
                    name=name,
                ),
                field=name,
            )
    for name, value in secrets.items():
        if value and is_oauth_token(backend, name):
            canonical_token(value)
        elif value and name in _JSON_FILES:
            _check_json_file(name, value)
        elif value and name == "headers" and header_fields(value) is None:
            raise OptionRefused(
                Text(
                    "{name} must be names and values with commas: Name,value,Name,value; a value "
                    'with a comma or a quote stands in quotes, each quote in it twice ("")',
                    name=name,
                ),
                field=name,
            )
    check_encoding(backend, options)
    _check_needs(backend, policy, {**options, **secrets})


def _check_needs(backend: str, policy: BackendPolicy, values: Mapping[str, str]) -> None:
    given = (values.get(name, "").strip().lower() for name in policy.needs)
    if policy.needs and not any(value not in ("", "false", "0") for value in given):
        raise OptionRefused(
            Text(
                "{backend} needs one of {options}: without it rclone would use the "
                "login of this server itself",
                backend=backend,
                options=", ".join(policy.needs),
            ),
            field=policy.needs[0],
        )


def _check_json_file(name: str, value: str) -> None:
    kind = _json_object(name, value).get("type")
    # Google's other types name a file, an address or a program of the server to ask.
    if name == "service_account_credentials" and kind != "service_account":
        raise OptionRefused(
            Text('{name} must be of the type "service_account"', name=name), field=name
        )


def canonical_token(value: str) -> str:
    """Give a token as rclone writes it; raises OptionRefused for what rclone could not read.

    With some backends a broken token makes rclone take another login: Google Cloud Storage uses
    the identity of the machine. Go reads names in any case and takes fewer spellings of a time,
    so only what is known goes on, in its one spelling.
    """
    document = _json_object("token", value)
    if any(not isinstance(document.get(name, ""), str) for name in _TOKEN_TEXTS):
        raise _no_token(Text("{names} must be texts", names=", ".join(_TOKEN_TEXTS)))
    if not document.get("access_token"):
        raise _no_token(Text("it has no access_token"))
    token = {name: document[name] for name in _TOKEN_TEXTS if name in document}
    if "expiry" in document:
        try:
            expiry = datetime.fromisoformat(str(document["expiry"]))
        except ValueError:
            expiry = datetime.min  # noqa: DTZ901 - has no zone, and is refused below
        if expiry.tzinfo is None:
            raise _no_token(Text("expiry must be a time with a zone (RFC 3339)"))
        token["expiry"] = expiry.isoformat()
    return json.dumps(token)


def _no_token(why: str) -> OptionRefused:
    message = Text("token: {why}; paste the JSON that `rclone authorize` prints", why=why)
    return OptionRefused(message, field="token")


def _json_object(name: str, value: str) -> dict[str, object]:
    try:
        document = json.loads(value)
    except ValueError as error:
        # It tells a place and not the value.
        raise OptionRefused(
            Text("{name} is no valid JSON: {error}", name=name, error=str(error)), field=name
        ) from None
    except RecursionError:
        raise OptionRefused(Text("{name} is nested too deeply", name=name), field=name) from None
    if not isinstance(document, dict):
        raise OptionRefused(Text("{name} must be a JSON object", name=name), field=name)
    return document
