"""How many examples a property is tried on: all of them in `make test-long`, a quarter in `make test`."""

import os

ALL = os.environ.get("EXAMPLES") == "all"


def examples(most: int) -> int:
    return most if ALL else max(5, most // 4)
