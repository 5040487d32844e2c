"""What a person should do next, per failure class and per guard: all of it in English, here.

The texts are marked for translators; whoever shows one translates it.
"""

from __future__ import annotations

import re
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

IN_THE_WAY = (
    # Of a local disk, SFTP, FTP; of rclone itself.
    r"\bnot a directory|\bis a directory",
    r"overwrite (?:a )?(?:directory|folder|file) with",
    # Of a local disk, of SMB; of WsgiDAV.
    r"partial file rename failed: can't move object",
    r"partial file rename failed: .*file (?:already )?exists",
    r"\bmkdir\b.*: file (?:already )?exists",
    r"cannot put to a collection|parent must be an? (?:existing )?collection",
    # Of ours.
    r"\ba folder at the destination\b",
)
"""What storages say where a folder stands in place of a file, or a file in place of a folder."""

# Of these the advice of their class says too little. Whole messages are looked at, with the names
# in them, so that the class must fit too.
_BY_WORDS: Mapping[str, tuple[str, str]] = {
    "INTERNAL": (
        r"corrupted on transfer|source file is being updated|was changed while it was copied",
        gettext_noop(
            "Nothing to do if a program was writing to the file: the next run sends it again. If "
            "it fails each time, run when nothing writes there, or exclude it with a filter."
        ),
    ),
    "NAME_NOT_ALLOWED": (
        "|".join(IN_THE_WAY),
        gettext_noop(
            "At the destination a folder has the name of a file, or a file the name of a folder. "
            "Rename or remove one of the two, or exclude the path with a filter."
        ),
    ),
}

KILLED_ADVICE = gettext_noop(
    "The run is tried again by itself. If it happens again, look at the machine's memory: where "
    "it is used up, the kernel kills what uses most."
)


def advice_for(failure_class: str, guard: str | None, message: str) -> str:
    """Give the next step; a guard and some words have their own, which says more."""
    if guard is not None and guard in GUARD_ADVICE:
        return GUARD_ADVICE[guard]
    words, advice = _BY_WORDS.get(failure_class, ("", ""))
    if words and re.search(words, message, re.IGNORECASE):
        return advice
    return CLASS_ADVICE[failure_class]
