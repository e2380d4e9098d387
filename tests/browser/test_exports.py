"""Choosing a format shows what that format reads, in a real browser: two requests of one change must not abort one."""

from __future__ import annotations

import zipfile

import pytest
from playwright.sync_api import expect

from tests.browser import export_project
from tests.browser.waiting import STILL, paced

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


@pytest.mark.slow
def test_an_export_is_written_downloaded_and_passed_on_by_a_link(exports, browser):
    exports.get_by_role("button", name="Export", exact=True).click()
    made = exports.locator("article", has=exports.get_by_role("heading", name="1 · TRL reward"))
    # The export may stand behind all that the demo of a new stack still computes.
    expect(made).to_contain_text("2 rows", timeout=paced(STILL) * 1000)
    with exports.expect_download() as download:
        made.get_by_role("link", name="Download all").click()
    assert download.value.suggested_filename.endswith("-1-trl_reward.zip")
    with zipfile.ZipFile(download.value.path()) as archive:
        names = {name.partition("/")[2] for name in archive.namelist()}
    assert {"README.md", "manifest.json", "croissant.json", "default/train.parquet"} <= names
    made.get_by_text("4 files").click()
    made.get_by_role("row", name="manifest.json").get_by_role("button", name="Link for one day").click()
    link = exports.get_by_label("Link", exact=True).input_value()
    stranger = browser.new_context()  # nobody is logged in there
    try:
        reply = stranger.request.get(link)
        assert reply.ok and reply.json()["format"] == "trl_reward"
    finally:
        stranger.close()
