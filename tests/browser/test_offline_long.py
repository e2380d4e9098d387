"""Two hundred judgments by keyboard, with the network away in the middle, a reload and a second tab: the database holds
exactly those."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time

import pytest
from playwright.sync_api import expect

from tests.stack import ROOT, Stack, open_folder

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WANTED = 200
PROJECT = "Two hundred"


@pytest.fixture(scope="module")
def own_stack():
    """Of its own: it is filled with more than the demo has."""
    with open_folder() as folder:
        running = Stack(folder)
        try:
            running.start(600)
            ask(running, FILL)
            yield running
        finally:
            running.stop()


FILL = f"""
from django.contrib.auth import get_user_model
from annotator import protocols
from annotator.models import Comparison, Membership, Project, Prompt, Protocol, Response
from annotator.pipeline import aggregate
project = Project.objects.create(name="{PROJECT}", lease_seconds=3600)
Protocol.objects.create(project=project, version=1, preset="plain", definition=protocols.PRESETS["plain"])
aggregate.default_recipe(project)
Membership.objects.create(project=project, user=get_user_model().objects.get(username="annotator"), role="annotator")
for n in range(260):
    prompt = Prompt.objects.create(project=project, external_id=f"p{{n}}", text_hash=str(n),
                                   turns=[{{"role": "user", "content": f"Question {{n}}?"}}])
    a, b = [Response.objects.create(prompt=prompt, external_id=s, text=f"Answer {{s}} to {{n}}. " * 40,
                                    text_hash=f"{{s}}{{n}}")
            for s in "ab"]
    Comparison.objects.create(project=project, external_id=f"c{{n}}", prompt=prompt, response_a=a, response_b=b,
                              votes_wanted=1, places_open=1, queue_order=n)
"""
STORED = f"""
import json
from annotator.models import Judgment
mine = Judgment.objects.filter(project__name="{PROJECT}").order_by("id")
print(json.dumps([[str(j.client_id), j.comparison_id, j.assignment_id, j.is_current, j.justification] for j in mine]))
"""


def ask(stack: Stack, code: str) -> str:
    """What `manage.py shell` of this stack says."""
    environment = {**os.environ, **stack.environment, "DATABASE_URL": stack.database, "HTTPS": "no"}
    environment["SECRET_KEY"] = (stack.var / "secret_key").read_text().strip()
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Annotator:
    """Judges whatever is on screen; remembers each client id it has submitted."""

    def __init__(self, page) -> None:
        self.page = page
        self.sent: list[str] = []

    def wait(self, condition: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not self.page.evaluate(condition):
            assert time.monotonic() < deadline, f"still not so after {seconds} s: {condition}"
            self.page.wait_for_timeout(20)

    def is_waiting(self) -> bool:
        """Nothing is on screen that could be answered."""
        return self.page.evaluate("document.querySelector('#stage').hasAttribute('aria-busy')")

    def judge(self) -> None:
        self.wait("Boolean(document.querySelector('#stage:not([aria-busy]) .comparison'))")
        self.sent.append(self.page.locator("[name=client_id]").input_value())
        before = self.page.locator(".comparison").get_attribute("data-assignment")
        self.page.keyboard.press("123"[len(self.sent) % 3])
        if len(self.sent) % 10 == 0:
            self.page.keyboard.press("/")
            self.page.keyboard.type(f"words {len(self.sent)}")
        self.page.keyboard.press("Enter")
        self.wait(
            f"document.querySelector('#stage').hasAttribute('aria-busy') || "
            f"document.querySelector('.comparison')?.dataset.assignment !== '{before}'"
        )

    def judge_until(self, count: int) -> None:
        while len(self.sent) < count:
            self.judge()

    def is_through(self) -> None:
        self.wait("Seat.outbox.size === 0")


def open_seat(page) -> Annotator:
    page.goto("/")
    page.get_by_role("link", name=f"Annotate {PROJECT}").click()
    expect(page.locator("#seat.js .comparison")).to_be_visible(timeout=60_000)
    return Annotator(page)


def test_two_hundred_judgments_with_the_network_away_arrive_once_each(browser, own_stack):
    context = browser.new_context(base_url=own_stack.url, viewport={"width": 1280, "height": 900}, locale="en-GB")
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto("/accounts/login/")
    page.locator("input[name=login]").fill("annotator")
    page.locator("input[name=password]").fill(own_stack.password)
    page.locator("main form [type=submit]").first.click()
    page.wait_for_url(lambda address: "/accounts/login" not in address)
    annotator = open_seat(page)

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
    other = open_seat(second)
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
    other.wait("Boolean(window.Seat?.outbox)")
    other.judge_until(WANTED)
    other.is_through()

    stored = json.loads(ask(own_stack, STORED))
    current = [row for row in stored if row[3]]
    assert sorted(row[0] for row in current) == sorted(other.sent), "each submitted answer stands, and nothing else"
    assert len({row[1] for row in current}) == WANTED == len(stored), "no comparison twice, no revision too many"
    assert [row[4] for row in current if row[4]] and all(
        re.fullmatch(r"words \d+", row[4]) for row in current if row[4]
    )
    assert lost, "an acknowledgement was lost on the way"
    context.close()
