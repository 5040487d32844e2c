"""What an object has of another kind, in a document: names, and of syncs the events of each."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from filesync.models import ChannelUse, NotificationChannel, SyncConfig
from filesync.services.channels import hear_of
from filesync.services.rules import use_rule_sets

# Rule sets in their order, or syncs with the events that are chosen for each.
Relation = list[Any] | dict[Any, list[str]]


def related(row: Any, name: str) -> Relation:
    """Return what a row has: the rule sets of a config, or the syncs of a channel."""
    if name == "rule_sets":
        return [use.rule_set for use in row.rule_set_uses.select_related("rule_set")]
    uses = row.uses.select_related("config").order_by("config__name")
    return {use.config: use.events for use in uses}


def relate(row: Any, others: Relation) -> None:
    """Let a row have exactly these."""
    if isinstance(others, list):
        use_rule_sets(row, others)
    else:
        hear_of(row, others)


def listed(others: Relation) -> list[object]:
    """Return the names; in the place of one that has events an object with both."""
    if isinstance(others, list):
        return [other.name for other in others]
    return [
        {"name": config.name, "events": events} if events else config.name
        for config, events in others.items()
    ]


def found(many: Any, value: object, label: str) -> Relation:
    """Return what a list of a document stands for, as `listed` makes it.

    Raises:
        ValidationError: it is none, or holds what is not there.
    """
    if not isinstance(value, list):
        raise ValidationError({label: "must be a list of names"})
    if many.related_model is not SyncConfig:
        return [named(many, name, label) for name in value]
    events: dict[Any, list[str]] = {}
    for one in value:
        told = one if isinstance(one, dict) else {"name": one}
        if unknown := set(told) - {"name", "events"}:
            raise ValidationError({label: f"unknown parts: {', '.join(sorted(map(str, unknown)))}"})
        use = ChannelUse(events=told.get("events", []))
        try:
            use.clean()
        except ValidationError as error:
            raise ValidationError({label: error.messages}) from None
        events[named(many, told.get("name"), label)] = use.events
    return events


def as_meant(row: models.Model, entry: dict[str, Any]) -> dict[str, Any]:
    """Return a channel's entry as the admin and the API take it: chosen syncs are those alone."""
    if not isinstance(row, NotificationChannel):
        return entry
    is_chosen = entry["configs"] if "configs" in entry else row.pk and row.configs.exists()
    return entry | {"chosen_only": True} if is_chosen else entry


def named(relation: Any, name: object, label: str) -> models.Model:
    """Return the object of a relation that has a name.

    Raises:
        ValidationError: there is none.
    """
    row = relation.related_model._default_manager.filter(name=str(name)).first()
    if not isinstance(row, models.Model):
        raise ValidationError({label: f"there is none named {name}"})
    return row
