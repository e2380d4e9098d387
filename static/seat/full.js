// One response on the whole stage. Keys that answer do nothing there: what they answer is out of sight.
"use strict";

Seat.full = (() => {
  const READING_KEYS = new Set(["f", "d", "v", "c", "h", "s", "?", " ", "g"]);

  function move(comparison, index) {
    const panes = Seat.reading.panes(comparison);
    const here = (index + panes.length) % panes.length;
    comparison.dataset.full = String(here);
    panes.forEach((pane, side) => pane.classList.toggle("in-full", side === here));
    Seat.reading.mark(comparison, here);
    panes[here].focus({ preventScroll: true });
    Seat.announce(Seat.say("full", panes[here].dataset.letter));
  }

  function enter(comparison) {
    const here = Seat.reading.current(comparison);
    comparison.classList.add("full");
    comparison.querySelector(".full-toggle").setAttribute("aria-pressed", "true");
    move(comparison, here);
  }

  function leave(comparison) {
    comparison.classList.remove("full");
    comparison.querySelector(".full-toggle").setAttribute("aria-pressed", "false");
    const here = Number(comparison.dataset.full);
    delete comparison.dataset.full;
    Seat.reading.show(comparison, here);
    Seat.announce(Seat.say("fullOff"));
  }

  const toggle = (comparison) => (comparison.matches(".full") ? leave(comparison) : enter(comparison));

  // Before anything else hears the key.
  document.addEventListener("keydown", (event) => {
    const comparison = document.querySelector("#stage .comparison.full");
    if (!comparison || event.isComposing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const typing = event.target.closest("textarea, input:not([type=radio]):not([type=checkbox])");
    const presses = event.target.closest("a[href], button, summary") && (event.key === "Enter" || event.key === " ");
    if (typing || presses) return;
    const here = Number(comparison.dataset.full);
    const count = Seat.reading.panes(comparison).length;
    if (event.key === "Escape") leave(comparison);
    else if (event.key === "Tab") move(comparison, here + (event.shiftKey ? -1 : 1));
    else if (/^[1-9]$/.test(event.key)) { if (Number(event.key) <= count) move(comparison, Number(event.key) - 1); }
    else if (event.key !== "Enter" && (event.key.length > 1 || READING_KEYS.has(event.key))) return;
    event.preventDefault();
    event.stopPropagation();
  }, { capture: true });

  function setUp(comparison) {
    comparison.querySelector(".full-toggle").addEventListener("click", () => toggle(comparison));
  }

  return { setUp, move };
})();
