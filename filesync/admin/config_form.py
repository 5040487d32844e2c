"""The form of a sync config: its tabs and its fields."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.html import format_html_join
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from filesync.admin.config_channels import CHANNELS, ChannelChoice
from filesync.admin.widgets import CronWidget, FolderWidget, RulesWidget
from filesync.models import NotificationChannel, SyncConfig
from filesync.notifications.targets import TargetRefused, check_ping_url
from filesync.services.channels import channels_of_chosen_syncs, check_channels, tell_channels
from filesync.texts import say
from scheduler.cron import MAX_LENGTH

TABS = [
    (None, {"fields": [("name", "enable"), "remark"]}),
    (
        _("Source & target"),
        {
            "classes": ["tab"],
            "fields": [
                ("source_storage", "source_path"),
                ("destination_storage", "destination_path"),
                ("method", "compare"),
            ],
        },
    ),
    (
        _("Schedule"),
        {
            "classes": ["tab"],
            "fields": [
                "cron",
                "timezone",
                "start_time",
                "end_time",
                "misfire_policy",
                ("misfire_grace_s", "jitter_s"),
            ],
        },
    ),
    (
        _("Rules"),
        {
            "classes": ["tab"],
            "fields": [
                "filters",
                "renames",
                ("min_size_bytes", "max_size_bytes"),
                ("min_age_s", "max_age_s"),
            ],
        },
    ),
    (
        _("Limits & safety"),
        {
            "classes": ["tab"],
            "fields": [
                ("max_delete_files", "max_delete_percent"),
                ("max_shrink_percent", "keep_deleted_days"),
                ("bandwidth", "calls_per_s"),
                ("transfers", "checkers"),
                ("max_bytes", "max_files"),
                ("max_runtime_s", "stall_timeout_s"),
                ("max_attempts", "retry_delay_s"),
                "queue",
            ],
        },
    ),
    (
        _("Notifications"),
        {
            "classes": ["tab"],
            "fields": [
                "notified_channels",
                "channels_of_every_sync",
                "late_after_s",
                "new_ping_url",
                "ping_url_is_set",
            ],
        },
    ),
]


# What each method does to which files; what is deleted is never left unsaid.
METHODS = (
    (
        _("Incremental"),
        _(
            "New and changed files are copied, and a changed file replaces the one at the "
            "destination. Nothing is deleted, at neither side."
        ),
    ),
    (
        _("Full"),
        _(
            "As Incremental, and then whatever the destination has and the source has not is "
            "deleted from the destination."
        ),
    ),
    (
        _("Overwrite"),
        _(
            "Every file is sent again, changed or not, and then, as with Full, whatever the "
            "source has not is deleted from the destination."
        ),
    ),
    (
        _("Move"),
        _(
            "Every file is sent, changed or not, and deleted from the source once its copy is "
            "verified. Nothing is deleted from the destination."
        ),
    ),
    (_("Check"), _("Both sides are compared and the differences told. Nothing is changed.")),
)


class SyncConfigForm(forms.ModelForm):  # type: ignore[type-arg]
    """The config's own fields, and who is told of it; the schedule explains itself.

    The ping URL goes in and never comes out: whoever has it can call it.
    """

    new_ping_url = forms.CharField(
        label=capfirst(_("ping URL")),
        required=False,
        max_length=2048,
        widget=UnfoldAdminTextInputWidget,
        help_text=_(
            "A dead man's switch: called with /start when a run starts, plain when it succeeds, "
            "with /fail when it fails. Empty keeps what is set, - removes it."
        ),
    )

    notified_channels = ChannelChoice(
        label=capfirst(_("channels that are told of this sync")),
        queryset=channels_of_chosen_syncs(),
        required=False,
        help_text=_(
            "Where a channel leads is set in the channel itself, and so is what it is told of, "
            "unless events of this sync are chosen here."
        ),
    )

    class Meta:
        model = SyncConfig
        fields = "__all__"
        widgets = {
            "cron": CronWidget(attrs={"maxlength": str(MAX_LENGTH), "autocomplete": "off"}),
            "source_path": FolderWidget("source_storage"),
            "destination_path": FolderWidget("destination_storage"),
            "filters": RulesWidget("source_path"),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "method" in self.fields:
            self.fields["method"].help_text = format_html_join(
                "", "<div><b>{}</b>: {}</div>", METHODS
            )
        if self.instance.pk and CHANNELS in self.fields:
            uses = self.instance.channel_uses.all()
            self.initial[CHANNELS] = {use.channel_id: use.events for use in uses}

    def clean_notified_channels(self) -> dict[NotificationChannel, list[str]]:
        chosen: dict[NotificationChannel, list[str]] = self.cleaned_data[CHANNELS]
        check_channels(chosen)
        return chosen

    def _save_m2m(self) -> None:
        super()._save_m2m()  # type: ignore[misc]  # django-stubs does not know it
        if CHANNELS in self.cleaned_data:
            tell_channels(self.instance, self.cleaned_data[CHANNELS])

    def clean_new_ping_url(self) -> str:
        url = str(self.cleaned_data["new_ping_url"]).strip()
        try:
            if url not in ("", "-"):
                check_ping_url(url)
        except TargetRefused as error:
            raise forms.ValidationError(say(error.message), code=error.code) from None
        if url:
            self.instance.ping_url = "" if url == "-" else url
        return url
