"""The Chromium of the browser tests: the way that works. `python -m tests.browser.chromium` gets one and says which."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from playwright.sync_api import Error, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def works(path: str | None) -> bool:
    """Does it start and show a page? A snap's stub or a download without its libraries does not."""
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS, timeout=60_000)
            shown = browser.new_page().evaluate("1 + 1") == 2
            browser.close()
            return shown
    except Error:
        return False


def find() -> str | None:
    """Path of a Chromium on this machine (not started to see whether it works), None for Playwright's own."""
    wanted = os.environ.get("CHROMIUM")
    return wanted or next((path for name in NAMES if (path := shutil.which(name))), None)


def _run(*command: str) -> None:
    print("trying:", *command, flush=True)
    try:
        subprocess.run(command, timeout=900, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(error, flush=True)


def get() -> bool:
    """One that is here, else Playwright's download, else the distribution's package."""
    if works(find()):
        return True
    root = os.geteuid() == 0
    _run(sys.executable, "-m", "playwright", "install", *(["--with-deps"] if root else []), "chromium")
    if works(find()):
        return True
    if root and shutil.which("apt-get"):
        _run("apt-get", "update", "-q")
        _run("apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium")
    return works(find())


if __name__ == "__main__":
    if not get():
        sys.exit("no Chromium works here: install one (sudo apt-get install chromium) or set CHROMIUM=/path/to/it")
    print("browser tests use", find() or "Playwright's Chromium")
