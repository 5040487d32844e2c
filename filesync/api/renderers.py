"""Plain text, for answers that are no documents."""

from __future__ import annotations

import json
from typing import Any

from rest_framework.renderers import BaseRenderer


class PlainText(BaseRenderer):
    """Lets a client ask for text/plain; an error is its JSON."""

    media_type = "text/plain"
    format = "txt"
    charset = "utf-8"

    def render(self, data: Any, *_: Any, **__: Any) -> bytes:
        return json.dumps(data, default=str).encode()
