"""A stack of its own for the browser tests: they talk HTTP only and never touch Django's ORM.

`stack.url`, `stack.password` (of the demo's users lead, annotator, reviewer, viewer), `page` (a fresh browser context
a test), `login(page, username)`.
"""

import pytest
from playwright.sync_api import sync_playwright

from tests.browser import chromium
from tests.stack import Stack, open_folder


@pytest.fixture(scope="session")
def stack():
    """One stack with the demo loaded, for the whole run."""
    with open_folder() as folder:
        running = Stack(folder)
        try:
            yield running.start()
        finally:
            running.stop()


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=chromium.ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, stack):
    """A page of a fresh context. Errors of scripts and refusals by the Content-Security-Policy fail the test."""
    context = browser.new_context(base_url=stack.url, viewport={"width": 1280, "height": 900}, locale="en-GB")
    context.set_default_timeout(15_000)
    page = context.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if "Content Security Policy" in said.text else None)
    yield page
    context.close()
    assert not problems, problems


@pytest.fixture
def login(stack):
    """login(page, username): through the login page, as a person would."""

    def _login(page, username, password=None):
        page.goto(f"{stack.url}/accounts/login/")
        page.locator("input[name=login]").fill(username)
        page.locator("input[name=password]").fill(password or stack.password)
        page.locator("main form [type=submit]").first.click()
        page.wait_for_url(lambda address: "/accounts/login" not in address)

    return _login
