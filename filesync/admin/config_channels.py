"""The part of a sync config's form that says which notification channels hear of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from filesync.models import NotificationChannel, SyncConfig
from filesync.notifications.events import Event
from filesync.services.channels import channels_of_every_sync

CHANNELS = "notified_channels"
SEE_CHANNELS = "filesync.view_notificationchannel"


class ChannelChoice(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """The channels that hear of chosen syncs only, each with what it is told of."""

    widget = UnfoldAdminCheckboxSelectMultipleWidget

    def label_from_instance(self, obj: NotificationChannel) -> str:
        return in_words(obj)


def in_words(channel: NotificationChannel) -> str:
    """Return a channel with its events; say so where it is switched off."""
    events = ", ".join(str(Event(event).label) for event in channel.events)
    name = channel.name if channel.enabled else _("%s (switched off)") % channel.name
    return f"{name}: {events}"


class ToldChannels:
    """Shows in a config's form who is told, to those who may see channels; mix in first."""

    def get_fieldsets(self, request: HttpRequest, obj: SyncConfig | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)  # type: ignore[misc]
        if request.user.has_perm(SEE_CHANNELS):
            return fieldsets
        hidden = (CHANNELS, "channels_of_every_sync")
        return [
            (title, part | {"fields": [name for name in part["fields"] if name not in hidden]})
            for title, part in fieldsets
        ]

    def get_form(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, **kwargs)  # type: ignore[misc]
        if not request.user.has_perm(SEE_CHANNELS):
            form.base_fields.pop(CHANNELS, None)
        return form

    @admin.display(description=gettext_lazy("channels that are told of this sync"))
    def notified_channels(self, config: SyncConfig) -> SafeString:
        """Return what those see who may not change the config."""
        return _listed(config.channels.all() if config.pk else [])

    @admin.display(description=gettext_lazy("channels that are told of every sync"))
    def channels_of_every_sync(self, config: SyncConfig) -> SafeString:
        return _listed(channels_of_every_sync())


def _listed(channels: Iterable[NotificationChannel]) -> SafeString:
    page = "admin:filesync_notificationchannel_change"
    rows = [(reverse(page, args=[channel.pk]), in_words(channel)) for channel in channels]
    links: SafeString = format_html_join(
        "", '<div><a class="sb-folder" href="{}">{}</a></div>', rows
    )
    return links if rows else format_html("{}", "-")
