"""The transfer engine's face: a request in, typed events out, a result at the end.

Plain Python over rclone: no Django, no Celery, and no knowledge of stored configurations.
"""

from __future__ import annotations

from filesync.engine.binary import MIN_VERSION, Version, check_rclone, find_rclone
from filesync.engine.catalogue import PRESETS, Backend, OptionInfo, Preset, catalogue
from filesync.engine.decide import Decision, decide
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
from filesync.engine.filters import (
    MAX_LINES_OF_RUN,
    OWN_RULE,
    filter_lines,
    rename_rules,
    validate_filters,
    validate_limits,
    validate_rules,
)
from filesync.engine.ini import TokensLeft
from filesync.engine.kept import can_keep, purge_kept
from filesync.engine.limits import StorageLimits, tightened, validate_storage_limits
from filesync.engine.log import CUT_MARK, render_line
from filesync.engine.options import (
    ADDRESSES,
    POLICY,
    REFUSED_BACKENDS,
    BackendPolicy,
    OptionClass,
    RefusedBackend,
    address_of,
    is_multiline,
    is_oauth_token,
    tidy_secret,
)
from filesync.engine.paths import validate_path
from filesync.engine.prepare import validate_remote, validate_request
from filesync.engine.probe import Entry, Listing, ProbeResult, list_folder, probe
from filesync.engine.rclone_conf import Imported, read_rclone_conf
from filesync.engine.renamed_again import never_rests
from filesync.engine.request import (
    KEPT_FOLDER,
    Compare,
    Encryption,
    Endpoint,
    Guards,
    Limits,
    Method,
    NameEncryption,
    Remote,
    Rules,
    SyncRequest,
    UndoRequest,
)
from filesync.engine.restore import run_restore
from filesync.engine.run import run_sync
from filesync.engine.texts import Text

__all__ = [
    "ADDRESSES",
    "CUT_MARK",
    "KEPT_FOLDER",
    "MAX_LINES_OF_RUN",
    "MIN_VERSION",
    "OWN_RULE",
    "POLICY",
    "PRESETS",
    "REFUSED_BACKENDS",
    "Action",
    "Backend",
    "BackendPolicy",
    "Compare",
    "Decision",
    "Encryption",
    "Endpoint",
    "EngineError",
    "Entry",
    "Event",
    "Failure",
    "FailureClass",
    "FilterRefused",
    "Finished",
    "Guards",
    "Imported",
    "InFlight",
    "ItemDone",
    "LimitRefused",
    "Limits",
    "Listing",
    "LogLine",
    "Method",
    "NameEncryption",
    "OptionClass",
    "OptionInfo",
    "OptionRefused",
    "Outcome",
    "PathRefused",
    "Phase",
    "PhaseChanged",
    "Plan",
    "PlanItem",
    "PlanReady",
    "Preset",
    "ProbeResult",
    "ProcessStarted",
    "Progress",
    "RcloneUnusable",
    "RefusedBackend",
    "Remote",
    "Rules",
    "StopSignal",
    "StorageLimits",
    "SyncRequest",
    "SyncResult",
    "Text",
    "Tick",
    "TokensLeft",
    "Totals",
    "UndoRequest",
    "Version",
    "address_of",
    "can_keep",
    "catalogue",
    "check_rclone",
    "decide",
    "filter_lines",
    "find_rclone",
    "is_multiline",
    "is_oauth_token",
    "list_folder",
    "never_rests",
    "probe",
    "purge_kept",
    "read_rclone_conf",
    "rename_rules",
    "render_line",
    "run_restore",
    "run_sync",
    "tidy_secret",
    "tightened",
    "validate_filters",
    "validate_limits",
    "validate_path",
    "validate_remote",
    "validate_request",
    "validate_rules",
    "validate_storage_limits",
]
