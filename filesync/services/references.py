"""Secrets by reference in an export: where each is found stands in its place.

Only a command resolves them: over the API somebody could read files of the server by them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from django.core.exceptions import ValidationError

Reference = dict[str, str]

KINDS = ("env", "file")


def references_to(owner: str, slots: Iterable[str]) -> dict[str, Reference]:
    """Return a reference per secret of `owner`, to an environment variable of its own."""
    return {slot: {"env": _variable("SECRET", owner, slot)} for slot in sorted(slots)}


def resolved(secrets: object) -> dict[str, str]:
    """Return what `{slot: {"env": NAME}}` and `{slot: {"file": PATH}}` refer to.

    Raises:
        ValidationError: one is no reference, or what it names is not there; never with a value.
    """
    if not isinstance(secrets, dict):
        raise ValidationError({"secrets": "it must be an object with a reference per secret"})
    return {str(slot): _value(str(slot), reference) for slot, reference in secrets.items()}


def _variable(*words: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", "_".join(words).upper())


def _value(slot: str, reference: object) -> str:
    kinds = list(reference) if isinstance(reference, dict) else []
    if not isinstance(reference, dict) or len(kinds) != 1 or kinds[0] not in KINDS:
        said = f"{slot} must be {{env: NAME}} or {{file: PATH}}, never the secret itself"
        raise ValidationError({"secrets": said})
    name = str(reference[kinds[0]])
    if kinds == ["env"]:
        if not os.environ.get(name):
            raise ValidationError({"secrets": f"{slot}: the environment has no {name}"})
        return os.environ[name]
    try:
        text = Path(name).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise ValidationError({"secrets": f"{slot}: {name} cannot be read: {why}"}) from None
    if not text:
        raise ValidationError({"secrets": f"{slot}: {name} is empty"})
    return text
