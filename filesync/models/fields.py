"""MessageField: a column of text whose template is kept, so that it can be said in any language."""

from __future__ import annotations

import json
from typing import Any

from django.db import models

from filesync.engine import Text
from filesync.texts import read_text, storable, text_document

# What a text with a template begins with in the column; whatever else begins so is kept as one.
_MARK = "\x1e"
_AS_IT_IS = "{text}"


class MessageField(models.TextField):  # type: ignore[type-arg]
    """A TextField that gives back the `Text` it was given; any other str is plain in the column.

    Its value is the English sentence for all but `filesync.texts.say`.
    """

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        if isinstance(value, str) and value.startswith(_MARK) and not isinstance(value, Text):
            value = Text(_AS_IT_IS, text=value)
        if not isinstance(value, Text):
            return storable(value) if isinstance(value, str) else value
        # Raw, so that a search finds a Chinese name in it.
        return _MARK + json.dumps(text_document(value), ensure_ascii=False)

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        if value is None or not value.startswith(_MARK):
            return value
        return read_text(json.loads(value.removeprefix(_MARK)))
