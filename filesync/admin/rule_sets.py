"""Rule sets in the admin, and the part of a config's form that chooses them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, Field, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.admin import ModelAdmin, TabularInline

from filesync.admin.widgets import RulesWidget
from filesync.models import RuleSet, RuleSetUse
from filesync.models.rule_set import MOST_RULE_SETS


class RuleSetForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = RuleSet
        fields = "__all__"
        widgets = {"filters": RulesWidget}


@admin.register(RuleSet)
class RuleSetAdmin(ModelAdmin):
    form = RuleSetForm
    list_display = ["name", "used_by", "remark", "updated_at"]
    search_fields = ["name", "remark", "filters"]
    list_per_page = 25
    fields = ["name", "filters", "remark", "used_by"]
    readonly_fields = ["used_by"]

    @admin.display(description=_("used by"))
    def used_by(self, rule_set: RuleSet) -> SafeString | str:
        """Return how many use it, with a link to them: to name 10,000 takes half a megabyte."""
        count: int = getattr(rule_set, "uses_count", 0)  # a new one is not read yet
        if not count:
            return "-"
        return format_html(
            '<a class="sb-folder" href="{}?rule_sets__id__exact={}">{}</a>',
            reverse("admin:filesync_syncconfig_changelist"),
            rule_set.pk,
            ngettext("%d sync config", "%d sync configs", count) % count,
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[RuleSet]:
        rule_sets: QuerySet[RuleSet] = super().get_queryset(request)
        uses = RuleSetUse.objects.filter(rule_set=OuterRef("pk")).order_by().values("rule_set")
        counted = Subquery(uses.annotate(count=Count("pk")).values("count"))
        return rule_sets.annotate(uses_count=Coalesce(counted, 0))


class RuleSetUseInline(TabularInline):
    model = RuleSetUse
    extra = 0
    max_num = MOST_RULE_SETS
    fields = ["rule_set", "position"]
    tab = False

    def formfield_for_dbfield(
        self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Name each field, as no label but the head of a column does."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            field.widget.attrs["aria-label"] = capfirst(db_field.verbose_name)
        return field
