"""A file with columns of its own, from the upload to its counts, with keys alone where a person would use them."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser import export_project
from tests.browser.waiting import STILL, paced, until

# Milliseconds: an import may stand behind all that the demo of a new stack still computes.
JOB = STILL * 1000

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FILE = """nr,question,first text,second text,who is best,annotator
r1,What is rain?,Water that falls.,Drops that fall.,right,anna
r2,Why is the sky blue?,Rayleigh scattering.,The sea is blue.,left,anna
r3,How far is the moon?,"384,400 km","384,000 km",equal-ish,ben
"""
CHOSEN = {
    "Response A (needed)": "first text",
    "Response B (needed)": "second text",
    "Name of the row": "nr",
    "Which response is better": "who is best",
}


@pytest.fixture
def preview(page, stack, inside):
    """The preview of the file, before anything is said of its columns."""
    made = inside(export_project.build)
    page.context.add_cookies([{"name": "sessionid", "value": made["session"], "url": stack.url}])
    page.goto(made["imports"])
    page.get_by_label("File").set_input_files(
        {"name": "own.csv", "mimeType": "text/csv", "buffer": FILE.encode()},
    )
    page.get_by_role("button", name="Upload and preview").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Say what the columns of this file are.")
    return page


def test_an_upload_that_stands_still_says_so_and_a_cancelled_one_is_no_error(page, stack, inside):
    made = inside(export_project.build)
    page.context.add_cookies([{"name": "sessionid", "value": made["session"], "url": stack.url}])
    page.clock.install()
    page.goto(made["imports"])
    page.route(f"**{made['imports']}", lambda route: None)  # neither sent nor refused
    page.get_by_label("File").set_input_files({"name": "own.csv", "mimeType": "text/csv", "buffer": FILE.encode()})
    page.get_by_role("button", name="Upload and preview").click()
    spoken = page.locator("form [role=status]")
    page.clock.fast_forward(10_000)
    expect(spoken).not_to_contain_text("Nothing has been sent")
    page.clock.fast_forward(10_000)
    expect(spoken).to_contain_text("Nothing has been sent for a while")
    page.get_by_role("button", name="Cancel the upload").click()
    expect(page.get_by_role("alert")).to_have_text("Cancelled. Nothing was imported.")
    expect(page.get_by_role("alert")).to_have_class("notice plain")
    expect(page.get_by_role("button", name="Upload and preview")).to_be_focused()


def choose(page, label, value):
    """As the keyboard does: the focus is on the control, and is there again when the part has been swapped."""
    control = page.get_by_label(label, exact=True)
    control.focus()
    with page.expect_response(lambda reply: reply.request.method == "POST") as reply:
        control.select_option(value)
    assert reply.value.ok
    expect(page.get_by_label(label, exact=True)).to_be_focused()


def test_own_columns_are_chosen_checked_and_imported_with_the_right_counts(preview):
    expect(preview.locator(".notice").first).to_contain_text("Still to be chosen: Response A, Response B")
    for label, column in CHOSEN.items():
        choose(preview, label, column)
    choose(preview, "equal-ish", "tie")
    expect(preview.locator("h1")).to_contain_text("The first 3 rows fit.")
    expect(preview.locator("#preview-said[role=status]")).to_contain_text("The first 3 rows fit.")
    expect(preview.locator(".pane.a").first).to_contain_text("Water that falls.")
    preview.reload()  # what was said stands in the address
    expect(preview.locator("h1")).to_contain_text("The first 3 rows fit.")
    preview.get_by_role("button", name="Check all rows").click()
    facts = preview.locator("dl.facts")
    expect(facts).to_contain_text(re.compile(r"New comparisons\s*3.*New judgments\s*3", re.DOTALL), timeout=paced(JOB))
    preview.get_by_role("link", name="Back to the preview").first.click()
    preview.get_by_role("button", name="Import the whole file").click()
    expect(preview.get_by_role("heading", level=1)).to_contain_text("5 comparisons", timeout=paced(JOB))
    row = preview.locator("tbody tr")
    # Labels follow their judgments within moments, and the list is one of its moment.
    until(preview, lambda: "none yet" not in row.filter(has_text="What is rain?").inner_text())
    expect(row.filter(has_text="What is rain?")).to_contain_text("B better: 1.00")
    expect(row.filter(has_text="How far is the moon?")).to_contain_text("tie")
