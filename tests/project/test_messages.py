"""The Chinese catalogue: nothing that we say is untranslated, and what Django reads is current."""

from __future__ import annotations

import re
import string
from pathlib import Path

import polib
import pytest
from django.test import Client
from django.utils.translation import gettext, ngettext, override

from tests.messages import MO, PO, engine_messages, messages_of, unwanted, wanted

PLACEHOLDER = re.compile(r"%\(\w+\)(?:\.\d+)?[sdf]|%[sd%]")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
# Names that Chinese readers write so too.
SAME_IN_CHINESE = frozenset(
    {"beat", "worker", "Worker", "{field}: {message}", "{path}: {text}", "{where} {complaint}"}
)


def test_every_text_of_ours_is_translated() -> None:
    with override("zh-hans"):
        missing = [
            text
            for text, plural in sorted(wanted())
            if not CHINESE.search(ngettext(text, plural, 2) if plural else gettext(text))
            and text not in SAME_IN_CHINESE
        ]

    assert missing == [], "translate these in project/locale (python -m tests.messages adds them)"


def test_nothing_is_translated_that_nobody_says() -> None:
    gone = [entry.msgid for entry in unwanted(polib.pofile(str(PO)))]

    assert gone == [], "take these out of project/locale (python -m tests.messages does)"


def test_a_translation_keeps_every_placeholder() -> None:
    for entry in polib.pofile(str(PO)):
        wished = sorted(PLACEHOLDER.findall(entry.msgid_plural or entry.msgid))
        given = sorted(PLACEHOLDER.findall(entry.msgstr_plural.get(0, "") or entry.msgstr))
        assert given == wished, entry.msgid


def test_a_translation_formats_what_the_english_text_does() -> None:
    def fields(template: str) -> list[str]:
        parsed = string.Formatter().parse(template)
        return sorted(f"{name}!{kind}:{spec}" for _, name, spec, kind in parsed if name is not None)

    texts = [entry for entry in polib.pofile(str(PO)) if "{" in entry.msgid and entry.msgstr]
    assert len(texts) > 100
    for entry in texts:
        assert fields(entry.msgstr) == fields(entry.msgid), entry.msgid


def test_the_compiled_catalogue_says_what_the_readable_one_says() -> None:
    compiled = {entry.msgid: entry for entry in polib.mofile(str(MO))}
    readable = [entry for entry in polib.pofile(str(PO)) if entry.translated()]

    assert len(compiled) == len(readable), "compile it: python -m tests.messages"
    for entry in readable:
        found = compiled[entry.msgid]
        assert (found.msgstr, found.msgstr_plural) == (entry.msgstr, entry.msgstr_plural)


def test_texts_are_found_in_code_and_templates(tmp_path: Path) -> None:
    package = tmp_path / "pack"
    package.mkdir()
    (package / "a.py").write_text(
        '_("one %d")\ngettext_lazy("two"\n  " halves")\nngettext("a", "b", 3)\n'
        'other("no")\n_(name)\n'
    )
    (package / "a.html").write_text(
        '{% load i18n %}{% translate \'three "quoted"\' %}{{ _("four") }}'
        "{% blocktranslate with x=y %}five {{ x }}{% endblocktranslate %}"
        "{% blocktranslate count n=m %}{{ n }} s{% plural %}{{ n }} p{% endblocktranslate %}"
    )

    assert messages_of(tmp_path, ("pack",)) == {
        ("one %d", ""),
        ("two halves", ""),
        ("a", "b"),
        ('three "quoted"', ""),
        ("four", ""),
        ("five %(x)s", ""),
        ("%(n)s s", "%(n)s p"),
    }


def test_the_advice_of_every_failure_class_is_among_them() -> None:
    assert len(engine_messages()) == 12


@pytest.mark.django_db
def test_the_language_is_switched_in_the_page() -> None:
    client = Client(headers={"accept-language": "en"})
    assert 'lang="en"' in client.get("/admin/login/").content.decode()

    client.post("/i18n/setlang/", {"language": "zh-hans", "next": "/admin/login/"})

    page = client.get("/admin/login/").content.decode()
    assert 'lang="zh-hans"' in page
