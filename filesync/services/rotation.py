"""Encrypt what is stored anew with the first key, so that an old key can be dropped."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings

from filesync.models import ENCRYPTED_COLUMNS, Encrypted
from filesync.secrets import cipher

BATCH_ROWS = 500


@dataclass(slots=True)
class RotationReport:
    """What became of the stored secrets, in rows; `unreadable` names those that no key opens."""

    rotated: int = 0
    unchanged: int = 0
    changed_meanwhile: int = 0
    unreadable: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def rotate_secrets() -> RotationReport:
    """Encrypt every stored secret with the first key; what has it already is left alone.

    A row that somebody changes meanwhile keeps what was entered, encrypted with the first key.
    """
    report = RotationReport()
    newest = Fernet(settings.FILESYNC_SECRET_KEYS[0])
    for model, column in ENCRYPTED_COLUMNS.items():
        _rotate_column(report, newest, model, column)
    return report


def _rotate_column(
    report: RotationReport, newest: Fernet, model: type[Encrypted], column: str
) -> None:
    last_id = 0
    while True:
        rows = list(
            model._default_manager.filter(pk__gt=last_id)
            .exclude(**{column: ""})
            .order_by("pk")
            .values_list("pk", "name", column)[:BATCH_ROWS]
        )
        if not rows:
            return
        for pk, name, text in rows:
            rotated = _rotated(report, newest, f"{model._meta.verbose_name_raw} {name}", text)
            if rotated is None:
                continue
            same = model._default_manager.filter(pk=pk, **{column: text})
            if same.update(**{column: rotated}):
                report.rotated += 1
            else:
                report.changed_meanwhile += 1
        last_id = rows[-1][0]


def _rotated(report: RotationReport, newest: Fernet, label: str, text: str) -> str | None:
    try:
        newest.decrypt(text.encode())
    except InvalidToken:
        pass
    else:
        report.unchanged += 1
        return None
    try:
        return cipher().rotate(text.encode()).decode("ascii")
    except InvalidToken:
        report.unreadable.append(label)
        return None
