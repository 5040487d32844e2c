"""Notification channels and sent messages in the admin; a channel's URL is never shown."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AutocompleteSelectMultiple
from django.db.models import ManyToManyField, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    SELECT_CLASSES,
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminTextInputWidget,
)

from filesync.admin.row_actions import row_action
from filesync.admin.runs import ReadOnlyAdmin
from filesync.models import Delivery, NotificationChannel
from filesync.notifications.events import Event
from filesync.notifications.targets import TargetRefused, check_target
from filesync.services.channels import try_channel
from filesync.texts import say


class ChannelForm(forms.ModelForm):  # type: ignore[type-arg]
    """The URL goes in and never comes out."""

    new_url = forms.CharField(
        label=_("URL"),
        required=False,
        max_length=4096,
        widget=UnfoldAdminTextInputWidget,
        help_text=_(
            "In apprise's notation: mailtos://user:password@example.org, dingtalk://token, "
            "wecombot://key, feishu://token, schan://key, bark://host/key, tgram://bot/chat, "
            "slack://tokens, jsons://host/path. Empty keeps the one that is set."
        ),
    )
    events = forms.MultipleChoiceField(
        label=capfirst(_("events")),
        choices=Event.choices,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )

    class Meta:
        model = NotificationChannel
        fields = ["name", "enabled", "events", "configs", "chosen_only", "language", "remark"]

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if self.cleaned_data.get("configs"):
            self.cleaned_data["chosen_only"] = True
        return cleaned

    def clean_new_url(self) -> str:
        url = str(self.cleaned_data["new_url"]).strip()
        try:
            if url:
                check_target(url)
                self.instance.url = url
        except TargetRefused as error:
            raise forms.ValidationError(say(error.message), code=error.code) from None
        return url


@admin.register(NotificationChannel)
class NotificationChannelAdmin(ModelAdmin):
    form = ChannelForm
    list_display = ["name", "scheme", "enabled", "last_sent_at", "last_error"]
    search_fields = ["name", "remark"]
    list_filter = ["enabled"]
    list_per_page = 25
    actions_detail = ["send_test"]
    readonly_fields = ["scheme", "heard_of", "last_sent_at", "last_error"]

    def get_fields(self, request: HttpRequest, obj: NotificationChannel | None = None) -> list[str]:
        # As an attribute Django's checks refuse it: a relation whose rows hold more than its ends.
        return [
            "name",
            "enabled",
            "new_url",
            "scheme",
            "events",
            "configs",
            "chosen_only",
            "heard_of",
            "language",
            "remark",
            "last_sent_at",
            "last_error",
        ]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Offer a new channel in the language of who makes it."""
        given: dict[str, Any] = super().get_changeform_initial_data(request)
        return {"language": get_language()} | given

    def formfield_for_manytomany(
        self, db_field: ManyToManyField[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Offer the syncs, which Django does not where rows hold more; their events stay."""
        styled = {"class": " ".join(SELECT_CLASSES)}
        kwargs["widget"] = AutocompleteSelectMultiple(db_field, self.admin_site, attrs=styled)
        return db_field.formfield(**kwargs)

    @display(description=_("hears of"))
    def heard_of(self, channel: NotificationChannel) -> Any:
        if channel.pk is not None and channel.configs.exists():
            return _("the chosen syncs")
        if channel.chosen_only:
            return _("no sync: none is chosen, or all that were are deleted")
        return _("every sync")

    @row_action(
        description=_("Test"),
        permissions=["change"],
        url_path="test",
        icon="send",
        dialog={
            "title": _("Send a test message"),
            "description": _("One message goes to this channel now."),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Send"),
        },
    )
    def send_test(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        problem = try_channel(get_object_or_404(NotificationChannel, pk=object_id))
        if problem is None:
            self.message_user(request, _("The test message was sent"))
        else:
            text = _("The test message was not sent: %s") % say(problem)
            self.message_user(request, text, messages.ERROR)
        url = reverse("admin:filesync_notificationchannel_change", args=[object_id])
        return HttpResponse(headers={"HX-Redirect": url})

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(
        self, request: HttpRequest, obj: NotificationChannel | str | None = None
    ) -> bool:
        return bool(request.user.is_superuser)

    def has_delete_permission(
        self, request: HttpRequest, obj: NotificationChannel | None = None
    ) -> bool:
        return bool(request.user.is_superuser)


DELIVERY_COLOURS = {"SENT": "success", "WAITING": "info", "SENDING": "info", "FAILED": "danger"}


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_display = ["title", "channel", "state_badge", "created_at", "sent_at", "reason"]
    list_filter = ["state", "channel"]
    list_select_related = ["channel"]
    list_per_page = 25
    show_full_result_count = False
    fields = [
        ("title", "channel", "event"),
        "body",
        ("state", "attempts", "not_before"),
        "reason",
        ("created_at", "sent_at"),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        messages: QuerySet[Delivery] = super().get_queryset(request)
        return messages.filter(channel__isnull=False)

    @display(description=_("error"))
    def reason(self, delivery: Delivery) -> str:
        """Return why it was not delivered; what its target said is in the target's words."""
        return gettext(delivery.error) if delivery.error else ""

    @display(description=_("state"), ordering="state", label=DELIVERY_COLOURS)
    def state_badge(self, delivery: Delivery) -> tuple[str, str]:
        return delivery.state, delivery.get_state_display()
