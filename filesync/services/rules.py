"""Rule sets of a config, and trying rules on file names before they count."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction

from filesync import engine
from filesync.errors import RulesTooSlow
from filesync.models import RuleSet, RuleSetUse, SyncConfig

TRY_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one path, and the rule that decides; "" where none does and it goes."""

    path: str
    goes: bool
    rule: str


def use_rule_sets(config: SyncConfig, rule_sets: Sequence[RuleSet]) -> None:
    """Let a config use exactly these rule sets, in this order."""
    with transaction.atomic():
        config.rule_set_uses.all().delete()
        RuleSetUse.objects.bulk_create(
            RuleSetUse(config=config, rule_set=rule_set, position=position)
            for position, rule_set in enumerate(rule_sets)
        )


def try_rules(lines: Sequence[str], paths: Sequence[str]) -> list[Verdict]:
    """Tell which files rules would let through, as a run would decide.

    Raises:
        engine.FilterRefused: a line is not allowed.
        RulesTooSlow: a regular expression took longer than `TRY_LIMIT_S`.
    """
    checked = (engine.OWN_RULE, *engine.validate_filters(lines, most=engine.MAX_LINES_OF_RUN))
    return [
        Verdict(path, goes, "" if rule is None else checked[rule])
        for path, (goes, rule) in zip(paths, _decided(checked, paths), strict=True)
    ]


# A regular expression can be written so that Python's matcher takes years over it, and a thread
# cannot be ended: so a process of its own decides.
_CHILD = """
import json, sys
from filesync.engine import decide
lines, paths = json.load(sys.stdin)
json.dump([(found.goes, found.rule) for found in decide(lines, paths)], sys.stdout)
"""


def _decided(lines: Sequence[str], paths: Sequence[str]) -> list[tuple[bool, int | None]]:
    try:
        answer = subprocess.run(  # noqa: S603 - an argument list, never a shell
            [sys.executable, "-c", _CHILD],
            input=json.dumps([lines, paths]),
            capture_output=True,
            text=True,
            timeout=TRY_LIMIT_S,
            check=True,
            cwd=settings.BASE_DIR,
            env={"PYTHONPATH": str(settings.BASE_DIR), "PYTHONUTF8": "1"},
        )
    except subprocess.TimeoutExpired:
        raise RulesTooSlow(
            engine.Text(
                "the rules were not decided within {limit_s:.0f} s: simplify "
                "the regular expressions, or try fewer names",
                limit_s=TRY_LIMIT_S,
            )
        ) from None
    return [(bool(goes), rule) for goes, rule in json.loads(answer.stdout)]
