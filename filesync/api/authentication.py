"""Sign-in of programs: `Authorization: Bearer <token>`, or `Token <token>`."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from filesync.api.throttles import refuse_guessing
from filesync.models import ApiToken
from filesync.models.api_token import hash_token

SCHEMES = (b"bearer", b"token")
# Often enough to see which tokens are in use, rarely enough not to write on every request.
NOTE_USE_EVERY = timedelta(minutes=1)
PERMISSIONS = """
    SELECT type.app_label, permission.codename
    FROM auth_permission permission
    JOIN django_content_type type ON type.id = permission.content_type_id
    WHERE permission.id IN (
        SELECT permission_id FROM auth_user_user_permissions WHERE user_id = %s
        UNION ALL
        SELECT given.permission_id
        FROM auth_group_permissions given
        JOIN auth_user_groups member ON member.group_id = given.group_id
        WHERE member.user_id = %s
    )
"""


class TokenAuthentication(BaseAuthentication):
    """Find the user of a token by its hash."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        parts = get_authorization_header(request).split()
        if len(parts) != 2 or parts[0].lower() not in SCHEMES:
            return None
        token = (
            ApiToken.objects.select_related("user")
            .filter(token_hash=hash_token(parts[1].decode("latin-1")))
            .first()
        )
        if token is None or token.is_expired or not token.user.is_active:
            refuse_guessing(request)
            raise AuthenticationFailed(_("the token is unknown, expired or revoked"))
        now = timezone.now()
        if token.last_used_at is None or now - token.last_used_at > NOTE_USE_EVERY:
            ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
        _read_permissions(token.user)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Return what a 401 names, so that an anonymous call is 401 and not 403."""
        return "Bearer"


def _read_permissions(user: User) -> None:
    """Read what a user and the groups allow, and leave it where Django's `has_perm` looks first.

    Django asks for each by itself, in queries that it puts together anew: that was a quarter of
    the processor's time of `execute-sync`, and is a twentieth so. A superuser may all unasked.
    """
    if user.is_superuser:
        return
    with connection.cursor() as cursor:
        cursor.execute(PERMISSIONS, [user.pk, user.pk])
        vars(user)["_perm_cache"] = {f"{app}.{name}" for app, name in cursor}
