"""Which storages a run really acts on: an undo on those of the run that it undoes."""

from __future__ import annotations

from filesync.models import Storage, SyncRun


def sides_of(run: SyncRun) -> dict[str, Storage]:
    """Return a run's storages by the engine's names for them, `src` and `dst`.

    A config may have been pointed elsewhere since the run that is undone. One that was deleted is
    left out.
    """
    if run.undoes:
        kept = (run.restore_of and run.restore_of.kept) or {}
        ids = {"src": kept.get("source_storage"), "dst": kept.get("storage")}
        found = Storage.objects.in_bulk([pk for pk in ids.values() if pk is not None])
        return {side: found[pk] for side, pk in ids.items() if pk in found}
    if run.config is None:
        return {}
    return {"src": run.config.source_storage, "dst": run.config.destination_storage}
