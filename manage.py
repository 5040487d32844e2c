#!/usr/bin/env python
"""Django's command line; a wrong setting ends it with one line instead of a traceback."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command in `sys.argv`; exit 2 where a setting is wrong."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    try:
        from django.conf import settings
        from django.core.management import execute_from_command_line

        from project.env import SettingError
    except ImportError as error:
        sys.exit(f"error: {error}; run `make venv`, then .venv/bin/python manage.py ...")
    try:
        settings.INSTALLED_APPS  # noqa: B018 - loads the settings while we can still explain
    except SettingError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
