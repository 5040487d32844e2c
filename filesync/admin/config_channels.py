"""The part of a sync config's form that says which notification channels hear of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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

from filesync.api.permissions import VIEW_CHANNELS
from filesync.models import NotificationChannel, SyncConfig
from filesync.notifications.events import OF_A_SYNC, Event
from filesync.services.channels import channels_of_every_sync

CHANNELS = "notified_channels"


class ChannelsWidget(UnfoldAdminCheckboxSelectMultipleWidget):
    """A box per channel, and folded below it the events of this sync alone.

    Its value is a dict from the id of each ticked channel to the events that are chosen for it.
    """

    template_name = "filesync/channel_choice.html"

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        chosen = {str(pk): events for pk, events in (value or {}).items()}
        context: dict[str, Any] = super().get_context(name, list(chosen), attrs)
        for _group, options, _index in context["widget"]["optgroups"]:
            for option in options:
                pk = str(option["value"])
                boxes = UnfoldAdminCheckboxSelectMultipleWidget(choices=list(OF_A_SYNC.items()))
                option["is_open"] = bool(chosen.get(pk))
                # The boxes of the channels have ids that end in their place in the list.
                own = {"id": f"id_{name}_events_{pk}"}
                option["events"] = boxes.render(f"{name}_{pk}", chosen.get(pk, []), own)
        return context

    def value_from_datadict(self, data: Any, files: Any, name: str) -> dict[str, list[str]]:
        return {pk: data.getlist(f"{name}_{pk}") for pk in data.getlist(name)}


class ChannelChoice(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """The channels that hear of chosen syncs only, each with what it is told of."""

    widget = ChannelsWidget

    def label_from_instance(self, obj: NotificationChannel) -> str:
        return in_words(obj)

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, dict) else super().prepare_value(value)

    def clean(self, value: dict[str, list[str]]) -> Any:
        """Return the events by channel."""
        channels = super().clean(list(value))
        for events in value.values():
            for event in events:
                if event not in OF_A_SYNC:
                    raise forms.ValidationError(_("%s cannot be chosen for a sync.") % event)
        return {channel: value[str(channel.pk)] for channel in channels}

    def has_changed(self, initial: Any, data: Any) -> bool:
        return _in_order(initial or {}) != _in_order(data or {})


def _in_order(chosen: Mapping[Any, Iterable[str]]) -> dict[str, list[str]]:
    return {str(pk): sorted(events) for pk, events in chosen.items()}


def in_words(channel: NotificationChannel, chosen: Iterable[str] = ()) -> str:
    """Return a channel with its events, or those chosen for a sync; say that it is switched off."""
    events = ", ".join(str(Event(event).label) for event in chosen or channel.events)
    name = channel.name if channel.enabled else _("%s (switched off)") % channel.name
    text = f"{name}: {events}"
    return _("%s (chosen for this sync)") % text if chosen else text


class ToldChannels:
    """Shows in a config's form who is told, to those who may see channels; mix in first."""

    def get_fieldsets(self, request: HttpRequest, obj: SyncConfig | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)  # type: ignore[misc]
        if request.user.has_perm(VIEW_CHANNELS):
            return fieldsets
        hidden = (CHANNELS, "channels_of_every_sync")
        return [
            (title, part | {"fields": [name for name in part["fields"] if name not in hidden]})
            for title, part in fieldsets
        ]

    def get_form(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, **kwargs)  # type: ignore[misc]
        if not request.user.has_perm(VIEW_CHANNELS):
            form.base_fields.pop(CHANNELS, None)
        return form

    @admin.display(description=gettext_lazy("channels that are told of this sync"))
    def notified_channels(self, config: SyncConfig) -> SafeString:
        """Return what those see who may not change the config."""
        if config.pk is None:
            return _listed([])
        uses = config.channel_uses.select_related("channel").order_by("channel__name")
        return _listed((use.channel, use.events) for use in uses)

    @admin.display(description=gettext_lazy("channels that are told of every sync"))
    def channels_of_every_sync(self, config: SyncConfig) -> SafeString:
        return _listed((channel, []) for channel in channels_of_every_sync())


def _listed(told: Iterable[tuple[NotificationChannel, list[str]]]) -> SafeString:
    page = "admin:filesync_notificationchannel_change"
    rows = [
        (reverse(page, args=[channel.pk]), in_words(channel, events)) for channel, events in told
    ]
    links: SafeString = format_html_join(
        "", '<div><a class="sb-folder" href="{}">{}</a></div>', rows
    )
    return links if rows else format_html("{}", "-")
