"""The transfer engine's face: a request in, typed events out, a result at the end.

Plain Python over rclone: no Django, no Celery, and no knowledge of stored configurations.
"""

from __future__ import annotations

from filesync.engine.binary import MIN_VERSION, Version, check_rclone, find_rclone
from filesync.engine.errors import (
    EngineError,
    Failure,
    FailureClass,
    FilterRefused,
    LimitRefused,
    OptionRefused,
    PathRefused,
    RcloneUnusable,
)
from filesync.engine.events import (
    Action,
    Event,
    Finished,
    InFlight,
    ItemDone,
    LogLine,
    Outcome,
    Phase,
    PhaseChanged,
    Plan,
    PlanItem,
    PlanReady,
    ProcessStarted,
    Progress,
    StopSignal,
    SyncResult,
    Tick,
    Totals,
)
from filesync.engine.filters import validate_filters, validate_limits, validate_rules
from filesync.engine.options import (
    POLICY,
    REFUSED_BACKENDS,
    BackendPolicy,
    OptionClass,
    RefusedBackend,
    tidy_secret,
)
from filesync.engine.paths import validate_path
from filesync.engine.prepare import validate_remote, validate_request
from filesync.engine.probe import Entry, Listing, ProbeResult, list_folder, probe
from filesync.engine.request import (
    KEPT_FOLDER,
    Compare,
    Endpoint,
    Guards,
    Limits,
    Method,
    Remote,
    Rules,
    SyncRequest,
)
from filesync.engine.run import run_sync

__all__ = [
    "KEPT_FOLDER",
    "MIN_VERSION",
    "POLICY",
    "REFUSED_BACKENDS",
    "Action",
    "BackendPolicy",
    "Compare",
    "Endpoint",
    "EngineError",
    "Entry",
    "Event",
    "Failure",
    "FailureClass",
    "FilterRefused",
    "Finished",
    "Guards",
    "InFlight",
    "ItemDone",
    "LimitRefused",
    "Limits",
    "Listing",
    "LogLine",
    "Method",
    "OptionClass",
    "OptionRefused",
    "Outcome",
    "PathRefused",
    "Phase",
    "PhaseChanged",
    "Plan",
    "PlanItem",
    "PlanReady",
    "ProbeResult",
    "ProcessStarted",
    "Progress",
    "RcloneUnusable",
    "RefusedBackend",
    "Remote",
    "Rules",
    "StopSignal",
    "SyncRequest",
    "SyncResult",
    "Tick",
    "Totals",
    "Version",
    "check_rclone",
    "find_rclone",
    "list_folder",
    "probe",
    "run_sync",
    "tidy_secret",
    "validate_filters",
    "validate_limits",
    "validate_path",
    "validate_remote",
    "validate_request",
    "validate_rules",
]
