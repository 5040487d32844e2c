"""What a config asks of the engine, and what of it the engine refuses, told by field."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext_lazy as _

from filesync import engine
from filesync.texts import say

if TYPE_CHECKING:
    from filesync.models import SyncConfig, SyncRun

_REQUEST_FIELDS = frozenset(
    {
        "source_path",
        "destination_path",
        "filters",
        "renames",
        "min_size_bytes",
        "max_size_bytes",
        "min_age_s",
        "max_age_s",
        "bandwidth",
        "transfers",
        "checkers",
        "calls_per_s",
        "max_bytes",
        "max_files",
    }
)


def request_of(
    config: SyncConfig, *, dry_run: bool = False, force: bool = False
) -> engine.SyncRequest:
    """Return the engine's request for one run, secrets in plain text."""
    return engine.SyncRequest(
        source=engine.Endpoint(config.source_storage.as_remote(), config.source_path),
        destination=engine.Endpoint(
            config.destination_storage.as_remote(), config.destination_path
        ),
        method=engine.Method(config.method),
        compare=engine.Compare(config.compare),
        rules=engine.Rules(
            filters=_filter_lines(config),
            min_size_bytes=config.min_size_bytes,
            max_size_bytes=config.max_size_bytes,
            min_age_s=config.min_age_s,
            max_age_s=config.max_age_s,
            renames=engine.rename_rules(config.renames),
        ),
        limits=_limits(config),
        guards=_guards(config),
        dry_run=dry_run,
        force=force,
    )


def _limits(config: SyncConfig) -> engine.Limits:
    own = engine.Limits(
        transfers=config.transfers,
        checkers=config.checkers,
        bandwidth=config.bandwidth or None,
        calls_per_s=config.calls_per_s,
        max_bytes=config.max_bytes,
        max_files=config.max_files,
        max_runtime_s=config.max_runtime_s,
        stall_timeout_s=config.stall_timeout_s,
        timezone=config.timezone,
    )
    storages = (config.source_storage, config.destination_storage)
    return engine.tightened(own, [storage.limits() for storage in storages])


def _filter_lines(config: SyncConfig) -> tuple[str, ...]:
    """Return the config's own filter rules, then those of its rule sets in their order."""
    lines = engine.filter_lines(config.filters)
    if config.pk is None:
        return lines
    for use in config.rule_set_uses.select_related("rule_set"):
        lines += engine.filter_lines(use.rule_set.filters)
    return lines


def _guards(config: SyncConfig) -> engine.Guards:
    guards = engine.Guards(
        max_delete_files=config.max_delete_files, max_delete_percent=config.max_delete_percent
    )
    if config.max_shrink_percent is None:
        return guards
    files, size_bytes = _last_good_source(config)
    return replace(
        guards,
        max_shrink_percent=config.max_shrink_percent,
        last_good_source_files=files,
        last_good_source_bytes=size_bytes,
    )


def good_runs(runs: QuerySet[SyncRun]) -> QuerySet[SyncRun]:
    """Keep the runs whose plan says how large a source was when all was well.

    Good is only one that looked at the whole source, and that nobody undid afterwards: else the
    next slot would repeat what was undone, for then nothing has shrunk any more.
    """
    undone = runs.model._default_manager.filter(
        restore_of=OuterRef("pk"), dry_run=False, state__in=["SUCCEEDED", "PARTIAL"]
    )
    return (
        runs.filter(state="SUCCEEDED", dry_run=False, only_failed=False, plan__isnull=False)
        .exclude(trigger="RESTORE")
        .exclude(Exists(undone))
    )


def _last_good_source(config: SyncConfig) -> tuple[int | None, int | None]:
    """Return the source's files and bytes of the last good run; None where none is known."""
    if config.pk is None:
        return None, None
    plan = good_runs(config.runs.all()).order_by("-id").values_list("plan", flat=True).first() or {}
    return plan.get("source_files"), plan.get("source_bytes")


def validate(config: SyncConfig) -> None:
    """Check a config with both its storages as the engine will.

    Raises:
        ValidationError: the engine would refuse it; by field where one field is why.
    """
    if config.keep_deleted_days and not engine.can_keep(config.destination_storage.backend):
        raise ValidationError(
            {
                "keep_deleted_days": _(
                    "The destination (%(backend)s) can neither move nor copy files by itself, "
                    "so that it cannot keep any: set 0."
                )
                % {"backend": config.destination_storage.backend}
            }
        )
    if config.method not in config.Method or config.compare not in config.Compare:
        return  # the fields' own choices say so
    try:
        engine.validate_request(request_of(config), tuple(settings.FILESYNC_LOCAL_ROOTS))
    except engine.EngineError as error:
        field = error.field if error.field in _REQUEST_FIELDS else "__all__"
        raise ValidationError(
            {field: ValidationError(say(error.message), code=error.code)}
        ) from None
    _check_kept_names(config)


def _check_kept_names(config: SyncConfig) -> None:
    """Raise ValidationError where rename rules alone tell that files would be kept wrongly."""
    if not (config.keep_deleted_days and config.renames) or config.method == config.Method.CHECK:
        return
    try:
        rclone = engine.find_rclone(settings.FILESYNC_RCLONE_BINARY or None)
        name = engine.never_rests(engine.rename_rules(config.renames), rclone=rclone)
    except engine.RcloneUnusable:
        return  # a run looks again
    if name is not None:
        raise ValidationError(
            {
                "renames": _(
                    "These rules change a name again that they have made (%(name)s), so that a "
                    "kept file would bear the wrong name: write them so that they leave such "
                    "names alone, or keep nothing (days to keep deleted files: 0)."
                )
                % {"name": name}
            }
        )
