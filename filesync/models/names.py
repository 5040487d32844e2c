"""The names that people give to things: what may not stand in one."""

from __future__ import annotations

import re

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from scheduler.queues import is_usable

# Those that end a line for some reader among them: names stand in logs and in titles of messages.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def check_name(name: str) -> None:
    """Raise ValidationError for a name that is not one line of text."""
    if _CONTROL.search(name):
        raise ValidationError({"name": _("A name is one line without control characters.")})


def check_queue(queue: str) -> None:
    """Raise ValidationError for the name of a queue that messages may not be sent to."""
    if not is_usable(queue):
        raise ValidationError({"queue": _("The broker keeps this name for itself.")})
