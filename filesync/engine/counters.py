"""Add up the counters of a run's processes: each begins at nothing, and a run's must not."""

from __future__ import annotations

from dataclasses import dataclass

from filesync.engine.events import Progress
from filesync.engine.messages import Stats


@dataclass(slots=True)
class EarlierCounts:
    """What the processes before the present one counted.

    `all_bytes` and `all_files` are how much a run that goes in parts is to send, 0 where it does
    not.
    """

    checks: int = 0
    bytes: int = 0
    files: int = 0
    all_bytes: int = 0
    all_files: int = 0

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
            bytes_total=max(self.all_bytes, self.bytes + stats.bytes_total),
            files_done=self.files + stats.transfers_done,
            files_total=max(self.all_files, self.files + stats.transfers_total),
            checks_done=self.checks + stats.checks_done,
            checks_total=self.checks + stats.checks_total,
            deletes=deletes,
            errors=stats.errors,
            speed_bytes_per_s=stats.speed_bytes_per_s,
            eta_s=self._eta_s(stats),
            in_flight=stats.in_flight,
        )

    def _eta_s(self, stats: Stats) -> float | None:
        if not self.all_bytes or not stats.speed_bytes_per_s:
            return stats.eta_s
        left_bytes = self.all_bytes - self.bytes - stats.bytes_done
        return max(0, left_bytes) / stats.speed_bytes_per_s
