"""Keys of endpoints, as they can travel in a header."""

from __future__ import annotations

import re

_KEY = re.compile(r"[!-~]*")


def sendable(text: str) -> str:
    """The key in `text`, without the spaces and line ends that files and forms leave around it; "" where there is none.

    Raises ValueError where there is more than visible ASCII in it, in words that do not hold it: an HTTP library would
    refuse it with words that do.
    """
    bare = text.strip()
    if not _KEY.fullmatch(bare):
        raise ValueError("a key is made of visible ASCII characters, without spaces")
    return bare
