// Texts that may hurt are covered until their reader wants to see them; what was shown once stays shown.
"use strict";

Seat.cover = (() => {
  const shown = new Set(Seat.store.read("uncovered") || []);
  // A leased comparison has a number of its own; what is practised or reviewed is told by its address.
  const name = (comparison) => Number(comparison.dataset.assignment) || comparison.dataset.raw;
  const isCovered = (comparison) => Boolean(comparison?.classList.contains("covered"));

  function show(comparison) {
    shown.add(name(comparison));
    Seat.store.write("uncovered", [...shown].slice(-50));
    comparison.classList.remove("covered");
    comparison.querySelector("h1")?.focus({ preventScroll: true });
  }

  // `leave(url, fields)` gives the comparison away.
  function setUp(comparison, leave) {
    const cover = comparison.querySelector(".cover");
    if (!cover || shown.has(name(comparison))) return;
    comparison.classList.add("covered");
    cover.addEventListener("click", (event) => {
      const button = event.target.closest("[data-cover]");
      if (button?.dataset.cover === "show") show(comparison);
      if (button?.dataset.cover === "skip") leave(comparison.dataset.skip, { reason: button.dataset.reason });
      if (button?.dataset.cover === "never") leave(button.dataset.url, { kind: button.dataset.harm });
    });
  }

  // Keys while it is covered: they answer the cover and nothing behind it. True: nobody else may have this key.
  function key(event, comparison, single) {
    if (!isCovered(comparison)) return false;
    const named = { Enter: "show", k: single && "skip", o: single && "never" }[event.key];
    const button = named && comparison.querySelector(`[data-cover="${named}"]`);
    if (event.key === "Enter" && event.target.closest("button, a[href], summary")) return false;
    if (button && !event.repeat) { event.preventDefault(); button.click(); }
    return Boolean(button) || /^[0-9xfvdc[\]/]$/.test(event.key);
  }

  return { setUp, key, isCovered };
})();
