"""Add up the counters of a run's processes: each begins at nothing, and a run's must not."""

from __future__ import annotations

from dataclasses import dataclass

from filesync.engine.events import Progress
from filesync.engine.messages import Stats


@dataclass(slots=True)
class EarlierCounts:
    """What the processes before the present one counted."""

    checks: int = 0
    bytes: int = 0
    files: int = 0

    def add(self, stats: Stats) -> None:
        """Take in the last statistics of a process that has ended."""
        self.checks += stats.checks_done - stats.deletes
        self.bytes += stats.bytes_done
        self.files += stats.transfers_done

    def files_checked(self, stats: Stats) -> int:
        """Give how many files were compared so far; rclone counts a deletion as a check."""
        return max(0, self.checks + stats.checks_done - stats.deletes)

    def progress(self, stats: Stats, *, deletes: int) -> Progress:
        """Give the run's progress by the statistics of the present process."""
        return Progress(
            bytes_done=self.bytes + stats.bytes_done,
            bytes_total=self.bytes + stats.bytes_total,
            files_done=self.files + stats.transfers_done,
            files_total=self.files + stats.transfers_total,
            checks_done=self.checks + stats.checks_done,
            checks_total=self.checks + stats.checks_total,
            deletes=deletes,
            errors=stats.errors,
            speed_bytes_per_s=stats.speed_bytes_per_s,
            eta_s=stats.eta_s,
            in_flight=stats.in_flight,
        )
