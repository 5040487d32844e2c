"""The Chinese catalogue: what the code says, what is translated, and the file Django reads.

`python -m tests.messages` brings django.po up to date and compiles django.mo. Both are committed:
a checkout starts with nothing built, and no machine that runs Syncbeat needs gettext's programs.
`tests.project.test_messages` fails where they fall behind.
"""

from __future__ import annotations

import ast
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polib
from django.utils.translation.template import templatize

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / "project" / "locale" / "zh_Hans" / "LC_MESSAGES"
PO, MO = FOLDER / "django.po", FOLDER / "django.mo"
PACKAGES = ("project", "scheduler", "filesync")
# Whose pages we show; what their own catalogues lack stands in ours.
INSTALLED = (
    "django",
    "django_celery_beat",
    "django_celery_results",
    "django_filters",
    "rest_framework",
    "unfold",
)
# `Text` is what the engine says: it knows no gettext.
SINGLE = frozenset({"_", "gettext", "gettext_lazy", "gettext_noop", "Text"})
PLURAL = frozenset({"ngettext", "ngettext_lazy"})
# What `templatize` leaves of a template: calls with one literal, two for a plural.
LITERAL = r"""(u?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"))"""
CALL = re.compile(rf"\b(n?gettext)\({LITERAL}(?:,\s*{LITERAL})?|\b_\({LITERAL}\)")

Message = tuple[str, str]


def messages_of(root: Path, packages: tuple[str, ...] = PACKAGES) -> set[Message]:
    """Return every (text, plural or "") that the packages below `root` want translated."""
    found: set[Message] = set()
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            found.update(_in_code(ast.parse(path.read_text(encoding="utf-8"))))
        for path in sorted((root / package).rglob("*.html")):
            found.update(_in_template(path.read_text(encoding="utf-8")))
    return found


def _in_code(tree: ast.AST) -> Iterator[Message]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        texts = [arg.value for arg in node.args if _is_text(arg)]  # type: ignore[attr-defined]
        if name in SINGLE and len(texts) == 1:
            yield texts[0], ""
        elif name in PLURAL and len(texts) == 2:
            yield texts[0], texts[1]


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _in_template(text: str) -> Iterator[Message]:
    for match in CALL.finditer(templatize(text)):
        one, many = match[2] or match[4], match[3]
        yield ast.literal_eval(one), ast.literal_eval(many) if many else ""


def engine_messages() -> set[Message]:
    """Return the texts of the engine that pages translate: it knows no gettext itself."""
    from filesync import engine

    return {(failure.advice, "") for failure in engine.FailureClass}


def page_messages() -> set[Message]:
    """Return what the API's pages are called and say of themselves, as `project.page_words` asks.

    To be called once Django is set up.
    """
    from rest_framework.views import get_view_description, get_view_name

    from filesync.api.urls import urlpatterns

    routes: list[Any] = [pattern.callback for pattern in urlpatterns]
    views = [route.cls(**route.initkwargs) for route in routes]
    said = {read(view) for view in views for read in (get_view_name, get_view_description)}
    return {(text, "") for text in said if text}


def wanted() -> set[Message]:
    """Return all that this project says on its pages."""
    return messages_of(REPOSITORY) | engine_messages() | page_messages()


def unwanted(catalogue: polib.POFile) -> list[polib.POEntry]:
    """Return the entries that neither this project says nor a package whose pages it shows."""
    ours = wanted()
    others = [entry for entry in catalogue if (entry.msgid, entry.msgid_plural) not in ours]
    theirs = messages_of(Path(sysconfig.get_paths()["purelib"]), INSTALLED)
    return [entry for entry in others if (entry.msgid, entry.msgid_plural) not in theirs]


def update() -> None:
    """Add what is new to the catalogue, take out what nobody says any more, and compile it."""
    catalogue = polib.pofile(str(PO), wrapwidth=100)
    for entry in unwanted(catalogue):
        catalogue.remove(entry)
    known = {(entry.msgid, entry.msgid_plural) for entry in catalogue}
    for text, plural in sorted(wanted() - known):
        forms = {0: ""} if plural else None
        catalogue.append(
            polib.POEntry(msgid=text, msgid_plural=plural, msgstr_plural=forms)
            if forms
            else polib.POEntry(msgid=text)
        )
    catalogue.sort(key=lambda entry: (entry.msgid, entry.msgid_plural))
    catalogue.save(str(PO))
    catalogue.save_as_mofile(str(MO))


if __name__ == "__main__":
    import django

    django.setup()
    update()
