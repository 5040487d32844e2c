"""The whole schema against the whole API: every answer to made-up requests is a documented one.

`make fuzz-api` makes 500 requests per operation of this, on each database; the ordinary run makes a
few. Each answer passes all checks of schemathesis but two, which look at requests that are not made
up here: methods that an address does not take, which `test_errors` sends, and left-out headers, of
which the schema requires none but the token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as how
from hypothesis import strategies as st
from pytest_django.fixtures import SettingsWrapper
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok

from filesync.api import throttles
from filesync.api import urls as urls  # registers the token's description
from filesync.models import ApiToken
from filesync.rates import RateLimit
from tests import ground
from tests.filesync.api.places import known_places
from tests.filesync.factories import allow_local_root as allow_local_root
from tests.filesync.factories import make_storage, make_user

pytestmark = pytest.mark.django_db

# The required fields of what can be made.
SOUND: dict[str, dict[str, object]] = {
    "channels": {"name": "sound", "url": "json://notify.example.org/"},
    "configs": {"name": "sound", "source_path": "a", "destination_path": "b"},
    "rule-sets": {"name": "sound", "filters": "- *.tmp"},
    "tokens": {"name": "sound"},
    "storages": {"name": "sound", "backend": "webdav", "options": {"url": "http://127.0.0.1:1"}},
}
SignIn = dict[str, dict[str, str]]
ATOMS = st.none() | st.booleans() | st.integers() | st.text(max_size=10)
ANYTHING = ATOMS | st.lists(ATOMS, max_size=2) | st.dictionaries(st.text(max_size=5), ATOMS)
DOCUMENT: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]


def load_operations() -> dict[str, Any]:
    # A schema cannot say what a cron, a path or a filter is: a 400 may refuse what it allows.
    config = SchemathesisConfig.from_dict(
        {
            "checks": {
                "positive_data_acceptance": {"expected-statuses": ["2xx", 400, 404, 409]},
                "negative_data_rejection": {"expected-statuses": [400, 401, 404, 405, 413, 415]},
            }
        }
    )
    schema = schemathesis.openapi.from_dict(DOCUMENT, config=config)
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


@pytest.fixture
def unlimited(settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be too often."""
    monkeypatch.setattr(throttles, "HOOK_CALLS", RateLimit("hook", 10**9))
    monkeypatch.setattr(throttles, "RULE_TRIES", RateLimit("try-rules", 10**9))
    monkeypatch.setattr(throttles, "TOKENS_MADE", RateLimit("make-token", 10**9))
    settings.FILESYNC_SIGN_INS_PER_MINUTE = settings.FILESYNC_EXECUTES_PER_MINUTE = 10**9


@pytest.mark.usefixtures("one_connection", "unlimited")
@pytest.mark.parametrize("label", OPERATIONS)
def test_every_answer_to_made_up_requests_is_documented(
    label: str, local_root: Path, pytestconfig: pytest.Config
) -> None:
    cases, answers = int(pytestconfig.getoption("fuzz_cases")), Counter[int]()

    def ask(case: Any, sign_in: SignIn) -> None:
        answers[case.call_and_validate(**sign_in).status_code] += 1

    ask_often(label, local_root, ask, cases=cases, repeatable=cases <= ground.FUZZ_CASES)
    assert answers.total() >= cases
    pytestconfig.stash.setdefault(ground.fuzzed_key, {})[label] = answers


@pytest.mark.usefixtures("one_connection", "unlimited")
@pytest.mark.parametrize("label", OPERATIONS)
def test_no_made_up_request_breaks_a_page(
    label: str, local_root: Path, pytestconfig: pytest.Config
) -> None:
    """A page shows what was sent in its forms again, whatever that was."""
    cases = int(pytestconfig.getoption("fuzz_cases"))

    def ask(case: Any, sign_in: SignIn) -> None:
        headers = sign_in["headers"] | {"Accept": "text/html"}
        answer = case.call(**sign_in | {"headers": headers})
        assert answer.status_code < 500, case.as_curl_command()

    repeatable = cases <= ground.FUZZ_CASES
    ask_often(label, local_root, ask, cases=max(5, cases // 10), repeatable=repeatable)


def ask_often(
    label: str,
    root: Path,
    ask: Callable[[Any, SignIn], None],
    *,
    cases: int,
    repeatable: bool,
) -> None:
    """Make up requests of an operation, sound and unsound ones, and `ask` each of them."""
    operation, sign_in = OPERATIONS[label], signed_in(label)
    places = known_places(label, root)
    signed = {name: cookies for name, cookies in sign_in.items() if name == "cookies"}
    made = [operation.as_strategy(GenerationMode.POSITIVE, **signed)]
    sent = {"generation_mode": GenerationMode.POSITIVE, **signed} | (
        {"path_parameters": places} if places else {}
    )
    if places:
        made.append(operation.as_strategy(**sent))
    if operation.query or operation.body:
        made.append(
            operation.as_strategy(GenerationMode.NEGATIVE, **signed, path_parameters=places)
        )
    if operation.body:
        wrong = st.dictionaries(st.sampled_from(fields_of(label)), ANYTHING, min_size=1, max_size=2)
        made.append(st.builds(spoilt, operation.as_strategy(**sent), wrong))
    if (sound := sound_body(label, root)) is not None:
        strange = st.lists(st.integers(min_value=0), max_size=2)
        made.append(st.builds(partial(mostly, sound), operation.as_strategy(**sent), strange))

    @how(
        max_examples=cases,
        # The same few each time in the ordinary run, which has to be repeatable; new ones beyond.
        derandomize=repeatable,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    # The number is not sent: it lets an operation that takes nothing be asked as often.
    @given(case=st.one_of(made), _number=st.integers())
    def once(case: Any, _number: int) -> None:
        # What is named in the path is there for every case, also after one that deleted it; and
        # what one case made does not take its name from the next.
        with transaction.atomic():
            ask(case, sign_in)
            transaction.set_rollback(bool(places) or sound is not None)

    once()


def signed_in(label: str) -> SignIn:
    """Return what a superuser sends: a token, or the session that alone may make one."""
    user = make_user("superuser")
    if label != "POST /api/v1/tokens":
        return {"headers": {"Authorization": f"Bearer {ApiToken.issue(user, 'fuzz')[1]}"}}
    browser, csrf = Client(), "a" * 32
    browser.force_login(user)
    cookies = {"sessionid": browser.cookies["sessionid"].value, "csrftoken": csrf}
    return {"headers": {"X-CSRFToken": csrf}, "cookies": cookies}


def sound_body(label: str, root: Path) -> dict[str, object] | None:
    """Return a body that makes or replaces one of a resource; None for other operations."""
    method, path = label.split(" ")
    if method not in ("POST", "PUT") or path.split("/")[-1] not in ("{id}", *SOUND):
        return None
    body = SOUND[path.removesuffix("/{id}").split("/")[-1]]
    if "configs" in path:
        storage = make_storage(root).pk
        body = body | {"source_storage": storage, "destination_storage": storage}
    return body


def mostly(sound: dict[str, object], case: Any, strange: list[int]) -> Any:
    """Let all but a few fields of a made-up body be sound: one wrong field hides the others."""
    if isinstance(case.body, dict):
        others = sorted(case.body.keys() - sound.keys())
        kept = {others[number % len(others)] for number in strange if others}
        case.body = sound | {name: case.body[name] for name in kept}
    return case


def fields_of(label: str) -> list[str]:
    """Return what the body of an operation can hold."""
    method, path = label.split(" ")
    body = DOCUMENT["paths"][path][method.lower()]["requestBody"]["content"]["application/json"]
    component = DOCUMENT["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
    return sorted(component["properties"])


def spoilt(case: Any, wrong: dict[str, object]) -> Any:
    """Give a body fields of any type: made-up bodies rarely have one of a wrong type."""
    if isinstance(case.body, dict):
        # A new one: the strategy remembers the one that it made.
        case.body = case.body | wrong
    return case
