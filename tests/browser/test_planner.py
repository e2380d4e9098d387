"""The planner's slider: by keys, in words, and without a script."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser import planned_project

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def planned(inside):
    return inside(planned_project.build)


def enter(context, stack, planned):
    context.add_cookies([{"name": "sessionid", "value": planned["session"], "url": stack.url}])


def test_keys_move_the_budget_and_everything_with_it(page, stack, planned):
    enter(page.context, stack, planned)
    page.goto(planned["planner"])
    slider, heading = page.get_by_role("slider", name="Budget"), page.locator("h1")
    expect(slider).to_have_attribute(
        "aria-valuetext", re.compile(r"15\.00 USD: 22% people, 78% judge-large; predicted")
    )
    slider.press("ArrowRight")
    expect(heading).to_contain_text("50.00 USD: 100% people")
    expect(slider).to_have_attribute("aria-valuetext", re.compile(r"50\.00 USD: 100% people"))
    expect(page.get_by_role("heading", name="Who judges what, for 50.00 USD")).to_be_visible()
    expect(page.get_by_role("heading", name="Who judges what, for 15.00 USD")).to_be_hidden()
    expect(page.locator("tr.here[data-row]")).to_contain_text("50.00")
    expect(page.locator("svg [data-stop]:not([hidden])")).to_have_count(2)
    expect(page.get_by_label("Budget", exact=True).and_(page.locator("form[data-make-plan] input"))).to_have_value(
        "50.00"
    )
    slider.press("Home")
    expect(heading).to_contain_text("5.00 USD")
    page.reload()
    expect(heading).to_contain_text("5.00 USD: 3% people, 2% people, 1 vote, 95% judge-large")


@pytest.mark.slow
def test_without_a_script_a_list_does_the_same(browser, stack, planned):
    context = browser.new_context(base_url=stack.url, java_script_enabled=False, locale="en-GB")
    enter(context, stack, planned)
    page = context.new_page()
    page.goto(planned["planner"])
    expect(page.get_by_role("slider")).to_have_count(0)
    page.get_by_label("What if there were").select_option(value="50.00")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("h1")).to_contain_text("50.00 USD: 100% people")
    context.close()
