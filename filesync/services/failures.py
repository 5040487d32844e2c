"""The files that failed in a run that ended: which they are, and whether only they can be sent."""

from __future__ import annotations

from filesync import engine
from filesync.errors import (
    AnotherConfig,
    Conflict,
    FailuresForgotten,
    NotFound,
    NothingFailed,
    RunActive,
)
from filesync.models import SyncConfig, SyncRun


def run_to_mend(config: SyncConfig, run_id: int) -> SyncRun:
    """Return a run of the config that ended and whose failed files can be sent again.

    Raises:
        NotFound: there is no such run.
        AnotherConfig: it is a run of another config, or its config was deleted.
        RunActive: it has not ended, so that what fails in it is not known yet.
        NothingFailed: no file failed in it, or it undid another run.
        FailuresForgotten: some would be left out, for more files failed than are recorded, or a
            folder could not be listed.
    """
    run = SyncRun.objects.filter(pk=run_id).first()
    if run is None:
        raise NotFound(engine.Text("there is no run {run_id}", run_id=run_id))
    if run.config_id != config.pk:
        whose = engine.Text("{name} (deleted)", name=run.config_name)
        if run.config_id is not None:
            whose = engine.Text(
                "{name} (config {config_id})", name=run.config_name, config_id=run.config_id
            )
        raise AnotherConfig(
            engine.Text(
                "run {run_id} is one of {whose}, not of {name}: name a run of {name}",
                run_id=run_id,
                whose=whose,
                name=config.name,
            )
        )
    _check_failures(run)
    return run


def can_mend(run: SyncRun) -> bool:
    """Whether the failed files of a run can be sent again; takes up to three queries."""
    if run.config_id is None:
        return False
    try:
        _check_failures(run)
    except Conflict:
        return False
    return True


def _check_failures(run: SyncRun) -> None:
    if not run.is_terminal:
        raise RunActive(
            engine.Text(
                "run {run_id} is {state}, what fails in it is not known yet: wait "
                "for task {task_id} to end, or cancel it",
                run_id=run.pk,
                state=activity(run),
                task_id=str(run.task_id),
            ),
            str(run.task_id),
        )
    if run.undoes:
        raise NothingFailed(
            engine.Text(
                "run {run_id} undid another run: undo that one again instead", run_id=run.pk
            )
        )
    failed = run.items.filter(action="FAILED")
    folder = failed.filter(path__endswith="/").values_list("path", flat=True).first()
    if folder is not None:
        raise FailuresForgotten(
            engine.Text(
                "the folder {folder} could not be listed in run {run_id}, so that nobody knows "
                "what is to be sent of it: run it again as a whole",
                folder=folder,
                run_id=run.pk,
            )
        )
    recorded = failed.count()
    if run.files_failed > recorded:
        raise FailuresForgotten(
            engine.Text(
                "{count} files failed in run {run_id} and {recorded} of "
                "them are recorded: run it again as a whole",
                count=run.files_failed,
                run_id=run.pk,
                recorded=recorded,
            )
        )
    if not failed.exclude(path="").exists():
        raise NothingFailed(
            engine.Text("no file failed in run {run_id}: run it again as a whole", run_id=run.pk)
        )


def failed_paths(run: SyncRun) -> tuple[str, ...]:
    """Return the files that failed in a run."""
    failed = run.items.filter(action="FAILED").exclude(path="")
    return tuple(dict.fromkeys(failed.order_by("id").values_list("path", flat=True)))


def activity(run: SyncRun) -> engine.Text:
    """Return in a word what an active run does."""
    queued = run.state == SyncRun.State.QUEUED
    return engine.Text("queued") if queued else engine.Text("running")
