"""Every page by axe (WCAG 2.2 AA and its best practices), with keys, at 320 px, zoomed, in forced colours and on 4K."""

from __future__ import annotations

import contextlib
from importlib.resources import files

import pytest
from playwright.sync_api import expect

from tests.browser import labelers_project, waiting, world

pytestmark = pytest.mark.browser

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
DESK, PHONE = (1280, 900), (320, 720)
LOOKS = [("light", DESK), ("dark", DESK), ("light", PHONE), ("dark", PHONE)]
# Pages for people who have not logged in, beside those of the matrix.
STRANGERS = ["/accounts/login/", "/accounts/signup/", "/accounts/password/reset/", "/accounts/inactive/",
             "/accounts/password/reset/done/", "/accounts/password/reset/key/done/",
             "/accounts/password/reset/key/1-some-key/", "/no/such/page"]  # fmt: skip
OWN_ACCOUNT = ["/accounts/password/change/", "/accounts/logout/"]


@pytest.fixture(scope="module")
def built(inside):
    return inside(world.build)


@pytest.fixture(scope="module")
def visit(browser, stack, built):
    """visit(role, look): a page of a person of that role ("" for a stranger), its window and colours as `look`."""
    opened = {}

    def _visit(role, look=LOOKS[0], **more):
        key = (role, look, *sorted(more.items()))
        if key not in opened:
            colours, (width, height) = look
            context = browser.new_context(
                base_url=stack.url,
                color_scheme=colours,
                viewport={"width": width, "height": height},
                locale="en-GB",
                **more,
            )
            if role:
                context.add_cookies([{"name": "sessionid", "value": built["sessions"][role], "url": stack.url}])
            context.set_default_timeout(waiting.page_ms())
            opened[key] = context.new_page()
        return opened[key]

    yield _visit
    for page in opened.values():
        page.context.close()


def violations(page):
    page.evaluate(AXE)
    found = page.evaluate(
        "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})", TAGS
    )["violations"]
    return [
        f"{page.url}: {rule['id']}: {' '.join(map(str, node['target']))}: {_reason(node)}"
        for rule in found
        for node in rule["nodes"]
    ]


def _reason(node):
    return " ".join(node["failureSummary"].partition("following:")[2].split())[:200]


# Elements that move on with a scroll of the whole page are those whose box reaches beyond it.
WIDER = """() => {
    const room = document.documentElement.clientWidth;
    if (document.scrollingElement.scrollWidth <= room) return [];
    return [...document.querySelectorAll('body *')].filter(each => each.getBoundingClientRect().right > room + 1)
        .slice(0, 8).map(each => `${each.tagName}.${each.className} to ${each.getBoundingClientRect().right}`);
}"""


def too_wide(page):
    return [f"{page.url} at {page.viewport_size['width']} px: {each}" for each in page.evaluate(WIDER)]


# A focus is seen when anything near the control looks different with it: itself, what stands after it, its label.
UNSEEN = """() => {
    const properties = ['outlineStyle', 'outlineWidth', 'boxShadow', 'borderColor', 'backgroundColor'];
    const near = each => [each, each.nextElementSibling, each.closest('label'), each.closest('fieldset')]
        .filter(Boolean);
    const look = each => JSON.stringify(near(each).map(one => properties.map(name => getComputedStyle(one)[name])));
    const before = document.activeElement, unseen = [];
    document.activeElement?.blur();
    const controls = document.querySelectorAll(
        'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]');
    for (const each of controls) {
        if (each.disabled || !each.checkVisibility({visibilityProperty: true})) continue;
        const plain = look(each);
        each.focus({focusVisible: true, preventScroll: true});
        if (document.activeElement === each && look(each) === plain) unseen.push(each.outerHTML.slice(0, 160));
        each.blur();
    }
    before?.focus?.();
    return unseen;
}"""


def at_both_widths(page):
    """At the desk everything, and at 320 px, which is 400 percent of 1280, that nothing needs scrolling sideways."""
    wrong = checked(page, focus=True)
    width, height = PHONE
    page.set_viewport_size({"width": width, "height": height})
    wrong += too_wide(page)
    width, height = DESK
    page.set_viewport_size({"width": width, "height": height})
    return wrong


def checked(page, *, focus=False):
    """Everything that is wrong with what is on screen."""
    unseen = [f"{page.url}: its focus cannot be seen: {each}" for each in page.evaluate(UNSEEN)] if focus else []
    return violations(page) + too_wide(page) + unseen


@pytest.fixture(scope="module")
def pages(visit, built, inside):
    """Every page of the matrix and of the project with labelers as (name, address, roles), and the account's own.

    A piece of a page is no page.
    """
    found = [("account", address, sorted(built["sessions"])) for address in OWN_ACCOUNT]
    found += inside(labelers_project.build, built["users"])
    for name, (address, roles) in built["pages"].items():
        if not roles:
            continue
        reply = visit(roles[0]).request.get(address)
        if not reply.ok or reply.text().lstrip().startswith("<!doctype html>"):
            found.append((name, address, roles))
    assert {"projects", "board", "annotate", "plan", "people", "import_preview"} < {name for name, *_rest in found}
    return found


def rich_pages(page):
    """The demo's pages have more on them than one object of every kind: those its lead finds in the project's tabs."""
    page.goto("/")
    addresses = []
    for project in ("Written for the demo", "Generated: routing practice"):
        page.goto("/")
        page.goto(page.get_by_role("link", name=project, exact=True).get_attribute("href"))
        links = page.locator("header nav a")
        addresses += [links.nth(place).get_attribute("href") for place in range(links.count())]
        page.goto(next(each for each in addresses[::-1] if each.endswith("/comparisons/")))
        addresses.append(page.locator("tbody th a").first.get_attribute("href"))
    return addresses


@pytest.mark.slow
def test_every_page_passes_reflows_and_has_a_focus_that_is_seen(visit, pages):
    wrong = []
    for name, address, roles in pages:
        page = visit("lead" if "lead" in roles else roles[0])
        reply = page.goto(address)
        wrong += at_both_widths(page) if reply.ok else [f"{name}: {address} answers {reply.status}"]
    assert not wrong, "\n".join(wrong)


def test_every_page_for_strangers_passes(visit):
    wrong = []
    for address in STRANGERS:
        page = visit("")
        page.goto(address)
        wrong += at_both_widths(page)
    assert not wrong, "\n".join(wrong)


@contextlib.contextmanager
def state(page, name):
    """The workbench in one of its states; leaves it as it was."""
    try:
        _bring_about(page, name)
        yield
    finally:
        page.context.set_offline(False)
    if name in ("guidelines", "keys"):
        page.keyboard.press("Escape")
    page.reload()


def _bring_about(page, name):
    if name == "guidelines":
        page.keyboard.press("g")
        expect(page.locator("#guidelines")).to_be_visible()
    elif name == "keys":
        page.keyboard.press("?")
        expect(page.locator("#keys")).to_be_visible()
    elif name == "away":
        page.locator("details.away > summary").click()
    elif name == "offline":
        page.context.set_offline(True)
        expect(page.locator("#offline")).to_be_visible()
    elif name == "refused":
        page.locator("form.answer [type=submit]").click()
    elif name == "difference":
        page.keyboard.press("d")


STATES = ["plain", "guidelines", "keys", "away", "refused", "difference", "offline"]
# Every state at the desk in dark; elsewhere those with other colours or another layout.
STATES_OF = dict.fromkeys(LOOKS, ["plain", "keys", "refused"]) | {
    LOOKS[1]: STATES,
    LOOKS[2]: ["plain", "guidelines", "away"],
}


# The narrowest and darkest a run; the others, every state among them, with what takes longer.
@pytest.mark.parametrize(
    "look",
    [*(pytest.param(look, marks=pytest.mark.slow) for look in LOOKS[:3]), LOOKS[3]],
    ids=lambda look: f"{look[0]}-{look[1][0]}",
)
def test_the_workbench_passes_in_every_state(visit, built, look):
    page, wrong = visit("annotator", look), []
    page.goto(built["seats"]["multipref"])
    for name in STATES_OF[look]:
        expect(page.locator("#seat.js .comparison")).to_be_visible()
        with state(page, name):
            wrong += [f"{name}: {each}" for each in checked(page, focus=name == "plain")]
    page.goto(built["empty"])
    wrong += checked(page)
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_every_preset_passes(visit, built):
    page, wrong = visit("annotator"), []
    for preset, address in built["seats"].items():
        page.goto(address)
        expect(page.locator(".comparison")).to_be_visible()
        wrong += [f"{preset}: {each}" for each in checked(page)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS, ids=lambda look: f"{look[0]}-{look[1][0]}")
def test_every_page_passes_for_everybody_in_every_look(visit, built, pages, look):
    wrong = []
    for _name, address, roles in pages:
        for role in roles:
            page = visit(role, look)
            page.goto(address)
            wrong += checked(page)
    for address in built["seats"].values():
        page = visit("annotator", look)
        page.goto(address)
        wrong += checked(page)
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS, ids=lambda look: f"{look[0]}-{look[1][0]}")
def test_the_demos_pages_pass(page, login, stack, browser, look):
    colours, (width, height) = look
    login(page, "lead")
    page.emulate_media(color_scheme=colours)
    page.set_viewport_size({"width": width, "height": height})
    wrong = []
    for address in rich_pages(page):
        page.goto(address)
        wrong += checked(page)
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_nothing_moves_for_those_who_asked_for_stillness(visit, built):
    page = visit("annotator", LOOKS[0], reduced_motion="reduce")
    page.goto(built["seats"]["multipref"])
    moving = """() => [...document.querySelectorAll('*')].filter(each => {
        const style = getComputedStyle(each);
        return style.animationName !== 'none' || parseFloat(style.transitionDuration) > 0
            || style.scrollBehavior === 'smooth';
    }).map(each => each.outerHTML.slice(0, 120))"""
    assert page.evaluate(moving) == []


@pytest.mark.slow
def test_in_forced_colours_what_is_chosen_and_focused_differs_from_what_is_not(visit, built):
    page = visit("annotator", LOOKS[0], forced_colors="active")
    page.goto(built["seats"]["plain"])
    expect(page.locator("#seat.js .comparison")).to_be_visible()
    level = page.locator("input[name=level] + .level")
    look = """each => ['outlineStyle', 'borderColor', 'backgroundColor', 'color', 'forcedColorAdjust']
        .map(name => getComputedStyle(each)[name]).join()"""
    before = level.first.evaluate(look)
    page.keyboard.press("1")
    expect(page.locator("input[name=level]").first).to_be_checked()
    assert level.first.evaluate(look) != before
    assert page.evaluate(UNSEEN) == []


@pytest.mark.slow
def test_lines_stay_readable_on_4k(visit, built):
    """Running text stays within 62 rem, whatever the width of the screen."""
    page, wide = visit("lead", ("light", (3840, 2160))), []
    for name in ("board", "project_settings", "plans", "labelers", "people", "projects"):
        page.goto(built["pages"][name][0])
        wide += page.evaluate(
            """() => [...document.querySelectorAll('main p, main h1, main li > p')]
                .filter(each => each.getBoundingClientRect().width > 62 * 16 + 1 && each.innerText.length > 60)
                .map(each => `${location.pathname}: ${each.innerText.slice(0, 80)}`)"""
        )
    assert not wide, wide


@pytest.mark.slow
def test_what_happens_is_told_to_those_who_cannot_see_it(visit, built):
    """Messages of the server, what was saved, refusals: each stands in a live region that is there before its words."""
    page = visit("annotator")
    page.goto(built["seats"]["helpsteer2"])
    expect(page.locator("#seat.js .comparison")).to_be_visible()
    for live in (
        "#messages[role=status]",
        "#saved[role=status]",
        "#announce[aria-live=polite]",
        ".refusal[role=alert]",
    ):
        assert page.locator(live).count() >= 1, live
    page.locator("form.answer [type=submit]").click()
    expect(page.locator("#announce")).to_have_text("Choose an answer")
    page.reload()


@pytest.mark.slow
def test_arabic_mirrors_the_page_and_the_answers_go_the_way_the_responses_stand(visit, built):
    """A stands at the start of the line, right in Arabic, and so does the level for A."""
    page = visit("annotator", LOOKS[0])
    page.context.add_cookies([{"name": "django_language", "value": "ar", "url": page.url.partition("/projects")[0]}])
    try:
        page.goto(built["seats"]["multipref"])
        expect(page.locator("#seat.js .comparison")).to_be_visible()
        assert page.locator("html").get_attribute("dir") == "rtl"

        def middle(selector, place):
            box = page.locator(selector).nth(place).bounding_box()
            return box["x"] + box["width"] / 2

        assert middle("section.text", 0) > middle("section.text", 1)
        assert middle("input[name=level] + .level", 0) > middle("input[name=level] + .level", 4)
        assert not checked(page)
    finally:
        page.context.clear_cookies(name="django_language")
