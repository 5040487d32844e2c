"""Users, groups and API tokens in the admin."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as StockGroupAdmin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from filesync.models import ApiToken

admin.site.unregister(User)
admin.site.unregister(Group)


STOCK_RIGHTS = {
    "add": _("may add"),
    "change": _("may change"),
    "delete": _("may delete"),
    "view": _("may view"),
}


class RightChoice(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """Permissions in the reader's language: the database holds their names in English."""

    def label_from_instance(self, obj: Permission) -> str:
        act, _underscore, model = obj.codename.partition("_")
        kind = obj.content_type
        stock = act in STOCK_RIGHTS and model == kind.model
        right = STOCK_RIGHTS[act] if stock else gettext(obj.name)
        return f"{kind.app_labeled_name} | {right}"


class RightsInWords:
    """Lists permissions in the reader's language; mix in before the admin class."""

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        if db_field.remote_field.model is Permission:
            kwargs["form_class"] = RightChoice
        return super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[misc]


@admin.register(User)
class UserAdmin(RightsInWords, StockUserAdmin, ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(RightsInWords, StockGroupAdmin, ModelAdmin):
    pass


@admin.register(ApiToken)
class ApiTokenAdmin(ModelAdmin):
    """Makes and revokes tokens; a token's text is shown once, when it is made."""

    list_display = ["name", "user", "created_at", "expires_at", "last_used_at"]

    def get_list_filter(self, request: HttpRequest) -> list[str]:
        """Offer the names of accounts to a superuser only; others see but their own tokens."""
        return ["user"] if _rules(request) else []

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> list[str]:
        """Let only a superuser choose whose token it is: others make their own."""
        return ["name", "user", "expires_at"] if _rules(request) else ["name", "expires_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        """Show a superuser all tokens, and others their own."""
        tokens: QuerySet[ApiToken] = super().get_queryset(request)
        return tokens if _rules(request) else tokens.filter(user=request.user.pk)

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        if not _rules(request):
            obj.user_id = int(str(request.user.pk))
        text = obj.give_text()
        super().save_model(request, obj, form, change)
        self.message_user(
            request,
            _("The token is %s - copy it now, it is not shown again") % text,
            messages.WARNING,
        )


def _rules(request: HttpRequest) -> bool:
    return bool(request.user.is_superuser)
