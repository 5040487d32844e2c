"""Five hundred file names that want to be something else on a page; no test stands here."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

COUNT = 500

MARKUP = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    '"><b id=broken>',
    "'><b id=broken>",
    "' onmouseover='alert(1)",
    '" autofocus onfocus="alert(1)',
    "<!-- open",
    "--><b id=broken>",
    "<template><b id=broken>",
    "</template></ul></div></td></table>",
    "</textarea></select></title></style>",
    "<style>*{display:none}</style>",
    "<a href=javascript:alert(1)>x</a>",
    "<base href=//example.org>",
    "<meta http-equiv=refresh content=0>",
    "<iframe srcdoc=x>",
    "<b id=broken x-data x-init=alert(1)>",
    "<b id=broken hx-get=/admin/logout/ hx-trigger=load>",
)
ENTITIES = (
    "&lt;b&gt;",
    "&#60;b&#62;",
    "&amp;amp;",
    "&",
    "&nbsp",
    "a&b;c",
    "%3Cb%3E",
    "\\u003cb\\u003e",
)
TEMPLATES = ("{{ 7|add:7 }}", "{% debug %}", "{# gone #}", "${7*7}", "%(path)s", "%s%d%%", "{0}{1}")
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "=HYPERLINK(0)")
TEXTS = (
    "文件 名.txt",
    "ملف.txt",
    "קובץ.txt",
    "\u202egnp.exe",
    "\u2066isolate",
    "e\u0301.txt",
    "\u200bzero width",
    "\ufeffmark",
    "👩\u200d👩\u200d👧.jpg",
    "a␊b",
    "tab\there",
    " leading and trailing ",
    "a  b   c",
    "back\\slash",
    "quote'and\"quote",
    "`tick`",
    "|pipe|",
    "#?&=;:,",
    "\ufffdinvalid",
    "Ω" * 120,
    "x" * 255,
    ".",
    "...",
    "~",
    "con",
    "nul.txt",
)
NAME_MAX_BYTES = 255
# Where a name stands within the name of a file, that is without a folder.
FILE_PLACES = ("{}", "{} (1)", "0{}", "x{}.jpg", "{}.bak", "-{}", "[{}]", "_{}", "{}~", "it's {}")
PLACES = ("{}", "photos/{}", "{}/inside.txt", "a/{}.jpg", "{}{{}}", "deep/er/{}/x", "{} (1)", "0{}")


def nasty_names() -> list[str]:
    """Return the corpus, the same each time and each name once."""
    return _first(_names(PLACES))


def nasty_file_names() -> list[str]:
    """Return as many that can be files in one folder of a disk, none with a folder of its own."""
    return _first(name for name in _names(FILE_PLACES) if _is_file_name(name))


def _is_file_name(name: str) -> bool:
    # rclone escapes the picture of a newline, as it stands for a newline in its own words.
    return not {"/", "␊"} & {*name} and name != "." and len(name.encode()) <= NAME_MAX_BYTES


def _first(found: Iterator[str]) -> list[str]:
    names = list(islice(found, COUNT))
    assert len(names) == len(set(names)) == COUNT
    return names


def _names(places: tuple[str, ...]) -> Iterator[str]:
    for place in places:
        for text in (*MARKUP, *ENTITIES, *TEMPLATES, *FORMULAS, *TEXTS):
            yield place.replace("{}", text, 1)
