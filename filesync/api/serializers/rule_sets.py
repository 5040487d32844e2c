"""What is taken and answered about rule sets, and about rules that are tried."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from filesync.api import examples
from filesync.api.form_fields import LinesField
from filesync.api.serializers.shared import IdList, answered, asked
from filesync.models import RuleSet
from filesync.models.rule_set import MOST_RULE_SETS
from scheduler.api.strict import StrictModelSerializer, StrictSerializer


@extend_schema_serializer(examples=[asked(examples.RULE_SET_WISH), answered(examples.RULE_SET)])
class RuleSetSerializer(StrictModelSerializer):
    """Filter rules with a name, one a line; the first that matches a path decides."""

    class Meta:
        model = RuleSet
        fields = ["id", "name", "filters", "remark", "created_at", "updated_at"]
        read_only_fields = ["created_at", "updated_at"]


class RuleSetList(IdList):
    """Ids of rule sets, each once and no more than a config may use."""

    default_error_messages = {"too_many": _("At most {most} rule sets, each once.")}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(queryset=RuleSet.objects.all(), most=MOST_RULE_SETS, **kwargs)

    def to_internal_value(self, data: Any) -> list[RuleSet]:
        found: list[RuleSet] = super().to_internal_value(data)
        if len(set(found)) < len(found):
            self.fail("too_many", most=self.most)
        return found


@extend_schema_serializer(examples=[asked(examples.TRY)])
class TryRulesSerializer(StrictSerializer):
    """Rules, and the files that they are tried on; nothing is kept."""

    filters = serializers.CharField(
        max_length=100_000,
        allow_blank=True,
        default="",
        style={"base_template": "textarea.html"},
        label=_("Filter rules"),
        help_text=_("rules, one a line"),
    )
    rule_sets = RuleSetList(
        default=[],
        label=_("Rule sets"),
        help_text=_("ids; their rules come after `filters`, in this order"),
    )
    paths = LinesField(
        child=serializers.CharField(max_length=4096, trim_whitespace=False),
        min_length=1,
        max_length=1000,
        label=_("Files"),
        help_text=_("files, relative to the source folder; one a line in a form"),
    )

    def validate_paths(self, paths: list[str]) -> list[str]:
        if any(path.startswith("/") or path.endswith("/") for path in paths):
            raise serializers.ValidationError(
                _("A path is that of a file, relative to the source folder.")
            )
        return paths


@extend_schema_serializer(examples=[answered(examples.VERDICT)])
class VerdictSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    goes = serializers.BooleanField(help_text="whether a run would count the file")
    rule = serializers.CharField(allow_blank=True, help_text="the line that decides; empty: none")
