"""Python inside the running stack, for what browser tests need made or want to know: Django starts once a run.

`Inside(stack)(function, *arguments)` calls a module's function there and gives its JSON back.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from tests.stack import ROOT, Stack

MARK = "from inside: "


class Inside:
    """A `manage.py shell` of the stack that answers one call after the other."""

    def __init__(self, stack: Stack) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "shell", "-v", "0", "-c", "from tests.browser import inside; inside.serve()"],
            cwd=ROOT,
            env={**stack.environment, "LOG_LEVEL": "ERROR"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        call = [function.__module__, function.__name__, arguments]
        self.process.stdin.write(json.dumps(call) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
        raise AssertionError(f"{function.__qualname__} failed inside the stack; its words are above")

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)


def serve() -> None:
    """Runs there. A call that fails ends it, with its traceback."""
    for line in sys.stdin:
        module, name, arguments = json.loads(line)
        print(MARK + json.dumps(getattr(import_module(module), name)(*arguments)), flush=True)


def sessions(names: list[str]) -> list[str]:
    """Keys of sessions of these people, who are made when they do not exist yet."""
    from django.test import Client

    from annotator.models import User

    keys = []
    for name in names:
        client = Client()
        client.force_login(User.objects.get_or_create(username=name)[0])
        keys.append(client.cookies["sessionid"].value)
    return keys
