"""The walk of a newcomer's first ten minutes, in a real browser against the whole stack: nothing needs a shell."""

from __future__ import annotations

import io
import re
import zipfile

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.waiting import arrive, paced, until

pytestmark = pytest.mark.browser

# Milliseconds for a page: approving a plan first loads scikit-learn into a process of the web, on a busy machine.
SOON = 60_000
GENERATED = "Generated: routing practice"


@pytest.fixture
def enter(browser: Browser, stack, login):
    """enter(name): a page of that person's own browser, logged in; what the console complains about is kept."""
    opened = []

    def _enter(name: str) -> Page:
        context = browser.new_context(base_url=stack.url, locale="en", accept_downloads=True)
        context.set_default_timeout(paced(SOON))
        page = _listened(context.new_page())
        opened.append(page)
        login(page, name)
        page.goto("/")
        expect(page.get_by_role("heading", name="You take part in")).to_be_visible()
        return page

    yield _enter
    for page in opened:
        page.context.close()


def _listened(page: Page) -> Page:
    page.complaints = []
    page.on("console", lambda said: page.complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    return page


def tab(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Project").get_by_role("link", name=name, exact=True).click()


@pytest.fixture
def lead(enter) -> Page:
    return enter("lead")


@pytest.mark.slow
def test_the_lead_plans_and_exports_and_the_annotator_judges(enter, lead: Page):
    lead.get_by_role("link", name=GENERATED, exact=True).click()
    expect(lead.locator("header.top")).to_contain_text("generated")

    # Comparisons and their features.
    until(lead, lambda: "Features Done" in " ".join(lead.inner_text("main").split()))
    tab(lead, "Comparisons")
    lead.locator("tbody th a").first.click()
    features = lead.locator("section#features tbody tr")
    expect(features.first).to_be_visible()
    assert features.count() > 10
    assert all(words.strip() for words in lead.locator("section#features tbody td:nth-child(3)").all_inner_texts())

    # A performance model, then a budget, then a plan.
    tab(lead, "Plan")
    if lead.get_by_text("None is trained yet").count():
        lead.get_by_role("button", name="Train it now").click()
        arrive(lead, r"/plans/$")
    expect(lead.get_by_text(re.compile(r"Version \d+ \("))).to_be_visible()
    lead.get_by_label("Budget", exact=True).fill("300")
    lead.get_by_role("button", name="Make a plan").click()
    arrive(lead, r"/plans/\d+/$")
    headline = lead.locator("h1").inner_text()
    assert "300.00 USD" in headline and "people" in headline and "predicted accuracy" in headline
    assert re.search(r"0\.\d\d\s(±\s0\.\d\d|\[0\.\d\d, 0\.\d\d\])", headline), "a prediction has its interval"
    expect(lead.get_by_role("heading", name="What it costs")).to_be_visible()
    expect(lead.get_by_role("img", name="Predicted performance against budget")).to_be_visible()

    # Why did this pair go there?
    lead.locator("h1 a", has_text="people").click()
    lead.locator("tbody th a").first.click()
    why = lead.locator("section#why")
    expect(why).to_contain_text("Reason")
    expect(why).to_contain_text("Chance of this choice")
    lead.go_back()
    lead.go_back()
    lead.get_by_role("button", name="Approve plan").click()
    expect(lead.get_by_text("is approved")).to_be_visible()

    # The annotator judges what the plan sent to people, by keys.
    annotator = enter("annotator")
    annotator.get_by_role("link", name=f"Annotate {GENERATED}").click()
    # The form stands there before the script does that hears keys.
    expect(annotator.locator("#seat.js .comparison")).to_be_visible()
    expect(annotator.get_by_text("Which response is better").first).to_be_visible()
    with annotator.expect_response(lambda reply: "/judgment" in reply.url and reply.ok):
        annotator.keyboard.press("1")
        annotator.keyboard.press("Enter")

    # When the undo is over, the lead sees the judgment, its price and its label.
    tab(lead, "Board")
    theirs = lead.get_by_role("table").get_by_role("link", name="Anna Annotator")
    until(lead, lambda: theirs.count())
    theirs.click()
    expect(lead.locator("tbody tr")).to_have_count(1)
    until(lead, lambda: "B better" in lead.inner_text("tbody tr"))
    lead.locator("tbody th a").click()
    expect(lead.get_by_role("row", name="Anna Annotator")).to_be_visible()

    # The data set, downloaded.
    tab(lead, "Exports")
    lead.get_by_role("button", name="Export", exact=True).click()
    download = lead.get_by_role("link", name="Download all").first
    until(lead, lambda: download.count())
    with lead.expect_download() as started:
        download.click()
    with zipfile.ZipFile(io.BytesIO(started.value.path().read_bytes())) as files:
        names = files.namelist()
        assert files.testzip() is None
    assert any("README" in name for name in names) and len(names) >= 3

    assert not lead.complaints and not annotator.complaints


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
@pytest.mark.parametrize("width", [1440, 390, 320])
def test_no_page_of_the_lead_is_wider_than_its_screen(enter, width: int, scheme: str):
    page = enter("lead")
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.get_by_role("link", name=GENERATED, exact=True).click()
    for name in ("Board", "Comparisons", "People", "Labelers", "Plan", "Exports", "Settings"):
        tab(page, name)
        expect(page.get_by_role("navigation", name="Project").locator("a[aria-current]")).to_have_text(name)
        beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert beyond <= 0, f"{name} is {beyond} px wider than {width} px"
    assert not page.complaints


def test_logging_out_needs_one_click_and_ends_the_session(enter):
    page = enter("viewer")
    page.locator("details.menu summary").click()
    page.get_by_role("button", name="Log out").click()
    page.goto("/")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()


def test_the_keyboard_reaches_the_content_at_once(enter):
    page = enter("lead")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
