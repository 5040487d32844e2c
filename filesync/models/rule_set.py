"""RuleSet: filter rules with a name, which any number of configs use, and RuleSetUse, one use."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from filesync import engine
from filesync.models.names import check_name
from filesync.texts import say

MOST_RULE_SETS = 9
"""Of one config; with its own rules that is what the engine takes for a run."""


class RuleSet(models.Model):
    """Ordered include and exclude lines in rclone's syntax; a change counts from the next run."""

    name = models.CharField(_("name"), max_length=120, unique=True)
    filters = models.TextField(
        _("filters"),
        max_length=100_000,
        help_text=_("One rule a line, the first match decides: + *.jpg or - /cache/**"),
    )
    remark = models.CharField(_("remark"), max_length=255, blank=True, default="")
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("rule set")
        verbose_name_plural = _("rule sets")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        super().clean()
        check_name(self.name)
        try:
            engine.validate_filters(engine.filter_lines(self.filters))
        except engine.FilterRefused as error:
            raise ValidationError(
                {"filters": ValidationError(say(error.message), code=error.code)}
            ) from None


class RuleSetUse(models.Model):
    """A config's use of a rule set; uses come after the config's own rules, by position."""

    config = models.ForeignKey(
        "filesync.SyncConfig", on_delete=models.CASCADE, related_name="rule_set_uses"
    )
    rule_set = models.ForeignKey(
        RuleSet, on_delete=models.PROTECT, related_name="uses", verbose_name=_("rule set")
    )
    position = models.PositiveSmallIntegerField(
        _("position"), default=0, validators=[MaxValueValidator(MOST_RULE_SETS)]
    )

    class Meta:
        verbose_name = _("rule set in use")
        verbose_name_plural = _("rule sets in use")
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["config", "rule_set"], name="filesync_rule_set_once_per_config"
            )
        ]

    def __str__(self) -> str:
        """Return the config's name, by which a refused deletion tells who is in the way."""
        return self.config.name
