"""Choosing a format shows what that format reads, in a real browser: two requests of one change must not abort one."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser import export_project

pytestmark = pytest.mark.browser


@pytest.fixture
def exports(page, stack, inside):
    """The page of exports of a project with judgments, as its lead sees it."""
    made = inside(export_project.build)
    page.context.add_cookies([{"name": "sessionid", "value": made["session"], "url": stack.url}])
    page.goto(made["exports"])
    return page


def test_another_format_brings_its_own_options_and_is_exported_by_them(exports):
    count = exports.locator("#export-count")
    expect(count).to_contain_text("About 2 comparisons")
    exports.get_by_text("How it is written").click()
    expect(exports.get_by_label("Margin", exact=True)).to_be_visible()
    exports.get_by_label("Format", exact=True).select_option("nemo_rl")
    expect(exports.locator("#export-options")).to_contain_text("JSON Lines only")
    expect(exports.get_by_label("Margin", exact=True)).to_have_count(0)
    exports.get_by_text("How it is written").click()
    types = exports.get_by_label("File type").locator("option")
    expect(types).to_have_text(["JSON Lines"])
    exports.get_by_label("Format", exact=True).select_option("judgments")
    expect(exports.locator("#export-options")).to_contain_text("no filter applies")
    exports.get_by_label("Format", exact=True).select_option("nemo_rl")
    exports.get_by_text("Which comparisons").click()
    exports.get_by_label("language", exact=True).select_option("de")
    expect(count).to_contain_text("About 1 comparison passes")
    exports.get_by_role("button", name="Export", exact=True).click()
    expect(exports.get_by_role("heading", name="1 · NeMo RL")).to_be_visible()
