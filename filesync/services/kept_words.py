"""What is told of a run that ended before its end and keeps files: that it can be undone; pure."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext_noop

from filesync.engine import Text
from filesync.models import SyncRun

UNDO_ADVICE = gettext_noop("Undo the run to put back what it deleted, replaced or set aside.")
LOST_BUT_KEPT_ADVICE = gettext_noop(
    "Look at the worker's log for what ends it (memory, disk). Undo the run to put back what it "
    "deleted, replaced or set aside."
)


def words_of_kept(run: SyncRun, outcome: Mapping[str, object]) -> dict[str, object]:
    """Return what is to be told instead of the words of an outcome; `run` is the row before it.

    An attempt that ended early may have left files away from the destination; all are in the kept
    folder. Once its config is deleted a run cannot be undone.
    """
    reason = outcome.get("reason")
    if not run.kept or run.kept_until is None or reason == SyncRun.Reason.CONFIG_DELETED:
        return {}
    message = str(outcome.get("message", ""))
    if outcome["state"] == SyncRun.State.CANCELLED:
        begun = Text("It had begun: what it deleted, replaced or set aside is kept.")
        return {"message": begun, "advice": UNDO_ADVICE}
    if outcome["state"] == SyncRun.State.LOST:
        return {"advice": LOST_BUT_KEPT_ADVICE}
    if outcome["state"] != SyncRun.State.FAILED or not message:
        return {}
    what = outcome["message"] if message.endswith(".") else f"{message}."
    assert isinstance(what, str)
    return {
        "message": Text(
            "{what} What the run deleted, replaced or set aside is kept: undo it to put that back.",
            what=what,
        )
    }
