"""Rule sets in the admin, and the part of a config's form that chooses them."""

from __future__ import annotations

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
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
    def used_by(self, rule_set: RuleSet) -> str:
        return ", ".join(str(use) for use in rule_set.uses.all()) or "-"

    def get_queryset(self, request: HttpRequest) -> QuerySet[RuleSet]:
        rule_sets: QuerySet[RuleSet] = super().get_queryset(request)
        return rule_sets.prefetch_related("uses__config")


class RuleSetUseInline(TabularInline):
    model = RuleSetUse
    extra = 0
    max_num = MOST_RULE_SETS
    fields = ["rule_set", "position"]
    tab = False
