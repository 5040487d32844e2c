"""Changes to sync configs that are more than a form: a copy, new start times for many."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.utils.translation import gettext as _

from filesync.errors import NotFound
from filesync.models import SyncConfig
from filesync.services.channels import tell_channels
from filesync.services.rules import use_rule_sets

NAME_LENGTH = 120


def duplicate_config(config_id: int) -> SyncConfig:
    """Save a disabled copy of a config, with its rule sets and channels, under a free name.

    Raises:
        NotFound: there is no such config.
    """
    config = SyncConfig.objects.filter(pk=config_id).first()
    if config is None:
        raise NotFound(_("there is no sync config %d") % config_id)
    original, rule_sets = config.name, [use.rule_set for use in config.rule_set_uses.all()]
    told = {use.channel: use.events for use in config.channel_uses.select_related("channel")}
    config.pk = None
    config._state.adding = True
    config.enable = False
    # A monitor would take the runs of two configs for one.
    config.encrypted_ping_url = ""
    with transaction.atomic():
        config.name = _free_name(original)
        config.save(force_insert=True)
        use_rule_sets(config, rule_sets)
        tell_channels(config, told)
    return config


def _free_name(original: str) -> str:
    number = 1
    while True:
        suffix = _(" (copy)") if number == 1 else _(" (copy %d)") % number
        name = original[: NAME_LENGTH - len(suffix)] + suffix
        if not SyncConfig.objects.filter(name=name).exists():
            return name
        number += 1


def change_crons(changes: Mapping[int, tuple[str, str]]) -> list[int]:
    """Give configs new crons, by id: (the one it should have, the new one); return who changed.

    One that was edited meanwhile is left alone, and one that was disabled stays so.
    """
    # One after the other, each in a transaction of its own: none is held while others wait.
    return [
        pk for pk, (expected, new) in sorted(changes.items()) if _change_cron(pk, expected, new)
    ]


def _change_cron(config_id: int, expected: str, new: str) -> bool:
    with transaction.atomic():
        # Read under its lock, before that of its row: what was saved meanwhile is not undone.
        same = SyncConfig.objects.filter(pk=config_id, cron=expected)
        config = same.select_for_update(no_key=True).first()
        if config is None:
            return False
        config.cron = new
        config.save(update_fields=["cron", "updated_at"])
        return True
