"""The storage form in the admin: choose a type, then test and browse what is not saved yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    JsonResponse,
)
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from filesync import engine
from filesync.admin import words
from filesync.admin.storage_form import Choice, StorageForm, form_for, offered, preset_named
from filesync.errors import StorageRefused
from filesync.models import Storage
from filesync.services import storages
from filesync.texts import say


class StorageFormAdmin(ModelAdmin):
    """Serves the form of the chosen backend; a draft of it is tested and browsed by POST."""

    form = StorageForm
    change_form_after_template = "admin/filesync/storage/draft.html"

    class Media:
        js = ["filesync/storage.js"]

    def get_form(
        self, request: HttpRequest, obj: Storage | None = None, change: bool = False, **kwargs: Any
    ) -> type[StorageForm]:
        # The options are no fields of the model: the form adds them itself.
        kwargs |= {"form": form_for(choice_of(request, obj)), "fields": StorageForm.Meta.fields}
        form: type[StorageForm] = super().get_form(request, obj, change, **kwargs)
        return form

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Storage | None:
        """Lock what is about to be saved: a token that rclone refreshes meanwhile comes after."""
        storage: Storage | None = super().get_object(request, object_id, from_field)
        if storage is not None and request.method == "POST" and connection.in_atomic_block:
            locked = Storage.objects.select_for_update(no_key=True)
            storage = locked.filter(pk=storage.pk).first()
        return storage

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        draft_urls = [
            path(f"{prefix}{action}-draft/", wrap(view), name=f"filesync_storage_{action}_draft")
            for prefix in ("", "<int:storage_id>/")
            for action, view in (("test", self.test_draft), ("browse", self.browse_draft))
        ]
        return [*draft_urls, *super().get_urls()]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        storage = self.get_object(request, object_id) if object_id else None
        drafts: dict[str, str] = {}
        if self.has_change_permission(request, storage):
            backends: Mapping[str, engine.Backend] = {}
            try:
                backends = offered()
            except engine.RcloneUnusable as error:
                self.message_user(request, say(error.message), messages.ERROR)
            picks = "pick" in request.GET or choice_of(request, storage) is None
            if backends and picks and request.method == "GET":
                return self._pick(request, backends, storage)
            args = [storage.pk] if storage else []
            drafts = {
                "test": reverse("admin:filesync_storage_test_draft", args=args),
                "browse": reverse("admin:filesync_storage_browse_draft", args=args),
            }
        context = {"drafts": drafts} | (extra_context or {})
        return super().changeform_view(request, object_id, form_url, context)

    def _pick(
        self, request: HttpRequest, backends: Mapping[str, engine.Backend], storage: Storage | None
    ) -> HttpResponse:
        """Let a person choose a backend, or a preset by the name of what he has."""
        wanted = request.GET.get("q", "").strip().casefold()
        presets = [
            {
                "name": preset.name,
                "backend": preset.backend,
                "title": gettext(preset.title),
                # Found by its name in either language.
                "words": f"{gettext(preset.title)} {preset.title} {preset.backend}",
            }
            for preset in engine.PRESETS
        ]
        context = self.admin_site.each_context(request) | {
            "opts": self.opts,
            "title": _("Choose the type of storage"),
            "storage": storage,
            "wanted": request.GET.get("q", ""),
            "passed_on": {
                name: value
                for name, value in request.GET.items()
                if name not in ("q", "backend", "preset")
            },
            "media": self.media,
            "presets": [preset for preset in presets if wanted in preset["words"].casefold()],
            "backends": [
                backend
                for backend in backends.values()
                if wanted in f"{backend.name} {backend.description}".casefold()
            ],
        }
        return TemplateResponse(request, "admin/filesync/storage/pick.html", context)

    def _draft(self, request: HttpRequest, storage_id: int | None) -> StorageForm:
        """Read the posted form of a storage that is not saved, valid or not."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        storage = get_object_or_404(Storage, pk=storage_id) if storage_id is not None else None
        form = self.get_form(request, storage, change=storage is not None)
        return form(request.POST, instance=storage)

    def test_draft(self, request: HttpRequest, storage_id: int | None = None) -> HttpResponseBase:
        """Test what stands in the form, and save nothing of it."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        form = self._draft(request, storage_id)
        if wrong := form.problems():
            return JsonResponse(_incomplete(wrong))
        try:
            result = storages.probe_unsaved(form.instance)
        except StorageRefused as error:
            return JsonResponse({"ok": False, "text": say(error.message)})
        if result.failure is not None:
            return JsonResponse(_failed(result.failure))
        return JsonResponse({"ok": True, "text": says_it_works(result)})

    def browse_draft(self, request: HttpRequest, storage_id: int | None = None) -> HttpResponseBase:
        """List the folders in the root path that stands in the form, to choose one."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        form = self._draft(request, storage_id)
        # A root that may not be is told by the browsing itself; one that is missing, chosen there.
        if wrong := form.problems(but=("root",)):
            return JsonResponse(_incomplete(wrong))
        try:
            found = storages.folders_of(form.instance)
        except StorageRefused as error:
            return JsonResponse({"ok": False, "text": say(error.message)})
        if found.failure is not None:
            return JsonResponse(_failed(found.failure))
        folders = [{"name": root.rpartition("/")[2] or root, "root": root} for root in found.roots]
        text = "" if folders else gettext("There are no folders.")
        return JsonResponse({"ok": True, "text": text, "up": found.up, "folders": folders})


def choice_of(request: HttpRequest, storage: Storage | None) -> Choice | None:
    """Give what the form is for: what was posted or chosen, else what the storage is."""
    preset = preset_named(request.GET.get("preset", ""))
    wanted = request.POST.get("backend", "").strip() or (preset.backend if preset else "")
    wanted = wanted or request.GET.get("backend") or (storage.backend if storage else "")
    try:
        backend = offered().get(wanted)
    except engine.RcloneUnusable:
        return None
    if backend is None:
        return None
    return Choice(backend, preset if preset and preset.backend == backend.name else None)


def says_it_works(result: engine.ProbeResult) -> str:
    works = gettext("The connection works: %(entries)d entries in %(duration).1f s")
    return works % {"entries": result.entries, "duration": result.duration_s}


def _incomplete(wrong: list[str]) -> dict[str, object]:
    return {"ok": False, "text": gettext("Correct this first:"), "wrong": wrong}


def _failed(failure: engine.Failure) -> dict[str, object]:
    return {
        "ok": False,
        "text": f"{words.failure(failure.failure_class)}: {say(failure.message)}",
        "advice": gettext(failure.advice),
    }
