"""Mentions in chats: what others named must call nobody; pure."""

from __future__ import annotations

import re

#: Services that call people by what stands in a text.
CHATS = frozenset(
    {
        *("dingtalk", "discord", "feishu", "gchat", "lark", "mmost", "mmosts", "nctalk", "nctalks"),
        *("rocket", "rockets", "signal", "signals", "slack", "synology", "synologys", "tgram"),
        *("wecombot", "workflow", "workflows", "zulip"),
    }
)
# Not within an address of mail, unless it is a word that some chats find anywhere.
_AT = re.compile(r"(?<![\w.+-])@(?=\S)|@(?=all|channel|everyone|here|\*|_)", re.IGNORECASE)
_TAG = re.compile(r"<(?=[@!#]|at\b|users?/)", re.IGNORECASE)


def without_mentions(text: str) -> str:
    """Give a text that reads the same, in which no chat finds anybody to call."""
    return _TAG.sub("\N{FULLWIDTH LESS-THAN SIGN}", _AT.sub("@\N{ZERO WIDTH SPACE}", text))
