"""The whole schema against the whole API: every answer to made-up requests is a documented one.

`make fuzz-api` makes 500 requests per operation of this; the ordinary run makes a few.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as how
from hypothesis import strategies as st
from pytest_django.fixtures import SettingsWrapper
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok

from filesync.api import urls as urls  # registers the token's description
from filesync.models import ApiToken, SyncRun
from tests import ground
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_config, make_run, make_user

pytestmark = pytest.mark.django_db


def load_operations() -> dict[str, Any]:
    document = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    # A schema cannot say what a cron, a path or a filter is: a 400 may refuse what it allows.
    config = SchemathesisConfig.from_dict(
        {
            "checks": {
                "positive_data_acceptance": {"expected-statuses": ["2xx", 400, 404, 409]},
                "negative_data_rejection": {"expected-statuses": [400, 401, 404, 405, 413, 415]},
            }
        }
    )
    schema = schemathesis.openapi.from_dict(document, config=config)
    schema.app = get_wsgi_application()
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    return {operation.label: operation for operation in operations}


OPERATIONS = load_operations()


@pytest.fixture
def one_connection() -> Iterator[None]:
    """Keep the test's transaction open from request to request, as Django's own client does."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.mark.usefixtures("one_connection")
@pytest.mark.parametrize("label", OPERATIONS)
def test_every_answer_to_made_up_requests_is_documented(
    label: str, local_root: Path, settings: SettingsWrapper, pytestconfig: pytest.Config
) -> None:
    settings.FILESYNC_SIGN_INS_PER_MINUTE = settings.FILESYNC_EXECUTES_PER_MINUTE = 10**9
    operation = OPERATIONS[label]
    _, text = ApiToken.issue(make_user("superuser"), "fuzz")
    run = make_run(make_config(local_root, cron="0 2 * * *"), state=SyncRun.State.SUCCEEDED)
    assert run.config is not None
    known: dict[str, object] = {
        "config_id": run.config_id,
        "task_id": str(run.task_id),
        "id": {
            "configs": run.config_id,
            "storages": run.config.source_storage_id,
            "runs": run.pk,
        }.get(label.split("/")[4], 0),
    }
    places = {name: known[name] for name in known if f"{{{name}}}" in label}
    made = [operation.as_strategy(GenerationMode.POSITIVE)]
    if places:
        made.append(operation.as_strategy(GenerationMode.POSITIVE, path_parameters=places))
    if operation.query or operation.body:
        made.append(operation.as_strategy(GenerationMode.NEGATIVE, path_parameters=places))
    count, cases = 0, int(pytestconfig.getoption("fuzz_cases"))

    @how(
        max_examples=cases,
        # The same few each time in the ordinary run, which has to be repeatable; new ones beyond.
        derandomize=cases <= ground.FUZZ_CASES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of(made))
    def ask(case: Any) -> None:
        nonlocal count
        count += 1
        case.call_and_validate(headers={"Authorization": f"Bearer {text}"})

    ask()
    pytestconfig.stash[ground.fuzzed_key] = pytestconfig.stash.get(ground.fuzzed_key, 0) + count
