"""What happens when beat starts: the schedules are loaded from the database into beat's rows."""

from __future__ import annotations

import logging
import time

from django.db import connections

from scheduler.outages import DATABASE_AWAY
from scheduler.sync_scheduler import get_sync_scheduler
from scheduler.writing import RefreshReport

logger = logging.getLogger(__name__)

RETRY_S = 2.0


def load_schedules() -> RefreshReport:
    """Refresh all schedules; wait for a database that is not there yet, and say so once."""
    told = False
    while True:
        try:
            return get_sync_scheduler().refresh()
        except DATABASE_AWAY as error:
            if not told:
                logger.error("the database does not answer, waiting for it: %s", error)
                told = True
            connections.close_all()
            time.sleep(RETRY_S)
