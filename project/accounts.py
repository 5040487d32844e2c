"""The first account: an installation without any superuser gets one, with a random password."""

from __future__ import annotations

import secrets

from django.contrib.auth import get_user_model

ADMIN = "admin"


def ensure_admin() -> str | None:
    """Make the superuser `admin` where there is no superuser; return its password, else None.

    The password is returned once and only its hash is stored.
    """
    users = get_user_model()._default_manager
    if users.filter(is_superuser=True).exists():
        return None
    password = secrets.token_urlsafe(9)
    user, _ = users.get_or_create(username=ADMIN)
    user.is_superuser = user.is_staff = user.is_active = True
    user.set_password(password)
    user.save()
    return password
