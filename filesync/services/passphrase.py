"""Secrets of an export, encrypted with a passphrase."""

from __future__ import annotations

import base64
import json

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from django.core.exceptions import ValidationError

SALT_BYTES = 16
# 64 MB and a quarter of a second: what guesses a passphrase pays that for each try.
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**16, 8, 1


def cipher_from(passphrase: str, salt: bytes) -> Fernet:
    key = Scrypt(salt=salt, length=32, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P)
    return Fernet(base64.urlsafe_b64encode(key.derive(passphrase.encode())))


def sealed(cipher: Fernet, secrets: dict[str, str]) -> str:
    return cipher.encrypt(json.dumps(secrets, sort_keys=True).encode()).decode()


def opened(text: str, cipher: Fernet | None) -> dict[str, str]:
    """Return the secrets that were sealed.

    Raises:
        ValidationError: there is no cipher, or it is another one's.
    """
    if cipher is None:
        raise ValidationError({"encrypted": "it holds secrets: give the passphrase of the export"})
    try:
        document = json.loads(cipher.decrypt(text.encode()))
    except (InvalidToken, ValueError):
        raise ValidationError({"encrypted": "the passphrase does not open it"}) from None
    return {str(key): str(value) for key, value in document.items()}
