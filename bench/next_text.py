"""From the key that submits to the next comparison on screen: how long does an annotator wait, in a real Chromium?

    python bench/next_text.py --comparisons 10000 --judgments 200 --latency 0 50 300 [--json]

Starts a stack of its own (PostgreSQL with fsync, web, worker, tick), fills it with generated comparisons of about 2 kB
a response, and judges as one annotator with the keyboard: `1`, then Enter. Needs Playwright and a Chromium, as the
browser tests do. The network's latency is added by the browser itself (Chrome DevTools Protocol), to every request.

Each wait begins with the time stamp of Enter's keydown and ends after the frame in which the next comparison is painted
(two animation frames). The comparison is prefetched as the page does it; --pause is the time left for that between two
judgments, far less than anybody needs to read.

    wait      keydown to painted, in ms: p50, p95, p99, highest
    event     the same by the browser's own Event Timing: keydown to the next paint, in steps of 8 ms
    not_ready waits that found nothing prefetched (they are among the others)
    page_kb   everything the first load of the page transfers, compressed, in kB
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.annotators import machine, percentiles, set_up_django, versions  # noqa: E402
from bench.seat import corpus  # noqa: E402
from bench.seat.stack import Stack  # noqa: E402

WATCH = """
(() => {
  const waits = window.waits = [];
  const events = window.eventTimings = [];
  let pressed = null;
  window.addEventListener("keydown", (event) => { if (event.key === "Enter") pressed = event.timeStamp; }, true);
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (entry.name === "keydown") events.push(entry.duration);
  }).observe({ type: "event", durationThreshold: 16, buffered: true });
  document.addEventListener("DOMContentLoaded", () => {
    const stage = document.getElementById("stage");
    if (!stage) return;
    new MutationObserver(() => {
      if (pressed === null || !stage.querySelector(".comparison")) return;
      const started = pressed;
      pressed = null;
      requestAnimationFrame(() => requestAnimationFrame(() => waits.push(performance.now() - started)));
    }).observe(stage, { childList: true });
  });
})();
"""


def main() -> int:
    options = arguments()
    stack = Stack()
    try:
        stack.start_database()
        set_up_django()
        filled = corpus.fill(options.comparisons, len(options.latency), 1, options.seed)
        stack.start()
        result = measure(options, stack, filled)
    finally:
        stack.stop()
    print_table(result)
    if options.json:
        print(json.dumps(result))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=10_000)
    parser.add_argument("--judgments", type=int, default=200, help="of each latency")
    parser.add_argument("--latency", type=int, nargs="+", default=[0, 50, 300], help="ms added to each request")
    parser.add_argument("--pause", type=float, default=500, help="ms between two judgments")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def measure(options: argparse.Namespace, stack: Stack, filled: corpus.Corpus) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    from annotator.models import Judgment
    from tests.browser import chromium

    rows = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=chromium.ARGUMENTS)
        for latency, login in zip(options.latency, filled.logins, strict=True):
            rows.append(judge(browser, stack.url, filled.project_id, login, latency, options))
        named = f"Chromium {browser.version}"
        browser.close()
    wanted = options.judgments * len(options.latency)
    stored = Judgment.objects.filter(project=filled.project_id, is_current=True).count()
    assert stored == wanted, f"{stored} judgments stored of {wanted}"
    return {
        "rows": rows,
        "comparisons": options.comparisons,
        "judgments": options.judgments,
        "pause_ms": options.pause,
        "seed": options.seed,
        "versions": {"browser": named, **versions()},
        "machine": machine(),
    }


def judge(
    browser: Any, url: str, project: int, login: str, latency: int, options: argparse.Namespace
) -> dict[str, Any]:
    context = browser.new_context(base_url=url, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(60_000)
    page = context.new_page()
    log_in(page, login)
    page.add_init_script(WATCH)
    weight = Weight(context, page)
    page.goto(f"/projects/{project}/annotate/", wait_until="networkidle")
    size = weight.kilobytes()
    weight.slow_down(latency)
    not_ready = 0
    for number in range(options.judgments):
        page.wait_for_timeout(options.pause)
        not_ready += page.evaluate("Seat.ahead.ids().length") == 0
        page.keyboard.press("1")
        page.keyboard.press("Enter")
        wait_for(page, f"waits.length > {number}")
    wait_for(page, "Seat.outbox.size === 0")
    waits, events = page.evaluate("waits"), page.evaluate("eventTimings")
    context.close()
    return {
        "latency_ms": latency,
        "n": len(waits),
        **{name: value for name, value in percentiles(waits).items()},
        "highest_ms": round(max(waits), 1),
        "event_p95_ms": percentiles(events)["p95_ms"],
        "not_ready": not_ready,
        "page_kb": size,
    }


def log_in(page: Any, login: str) -> None:
    page.goto("/accounts/login/")
    page.locator("input[name=login]").fill(login)
    page.locator("input[name=password]").fill(corpus.PASSWORD)
    page.locator("main form [type=submit]").first.click()
    page.wait_for_url(lambda address: "/accounts/login" not in address)


def wait_for(page: Any, condition: str, seconds: float = 60) -> None:
    """The page's own policy forbids Playwright to wait inside it."""
    for _each in range(int(seconds * 50)):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    raise SystemExit(f"still not so after {seconds} s: {condition}")


class Weight:
    """Bytes as they came over the network, and latency, by the DevTools Protocol."""

    def __init__(self, context: Any, page: Any) -> None:
        self.bytes = 0
        self.session = context.new_cdp_session(page)
        self.session.on("Network.loadingFinished", self._count)
        self.session.send("Network.enable")
        self.session.send("Network.setCacheDisabled", {"cacheDisabled": True})

    def _count(self, event: dict[str, Any]) -> None:
        self.bytes += int(event["encodedDataLength"])

    def kilobytes(self) -> float:
        self.session.send("Network.setCacheDisabled", {"cacheDisabled": False})
        return round(self.bytes / 1000, 1)

    def slow_down(self, latency: int) -> None:
        unlimited = {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
        self.session.send("Network.emulateNetworkConditions", {"latency": latency, **unlimited})


def print_table(result: dict[str, Any]) -> None:
    names = list(result["rows"][0])
    print("| " + " | ".join(names) + " |")
    print("|" + "---|" * len(names))
    for row in result["rows"]:
        print("| " + " | ".join(str(row[name]) for name in names) + " |")
    for key in ("comparisons", "judgments", "pause_ms", "seed", "versions", "machine"):
        print(f"{key:<12} {result[key]}")


if __name__ == "__main__":
    sys.exit(main())
