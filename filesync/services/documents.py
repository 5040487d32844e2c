"""The JSON that a run's `progress` and `plan` columns hold; pure."""

from __future__ import annotations

from filesync import engine


def progress_document(progress: engine.Progress) -> dict[str, object]:
    """Return the JSON that a run's `progress` column holds; `percent` is None while unknown."""
    return {
        "percent": _percent(progress),
        "bytes_done": progress.bytes_done,
        "bytes_total": progress.bytes_total,
        "files_done": progress.files_done,
        "files_total": progress.files_total,
        "checks_done": progress.checks_done,
        "deletes": progress.deletes,
        "errors": progress.errors,
        "speed_bytes_per_s": progress.speed_bytes_per_s,
        "eta_s": progress.eta_s,
        "in_flight": [
            {"name": file.name, "size_bytes": file.size_bytes, "bytes_done": file.bytes_done}
            for file in progress.in_flight
        ],
    }


def _percent(progress: engine.Progress) -> float | None:
    """Count bytes; where there are none, as where files are only removed, files."""
    done, total = progress.bytes_done, progress.bytes_total
    if not total:
        done, total = progress.files_done, progress.files_total
    return round(100 * done / total, 1) if total else None


def plan_document(plan: engine.Plan) -> dict[str, object]:
    """Return the JSON that a run's `plan` column holds."""
    return {
        "adds": plan.adds,
        "updates": plan.updates,
        "deletes": plan.deletes,
        "renames": plan.renames,
        "dirs_made": plan.dirs_made,
        "dirs_removed": plan.dirs_removed,
        "times_updated": plan.times_updated,
        "bytes_to_send": plan.bytes_to_send,
        "bytes_to_delete": plan.bytes_to_delete,
        "bytes_renamed": plan.bytes_renamed,
        "source_files": plan.source_files,
        "source_bytes": plan.source_bytes,
        "destination_files": plan.destination_files,
        "items": [
            {
                "action": item.action.value,
                "path": item.path,
                "size_bytes": item.size_bytes,
                "old_path": item.old_path,
            }
            for item in plan.items
        ],
        "items_left_off": plan.items_left_off,
    }
