"""Which stored secrets a storage keeps when it is changed: none that would go somewhere else."""

from __future__ import annotations

from collections.abc import Mapping

from filesync import engine
from filesync.errors import FilesyncError
from filesync.models import Storage
from filesync.models.storage import ENCRYPTION_PASSWORD, ENCRYPTION_SALT
from filesync.secrets import SecretsUnreadable

# They never leave: what they encrypt does.
STAY_HERE = (ENCRYPTION_PASSWORD, ENCRYPTION_SALT)


class SecretsNeeded(FilesyncError):
    """Where the login goes has changed, and stored secrets were to follow."""

    code = "secrets_needed"

    def __init__(self, names: list[str], changed: list[str]) -> None:
        super().__init__(
            engine.Text(
                "{changed} changed, and the stored secrets are for the old place only: enter "
                "{names} again, or an empty text to remove",
                changed=", ".join(changed),
                names=names[0] if len(names) == 1 else ", ".join(names),
            )
        )
        self.names = names
        self.changed = changed


def merged_secrets(
    stored: Storage, given: Mapping[str, str], *, backend: str, options: Mapping[str, str]
) -> dict[str, str]:
    """Return the secrets of a storage that becomes `backend` with `options`.

    `stored` is the storage as it was; an empty text in `given` removes a secret.

    Raises:
        SecretsNeeded: a stored secret would be sent to another place than it was entered for.
    """
    before, hidden = {}, False
    try:
        before = stored.secrets
    except SecretsUnreadable:
        # Without new ones they stay, and may be readable again one day.
        hidden = not given
    merged = {name: value for name, value in {**before, **given}.items() if value}
    kept = [name for name in sorted(merged) if name not in given and name not in STAY_HERE]
    changed = _changed(
        {"backend": stored.backend} | engine.address_of({**stored.options, **before}),
        {"backend": backend} | engine.address_of({**options, **merged}),
    )
    if changed and (kept or hidden):
        raise SecretsNeeded(kept or [engine.Text("all of them")], changed)
    return merged


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return sorted(
        name for name in {**before, **after} if before.get(name, "") != after.get(name, "")
    )
