"""The annotator's seat in a real browser: by mouse, by keys, on a phone, with the network away."""

import re
import time

import pytest
from playwright.sync_api import expect

from tests.browser import waiting

pytestmark = pytest.mark.browser


def number(page):
    return int(page.locator(".comparison").get_attribute("data-assignment"))


def today(page):
    return int(page.locator("#done").inner_text())


def kept(page):
    return page.evaluate(
        "Object.keys(localStorage).filter(key => key.includes('.out.')).map(key => JSON.parse(localStorage[key]))"
        ".sort((one, other) => one.at - other.at)"
    )


def is_saved(page):
    expect(page.locator("#saved")).to_have_text(re.compile(r"^Saved \d\d:\d\d:\d\d$"))


def until(page, condition, argument=None):
    """Ask again until `condition` holds; the page's own policy forbids Playwright to wait inside it."""
    seconds = waiting.paced(20)
    deadline = time.monotonic() + seconds
    while not page.evaluate(condition, argument):
        assert time.monotonic() < deadline, f"still not so after {seconds:.0f} s: {condition}"
        page.wait_for_timeout(50)


def is_acknowledged(page):
    """Nothing waits in this browser any more."""
    until(
        page,
        "() => !Object.keys(localStorage).some(key => key.includes('.out.'))",
    )


def shows_another(page, before):
    expect(page.locator(f".comparison:not([data-assignment='{before}'])")).to_be_visible()


def prefetched(page):
    """Wait until no request is on its way, so that the next comparison is there."""
    page.wait_for_load_state("networkidle")


def answer(page, key="2"):
    """Judge by two keys; gives the assignment that was judged."""
    judged = number(page)
    page.keyboard.press(key)
    page.keyboard.press("Enter")
    shows_another(page, judged)
    return judged


def test_a_comparison_is_judged_by_mouse(seat):
    before, judged = today(seat), number(seat)
    seat.get_by_title("A is clearly better").first.click()
    seat.locator(".row[data-row=truthful]").get_by_title("Tie").click()
    seat.get_by_text("More correct").click()
    seat.get_by_placeholder("Justification, in a sentence").fill("A is right about the dose.")
    is_saved(seat)
    seat.get_by_role("button", name="Submit, next").click()
    shows_another(seat, judged)
    is_acknowledged(seat)
    seat.reload()
    assert today(seat) == before + 1
    assert number(seat) != judged


def test_a_comparison_is_judged_by_keys_alone(seat):
    sent = []
    seat.on("request", lambda request: sent.append(request) if request.url.endswith("/judgment") else None)
    prefetched(seat)
    judged = number(seat)
    for key in ("5", "]", "Tab", "4", "q", "Tab", "3", "/"):
        seat.keyboard.press(key)
    seat.keyboard.type("B answers it: 12 of 12.")
    seat.keyboard.press("Enter")
    shows_another(seat, judged)
    is_acknowledged(seat)
    given = sent[0].post_data_json
    assert (given["level"], given["confidence"], given["outcome"]) == (2, 3, "level")
    assert given["aspects"]["helpful"] == {"level": 1, "confidence": None, "reasons": ["follows"]}
    assert given["aspects"]["truthful"]["level"] == 0
    assert given["justification"] == "B answers it: 12 of 12."
    assert seat.evaluate("document.activeElement.id") == "comparison-title", "the next comparison has the focus"


@pytest.mark.slow
def test_the_next_comparison_is_there_before_the_server_has_answered(seat):
    prefetched(seat)
    judged = number(seat)
    held = []
    seat.route("**/judgment", lambda route: held.append(route))
    with seat.expect_request("**/judgment"):
        seat.keyboard.press("1")
        seat.keyboard.press("Enter")
    shows_another(seat, judged)
    assert len(kept(seat)) == 1
    while not held:
        seat.wait_for_timeout(10)
    held[0].abort()


@pytest.mark.slow
def test_neither_valid_and_cannot_judge_are_answers_of_their_own(seat):
    judged = answer(seat, "0")
    seat.keyboard.press("x")
    seat.keyboard.press("Enter")
    assert number(seat) != judged and seat.locator(".submit span").inner_text() == "Say in a few words why"
    refused = number(seat)
    seat.keyboard.type("I do not read Korean.")
    seat.keyboard.press("Enter")
    shows_another(seat, refused)
    is_acknowledged(seat)


def test_an_incomplete_answer_says_what_is_missing_and_sends_nothing(seat):
    shown = number(seat)
    seat.keyboard.press("Enter")
    assert seat.locator(".submit span").inner_text() == "Choose an answer"
    assert number(seat) == shown and kept(seat) == []


def test_draft_comparison_and_order_survive_a_reload(seat):
    shown = number(seat)
    texts = seat.locator(".text").all_inner_texts()
    seat.keyboard.press("4")
    seat.keyboard.press("/")
    seat.keyboard.type("half a thought")
    is_saved(seat)
    seat.reload()
    assert number(seat) == shown
    assert seat.locator(".text").all_inner_texts() == texts
    assert seat.locator("input[name=level]:checked").get_attribute("value") == "1"
    assert seat.locator("[name=justification]").input_value() == "half a thought"


def test_an_answer_is_taken_back_within_ten_seconds(seat):
    before = today(seat)
    judged = answer(seat, "2")
    is_acknowledged(seat)
    assert today(seat) == before + 1
    seat.keyboard.press("u")
    expect(seat.locator(f".comparison[data-assignment='{judged}']")).to_be_visible()
    expect(seat.locator("input[name=level]:checked")).to_have_value("-1")
    assert today(seat) == before
    seat.keyboard.press("3")
    seat.keyboard.press("Enter")
    shows_another(seat, judged)
    is_acknowledged(seat)
    seat.reload()
    assert today(seat) == before + 1


def test_a_submission_whose_acknowledgement_was_lost_is_stored_once(seat):
    ready(seat)
    before = today(seat)
    lost = []

    def lose_first(route):
        route.fetch() if not lost else None
        lost.append(route.request.post_data_json["client_id"])
        route.abort() if len(lost) == 1 else route.continue_()

    seat.route("**/judgment", lose_first)
    answer(seat)
    expect(seat.locator("#offline")).to_be_visible()
    is_acknowledged(seat)
    assert lost[0] == lost[1]
    seat.reload()
    assert today(seat) == before + 1


def test_what_is_submitted_offline_is_kept_and_sent_once_when_the_network_is_back(seat):
    prefetched(seat)
    before = today(seat)
    seat.context.set_offline(True)
    first = answer(seat, "1")
    second = number(seat)
    seat.keyboard.press("5")
    seat.keyboard.press("Enter")
    expect(seat.locator("#offline")).to_contain_text("Offline since")
    expect(seat.locator("#saved")).to_have_text("2 kept in this browser")
    assert [entry["assignment"] for entry in kept(seat)] == [first, second]
    seat.context.set_offline(False)
    is_acknowledged(seat)
    expect(seat.locator("#offline")).to_be_hidden()
    shows_another(seat, second)
    seat.reload()
    assert today(seat) == before + 2


@pytest.mark.slow
def test_what_was_kept_is_sent_when_the_page_is_opened_again(seat):
    prefetched(seat)
    before = today(seat)
    seat.route("**/judgment", lambda route: route.abort())
    judged = answer(seat)
    assert len(kept(seat)) == 1
    seat.unroute("**/judgment")
    seat.reload()
    is_acknowledged(seat)
    seat.reload()
    assert today(seat) == before + 1 and number(seat) != judged


@pytest.mark.slow
def test_a_comparison_is_skipped_with_a_reason_by_keys(seat):
    before, skipped = today(seat), number(seat)
    seat.keyboard.press("k")
    seat.keyboard.type("not my field")
    seat.keyboard.press("Enter")
    shows_another(seat, skipped)
    assert today(seat) == before


@pytest.mark.slow
def test_a_problem_is_reported_and_the_comparison_stays(seat):
    shown = number(seat)
    seat.keyboard.press("m")
    seat.keyboard.type("names a private person")
    seat.keyboard.press("Enter")
    expect(seat.locator("#toast")).to_contain_text("Reported to the lead.")
    assert number(seat) == shown


@pytest.mark.slow
def test_guidelines_keys_and_prompt_open_and_close_by_keys(seat):
    seat.keyboard.press("g")
    expect(seat.locator("#guidelines")).to_be_visible()
    seat.keyboard.press("Escape")
    expect(seat.locator("#guidelines")).to_be_hidden()
    seat.keyboard.press("?")
    expect(seat.locator("#keys")).to_be_visible()
    seat.keyboard.press("Escape")
    expect(seat.locator("#keys")).to_be_hidden()
    seat.keyboard.press("p")
    expect(seat.locator(".fold")).to_have_attribute("aria-expanded", "false")


def test_no_model_is_named_and_the_page_says_that_the_texts_were_written_for_the_demo(page, login):
    login(page, "annotator")
    page.goto("/")
    page.get_by_role("link", name="Annotate Written for the demo", exact=True).click()
    expect(page.locator("#seat.js .comparison")).to_be_visible()
    assert not re.search(r"gpt|claude|llama|data-model", page.content(), re.IGNORECASE)
    assert "written for the demo" in page.locator("header.top").inner_text().lower()


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 320])
def test_on_a_phone_everything_is_reachable_without_scrolling_sideways(seat, width):
    seat.set_viewport_size({"width": width, "height": 740})
    seat.reload()
    judged = number(seat)
    seat.get_by_role("link", name="Response B").click()
    expect(seat.locator(".tab.b")).to_have_attribute("aria-current", "true")
    seat.get_by_role("button", name="Details").click()
    expect(seat.locator(".row[data-row=harmless]")).to_be_visible()
    assert seat.evaluate("document.documentElement.scrollWidth") <= width
    for control in (".submit", "#guidelines-open", ".difference", ".away summary", ".fold"):
        box = seat.locator(control).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width, control
    seat.get_by_title("B is slightly better").first.click()
    seat.get_by_role("button", name="Submit, next").click()
    shows_another(seat, judged)
    is_acknowledged(seat)


@pytest.mark.slow
def test_without_scripts_the_form_still_judges(browser, stack, seats):
    context = browser.new_context(base_url=stack.url, java_script_enabled=False)
    context.add_cookies([{"name": "sessionid", "value": seats["sessions"].pop(), "url": stack.url}])
    page = context.new_page()
    page.goto(seats["seat"])
    judged = number(page)
    before = today(page)
    page.get_by_title("A is clearly better").first.click()
    page.get_by_role("button", name="Submit, next").click()
    expect(page.locator(".comparison")).to_be_visible()
    assert number(page) != judged and today(page) == before + 1
    page.get_by_role("button", name="Submit, next").click()
    expect(page.locator(".refusal")).to_have_text("choose an answer")
    context.close()


def test_an_empty_queue_says_why(page, login):
    login(page, "lead")
    page.goto("/projects/new")
    page.get_by_label("name", exact=False).first.fill("Nothing planned yet")
    page.locator("main form [type=submit]").first.click()
    page.wait_for_url(lambda address: "/projects/new" not in address)
    page.goto("/")
    page.get_by_role("link", name="Annotate Nothing planned yet").click()
    expect(page.locator(".queue-empty .why")).to_have_text("The lead has not approved a plan yet.")


def ready(page, count=3):
    """So many comparisons lie ready behind the one on screen."""
    until(page, "count => Seat.ahead.ids().length >= count", count)


@pytest.mark.slow
def test_work_goes_on_without_the_network_and_an_unsent_answer_is_simply_taken_back(seat):
    ready(seat)
    before = today(seat)
    seat.context.set_offline(True)
    for key in ("1", "2", "3"):
        answer(seat, key)
    taken = answer(seat, "4") if seat.evaluate("Seat.ahead.ids().length") else number(seat)
    expect(seat.locator("#offline")).to_contain_text("Offline since")
    if len(kept(seat)) == 4:
        seat.keyboard.press("u")
        expect(seat.locator(f".comparison[data-assignment='{taken}']")).to_be_visible()
    assert [entry["attempts"] for entry in kept(seat)] == [0, 0, 0]
    seat.context.set_offline(False)
    is_acknowledged(seat)
    seat.reload()
    assert today(seat) == before + 3


@pytest.mark.slow
def test_a_second_tab_neither_sends_twice_nor_judges_the_same_again(seat):
    ready(seat)
    before = today(seat)
    other = seat.context.new_page()
    other.goto(seat.url)
    expect(other.locator("#seat.js .comparison")).to_be_visible()
    sent = []
    for page in (seat, other):
        page.on("request", lambda request: sent.append(request) if request.url.endswith("/judgment") else None)
    assert number(other) == number(seat)
    judged = answer(seat)
    shows_another(other, judged)
    is_acknowledged(other)
    assert len(sent) == 1
    answer(other)
    is_acknowledged(seat)
    other.close()
    seat.reload()
    assert today(seat) == before + 2


@pytest.mark.slow
def test_what_the_server_will_not_take_stays_in_sight_with_its_words(seat):
    ready(seat)
    seat.keyboard.press("2")
    seat.keyboard.press("/")
    seat.keyboard.type("words worth keeping")
    seat.route("**/judgment", lambda route: route.fulfill(status=404, body="gone"))
    seat.keyboard.press("Enter")
    expect(seat.locator("#stuck")).to_be_visible()
    expect(seat.locator("#stuck")).to_contain_text("words worth keeping")
    seat.reload()
    expect(seat.locator("#stuck")).to_contain_text("words worth keeping")
    with seat.expect_download() as saved:
        seat.get_by_role("link", name="Download").click()
    assert "words worth keeping" in saved.value.path().read_text()
    seat.unroute("**/judgment")
    seat.get_by_role("button", name="Try again").click()
    is_acknowledged(seat)
    expect(seat.locator("#stuck")).to_be_hidden()


def fail_at(page, assignment):
    """The server has a fault that one answer alone meets; gives how often it was met."""
    met = []

    def fulfil(route):
        met.append(route)
        route.fulfill(status=500, body="a fault")

    page.route(f"**/assignments/{assignment}/judgment", fulfil)
    return met


@pytest.mark.slow
def test_an_answer_the_server_fails_at_lets_the_others_pass_and_is_tried_again(seat):
    ready(seat)
    before, failing = today(seat), number(seat)
    met = fail_at(seat, failing)
    seat.keyboard.press("2")
    seat.keyboard.press("/")
    seat.keyboard.type("words worth keeping")
    seat.keyboard.press("Enter")
    shows_another(seat, failing)
    expect(seat.locator("#offline")).to_contain_text("Something went wrong on the server")
    expect(seat.locator("#saved")).to_have_text("1 kept in this browser")
    answer(seat)
    until(seat, "count => Seat.outbox.size < count", 2)
    answer(seat)
    expect(seat.locator("#stuck")).to_contain_text("words worth keeping")
    expect(seat.locator("#stuck .why")).to_contain_text("tried again by itself")
    expect(seat.locator("#offline")).to_be_hidden()
    until(seat, "() => Seat.outbox.size === 0")
    assert len(met) == 3 and [entry["assignment"] for entry in kept(seat)] == [failing]
    # The server gives the same comparison out again; the seat goes past it.
    seat.reload()
    shows_another(seat, failing)
    answer(seat)
    until(seat, "() => Seat.outbox.size === 0")
    assert len(kept(seat)) == 1
    seat.unroute(f"**/assignments/{failing}/judgment")
    seat.evaluate(
        """() => { const key = Object.keys(localStorage).find(key => key.includes('.out.'));
            const entry = JSON.parse(localStorage[key]);
            localStorage[key] = JSON.stringify({...entry, stuck: {...entry.stuck, again: Date.now()}}); }"""
    )
    seat.reload()
    is_acknowledged(seat)
    expect(seat.locator("#stuck")).to_be_hidden()
    seat.reload()
    assert today(seat) == before + 4


@pytest.mark.slow
def test_where_the_browser_keeps_nothing_the_page_says_so_and_asks_before_it_is_closed(newcomer, seats):
    page = newcomer
    page.add_init_script("Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }")
    page.goto(seats["seat"])
    expect(page.locator("#seat.js .comparison")).to_be_visible()
    ready(page)
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.context.set_offline(True)
    answer(page)
    expect(page.locator("#saved")).to_have_text("1 only on this page")
    expect(page.locator("#offline")).to_contain_text("do not close the page before your answer is sent")
    assert "kept in this browser" not in page.locator("#offline").inner_text()
    expect(page.locator("#announce")).to_have_text(re.compile("^This browser keeps nothing.* Next comparison.$"))
    page.close(run_before_unload=True)
    until(page, "() => Seat.outbox.unkept === 1")
    assert asked == ["beforeunload"]
    page.context.set_offline(False)
    until(page, "() => Seat.outbox.unkept === 0")
    is_saved(page)
    page.reload()
    assert asked == ["beforeunload"] and today(page) == 1


@pytest.mark.slow
def test_a_draft_saved_elsewhere_is_loaded_and_told(seat):
    seat.keyboard.press("/")
    seat.keyboard.type("from here")
    is_saved(seat)
    seat.evaluate(
        "localStorage[Object.keys(localStorage).find(key => key.includes('.known.'))] = '\"2020-01-01T00:00:00Z\"'"
    )
    seat.reload()
    expect(seat.locator("#toast")).to_contain_text("A newer draft")
    assert seat.locator("[name=justification]").input_value() == "from here"
    seat.keyboard.press("/")
    seat.keyboard.press("Control+a")
    seat.keyboard.press("Delete")
    is_saved(seat)


@pytest.mark.slow
def test_texts_that_may_hurt_are_covered_until_their_reader_wants_them(newcomer, seats):
    page = newcomer
    page.goto(seats["harmful"])
    expect(page.locator("#seat.js .comparison")).to_be_visible()
    expect(page.locator(".cover")).to_contain_text("violence")
    expect(page.locator(".panes")).to_be_hidden()
    shown = number(page)
    for key in ("2", "/", "x"):
        page.keyboard.press(key)
    assert page.locator(".answer input:checked").count() == 0
    page.keyboard.press("Enter")
    expect(page.locator(".panes")).to_be_visible()
    assert number(page) == shown and kept(page) == []
    page.reload()
    expect(page.locator(".panes")).to_be_visible()


@pytest.mark.slow
def test_who_does_not_want_texts_of_a_kind_is_given_no_more_of_them(newcomer, seats):
    page = newcomer
    page.goto(seats["harmful"])
    expect(page.locator("#seat.js .cover")).to_be_visible()
    page.keyboard.press("o")
    expect(page.locator(".queue-empty")).to_be_visible()
    page.reload()
    expect(page.locator(".queue-empty")).to_be_visible()


@pytest.mark.slow
def test_a_key_of_ones_own_takes_the_place_of_the_printed_one(seat):
    seat.keyboard.press("?")
    seat.locator("#keys [data-command=g]").click()
    seat.keyboard.press("y")
    seat.keyboard.press("Escape")
    expect(seat.locator("#guidelines-open kbd")).to_have_text("y")
    seat.keyboard.press("g")
    expect(seat.locator("#guidelines")).to_be_hidden()
    seat.reload()
    seat.keyboard.press("y")
    expect(seat.locator("#guidelines")).to_be_visible()
    seat.keyboard.press("?")
    seat.locator("#keys-reset").click()
    expect(seat.locator("#guidelines-open kbd")).to_have_text("g")


@pytest.mark.slow
def test_an_own_judgment_is_found_again_and_revised(seat):
    judged = answer(seat, "1")
    is_acknowledged(seat)
    seat.goto(seat.locator("#seat").get_attribute("data-history"))
    expect(seat.locator("tbody tr").first).to_contain_text("A is clearly better")
    seat.locator("tbody tr a").first.click()
    expect(seat.locator("input[name=level]:checked")).to_have_value("-2")
    assert number(seat) == judged
    seat.keyboard.press("5")
    seat.keyboard.press("Enter")
    seat.wait_for_url(lambda address: address.endswith("/mine/"))
    expect(seat.locator("tbody tr").first).to_contain_text("B is clearly better")
    expect(seat.locator("tbody tr").first).to_contain_text("revised")


@pytest.mark.slow
def test_a_break_is_suggested_once_and_time_is_told_to_whoever_asks(seat):
    seat.evaluate(
        """() => { const name = `switchyard.${document.getElementById('seat').dataset.user}.pace`;
            localStorage[name] = JSON.stringify({active: 3600000, seen: Date.now(), told: false}); }"""
    )
    seat.reload()
    expect(seat.locator("#break")).to_contain_text("60 minutes without a pause")
    seat.locator("#break button").click()
    expect(seat.locator("#break")).to_be_hidden()
    seat.keyboard.press("?")
    seat.locator("#time-show").click()
    expect(seat.locator("#time-worked")).to_contain_text("60 minutes")
