"""From an invitation to the first judgment, and a change of the guidelines while somebody works: by keys alone."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import expect

from tests.browser import onboarding_project
from tests.browser.waiting import paced

pytestmark = pytest.mark.browser

PASSWORD = "heron-lantern-42"


@pytest.fixture(scope="module")
def projects(inside):
    return inside(onboarding_project.build)


@pytest.fixture
def lead(browser, stack, login):
    page = browser.new_context(base_url=stack.url, locale="en-GB").new_page()
    login(page, "lead")
    yield page
    page.context.close()


def invitation(lead, project):
    """The link a lead gets for somebody new."""
    lead.goto(f"/projects/{project}/people/")
    form = lead.locator("form[action$='/people/invite']")
    form.locator("input[name=name]").fill("newcomer")
    form.locator("select[name=role]").select_option("annotator")
    form.get_by_role("button").click()
    return lead.locator("#link").input_value()


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def answer(page, *, right):
    """Answer the comparison on screen, and go on to what is said about it."""
    expect(page.locator("#seat.js form.answer")).to_be_visible()
    shown_second = "RIGHT" in page.locator("#pane-b").inner_text()
    press(page, "3" if shown_second == right else "1", "Enter")


def explained(page):
    expect(page.locator(".outcome .explained")).to_be_visible()
    return page.locator(".outcome").inner_text()


@pytest.mark.slow
def test_an_invited_annotator_learns_fails_qualifies_and_judges_by_keys_alone(lead, page, stack, inside, projects):
    project = projects["learn"]
    link = invitation(lead, project)
    page.goto(link)
    began = time.monotonic()
    for field in ("password1", "password2"):
        page.locator(f"input[name={field}]").focus()
        page.keyboard.type(PASSWORD)
    press(page, "Enter")
    _come_to_work(page, stack, project)

    expect(page.get_by_role("heading", name="A tutorial of 3 comparisons comes first.")).to_be_visible()
    press(page, "Enter")
    for number in range(3):
        answer(page, right=number != 1)
        said = explained(page)
        assert ("Right." in said) is (number != 1) and "answers lesson" in said
        press(page, "Enter")
    assert time.monotonic() - began < paced(90)

    expect(page.get_by_role("heading", name="Qualify with 2 comparisons.")).to_be_visible()
    press(page, "Enter")
    for _number in range(2):
        answer(page, right=False)
        assert "Not what is asked for here." in explained(page)
        page.reload()
        assert "Not what is asked for here." in explained(page)
        press(page, "Enter")
    expect(page.get_by_role("heading", name="Not qualified yet: 0 of 2 right.")).to_be_visible()
    assert page.locator(".answers .explained").count() == 2
    press(page, "Enter")
    for _number in range(2):
        answer(page, right=True)
        assert "Right." in explained(page)
        press(page, "Enter")
    expect(page.get_by_role("heading", name="Qualified: 2 of 2 right.")).to_be_visible()
    press(page, "Enter")

    expect(page.locator("#seat.js .comparison[data-assignment]")).to_be_visible()
    judged = page.locator(".comparison").get_attribute("data-assignment")
    press(page, "3", "Enter")
    expect(page.locator(f".comparison:not([data-assignment='{judged}'])")).to_be_visible()
    expect(page.locator("#done")).to_have_text("1")
    page.wait_for_load_state("networkidle")
    found = inside(onboarding_project.dump, project)
    assert found["judgments"] == [1]
    assert found["attempts"] == [
        ["tutorial", 1, pytest.approx(2 / 3), True],
        ["qualification", 1, 0.0, False],
        ["qualification", 2, 1.0, True],
    ]


def _come_to_work(page, stack, project):
    """From the new password to the project's own page, as it leads there."""
    page.wait_for_url(lambda address: "/password/reset/key" not in address or address.endswith("done/"))
    if "/accounts/" in page.url:
        page.goto("/accounts/login/")
        page.locator("input[name=login]").focus()
        page.keyboard.type("newcomer")
        page.locator("input[name=password]").focus()
        page.keyboard.type(PASSWORD)
        press(page, "Enter")
    page.get_by_role("link", name="Annotate Learn first").focus()
    press(page, "Enter")
    page.wait_for_url(f"**/projects/{project}/onboarding/")


def publish(lead, project, old, new, note, *, strict):
    lead.goto(f"/projects/{project}/guidelines/edit")
    text = lead.locator("textarea[name=text]")
    text.fill(text.input_value().replace(old, new))
    lead.locator("textarea[name=change_note]").fill(note)
    if strict:
        lead.locator("input[name=must_acknowledge]").check()
    expect(lead.locator("#preview")).to_contain_text(new)
    lead.get_by_role("button", name="Publish").click()
    expect(lead.get_by_role("heading", name="are in force")).to_be_visible()


def judge(page):
    """Judge what is on screen and wait until the server has it."""
    before = page.locator(".comparison").get_attribute("data-assignment")
    with page.expect_response("**/judgment"):
        press(page, "3", "Enter")
    expect(page.locator(f".comparison[data-assignment='{before}']")).to_have_count(0)
    page.wait_for_load_state("networkidle")


def test_changed_guidelines_are_told_while_somebody_works_and_acknowledged(lead, page, stack, inside, projects):
    project = projects["work"]
    page.context.add_cookies([{"name": "sessionid", "value": projects["session"], "url": stack.url}])
    page.goto(f"/projects/{project}/annotate/")
    expect(page.locator("#seat.js .comparison")).to_be_visible()
    page.wait_for_load_state("networkidle")
    press(page, "Tab", "Tab", "g")
    page.wait_for_load_state("networkidle")
    expect(page.locator("#guidelines .news")).to_have_count(0)
    press(page, "g")
    judge(page)

    publish(lead, project, "Be fair.", "Be fair and quick.", "Speed counts too.", strict=False)
    unread = page.locator("#guidelines-open .unread")
    expect(unread).to_be_hidden()
    judge(page)
    expect(unread).to_be_visible()
    press(page, "g")
    expect(page.locator("#guidelines .news")).to_contain_text("Speed counts too.")
    expect(page.locator("#guidelines .news ins")).to_contain_text("and quick")
    page.locator("#guidelines .news button").focus()
    press(page, "Enter")
    expect(page.locator("#guidelines .news")).to_have_count(0)
    expect(unread).to_be_hidden()
    press(page, "Escape")
    expect(page.locator("#guidelines")).to_be_hidden()

    publish(lead, project, "Wrong facts count", "Wrong facts and figures count", "Figures too.", strict=True)
    before = page.locator(".comparison").get_attribute("data-assignment")
    with page.expect_response("**/judgment"):
        press(page, "3", "Enter")
    expect(page.get_by_role("heading", name="One thing before you go on")).to_be_visible()
    press(page, "Tab", "Enter")
    expect(page.get_by_role("heading", name="The guidelines have changed.")).to_be_visible()
    expect(page.locator(".passages ins")).to_have_text("added: and figures")
    press(page, "Enter")
    expect(page.get_by_role("heading", name="The guidelines have changed.")).to_be_visible()
    press(page, "Tab", "Tab", "Enter")
    expect(page.locator("#seat.js .comparison")).to_be_visible()
    assert page.locator(".comparison").get_attribute("data-assignment") != before
    found = inside(onboarding_project.dump, project)
    assert (found["judgments"], found["read"]) == ([1, 2, 3], [3])
