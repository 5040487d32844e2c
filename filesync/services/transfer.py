"""Storages, rule sets, configs and channels as one document, and back: to move or to keep them.

Objects are known by their names. Secrets are left out, encrypted with a passphrase, or referred to
(`filesync.services.references`).
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from cryptography.fernet import Fernet
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import models, transaction

from filesync.errors import FilesyncError
from filesync.models import NotificationChannel, RuleSet, Storage, SyncConfig
from filesync.notifications.targets import scheme_of
from filesync.secrets import decrypt, encrypt
from filesync.services.passphrase import SALT_BYTES, cipher_from, opened, sealed
from filesync.services.references import references_to
from filesync.services.relations import Relation, as_meant, found, listed, named, relate, related
from filesync.services.warnings import no_limits

VERSION = 1

Document = dict[str, Any]
Secrets = dict[str, str]
Named = Storage | RuleSet | SyncConfig | NotificationChannel
Hide = Callable[[Named, Secrets], Document]
Resolve = Callable[[object], Secrets]

# Where an entry holds its secrets: encrypted, or as references.
HIDDEN = ("encrypted", "secrets")

# In the order in which they can be made, with the column of each that is encrypted at rest, if any.
KINDS: Mapping[str, tuple[type[Named], str | None]] = {
    "storages": (Storage, "encrypted_secrets"),
    "rule_sets": (RuleSet, None),
    "configs": (SyncConfig, "encrypted_ping_url"),
    "channels": (NotificationChannel, "encrypted_url"),
}


class DocumentRefused(FilesyncError):
    """A document that cannot be imported; each line names the object, the field and why."""

    code = "document_refused"


@dataclass(slots=True)
class ImportReport:
    """What an import did, or would do: lines such as "configs Photos: changed cron"."""

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: int = 0
    without_secrets: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def export_document(passphrase: str = "", *, by_reference: bool = False) -> Document:
    """Return everything as plain values; secrets encrypted by a passphrase, or as references.

    Raises:
        SecretsUnreadable: none of the configured keys opens a secret.
    """
    document: Document = {"syncbeat": VERSION}
    hide: Hide | None = _as_references if by_reference else None
    if passphrase:
        salt = os.urandom(SALT_BYTES)
        document["salt"] = base64.b64encode(salt).decode()
        hide = partial(_encrypted, cipher_from(passphrase, salt))
    for kind, (model, column) in KINDS.items():
        rows = model._default_manager.order_by("name")
        document[kind] = [_entry(row, column, hide) for row in rows]
    return document


def import_document(
    document: object,
    passphrase: str = "",
    *,
    resolve: Resolve | None = None,
    dry_run: bool = False,
) -> ImportReport:
    """Make or change what the document holds, all of it or nothing; twice is once.

    A field that is not in the document stays as it is, and so do secrets that are not in it.
    References to secrets are refused without `resolve`, which only a command may give.

    Raises:
        DocumentRefused: with a line per problem; nothing was changed then.
    """
    checked = _checked(document)
    reveal = partial(_revealed, _cipher_of(checked, passphrase), resolve)
    report, problems = ImportReport(), list[str]()
    with transaction.atomic():
        for kind, (model, column) in KINDS.items():
            for entry in checked.get(kind, []):
                problems += _import_entry(kind, model, column, entry, reveal, report)
        if dry_run or problems:
            transaction.set_rollback(True)
    if problems:
        raise DocumentRefused("\n".join(problems))
    return report


# --- out


def _entry(row: Named, column: str | None, hide: Hide | None) -> Document:
    entry: Document = {}
    for one in fields_of(type(row)):
        value = getattr(row, one.name)
        if isinstance(value, models.Model):
            value = str(value)
        elif isinstance(value, datetime):
            value = value.isoformat()
        entry[one.name] = value
    for many in type(row)._meta.many_to_many:
        entry[many.name] = listed(related(row, many.name))
    stored = str(getattr(row, column)) if column else ""
    if stored and hide is not None:
        entry |= hide(row, decrypt(stored))
    return entry


def _encrypted(cipher: Fernet, _row: Named, secrets: Secrets) -> Document:
    return {"encrypted": sealed(cipher, secrets)}


def _as_references(row: Named, secrets: Secrets) -> Document:
    return {"secrets": references_to(f"{row._meta.model_name}_{row.pk}", secrets)}


def fields_of(model: type[models.Model]) -> list[models.Field[Any, Any]]:
    """Return the columns that a person may set."""
    return [
        one
        for one in model._meta.concrete_fields
        if one.editable and not one.primary_key and not getattr(one, "auto_now_add", False)
    ]


# --- in


def _checked(document: object) -> Document:
    if not isinstance(document, dict) or document.get("syncbeat") != VERSION:
        raise DocumentRefused(f"this is no export of Syncbeat: it must hold `syncbeat: {VERSION}`")
    unknown = set(document) - {"syncbeat", "salt", *KINDS}
    if unknown:
        raise DocumentRefused(f"unknown parts: {', '.join(sorted(map(str, unknown)))}")
    for kind in KINDS:
        entries = document.get(kind, [])
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise DocumentRefused(f"{kind} must be a list of objects")
        names = [str(one.get("name") or "") for one in entries]
        if "" in names:
            raise DocumentRefused(f"{kind}: number {names.index('') + 1} has no name")
        if doubled := {name for name in names if names.count(name) > 1}:
            raise DocumentRefused(f"{kind}: {', '.join(sorted(doubled))} is there twice")
    return document


def _import_entry(
    kind: str,
    model: type[Named],
    column: str | None,
    entry: Document,
    reveal: Callable[[Document, Secrets], Secrets],
    report: ImportReport,
) -> list[str]:
    """Make or change one object; return what is wrong with it."""
    label = f"{kind} {entry['name']}"
    row: Any = model._default_manager.filter(name=entry["name"]).first()
    is_new = row is None
    row = row or model()
    try:
        changed, relations = _apply(row, as_meant(row, entry), is_new=is_new)
        if hidden := [name for name in HIDDEN if name in entry]:
            if column is None:
                raise ValidationError({hidden[0]: "nothing of it is secret"})
            before = decrypt(str(getattr(row, column)))
            secrets = reveal(entry, before)
            if before != secrets:
                _set_secrets(row, column, secrets)
                changed.append("secrets")
        elif is_new and column not in (None, "encrypted_ping_url"):
            report.without_secrets.append(label)
        row.full_clean()
    except ValidationError as error:
        texts = dict(_texts(error))
        waits = is_new and isinstance(row, NotificationChannel) and not row.encrypted_url
        if waits and set(texts) == {NON_FIELD_ERRORS}:
            # Its URL is a secret: it is made without one and switched off.
            row.enabled = False
        else:
            return [f"{label}: {name}: {'; '.join(said)}" for name, said in texts.items()]
    if is_new or changed:
        row.save()
    for name, others in relations.items():
        if related(row, name) != others:
            relate(row, others)
            changed.append(name)
    is_saved = isinstance(row, SyncConfig) and bool(is_new or changed)
    if is_saved and (warned := no_limits(row, () if is_new else changed)):
        report.warnings.append(f"{label}: {warned}")
    if is_new:
        report.created.append(label)
    elif changed:
        report.changed.append(f"{label}: {', '.join(changed)}")
    else:
        report.unchanged += 1
    return []


def _apply(
    row: models.Model, entry: Document, *, is_new: bool
) -> tuple[list[str], dict[str, Relation]]:
    """Set the columns that the entry names; return which changed, and the relations to set.

    Raises:
        ValidationError: a field is unknown, or names what is not there.
    """
    known = {one.name: one for one in fields_of(type(row))}
    many = {one.name: one for one in type(row)._meta.many_to_many}
    changed: list[str] = []
    relations: dict[str, Relation] = {}
    for name, value in entry.items():
        if name in HIDDEN:
            continue
        if name in many:
            relations[name] = found(many[name], value, name)
            continue
        if name not in known:
            raise ValidationError({name: "there is no such field"})
        wanted: object
        if known[name].is_relation:
            wanted = named(known[name], value, name)
        else:
            try:
                wanted = known[name].to_python(value)
            except ValidationError as error:
                raise ValidationError({name: error.messages}) from None
        before = None if is_new and known[name].is_relation else getattr(row, name)
        if before != wanted:
            setattr(row, name, wanted)
            changed.append(name)
    return changed, relations


def _revealed(
    cipher: Fernet | None, resolve: Resolve | None, entry: Document, before: Secrets
) -> Secrets:
    """Return the secrets that an entry hides; those that it does not refer to stay."""
    if "secrets" not in entry:
        return opened(str(entry["encrypted"]), cipher)
    if "encrypted" in entry:
        raise ValidationError({"secrets": "they are encrypted too: keep one of both"})
    if resolve is None:
        raise ValidationError({"secrets": "only manage.py import_configs follows references"})
    return before | resolve(entry["secrets"])


def _set_secrets(row: Named, column: str, secrets: Secrets) -> None:
    setattr(row, column, encrypt(secrets))
    if isinstance(row, NotificationChannel):
        row.scheme = scheme_of(secrets.get("url", ""))


def _texts(error: ValidationError) -> Iterable[tuple[str, list[str]]]:
    if hasattr(error, "error_dict"):
        return list(error.message_dict.items())
    return [(NON_FIELD_ERRORS, error.messages)]


# --- the passphrase


def _cipher_of(document: Document, passphrase: str) -> Fernet | None:
    if "salt" not in document or not passphrase:
        return None
    try:
        salt = base64.b64decode(str(document["salt"]), validate=True)
    except ValueError:
        raise DocumentRefused("salt is not what an export writes") from None
    return cipher_from(passphrase, salt)
