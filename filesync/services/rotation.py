"""Encrypt what is stored anew with the first key, so that an old key can be dropped."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings

from filesync.models import Storage
from filesync.secrets import cipher

BATCH_ROWS = 500


@dataclass(slots=True)
class RotationReport:
    """What became of the stored secrets, in storages; `unreadable` names those no key opens."""

    rotated: int = 0
    unchanged: int = 0
    changed_meanwhile: int = 0
    unreadable: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def rotate_secrets() -> RotationReport:
    """Encrypt every storage's secrets with the first key; what has it already is left alone.

    A row that somebody changes meanwhile keeps what was entered, encrypted with the first key.
    """
    report = RotationReport()
    newest = Fernet(settings.FILESYNC_SECRET_KEYS[0])
    last_id = 0
    while True:
        rows = list(
            Storage.objects.filter(pk__gt=last_id)
            .exclude(encrypted_secrets="")
            .order_by("pk")
            .values_list("pk", "name", "encrypted_secrets")[:BATCH_ROWS]
        )
        if not rows:
            return report
        for pk, name, text in rows:
            _rotate(report, newest, pk, name, text)
        last_id = rows[-1][0]


def _rotate(report: RotationReport, newest: Fernet, pk: int, name: str, text: str) -> None:
    try:
        newest.decrypt(text.encode())
    except InvalidToken:
        pass
    else:
        report.unchanged += 1
        return
    try:
        rotated = cipher().rotate(text.encode()).decode("ascii")
    except InvalidToken:
        report.unreadable.append(name)
        return
    same = Storage.objects.filter(pk=pk, encrypted_secrets=text)
    if same.update(encrypted_secrets=rotated):
        report.rotated += 1
    else:
        report.changed_meanwhile += 1
