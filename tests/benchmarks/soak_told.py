"""Who is told of what in the soak: a channel hears of every tenth sync, a monitor of the next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from filesync.models import Delivery, NotificationChannel, SyncConfig, SyncRun
from filesync.services.channels import hear_of
from tests.benchmarks.report import Row

if TYPE_CHECKING:
    from tests.benchmarks.soak_lab import SlotRow, SoakLab

TOLD_OF = 10
PING_PATH = "/ping/"


def tell(address: str, told: Sequence[int], pinged: Sequence[int]) -> None:
    """Let a channel hear of each run of some configs, and let others ping a path of their own."""
    channel = NotificationChannel(name="soak", events=["NOTHING_TO_DO"])
    channel.url = f"json://{address}/"
    channel.save()
    hear_of(channel, {config: [] for config in SyncConfig.objects.filter(pk__in=told)})
    for config in SyncConfig.objects.filter(pk__in=pinged):
        config.ping_url = f"http://{address}{PING_PATH}{config.pk}"
        config.save()


def unsent() -> int:
    """Return how many messages and pings wait, and how many ended runs have not been looked at."""
    waiting = Delivery.objects.filter(state__in=Delivery.OPEN).count()
    return waiting + SyncRun.objects.filter(reviewed=False, finished_at__isnull=False).count()


def judge_telling(
    lab: SoakLab, found: Sequence[SlotRow], unsent: int
) -> tuple[list[Row], list[str]]:
    """See that each run of the syncs that are told of made one message, or its two pings."""
    runs = Counter(row.config_id for row in found if row.state == "SUCCEEDED")
    pings = [path for path in lab.hook.paths if path.startswith(PING_PATH)]
    told, pinged = len(lab.hook.titles), len(pings)
    due = sum(runs[pk] for pk in lab.told_ids)
    due_pings = 2 * sum(runs[pk] for pk in lab.pinged_ids)
    lines = [
        Row("messages that came", "-", f"{told:,}", "-", f"{due:,}"),
        Row("pings that came", "-", f"{pinged:,}", "-", f"{due_pings:,}"),
    ]
    failures = [f"{unsent} messages and pings were not sent"] if unsent else []
    if (told, pinged) != (due, due_pings):
        failures.append(f"of {due} messages {told} came, of {due_pings} pings {pinged}")
    return lines, failures
