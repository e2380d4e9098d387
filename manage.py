#!/usr/bin/env python
import json
import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line


def use_the_running_stack() -> None:
    """A command typed by hand, without DATABASE_URL, talks to the stack that `make run` has started here."""
    var = Path(os.environ.get("SWITCHYARD_VAR") or Path(__file__).resolve().parent / "var")
    if "DATABASE_URL" not in os.environ and os.access(var / "stack.json", os.R_OK):
        os.environ |= json.loads((var / "stack.json").read_text()) | os.environ


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotator.settings")
    use_the_running_stack()
    execute_from_command_line(sys.argv)
