"""Rule sets: kept once, used by many configs in order, kept while used, tried before they count."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from filesync import engine
from filesync.config_request import request_of
from filesync.errors import RulesTooSlow
from filesync.models import RuleSet, SyncConfig
from filesync.services import rules
from filesync.services.execution import execute
from filesync.services.rules import try_rules, use_rule_sets
from tests.filesync.engine.lab import files_of, names, write_tree
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import claim, client_of, make_config, make_run, make_user

pytestmark = pytest.mark.django_db

CONFIGS = "/api/v1/sync/configs"
RULE_SETS = "/api/v1/sync/rule-sets"


def make_rule_set(name: str, filters: str) -> RuleSet:
    return RuleSet.objects.create(name=name, filters=filters)


def test_a_configs_own_rules_come_first_then_its_rule_sets_in_their_order(
    local_root: Path,
) -> None:
    config = make_config(local_root, filters="+ keep.tmp")
    last, first = make_rule_set("a", "- *.bak"), make_rule_set("b", "# junk\n- *.tmp\n\n+ *.txt")
    use_rule_sets(config, [first, last])

    assert request_of(config).rules.filters == ("+ keep.tmp", "- *.tmp", "+ *.txt", "- *.bak")
    use_rule_sets(config, [last])
    assert request_of(config).rules.filters == ("+ keep.tmp", "- *.bak")


def test_a_run_goes_by_the_rules_of_its_rule_sets(local_root: Path) -> None:
    write_tree(local_root / "source", {"a.txt": "1", "a.tmp": "2", "keep.tmp": "3"})
    config = make_config(local_root, filters="+ keep.tmp")
    use_rule_sets(config, [make_rule_set("junk", "- *.tmp")])

    run = make_run(config)
    execute(claim(run))

    assert names(files_of(local_root / "destination")) == {"a.txt", "keep.tmp"}


@pytest.mark.parametrize("filters", ["*.jpg", "- [a-", "- x\n!"])
def test_rules_that_rclone_could_not_read_are_refused(filters: str) -> None:
    with pytest.raises(ValidationError) as refused:
        RuleSet(name="x", filters=filters).full_clean()

    assert list(refused.value.message_dict) == ["filters"]


# Over the API ------------------------------------------------------------------------------------


def test_the_api_keeps_a_configs_rule_sets_in_the_order_given(local_root: Path) -> None:
    config = make_config(local_root)
    ids = [make_rule_set(name, "- *.tmp").pk for name in "abc"]
    client = client_of("editor")

    for wanted in ([ids[2], ids[0]], [ids[0], ids[1], ids[2]], []):
        answer = client.patch(f"{CONFIGS}/{config.pk}", {"rule_sets": wanted})
        assert (answer.status_code, answer.json()["rule_sets"]) == (200, wanted)
        assert client.get(f"{CONFIGS}/{config.pk}").json()["rule_sets"] == wanted
    client.patch(f"{CONFIGS}/{config.pk}", {"rule_sets": [ids[1]]})
    assert client.patch(f"{CONFIGS}/{config.pk}", {"remark": "x"}).json()["rule_sets"] == [ids[1]]


def test_a_config_is_made_with_its_rule_sets(local_root: Path) -> None:
    storage = make_config(local_root).source_storage
    ids = [make_rule_set(name, "- *.tmp").pk for name in "ab"][::-1]
    body = {
        "name": "new",
        "source_storage": storage.pk,
        "source_path": "s",
        "destination_storage": storage.pk,
        "destination_path": "d",
        "rule_sets": ids,
    }

    answer = client_of("editor").post(CONFIGS, body)

    assert (answer.status_code, answer.json()["rule_sets"]) == (201, ids)
    assert request_of(SyncConfig.objects.get(name="new")).rules.filters == ("- *.tmp", "- *.tmp")


@pytest.mark.parametrize("wanted", [[999_999], [1, 1], list(range(1, 11)), "x", {}])
def test_rule_sets_that_cannot_be_are_400(local_root: Path, wanted: object) -> None:
    config = make_config(local_root)
    made = [make_rule_set(f"r{number}", "- *.tmp").pk for number in range(10)]
    if isinstance(wanted, list):
        wanted = [made[place - 1] if place <= 10 else place for place in wanted]

    answer = client_of("editor").patch(f"{CONFIGS}/{config.pk}", {"rule_sets": wanted})

    assert (answer.status_code, list(answer.json())) == (400, ["rule_sets"])
    assert not config.rule_set_uses.exists()


@pytest.mark.parametrize("many", [1000, 10])
def test_a_long_list_of_rule_sets_is_refused_before_any_is_read(
    local_root: Path, many: int, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    config = make_config(local_root)
    wanted = [make_rule_set("one", "- *.tmp").pk] * many
    editor, viewer = client_of("editor"), client_of("viewer")

    with django_assert_max_num_queries(12):
        changed = editor.patch(f"{CONFIGS}/{config.pk}", {"rule_sets": wanted})
        tried = viewer.post(f"{RULE_SETS}/try", {"paths": ["a"], "rule_sets": wanted})

    for answer in (changed, tried):
        assert (answer.status_code, list(answer.json())) == (400, ["rule_sets"])


def test_a_rule_set_in_use_is_not_deleted_and_the_answer_names_the_configs(
    local_root: Path,
) -> None:
    used, free = make_rule_set("used", "- a"), make_rule_set("free", "- a")
    for name in ("photos", "films"):
        use_rule_sets(make_config(local_root, name=name), [used])
    client = client_of("editor")

    answer = client.delete(f"{RULE_SETS}/{used.pk}")

    assert (answer.status_code, answer.json()["code"]) == (409, "in_use")
    assert "films, photos" in answer.json()["detail"]
    assert client.delete(f"{RULE_SETS}/{free.pk}").status_code == 204
    SyncConfig.objects.all().delete()
    assert client.delete(f"{RULE_SETS}/{used.pk}").status_code == 204


def test_a_posted_rule_set_that_cannot_be_names_the_field() -> None:
    answer = client_of("editor").post(RULE_SETS, {"name": "x", "filters": "*.jpg"})

    assert (answer.status_code, list(answer.json())) == (400, ["filters"])


def test_rules_are_tried_on_names_before_they_count() -> None:
    junk = make_rule_set("junk", "- *.tmp\n- /cache/**")
    body = {
        "filters": "# mine\n+ keep.tmp",
        "rule_sets": [junk.pk],
        "paths": ["a.tmp", "keep.tmp", "cache/a", "a.txt", ".syncbeat-kept/old"],
    }

    answer = client_of("viewer").post(f"{RULE_SETS}/try", body)

    assert answer.status_code == 200
    assert [tuple(entry.values()) for entry in answer.json()] == [
        ("a.tmp", False, "- *.tmp"),
        ("keep.tmp", True, "+ keep.tmp"),
        ("cache/a", False, "- /cache/**"),
        ("a.txt", True, ""),
        (".syncbeat-kept/old", False, engine.OWN_RULE),
    ]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"filters": "*.jpg"}, "filters"),
        ({"rule_sets": [999_999]}, "rule_sets"),
        ({"paths": []}, "paths"),
        ({"paths": ["/rooted"]}, "paths"),
        ({"paths": ["x"] * 1001}, "paths"),
        ({"names": []}, "names"),
    ],
)
def test_rules_that_cannot_be_tried_are_400(changes: dict[str, object], field: str) -> None:
    answer = client_of("viewer").post(f"{RULE_SETS}/try", {"paths": ["a"]} | changes)

    assert (answer.status_code, list(answer.json())) == (400, [field])


def test_a_rule_that_would_take_for_ever_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "TRY_LIMIT_S", 1.0)

    with pytest.raises(RulesTooSlow):
        try_rules(["- {{(a+)+b}}"], ["a" * 60])


@pytest.mark.parametrize("field", ["filters", "renames"])
def test_a_config_s_expression_that_cannot_be_read_is_400(local_root: Path, field: str) -> None:
    config = make_config(local_root)
    text = {"filters": "- {{a{99999999999}}}", "renames": "a{99999999999} => b"}[field]

    answer = client_of("editor").patch(f"{CONFIGS}/{config.pk}", {field: text})

    assert (answer.status_code, list(answer.json())) == (400, [field])
    assert "the repetition number is too large" in answer.json()[field][0]


# In the admin ------------------------------------------------------------------------------------


def test_the_form_of_a_config_chooses_rule_sets(local_root: Path) -> None:
    config = make_config(local_root)
    one = make_rule_set("one", "- a")
    client = Client()
    client.force_login(make_user("superuser"))
    page = reverse("admin:filesync_syncconfig_change", args=[config.pk])
    fields = client.get(page).context["adminform"].form.initial
    form = {name: "" if value is None else value for name, value in fields.items()}
    form |= {
        "enable": "on",
        "rule_set_uses-TOTAL_FORMS": 1,
        "rule_set_uses-INITIAL_FORMS": 0,
        "rule_set_uses-0-rule_set": one.pk,
        "rule_set_uses-0-position": 3,
    }

    answer = client.post(page, form)

    assert answer.status_code == 302, answer.context["errors"]
    assert request_of(config).rules.filters == ("- a",)
    refused = client.post(reverse("admin:filesync_ruleset_delete", args=[one.pk]), {"post": "yes"})
    assert refused.status_code == 200
    assert RuleSet.objects.filter(pk=one.pk).exists()
