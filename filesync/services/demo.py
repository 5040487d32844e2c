"""The demo: a small tree of files, and a sync that copies it every minute."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from filesync.models import Storage, SyncConfig

CONFIG_NAME = "Demo"
REMARK = "Copies a small tree every minute"
"""What tells the demo's own rows from others of their names."""
TREE_FOLDERS, FILES_PER_FOLDER = 12, 25


def demo_folders() -> tuple[Path, Path]:
    """Return the demo's own source and destination, below the first local root."""
    root: Path = settings.FILESYNC_LOCAL_ROOTS[0]
    return root / "demo" / "source", root / "demo" / "destination"


def make_tree(root: Path) -> None:
    """Write a few hundred small files, in two languages, unless they are there."""
    for folder in range(TREE_FOLDERS):
        name = f"folder {folder:02d}" if folder % 3 else f"文件夹 {folder:02d}"
        directory = root / name
        directory.mkdir(parents=True, exist_ok=True)
        for number in range(FILES_PER_FOLDER):
            file = directory / (
                f"note {number:03d}.txt" if number % 5 else f"笔记 {number:03d}.txt"
            )
            if not file.exists():
                file.write_text(f"{name} {number}\n" * (1 + 40 * number), encoding="utf-8")


def make_demo(source: Path, destination: Path) -> SyncConfig:
    """Make the demo's storages and its config, or set those of an earlier demo to these folders.

    Raises ValidationError where a folder lies outside the local roots, and where something that is
    no demo has one of the names.
    """
    with transaction.atomic():
        storages = [
            _storage(f"Demo {role}", path)
            for role, path in (("source", source), ("destination", destination))
        ]
        config = SyncConfig.objects.filter(name=CONFIG_NAME).first() or SyncConfig(name=CONFIG_NAME)
        if config.pk and config.remark != REMARK:
            raise ValidationError(_("%s exists and is no demo: rename it first") % config.name)
        config.method = SyncConfig.Method.INCREMENTAL
        config.source_path = config.destination_path = ""
        config.source_storage, config.destination_storage = storages
        config.cron, config.enable = "* * * * *", True
        config.remark = REMARK
        config.full_clean()
        config.save()
    return config


def _storage(name: str, root: Path) -> Storage:
    storage = Storage.objects.filter(name=name).first() or Storage(name=name)
    same = storage.backend == "local" and storage.root == str(root)
    if storage.pk and storage.remark != REMARK and not same:
        raise ValidationError(_("%s exists and is no demo: rename it first") % name)
    storage.backend, storage.root, storage.remark = "local", str(root), REMARK
    storage.full_clean()
    storage.save()
    return storage
