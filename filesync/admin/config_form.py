"""The form of a sync config: its tabs, and the schedule that answers while one types."""

from __future__ import annotations

from typing import Any

from django import forms
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from filesync.models import SyncConfig
from filesync.notifications.targets import TargetRefused, check_ping_url
from scheduler.cron import MAX_LENGTH

PRESETS = (
    ("*/15 * * * *", _("every 15 minutes")),
    ("0 * * * *", _("every hour")),
    ("0 2 * * *", _("every night at 02:00")),
    ("0 9-18 * * 1-5", _("every working hour")),
    ("0 3 * * 0", _("every Sunday at 03:00")),
    ("0 4 1 * *", _("on the first of the month")),
)

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
                ("cron", "timezone"),
                ("start_time", "end_time"),
                ("misfire_policy", "misfire_grace_s", "jitter_s"),
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
                ("max_delete_files", "max_delete_percent", "max_shrink_percent"),
                "keep_deleted_days",
                ("bandwidth", "calls_per_s"),
                ("transfers", "checkers"),
                ("max_bytes", "max_files"),
                ("max_runtime_s", "stall_timeout_s"),
                ("max_attempts", "retry_delay_s"),
            ],
        },
    ),
    (
        _("Operation"),
        {
            "classes": ["tab"],
            "fields": ["late_after_s", "queue", "new_ping_url", "ping_url_is_set"],
        },
    ),
]


class CronWidget(UnfoldAdminTextInputWidget):
    """A cron with presets beside it, and below it what it means and when it fires next."""

    class Media:
        js = ["filesync/cron.js"]

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        field: SafeString = super().render(name, value, attrs, renderer)
        presets = format_html_join(
            "",
            '<button type="button" class="sb-button" data-cron-preset="{}">{}</button>',
            ((cron, label) for cron, label in PRESETS),
        )
        return format_html(
            '<div class="sb-cron" data-cron-check="{}" data-cron-input="{}">{}'
            '<div class="sb-facts">{}</div>'
            '<p class="sb-cron-words sb-strong" role="status" data-cron-words></p>'
            '<p class="sb-cron-error sb-bad-text" role="alert" data-cron-error hidden></p>'
            '<ol class="sb-cron-fires sb-small" data-cron-fires aria-label="{}"></ol></div>',
            reverse("scheduler-validate-cron"),
            name,
            field,
            presets,
            _("next fires"),
        )


class SyncConfigForm(forms.ModelForm):  # type: ignore[type-arg]
    """The config's own fields; the schedule explains itself.

    The ping URL goes in and never comes out: whoever has it can call it.
    """

    new_ping_url = forms.CharField(
        label=_("ping URL"),
        required=False,
        max_length=2048,
        widget=UnfoldAdminTextInputWidget,
        help_text=_(
            "A dead man's switch: called with /start when a run starts, plain when it succeeds, "
            "with /fail when it fails. Empty keeps what is set, - removes it."
        ),
    )

    class Meta:
        model = SyncConfig
        fields = "__all__"
        widgets = {"cron": CronWidget(attrs={"maxlength": str(MAX_LENGTH), "autocomplete": "off"})}

    def clean_new_ping_url(self) -> str:
        url = str(self.cleaned_data["new_ping_url"]).strip()
        try:
            if url not in ("", "-"):
                check_ping_url(url)
        except TargetRefused as error:
            raise forms.ValidationError(str(error), code=error.code) from None
        if url:
            self.instance.ping_url = "" if url == "-" else url
        return url
