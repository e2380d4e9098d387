import pytest
from playwright.sync_api import expect
from tests.browser.test_workbench import answer, ready, fail_at, number, until
pytestmark = pytest.mark.browser

def test_look(newcomer, seats, browser, stack):
    page = newcomer
    page.add_init_script("if (location.hash !== '#ok' && !sessionStorage.x) Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }")
    page.goto(seats["seat"]); ready(page)
    page.on("dialog", lambda dialog: dialog.accept())
    page.context.set_offline(True)
    answer(page)
    page.set_viewport_size({"width": 320, "height": 740})
    page.screenshot(path="/tmp/unkept320.png")
    page.context.set_offline(False)
    until(page, "() => Seat.outbox.unkept === 0")
    page.set_viewport_size({"width": 1280, "height": 800})
    # second device
    lease = number(page)
    page.evaluate("""async () => { const form = document.querySelector('.answer');
      const r = await Seat.request(form.getAttribute('action'), {method: 'POST', headers: {'Content-Type': 'application/json'},
      body: JSON.stringify({client_id: crypto.randomUUID(), level: 0, active_ms: 5, alone: true})}); }""")
    answer(page)
    expect(page.locator("#toast")).to_contain_text("first answer stands")
    page.screenshot(path="/tmp/first.png")
    fail_at(page, number(page))
    answer(page); page.screenshot(path="/tmp/fault.png")
    expect(page.locator("#stuck")).to_be_visible(timeout=20000)
    page.screenshot(path="/tmp/stuck.png")
