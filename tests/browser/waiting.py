"""How long is waited, in a browser: a page by the machine's pace, work in the background for as long as it goes on.

Workers share the cores with the browser, so nothing of theirs is timed: that they stand still is what fails.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.stack import Stack

# Milliseconds for a page or a part of one, on a machine that is not slow.
PAGE = 15_000
# Seconds in which a page that tells of background work tells nothing new; and all that is ever waited.
STILL, MOST = 240, 1200

_slowness = 1.0


def on(stack: Stack) -> None:
    """From now on wait as this machine needs it. Playwright waits 15 seconds for what is clicked here and would give
    what is only looked at five: a page that takes six is not wrong."""
    global _slowness
    _slowness = stack.slowness
    expect.set_options(timeout=page_ms())


def page_ms() -> float:
    return paced(PAGE)


def paced(usual: float) -> float:
    """The limit, in any unit, of what takes `usual` at most on a machine that is not slow."""
    return usual * _slowness


def until(page: Page, condition: Callable[[], object]) -> None:
    """Reload until `condition()` holds, as somebody does who waits for the tick."""
    patience = _Patience(page)
    while not condition():
        patience.holds()
        page.wait_for_timeout(1000)
        page.reload()


def arrive(page: Page, address: str) -> None:
    """Wait on a job's page until it leads to what it made; a job that ends otherwise fails here, in its own words."""
    patience = _Patience(page)
    while not re.search(address, page.url):
        assert "could not be done" not in patience.holds(), patience.said
        page.wait_for_timeout(500)


class _Patience:
    """With a page whose words change: a job's tell how far it is."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.began = self.changed = time.monotonic()
        self.said = ""

    def holds(self) -> str:
        """The page's words now; fails when they have been the same for too long."""
        said, clock = " ".join(self.page.inner_text("main").split()), time.monotonic()
        if said != self.said:
            self.said, self.changed = said, clock
        still, whole = clock - self.changed, clock - self.began
        assert still < paced(STILL) and whole < MOST, (
            f"waited {whole:.0f} s, nothing new for {still:.0f} s on {self.page.url}:\n{said}"
        )
        return said
