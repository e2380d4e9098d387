"""Twenty comparisons under every preset, judged by the keyboard alone: the database holds exactly these answers.

What is answered is on-screen; what is expected is turned into the comparison's own order here, by the words on screen
that say which response it is, and not by the code under test.
"""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import expect

from tests.browser import preset_projects, waiting
from tests.browser.preset_projects import COUNT, NUMBERS, TRICKY, texts

pytestmark = pytest.mark.browser

LETTERS = "abcde"
NOTHING = {
    **{"outcome": "level", "level": None, "confidence": None, "aspects": {}, "attributes": {}, "reasons": []},
    **{"justification": "", "spans": [], "feedback": {}, "edit": {}, "ranking": {}, "flags": []},
}
FEEDBACK = "It says what one needs, in words that anybody understands, and leaves out what would only be noise. " * 3
# (excerpt, keys that choose it from the start of the text, its kind and how bad it is by keys)
PASSAGES = {
    "Prices 🙂🙂": (
        "Home ArrowRight ArrowRight ArrowRight ArrowRight Shift+ArrowRight Shift+ArrowRight",
        "wrong_fact",
        "minor",
        "4 q",
    ),
    "مرحبا بالعالم": ("End ArrowUp ArrowUp ArrowLeft ArrowRight Shift+ArrowRight", "incoherent", "major", "3 w"),
}

SCREEN = """([before, patient]) => new Promise((done) => {
    const stage = document.getElementById("stage");
    const observer = new MutationObserver(look);
    const patience = setTimeout(() => settle("still here"), patient);
    function settle(found) {
        observer.disconnect();
        clearTimeout(patience);
        done(found);
    }
    function look() {
        if (stage.querySelector(".queue-empty")) return settle(null);
        const shown = stage.querySelector(".comparison").dataset.assignment;
        if (shown === before || stage.hasAttribute("aria-busy")) return;
        const starts = [...stage.querySelectorAll(".text .reading")]
            .map((reading) => reading.textContent.trim().split(".")[0].split(" "));
        settle([shown, starts]);
    }
    observer.observe(stage, {childList: true, attributes: true});
    look();
})"""


class Desk:
    """The seat of one project, and what was answered there so far."""

    def __init__(self, page, preset):
        self.page = page
        self.preset = preset
        self.expected = {}
        self.shown = self.screen()

    def screen(self, before=None):
        """(assignment, comparison's id in the file, own places of the responses on screen), as soon as it is another
        one than `before`; None when the queue is empty. The page waits by itself: asking again and again slows it."""
        found = self.page.evaluate(SCREEN, [before, waiting.page_ms()])
        assert found != "still here", f"{before} is still here: {self.page.locator('.answer .submit').inner_text()}"
        if found is None:
            return None
        assignment, starts = found
        assert all(start[:2] == starts[0][:2] for start in starts)
        return assignment, f"{self.preset}-{starts[0][1]}", [NUMBERS.index(start[2]) for start in starts]

    def keys(self, pressed):
        for key in pressed.split():
            self.page.keyboard.press(key)

    def write(self, text):
        """By a keyboard that writes many characters at once; the last ones singly."""
        self.page.keyboard.insert_text(text[:-2])
        self.page.keyboard.type(text[-2:])

    def judge(self, number, answer):
        """Gives the comparison on screen the `number`th of the answers and goes on."""
        assignment, name, places = self.shown
        given = answer(self, number, places)
        assert name not in self.expected
        self.expected[name] = own({**NOTHING, **given}, places)
        self.page.keyboard.press("Enter")
        self.shown = self.screen(assignment)

    def acknowledged(self):
        deadline = time.monotonic() + waiting.paced(15)
        while self.page.evaluate("Object.keys(localStorage).some(key => key.includes('.out.'))"):
            assert time.monotonic() < deadline, "answers are still in the browser"
            self.page.wait_for_timeout(20)


def own(given, places):
    """An answer of what is on screen, in the comparison's own order."""
    side = {LETTERS[at]: LETTERS[place] for at, place in enumerate(places)}
    sign = 1 if places[:2] == [0, 1] else -1
    turned = dict(given)
    if given["level"] is not None:
        turned["level"] = sign * given["level"]
    turned["aspects"] = {key: {**said, "level": sign * said["level"]} for key, said in given["aspects"].items()}
    turned["attributes"] = {
        key: {side[letter]: value for letter, value in said.items()} for key, said in given["attributes"].items()
    }
    turned["feedback"] = {side[letter]: text for letter, text in given["feedback"].items()}
    turned["spans"] = sorted(
        ({**span, "side": side[span["side"]]} for span in given["spans"]),
        key=lambda span: (span["side"], span["start"]),
    )
    if given["edit"]:
        turned["edit"] = {**given["edit"], "side": side[given["edit"]["side"]]}
    if "ranks" in given["ranking"]:
        turned["ranking"] = {
            "ranks": [rank for _place, rank in sorted(zip(places, given["ranking"]["ranks"], strict=True))]
        }
        a, b = turned["ranking"]["ranks"][:2]
        turned["level"] = (a > b) - (a < b)
    if "best" in given["ranking"]:
        best, worst = places[given["ranking"]["best"]], places[given["ranking"]["worst"]]
        turned["ranking"] = {"best": best, "worst": worst}
        turned["level"] = {(True, False): -1, (False, True): 1}.get((best == 0 or worst == 1, best == 1 or worst == 0))
        turned["outcome"] = "ranked" if turned["level"] is None else "level"
    return turned


def neither(desk, number):
    desk.keys("0")
    return {"outcome": "neither_valid"}


def cannot(desk, number):
    desk.keys("x")
    desk.page.keyboard.type(f"case {number} is foreign to me")
    return {"outcome": "cannot_judge", "justification": f"case {number} is foreign to me"}


def plain(desk, number, places):
    if number % 7 == 5:
        return neither(desk, number)
    if number % 7 == 6:
        return cannot(desk, number)
    level = number % 3 - 1
    chosen = [("q", "correct"), ("w", "complete"), ("e", "clear"), ("r", "safe")][: number % 5]
    desk.keys(" ".join([str(level + 2), *(key for key, _reason in chosen)]))
    return {"level": level, "reasons": [reason for _key, reason in chosen]}


def multipref(desk, number, places):
    if number == 3:
        return neither(desk, number)
    level, helpful, truthful = number % 5 - 2, (number + 1) % 5 - 2, (number + 3) % 5 - 2
    desk.keys(f"{level + 3} ] Tab {helpful + 3} q e [ Tab {truthful + 3} /")
    desk.page.keyboard.type(f"reason {number}")
    aspects = {
        "helpful": {"level": helpful, "confidence": 1.0, "reasons": ["follows", "clear"]},
        "truthful": {"level": truthful, "confidence": None, "reasons": []},
    }
    return {"level": level, "confidence": 3.0, "aspects": aspects, "justification": f"reason {number}"}


ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")


def helpsteer2(desk, number, places):
    if number == 4:
        return cannot(desk, number)
    level = (-3, -2, -1, 1, 2, 3)[number % 6]
    ratings = [(number + 2 * at) % 5 for at in range(10)]
    desk.keys(f"{number % 6 + 1} Tab {' '.join(map(str, ratings))}")
    pairs = zip(ATTRIBUTES, zip(ratings[::2], ratings[1::2], strict=True), strict=True)
    return {"level": level, "attributes": {key: {"a": a, "b": b} for key, (a, b) in pairs}}


def arena(desk, number, places):
    if number % 4 == 3:
        return neither(desk, number)
    desk.keys(str(number % 4 + 1))
    return {"level": number % 4 - 1}


def summarize9(desk, number, places):
    if number == 19:
        return cannot(desk, number)
    desk.keys(str(number % 9 + 1))
    return {"level": number % 9 - 4}


def helpsteer3(desk, number, places):
    """Enter goes from one missing text to the next; the edited response is the better one, or the one that is named."""
    level = number % 7 - 3
    desk.keys(f"{level + 4}")
    given = {"level": level, "flags": []}
    if number % 3 == 0:
        desk.keys(";" if level else "; 2")
        desk.keys("Control+End")
        desk.page.keyboard.type(" Amended.")
        desk.keys("Escape")
        side = "a" if level < 0 else "b"
        given["edit"] = {
            "side": side,
            "text": texts(desk.preset, int(desk.shown[1][-2:]))[places[LETTERS.index(side)]] + " Amended.",
        }
    if number % 4 == 0:
        desk.keys("n z")
        given["flags"] = ["pii", "unsafe"]
    desk.keys(",")
    written = {"a": f"{FEEDBACK}A {number}.", "b": f"{FEEDBACK}B {number}."}
    desk.write(written["a"])
    desk.keys("Enter")
    desk.write(written["b"])
    desk.keys("Enter")
    given["justification"] = f"{number}: " + "for it is clearer to anybody who asks such a thing"
    desk.write(given["justification"])
    return {**given, "feedback": written}


def fine_grained(desk, number, places):
    level, a, b = number % 3 - 1, number % 4, (number + 1) % 4
    desk.keys(f"{level + 2} Tab {a} {b} -")
    marks = []
    for at, letter in enumerate("ab"):
        text = texts(desk.preset, int(desk.shown[1][-2:]))[places[at]]
        if at:
            desk.keys("Tab")
        for excerpt, (moves, kind, severity, said) in list(PASSAGES.items())[: 1 + (number + at) % 2]:
            desk.keys(f"{moves} {said}")
            comment = f"mark {number}" if number % 2 else ""
            desk.page.keyboard.type(comment)
            desk.keys("Enter")
            start = text.index(excerpt)
            marks.append(
                {
                    **{"side": letter, "start": start, "end": start + len(excerpt), "type": kind},
                    **{"severity": severity, "comment": comment, "text": excerpt},
                }
            )
    return {"level": level, "attributes": {"completeness": {"a": a, "b": b}}, "spans": marks}


def rag(desk, number, places):
    """An answer on the scale takes the place of "neither valid"."""
    level = number % 5 - 2
    answers = {
        key: (number + at) % 5 - 2 for at, key in enumerate(("citation", "abstention", "conflict", "completeness"), 1)
    }
    before = "0 " if number == 2 else ""
    desk.keys(f"{before}{level + 3} " + " ".join(f"Tab {value + 3}" for value in answers.values()))
    aspects = {key: {"level": value, "confidence": None, "reasons": []} for key, value in answers.items()}
    return {"level": level, "aspects": aspects}


def criterion(desk, number, places):
    shown = desk.page.locator(".criterion b").inner_text()
    assert shown == f"Criterion {int(desk.shown[1][-2:])}: brevity"
    desk.keys(f"{number % 5 + 1} {'[' if number % 2 else ']'}")
    return {"level": number % 5 - 2, "confidence": 1.0 if number % 2 else 3.0}


def ranking(desk, number, places):
    """A number for each in the order on screen; every third has two that share a place."""
    count = len(places)
    ranks = [(number + at) % count + 1 for at in range(count)]
    if number % 3:
        desk.keys(" ".join(map(str, ranks)))
        return {"ranking": {"ranks": ranks}}
    desk.keys(f"2 = {' '.join(map(str, range(3, count + 1)))}")
    return {"ranking": {"ranks": [1, 1, *range(2, count)]}}


def best_worst(desk, number, places):
    best, worst = number % 4, (number + 1 + number % 3) % 4
    desk.keys(f"{best + 1} {worst + 1}")
    return {"ranking": {"best": best, "worst": worst}}


ANSWERS = {
    **{"plain": plain, "multipref": multipref, "helpsteer2": helpsteer2, "arena": arena, "summarize9": summarize9},
    **{"helpsteer3": helpsteer3, "fine-grained": fine_grained, "rag": rag, "criterion": criterion},
    **{"ranking": ranking, "best-worst": best_worst},
}


@pytest.fixture(scope="module")
def made(inside):
    return inside(preset_projects.build)


@pytest.fixture(scope="module")
def judged():
    """What the tests of the presets answered: comparison's id -> answer in its own order."""
    return {}


@pytest.fixture
def desk(page, stack, made):
    """desk(preset): its seat, with the annotator in it, or with the `other` one."""

    def _desk(preset, who="session"):
        page.context.add_cookies([{"name": "sessionid", "value": made[who], "url": stack.url}])
        page.goto(made["seats"][preset])
        page.wait_for_selector("#seat.js .comparison")
        return Desk(page, preset)

    return _desk


# Of three presets that differ most two comparisons in each run; all of every preset with what takes longer.
SLOW = pytest.mark.slow
JUDGED = [
    *(pytest.param(preset, 2, id=f"{preset}-few") for preset in ("multipref", "fine-grained", "ranking")),
    *(pytest.param(preset, COUNT, id=f"{preset}-all", marks=SLOW) for preset in ANSWERS),
]


@pytest.mark.parametrize(("preset", "count"), JUDGED)
def test_comparisons_are_judged_by_keys_alone(desk, judged, preset, count):
    seat = desk(preset)
    for number in range(count):
        seat.judge(number, ANSWERS[preset])
    assert (seat.shown is None) == (count == COUNT)
    seat.acknowledged()
    assert len(seat.expected) == count
    judged.update(seat.expected)


def test_every_preset_is_judged_here(made):
    assert set(made["seats"]) == set(ANSWERS)


@pytest.mark.parametrize("count", [2, pytest.param(COUNT, marks=SLOW)], ids=["few", "all"])
def test_the_database_holds_exactly_what_was_answered(inside, judged, count):
    """After the presets' own tests, whichever of them ran."""
    assert judged, "no preset was judged before this"
    stored = inside(preset_projects.dump)
    assert set(stored) == set(judged)
    for name, answer in sorted(judged.items()):
        assert stored[name] == answer, name


def test_offsets_are_code_points():
    """What the presets' test trusts: these excerpts are where UTF-16 and code points part."""
    assert [TRICKY.index(excerpt) for excerpt in PASSAGES] == [0, 32]


# ---- the controls themselves, by somebody who judges little ----


def is_saved(page):
    expect(page.locator("#saved")).to_have_text(re.compile(r"^Saved \d\d:\d\d:\d\d$"))


@pytest.mark.slow
def test_marks_survive_a_reload_and_are_changed_and_taken_away_by_keys(desk):
    seat = desk("fine-grained", "other")
    seat.keys("- 4 w Enter Shift+ArrowRight 1 q Enter")
    expect(seat.page.locator(".spans .count")).to_have_text("2 marked")
    is_saved(seat.page)
    seat.page.reload()
    expect(seat.page.locator(".marks .kind")).to_have_text(["Wrong fact, Major", "Irrelevant, Minor"])
    seat.keys("- 2 q Enter")
    expect(seat.page.locator(".marks .kind")).to_have_text(["Repetitive, Minor", "Irrelevant, Minor"])
    seat.keys("n Delete")
    expect(seat.page.locator(".marks .excerpt")).to_have_text(["fine"])
    seat.keys("Escape")
    expect(seat.page.locator("#pane-a .reading")).to_be_visible()


@pytest.mark.slow
def test_a_passage_is_marked_by_mouse_and_found_again(desk):
    seat = desk("fine-grained", "other")
    seat.page.get_by_role("button", name="Mark errors").click()
    text = seat.page.locator("#pane-b .marked")
    text.dblclick(position={"x": 20, "y": 16})
    chosen = seat.page.locator(".spans .passage").inner_text().strip('“”"')
    assert chosen in text.inner_text()
    seat.page.get_by_role("button", name="Incoherent").click()
    seat.page.get_by_role("button", name="Major").click()
    seat.page.get_by_role("button", name="Keep").click()
    expect(seat.page.locator(".marks .excerpt").last).to_have_text(chosen)
    seat.page.get_by_role("button", name="Mark errors").click()
    seat.page.locator(".marks .jump").last.click()
    expect(text).to_be_focused()


@pytest.mark.slow
def test_an_edit_shows_what_was_changed_and_survives_a_reload(desk):
    seat = desk("helpsteer3", "other")
    seat.keys("7 ; Control+End")
    seat.page.keyboard.type(" And more.")
    expect(seat.page.locator(".improve ins").last).to_have_text("And more.")
    seat.keys("Escape")
    expect(seat.page.locator(".edited")).to_have_text("B is edited")
    is_saved(seat.page)
    seat.page.reload()
    expect(seat.page.locator(".edited")).to_have_text("B is edited")
    seat.page.keyboard.press(";")
    seat.page.get_by_role("button", name="Start over").click()
    seat.keys("Escape")
    expect(seat.page.locator(".edited")).to_have_text("")


@pytest.mark.slow
def test_a_required_length_is_counted_as_it_is_written(desk):
    seat = desk("helpsteer3", "other")
    seat.page.keyboard.press("/")
    seat.page.keyboard.type("twelve  🙂 ok")
    expect(seat.page.locator("#justification-length")).to_have_text("11 of 50 characters")


@pytest.mark.slow
def test_one_key_is_enough_for_whoever_wants_it(desk):
    seat = desk("arena", "other")
    seat.page.keyboard.press("?")
    seat.page.get_by_label("One key is enough").check()
    seat.keys("Escape")
    assignment, _name, _places = seat.screen()
    seat.page.keyboard.press("3")
    expect(seat.page.locator(f".comparison:not([data-assignment='{assignment}'])")).to_be_visible()
    seat.page.reload()
    assignment, _name, _places = seat.screen()
    seat.page.keyboard.press("0")
    expect(seat.page.locator(f".comparison:not([data-assignment='{assignment}'])")).to_be_visible()


@pytest.mark.slow
def test_the_list_of_keys_shows_those_of_the_protocol(desk):
    seat = desk("best-worst", "other")
    seat.page.keyboard.press("?")
    expect(seat.page.locator("#keys")).to_contain_text("neither response is valid")
    for other in ("mark errors", "improve the better response", "feedback on A"):
        expect(seat.page.locator("#keys").get_by_text(other)).to_be_hidden()


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["summarize9", "helpsteer2", "helpsteer3", "fine-grained", "ranking"])
def test_on_the_smallest_phone_text_and_answer_are_both_in_reach(desk, preset):
    seat = desk(preset, "other")
    seat.page.set_viewport_size({"width": 320, "height": 568})
    assert seat.page.evaluate("document.documentElement.scrollWidth") <= 320
    text, submit = seat.page.locator("#pane-a").bounding_box(), seat.page.locator(".submit").bounding_box()
    bar = seat.page.locator(".answer").bounding_box()
    assert bar["y"] - text["y"] >= 60, "lines of the response are in view"
    assert submit["y"] + submit["height"] <= 568 and submit["x"] + submit["width"] <= 320
    if preset == "summarize9":
        tops = seat.page.locator(".level").evaluate_all("all => all.map((one) => one.getBoundingClientRect().top)")
        assert len(tops) == 9 and len(set(tops)) == 1, "nine levels stand in one row"
