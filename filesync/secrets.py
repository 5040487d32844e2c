"""Secrets at rest: JSON encrypted with keys that stand outside the database.

The first key of `FILESYNC_SECRET_KEYS` encrypts, every key decrypts: a new key is put in front,
the rows are rewritten, the old one is dropped.
"""

from __future__ import annotations

import json
from functools import cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from filesync.engine import Text


class SecretsUnreadable(Exception):
    """Stored secrets were encrypted with a key that is not configured."""

    code = "secrets_unreadable"
    retryable = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@cache
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError:
        raise ImproperlyConfigured(
            "FILESYNC_SECRET_KEYS must be comma-separated Fernet keys: 32 random bytes in "
            "URL-safe base64, such as `manage.py make_secret_key` prints"
        ) from None


def cipher() -> MultiFernet:
    return _cipher(tuple(settings.FILESYNC_SECRET_KEYS))


def encrypt(values: dict[str, str]) -> str:
    """Return the encrypted text of `values`; an empty dict is an empty string."""
    if not values:
        return ""
    return cipher().encrypt(json.dumps(values, sort_keys=True).encode()).decode("ascii")


def decrypt(text: str) -> dict[str, str]:
    """Return what `encrypt` was given.

    Raises:
        SecretsUnreadable: none of the configured keys opens it.
    """
    if not text:
        return {}
    try:
        document = json.loads(cipher().decrypt(text.encode("ascii")))
    except InvalidToken:
        raise SecretsUnreadable(
            Text(
                "the stored secrets cannot be decrypted: put the key that was in "
                "use back into FILESYNC_SECRET_KEYS, or enter the secrets again"
            )
        ) from None
    return {str(key): str(value) for key, value in document.items()}
