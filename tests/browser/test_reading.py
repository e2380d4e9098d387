"""Reading in a real browser: the hostile corpus under the real policy, and every aid by its key."""

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect
from pygments.token import STANDARD_TYPES

from tests.annotator.hostile import CASES
from tests.browser import hostile_project, waiting
from tests.browser.test_workbench import until

pytestmark = pytest.mark.browser

# What a text that got out of its pane would change.
STATE = """() => {
    const comparison = document.querySelector("#stage .comparison");
    const box = (element) => {
        const {left, top, right, bottom} = element.getBoundingClientRect();
        return [left, top, right, bottom].map(Math.round);
    };
    const inside = ":is(.text, .turns, .documents)";
    const unheard = ":is(script, style, img, iframe, svg, form, input, link, object, embed, video)";
    const strip = comparison.querySelector(".panes");
    const panes = [...comparison.querySelectorAll(".text")];
    const form = comparison.querySelector(".answer");
    const [left, top, right, bottom] = box(form);
    const over = document.elementFromPoint((left + right) / 2, bottom - 4);
    return {
        ran: "__pwned" in window,
        title: document.title,
        sideways: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        heights: new Set(panes.map((pane) => pane.getBoundingClientRect().height)).size,
        outside: panes.filter((pane) => box(pane)[1] < box(strip)[1] || box(pane)[3] > box(strip)[3]).length,
        forms: document.querySelectorAll("#stage .answer").length,
        fields: [...form.elements].length,
        action: form.getAttribute("action"),
        covered: !form.contains(over),
        foreign: comparison.querySelectorAll(`${inside} ${unheard}`).length,
        styled: comparison.querySelectorAll(":is(.text, .turns) .reading [style*='position'], .turns [style]").length,
    };
}"""


@pytest.fixture
def hostile(browser, stack, inside):
    """A page of the hostile project's annotator, with what it asked for and what went wrong."""
    made = inside(hostile_project.build)
    context = browser.new_context(base_url=stack.url, viewport={"width": 1280, "height": 900}, locale="en-GB")
    context.add_cookies([{"name": "sessionid", "value": made["session"], "url": stack.url}])
    # A page of eight giants takes its time on a busy machine; how fast it is, is not asked here.
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.made, page.asked, page.wrong = made, [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("dialog", lambda dialog: (page.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("console", lambda said: page.wrong.append(said.text) if said.type == "error" else None)
    page.on("popup", lambda popup: page.wrong.append(f"a window: {popup.url}"))
    yield page
    context.close()


@pytest.mark.slow
def test_no_hostile_text_runs_fetches_leaves_its_pane_or_changes_the_page_around_it(hostile, stack):
    page, seen = hostile, set()
    page.goto(page.made["seat"])
    title = page.title()
    for _each in range(page.made["comparisons"]):
        expect(page.locator("#seat.js .comparison")).to_be_visible()
        shown = page.locator(".comparison").get_attribute("data-assignment")
        for width in (1280, 320):
            page.set_viewport_size({"width": width, "height": 900})
            state = page.evaluate(STATE)
            assert state == {
                "ran": False, "title": title, "sideways": 0, "heights": 1, "outside": 0, "forms": 1,
                "fields": state["fields"], "action": f"/assignments/{shown}/judgment", "covered": False, "foreign": 0,
                "styled": 0,
            }, (width, page.locator(".turns").inner_text()[:300])  # fmt: skip
        seen.update(
            page.evaluate("async (url) => (await (await fetch(url)).json()).sides", f"/assignments/{shown}/raw")
        )
        page.set_viewport_size({"width": 1280, "height": 900})
        page.locator(".raw-toggle").click()
        expect(page.locator(".text .raw")).to_have_count(hostile_project.AT_ONCE)
        assert page.evaluate("[...document.querySelectorAll('.text .raw')].every((raw) => raw.textContent.length)")
        page.locator(".away summary").click()
        page.locator(".skip-form button").click()
        page.wait_for_selector(f"#stage :is(.comparison:not([data-assignment='{shown}']), .queue-empty)")
    assert seen == set(CASES.values()), "every text came to the page exactly as it was sent"
    assert {urlsplit(url).netloc for url in page.asked} == {urlsplit(stack.url).netloc}
    assert page.wrong == []


def put(page, *texts):
    """These texts, already HTML, in the panes of the comparison on screen, as if they had come with it."""
    page.evaluate(
        """(texts) => {
            const old = document.querySelector("#stage .comparison");
            const made = old.cloneNode(true);
            delete made.dataset.ready;
            made.querySelectorAll(".text > .reading").forEach((pane, side) => { pane.innerHTML = texts[side]; });
            old.replaceWith(made);
            Seat.reading.setUp(made);
            Seat.reading.shown(made);
        }""",
        list(texts),
    )


def marked(page, name):
    return page.evaluate("(name) => [...(CSS.highlights.get(name) || [])].map((range) => range.toString())", name)


def test_differences_are_marked_by_words_then_by_sentences_then_not_at_all(seat):
    put(
        seat,
        "<p>Rain falls. Warm air rises and cools. <b>Nobody</b> knows why.</p>",
        "<p>Warm damp air rises and cools. Rain falls.</p>",
    )
    seat.keyboard.press("d")
    until(seat, "() => CSS.highlights.has('only-b')")
    assert "damp" in "".join(marked(seat, "only-b"))
    expect(seat.locator(".legend")).to_be_visible()
    seat.keyboard.press("d")
    until(seat, "() => CSS.highlights.get('changed')?.size")
    assert "".join(marked(seat, "only-a")) == "Nobody knows why."
    assert marked(seat, "only-b") == [] and marked(seat, "changed") == ["damp"]
    seat.keyboard.press("d")
    assert seat.evaluate("CSS.highlights.size") == 0
    expect(seat.locator(".legend")).to_be_hidden()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["words", "sentences"])
def test_differences_of_two_long_texts_are_exact_and_quick(seat, mode):
    found = seat.evaluate(
        """(mode) => new Promise((done) => {
            const worker = new Worker(document.getElementById("seat").dataset.worker);
            const word = (i) => i % 97 ? `w${i % 1999}` : `a${i}.`;
            const a = Array.from({length: 8000}, (_, i) => word(i));
            const b = a.map((each, i) => i % 500 === 7 ? "other" : each);
            const started = performance.now();
            worker.onmessage = ({data}) => done({sides: data.sides, ms: performance.now() - started});
            worker.postMessage({id: 1, mode, sides: [[[a.join(" ")]], [[b.join(" ")]]]});
        })""",
        mode,
    )
    kind = {"words": "only", "sentences": "changed"}[mode]
    assert [len(side[kind]) for side in found["sides"]] == [16, 16]
    assert found["ms"] < 1000 * waiting.paced(2)


@pytest.mark.slow
def test_what_is_identical_collapses_and_comes_back(seat):
    same = "<h2>Rain</h2><p>The same words in both.</p>"
    put(seat, f"{same}<p>Only A.</p>", f"{same}<p>Only B.</p>")
    seat.keyboard.press("c")
    expect(seat.locator(".same-note").first).to_have_text("identical for 6 words")
    expect(seat.get_by_text("The same words in both.").first).to_be_hidden()
    seat.keyboard.press("c")
    expect(seat.get_by_text("The same words in both.").first).to_be_visible()
    assert seat.locator(".same-note").count() == 0


def test_the_raw_text_is_what_is_stored_with_invisible_characters_written_out(seat):
    told = {"turns": [{"role": "user", "content": "Why?"}], "sides": ["a\u202eb\u200b\u200b\n\n**c**\t", "plain"]}
    seat.route("**/raw", lambda route: route.fulfill(json=told))
    seat.keyboard.press("v")
    expect(seat.locator("#pane-a .raw")).to_be_visible()
    assert seat.locator("#pane-a .raw").evaluate("raw => raw.textContent") == told["sides"][0]
    assert seat.locator("#pane-a .unseen-mark").evaluate_all("marks => marks.map(mark => mark.dataset.name)") == [
        "RLO", "ZWSP ×2", "TAB",
    ]  # fmt: skip
    seat.keyboard.press("v")
    expect(seat.locator(".raw")).to_have_count(0)


def test_no_part_of_highlighted_code_is_hidden_by_the_name_of_its_kind(seat):
    """Kinds are classes of one to three letters, which rules of the page might mean for something else."""
    code = seat.locator(".text .code code").first
    hidden = code.evaluate(
        """(code, names) => names.filter((name) => {
            const part = code.appendChild(document.createElement("span"));
            part.className = name;
            part.textContent = "/ab+c/";
            const { clipPath, visibility, opacity } = getComputedStyle(part);
            const seen = part.offsetWidth > 20 && clipPath === "none" && visibility === "visible" && opacity === "1";
            part.remove();
            return !seen;
        })""",
        sorted({name for name in STANDARD_TYPES.values() if name}),
    )
    assert not hidden


@pytest.mark.slow
def test_without_the_network_the_raw_text_is_honestly_away(seat):
    seat.route("**/raw", lambda route: route.abort())
    seat.keyboard.press("v")
    expect(seat.locator(".reading-note")).to_contain_text("cannot be reached")
    expect(seat.locator("#pane-a .reading")).to_be_visible()


@pytest.mark.slow
def test_a_response_with_invisible_characters_says_so(seat):
    put(seat, "<p>pass\u200bword</p>", "<p>می\u200cخواهم 👩\u200d🚀</p>")
    expect(seat.locator("#pane-a .pane-note")).to_contain_text("invisible characters: 1")
    expect(seat.locator("#pane-b .pane-note")).to_have_count(0)


@pytest.mark.slow
def test_finding_counts_in_every_part_and_goes_from_place_to_place(seat):
    put(seat, "<p>A fox and a <b>f</b>ox.</p>" + "<p>more</p>" * 80 + "<p>Fox.</p>", "<p>no</p>")
    seat.keyboard.press("h")
    seat.keyboard.type("fox")
    expect(seat.locator(".find [data-of=A] b")).to_have_text("3")
    expect(seat.locator(".find [data-of=B] b")).to_have_text("0")
    seat.keyboard.press("Shift+Enter")
    expect(seat.locator(".find .place")).to_have_text("3/3")
    assert seat.locator("#pane-a").evaluate("pane => pane.scrollTop") > 0
    seat.keyboard.press("Escape")
    expect(seat.locator(".find")).to_be_hidden()
    assert seat.evaluate("CSS.highlights.has('found')") is False


@pytest.mark.slow
def test_one_response_fills_the_stage_and_no_answer_is_given_by_accident(seat):
    seat.keyboard.press("f")
    expect(seat.locator("#pane-a")).to_be_visible()
    expect(seat.locator("#pane-b")).to_be_hidden()
    expect(seat.locator(".answer")).to_be_hidden()
    seat.keyboard.press("2")
    expect(seat.locator("#pane-b")).to_be_visible()
    seat.keyboard.press("Tab")
    expect(seat.locator("#pane-a")).to_be_visible()
    for key in ("3", "q", "0", "Enter"):
        seat.keyboard.press(key)
    seat.keyboard.press("Escape")
    expect(seat.locator(".answer")).to_be_visible()
    assert seat.locator(".answer input:checked").count() == 0


@pytest.mark.slow
def test_scrolling_together_goes_from_heading_to_heading(seat):
    short, long = "<p>words</p>" * 5, "<p>words</p>" * 60
    put(
        seat,
        f"<h2>One</h2>{short}<h2>Two</h2>{long}<h2>Three</h2>{long}",
        f"<h2>One</h2>{long}<h2>Two</h2>{short}<h2>Three</h2>{long}",
    )
    top = """([pane, place]) => {
        const box = document.querySelector(pane);
        const heading = box.querySelectorAll("h2")[place];
        return Math.round(heading.getBoundingClientRect().top - box.getBoundingClientRect().top);
    }"""
    seat.evaluate(f"() => {{ document.querySelector('#pane-a').scrollTop += ({top})(['#pane-a', 1]); }}")
    until(seat, f"() => Math.abs(({top})(['#pane-b', 1])) < 3")
    seat.keyboard.press("s")
    before = seat.evaluate(top, ["#pane-b", 1])
    seat.evaluate("() => { document.querySelector('#pane-a').scrollTop = 0; }")
    seat.wait_for_timeout(100)
    assert seat.evaluate(top, ["#pane-b", 1]) == before


@pytest.mark.slow
def test_what_was_never_on_screen_is_said_beside_the_answer_and_stops_nobody(seat):
    put(seat, "<p>words</p>" * 400, "<p>short</p>")
    expect(seat.locator(".unseen")).to_be_hidden()
    seat.keyboard.press("1")
    expect(seat.locator(".unseen")).to_have_text(re.compile(r"^Not on screen yet: A \d\d%$"))
    shares = seat.evaluate("Seat.reading.unseen(document.querySelector('#stage .comparison'))")
    assert shares[0] > 0.8 and shares[1] == 0
    for place in range(0, 20000, 300):
        seat.evaluate("(place) => { document.querySelector('#pane-a').scrollTop = place; }", place)
        seat.evaluate("() => new Promise(requestAnimationFrame)")
    expect(seat.locator(".unseen")).to_be_hidden()
