"""From a seed set to a plan to what it realised, as a lead clicks it; simulated people judge by the command `judge`."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import Page, expect

from tests.browser import loop_project

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LONG = 240_000
SEED = 120


def until(page: Page, words: str) -> None:
    """Reload until the page says so, as somebody does who waits."""
    deadline = time.monotonic() + LONG / 1000
    while words not in " ".join(page.inner_text("main").split()):
        assert time.monotonic() < deadline, page.inner_text("main")
        page.wait_for_timeout(1000)
        page.reload()


def arrive(page: Page, address: str) -> None:
    """Wait on a job's page until it leads to what it made; a job that fails fails here, in its own words."""
    deadline = time.monotonic() + LONG / 1000
    while not re.search(address, page.url):
        said = " ".join(page.inner_text("main").split())
        assert "could not be done" not in said and time.monotonic() < deadline, said
        page.wait_for_timeout(500)


def test_from_a_seed_set_to_what_a_plan_realised(page: Page, stack, login, inside):
    project = inside(loop_project.build)["project"]
    login(page, "lead")
    page.set_default_timeout(LONG / 4)  # the first approval of a web process loads scikit-learn, on a busy machine
    expect.set_options(timeout=LONG / 4)
    home = f"{stack.url}/projects/{project}/loop/"

    # The seed set: its power is told, it is drawn and approved.
    page.goto(home)
    expect(page.locator("h1")).to_contain_text("Begin with a seed set")
    expect(page.locator("section", has=page.locator("#seed"))).to_contain_text("80%")
    page.get_by_label("Comparisons", exact=True).fill(str(SEED))
    page.get_by_role("button", name="Draw it").click()
    arrive(page, r"/plans/\d+/$")
    page.goto(home)
    page.get_by_role("button", name="Approve the seed set").click()
    expect(page.get_by_text("is approved")).to_be_visible()
    drawn = inside(loop_project.judge, project)
    assert 0.9 * SEED <= drawn <= SEED, "people got the seed set and nothing else"
    page.goto(home)
    until(page, f"{drawn} drawn, {drawn} judged")

    # The performance model, a budget, a plan.
    page.get_by_role("button", name="Train the performance model").click()
    arrive(page, r"/(plans|performance)/")
    page.goto(home)
    expect(page.locator("h1")).to_contain_text("Performance model 1 is there")
    page.get_by_role("link", name="Make a plan").click()
    page.get_by_label("Budget", exact=True).fill("100")
    page.get_by_role("button", name="Make a plan").click()
    arrive(page, r"/plans/\d+/$")
    expect(page.locator("h1")).to_contain_text("100.00 USD")
    page.get_by_role("button", name="Approve plan").click()
    expect(page.get_by_text("is approved")).to_be_visible()

    # People judge what it sent to them, and what came of it stands beside what was predicted.
    inside(loop_project.judge, project)
    page.goto(home)
    expect(page.locator("h1")).to_contain_text("is at work")
    page.wait_for_timeout(12_000)  # what can still be undone counts for nothing
    page.get_by_role("button", name="Measure what is realised").click()
    page.goto(home)
    until(page, "Realised accuracy so far")
    assert re.search(r"Realised accuracy so far 0\.\d\d \[0\.\d\d, 0\.\d\d\]", page.locator("h1").inner_text())
    history = page.locator("section", has=page.locator("#history"))
    expect(history.get_by_role("row", name=re.compile("Plan 1, seed set"))).to_contain_text("Superseded")
    expect(history.get_by_role("row", name=re.compile("Performance model 1"))).to_contain_text("in use")
    spent = inside(loop_project.money, project)
    assert 0 < spent["spent"] <= 100 and spent["spent"] + spent["reserved"] <= spent["cap"]
