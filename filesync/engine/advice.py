"""What a person should do next, per failure class and per guard: all of it in English, here.

The texts are marked for translators; whoever shows one translates it.
"""

from __future__ import annotations

from collections.abc import Mapping


def gettext_noop(text: str) -> str:
    """Mark a text for translation, as Django's function of that name does."""
    return text


CLASS_ADVICE: Mapping[str, str] = {
    "AUTH": gettext_noop(
        "The storage refused the login, or its names do not decrypt. Correct the user name, "
        "password, key, token or encryption password of the storage, then test the connection."
    ),
    "PERMISSION": gettext_noop(
        "The login works, but this file or folder may not be read or written. Give the account "
        "the right, or exclude the path with a filter."
    ),
    "NOT_FOUND": gettext_noop(
        "The folder, bucket or file does not exist. Check the path; if it lives on a mounted "
        "disk, check that the disk is mounted."
    ),
    "QUOTA": gettext_noop(
        "The account's storage space or daily allowance is used up. Free space or raise the "
        "allowance, then run again."
    ),
    "RATE_LIMITED": gettext_noop(
        "The storage asks for fewer requests. Lower transfers and calls per second; the run is "
        "tried again by itself."
    ),
    "NETWORK": gettext_noop(
        "The storage could not be reached or broke the connection. Check address, port and "
        "network; the run is tried again by itself."
    ),
    "NAME_NOT_ALLOWED": gettext_noop(
        "The storage does not accept this file name. Rename the file, or add a rename rule or "
        "an exclude filter."
    ),
    "DISK_FULL": gettext_noop("The disk is full. Free space at the destination, then run again."),
    "GUARD": gettext_noop(
        "The run was stopped to protect files. Look at the numbers; if they are as intended, "
        "run it once with force, or raise the limit."
    ),
    "TIMEOUT": gettext_noop(
        "The run made no progress, or took longer than it may. Check the storage, or raise the "
        "limit."
    ),
    "CONFIG": gettext_noop("The settings cannot work as they are. Correct what the message names."),
    "INTERNAL": gettext_noop(
        "Something unforeseen happened. Read the log of the run; if it happens again, report it."
    ),
}

GUARD_ADVICE: Mapping[str, str] = {
    "source_missing": CLASS_ADVICE["NOT_FOUND"],
    "source_unreadable": gettext_noop(
        "Make the named paths readable, or exclude them with a filter. Force does not help."
    ),
    "source_empty": gettext_noop(
        "If the source is a mounted disk, mount it. If the filters let nothing through, correct "
        "them. If it is meant to be empty, run once with force."
    ),
    "source_link": gettext_noop(
        "Put the folder itself there again, or sync the folder that the link leads to, or exclude "
        "the link with a filter. If what it replaced is meant to go, run once with force."
    ),
    "max_bytes": gettext_noop("Nothing to do, or raise the limit."),
    "max_files": gettext_noop("Nothing to do, or raise the limit."),
    "max_delete_backstop": gettext_noop(
        "Look at the source, then run again: the new plan shows what would go."
    ),
    "same_name": gettext_noop(
        "Rename one of the files at the source, or change the rename rule. Force does not help."
    ),
    "changed_since": gettext_noop(
        "Look at the items that are left as they are, and put them right by hand; the kept files "
        "stay until their time is over."
    ),
}

KILLED_ADVICE = gettext_noop(
    "The run is tried again by itself. If it happens again, look at the machine's memory: where "
    "it is used up, the kernel kills what uses most."
)


def advice_for(failure_class: str, guard: str | None) -> str:
    """Give the next step; a guard that has its own says more than its class."""
    return GUARD_ADVICE.get(guard or "", CLASS_ADVICE[failure_class])
