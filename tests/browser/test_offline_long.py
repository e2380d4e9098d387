"""Two hundred judgments by keyboard, with the network away in the middle, a reload and a second tab: the database holds
exactly those."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import expect

from tests.browser import waiting

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WANTED = 200
PROJECT = "Two hundred"


def fill() -> dict[str, object]:
    """Called inside the stack: {"project": number, "seat": address, "session": key}."""
    from annotator.models import User
    from tests.browser.inside import sessions
    from tests.builders import make_comparison, make_project

    project = make_project("plain", name="Two hundred", lease_seconds=3600)
    [session] = sessions(["judges-two-hundred"])
    project.memberships.create(user=User.objects.get(username="judges-two-hundred"), role="annotator")
    for number in range(WANTED + 60):
        answers = {side: f"Answer {side} to {number}. " * 40 for side in "ab"}
        make_comparison(project, f"Question {number}?", **answers, votes_wanted=1, places_open=1, queue_order=number)
    return {"project": project.pk, "seat": f"/projects/{project.pk}/annotate/", "session": session}


def stored(project: int) -> list[list[object]]:
    """Called inside the stack: of every judgment there, revisions too."""
    from annotator.models import Judgment

    mine = Judgment.objects.filter(project=project).order_by("id")
    return [[str(each.client_id), each.comparison_id, each.is_current, each.justification] for each in mine]


# What the page puts into its outbox, as it does so.
LISTEN = """(() => {
  const ids = [];
  const add = Seat.outbox.add;
  Seat.outbox.add = (entry) => { if (entry.answer) ids.push(entry.id); return add(entry); };
  return ids;
})()"""


class Annotator:
    """Judges whatever is on screen; remembers each client id it has submitted."""

    def __init__(self, page) -> None:
        self.page = page
        self.sent: list[str] = []

    def wait(self, condition: str, usual: float = 60) -> None:
        seconds = waiting.paced(usual)
        deadline = time.monotonic() + seconds
        while not self.page.evaluate(condition):
            assert time.monotonic() < deadline, f"still not so after {seconds:.0f} s: {condition}"
            self.page.wait_for_timeout(20)

    def is_waiting(self) -> bool:
        """Nothing is on screen that could be answered."""
        return self.page.evaluate("document.querySelector('#stage').hasAttribute('aria-busy')")

    def judge(self) -> None:
        """One submission. Another comparison may come on screen between two keys: then Enter submits nothing."""
        submitted = None
        while submitted is None:
            self.wait("Boolean(document.querySelector('#stage:not([aria-busy]) .comparison'))")
            submitted = self.press()
        self.sent.append(submitted)

    def press(self) -> str | None:
        """Answer what is on screen; the client id that went to the outbox, None when none did."""
        number = len(self.sent) + 1
        before, known = self.page.evaluate(
            "[document.querySelector('.comparison').dataset.assignment, (window.submitted ||= listen()).length]"
            .replace("listen()", LISTEN)
        )  # fmt: skip
        self.page.keyboard.press("123"[number % 3])
        if number % 10 == 0:
            self.page.keyboard.press("/")
            self.page.keyboard.type(f"words {number}")
        self.page.keyboard.press("Enter")
        went = f"window.submitted.length > {known}"
        self.wait(
            f"{went} || document.querySelector('#stage').hasAttribute('aria-busy') || "
            f"document.querySelector('.comparison')?.dataset.assignment !== '{before}'"
        )
        return self.page.evaluate(f"{went} ? window.submitted.at(-1) : null")

    def judge_until(self, count: int) -> None:
        while len(self.sent) < count:
            self.judge()

    def is_through(self) -> None:
        self.wait("Seat.outbox.size === 0")


def open_seat(page, address) -> Annotator:
    page.goto(address)
    expect(page.locator("#seat.js .comparison")).to_be_visible(timeout=1000 * waiting.paced(60))
    return Annotator(page)


def test_two_hundred_judgments_with_the_network_away_arrive_once_each(browser, stack, inside):
    made = inside(fill)
    context = browser.new_context(base_url=stack.url, viewport={"width": 1280, "height": 900}, locale="en-GB")
    context.add_cookies([{"name": "sessionid", "value": made["session"], "url": stack.url}])
    context.set_default_timeout(1000 * waiting.paced(60))
    page = context.new_page()
    annotator = open_seat(page, made["seat"])

    annotator.judge_until(60)
    annotator.wait("Seat.ahead.ids().length === 3")

    # The network goes: what lies ready is judged, and one of them taken back and judged again.
    context.set_offline(True)
    annotator.judge()
    annotator.sent.pop()
    page.keyboard.press("u")
    while not annotator.is_waiting():
        annotator.judge()
    kept = page.evaluate("Seat.outbox.size")
    assert kept >= 4 and len(annotator.sent) == 60 + kept
    expect(page.locator("#offline")).to_contain_text("Offline since")

    # It comes back while a second tab is open, which would like to send them too.
    second = context.new_page()
    context.set_offline(False)
    other = open_seat(second, made["seat"])
    annotator.is_through()
    page.close()

    # A lost acknowledgement, a reload with an answer still unsent, then to the end.
    other.sent = annotator.sent
    other.judge_until(100)
    lost = []

    def lose(route):
        if len(lost) < 3:
            lost.append(route.fetch())
            route.abort()
        else:
            route.continue_()

    second.route("**/judgment", lose)
    other.judge()
    second.reload()
    expect(second.locator("#seat.js")).to_be_attached()
    other.judge_until(WANTED)
    other.is_through()

    found = inside(stored, made["project"])
    current = [row for row in found if row[2]]
    assert sorted(row[0] for row in current) == sorted(other.sent), "each submitted answer stands, and nothing else"
    assert len({row[1] for row in current}) == WANTED == len(found), "no comparison twice, no revision too many"
    words = [row[3] for row in current if row[3]]
    assert words and all(re.fullmatch(r"words \d+", each) for each in words)
    assert lost, "an acknowledgement was lost on the way"
    context.close()
