"""A stack of its own for the browser tests: they talk HTTP only and never touch Django's ORM.

`stack.url`, `stack.password` (of the demo's users lead, annotator, reviewer, viewer), `page` (a fresh browser context
a test), `login(page, username)`, `inside(function, …)` (what is called within the stack), `seat` (an annotator's page,
a new annotator each).
"""

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser import chromium, seat_project, waiting
from tests.browser.inside import Inside
from tests.stack import Stack, open_folder


@pytest.fixture(scope="session")
def stack():
    """One stack with the demo loaded, for the whole run."""
    with open_folder() as folder:
        running = Stack(folder)
        try:
            running.start()
            waiting.on(running)
            yield running
        finally:
            running.stop(impatient=True)


@pytest.fixture(scope="session")
def inside(stack):
    """inside(function, *arguments): calls a function of a module of tests within the stack, gives its JSON back."""
    process = Inside(stack)
    yield process
    process.close()


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
    context.set_default_timeout(waiting.page_ms())
    page = context.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if "Content Security Policy" in said.text else None)
    yield page
    context.close()
    assert not problems, problems


@pytest.fixture(scope="session")
def login(stack):
    """login(page, username): through the login page, as a person would; the second time by what the first has left."""
    cookies = {}

    def _login(page, username):
        if username in cookies:
            page.context.add_cookies(cookies[username])
            return
        page.goto(f"{stack.url}/accounts/login/")
        page.locator("input[name=login]").fill(username)
        page.locator("input[name=password]").fill(stack.password)
        page.locator("main form [type=submit]").first.click()
        page.wait_for_url(lambda address: "/accounts/login" not in address)
        cookies[username] = page.context.cookies()

    return _login


@pytest.fixture(scope="session")
def seats(inside):
    """{"seat": address, "harmful": address of the one with harmful texts, "sessions": keys nobody has used yet}"""
    return inside(seat_project.build)


@pytest.fixture
def newcomer(page, stack, seats):
    """The page of somebody who has judged nothing yet."""
    page.context.add_cookies([{"name": "sessionid", "value": seats["sessions"].pop(), "url": stack.url}])
    return page


@pytest.fixture
def seat(newcomer, seats):
    """The seat of somebody new, the first comparison on screen."""
    newcomer.goto(seats["seat"])
    expect(newcomer.locator("#seat.js .comparison")).to_be_visible()
    return newcomer
