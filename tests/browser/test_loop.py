"""From a seed set to a plan to what it realised, as a lead clicks it; simulated people judge by the command `judge`."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser import loop_project
from tests.browser.waiting import arrive, paced, page_ms, until

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# Milliseconds.
LOADING = 60_000
SEED = 120


@pytest.fixture(autouse=True)
def patient(page: Page):
    """The first approval of a web process loads scikit-learn, on a busy machine. Other tests wait as before."""
    page.set_default_timeout(paced(LOADING))
    expect.set_options(timeout=paced(LOADING))
    yield
    expect.set_options(timeout=page_ms())


def says(page: Page, words: str) -> bool:
    return words in " ".join(page.inner_text("main").split())


def test_from_a_seed_set_to_what_a_plan_realised(page: Page, stack, login, inside):
    project = inside(loop_project.build)["project"]
    login(page, "lead")
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
    until(page, lambda: says(page, f"{drawn} drawn, {drawn} judged"))

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
    until(page, lambda: says(page, "Realised accuracy so far"))
    assert re.search(r"Realised accuracy so far 0\.\d\d \[0\.\d\d, 0\.\d\d\]", page.locator("h1").inner_text())
    history = page.locator("section", has=page.locator("#history"))
    expect(history.get_by_role("row", name=re.compile("Plan 1, seed set"))).to_contain_text("Superseded")
    expect(history.get_by_role("row", name=re.compile("Performance model 1"))).to_contain_text("in use")
    spent = inside(loop_project.money, project)
    assert 0 < spent["spent"] <= 100 and spent["spent"] + spent["reserved"] <= spent["cap"]
