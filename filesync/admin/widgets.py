"""Form fields that answer while one fills them in: a schedule, a folder, filter rules."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

PRESETS = (
    ("*/15 * * * *", _("every 15 minutes")),
    ("0 * * * *", _("every hour")),
    ("0 2 * * *", _("every night at 02:00")),
    ("0 9-18 * * 1-5", _("every working hour")),
    ("0 3 * * 0", _("every Sunday at 03:00")),
    ("0 4 1 * *", _("on the first of the month")),
)


# Where a script puts the id of the storage that is chosen.
ANY_STORAGE = 0


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
            '<div class="sb-cron" data-cron-check="{}" data-cron-input="{}"'
            ' data-words-error="{}">{}'
            '<div class="sb-facts">{}</div>'
            '<p class="sb-cron-words sb-strong" role="status" data-cron-words></p>'
            '<p class="sb-cron-error sb-bad-text" role="alert" data-cron-error hidden></p>'
            '<ol class="sb-cron-fires sb-small" data-cron-fires aria-label="{}"></ol></div>',
            reverse("scheduler-validate-cron"),
            name,
            _("The server did not answer: the schedule was not checked."),
            field,
            presets,
            _("next fires"),
        )


class FolderWidget(UnfoldAdminTextInputWidget):
    """A path, with the folders and a test of the storage that another field of the form names."""

    class Media:
        js = ["filesync/folders.js"]

    def __init__(self, storage_field: str, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(attrs)
        self.storage_field = storage_field

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        field: SafeString = super().render(name, value, attrs, renderer)
        return format_html(
            '<div class="sb-fold" data-folders="{}" data-folders-test-at="{}"'
            ' data-folders-input="{}" data-folders-storage="{}" data-words-storage="{}"'
            ' data-words-empty="{}" data-words-error="{}" data-words-busy="{}"'
            ' data-words-works="{}">{}<div class="sb-facts">'
            '<button type="button" class="sb-button" data-folders-open aria-expanded="false">{}'
            '</button><button type="button" class="sb-button" data-folders-test>{}</button></div>'
            '<p class="sb-note" role="status" data-folders-tested hidden></p>'
            '<div class="sb-card" data-folders-panel hidden>'
            '<div class="sb-body sb-line"><span class="sb-path" data-folders-path></span>'
            '<button type="button" class="sb-button" data-folders-up>{}</button></div>'
            '<p class="sb-body sb-bad-text" role="alert" data-folders-error hidden></p>'
            '<p class="sb-empty" role="status" data-folders-note hidden></p>'
            '<ul class="sb-folders" data-folders-list aria-label="{}"></ul>'
            '<div class="sb-body" data-folders-rest hidden>'
            '<button type="button" class="sb-button" data-folders-more>{}</button></div>'
            "</div></div>",
            reverse("storage-browse", args=[ANY_STORAGE]),
            reverse("storage-test", args=[ANY_STORAGE]),
            name,
            self.storage_field,
            _("Choose the storage first."),
            _("There is no folder in here. This one is chosen."),
            _("The server did not answer. Try again."),
            _("The storage is being asked ..."),
            _("The connection to the storage works."),
            field,
            _("Choose a folder"),
            _("Test the storage"),
            _("One up"),
            _("folders"),
            _("More folders"),
        )


class RulesWidget(UnfoldAdminTextareaWidget):
    """Filter rules, and a place to try them on names: which would go, and which rule decides.

    `folder_field` is the field whose storage and folder can lend their names; None has none.
    """

    class Media:
        js = ["filesync/rules.js"]

    def __init__(
        self, folder_field: str | None = None, attrs: dict[str, Any] | None = None
    ) -> None:
        super().__init__(attrs)
        self.folder_field = folder_field

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        field: SafeString = super().render(name, value, attrs, renderer)
        return format_html(
            '<div class="sb-fold" data-rules="{}" data-rules-input="{}" data-words-goes="{}"'
            ' data-words-stays="{}" data-words-none="{}" data-words-empty="{}"'
            ' data-words-error="{}">{}'
            '<details class="sb-card"><summary class="sb-body sb-strong">{}</summary>'
            '<div class="sb-body sb-fold"><label for="try_{}">{}</label>'
            '<textarea id="try_{}" class="sb-input" rows="5" data-rules-paths></textarea>'
            '<div class="sb-facts"><button type="button" class="sb-button" data-rules-try>{}'
            "</button>{}</div>"
            '<p class="sb-bad-text" role="alert" data-rules-error hidden></p>'
            '<div class="sb-scroll" role="status"><table class="sb-table" data-rules-table hidden>'
            '<thead><tr><th scope="col">{}</th><th scope="col">{}</th><th scope="col">{}</th></tr>'
            "</thead><tbody></tbody></table></div></div></details></div>",
            reverse("ruleset-try-rules"),
            name,
            _("goes"),
            _("stays"),
            _("no rule: it goes"),
            _("Write a file name first, one a line."),
            _("The server did not answer. Try again."),
            field,
            _("Try the rules"),
            name,
            _("File names below the source folder, one a line"),
            name,
            _("Which would go?"),
            self._lender(),
            _("file"),
            _("what becomes of it"),
            _("the rule that decides"),
        )

    def _lender(self) -> SafeString:
        if self.folder_field is None:
            return SafeString()
        return format_html(
            '<button type="button" class="sb-button" data-rules-lend="{}">{}</button>',
            self.folder_field,
            _("Names from the source folder"),
        )
