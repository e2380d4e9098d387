// How much of each response was never on screen: told beside the answer, never held against it.
"use strict";

Seat.unseen = (() => {
  const SLICES = 200;
  const MUCH = 0.4; // of a response not seen: worth a word
  const seen = new WeakMap(); // pane -> which slices of its height were on screen

  function look(comparison) {
    for (const pane of Seat.reading.panes(comparison)) {
      const box = pane.getBoundingClientRect();
      const strip = pane.parentElement.getBoundingClientRect();
      if (!pane.clientHeight || !pane.isConnected) continue;
      const across = Math.min(box.right, strip.right, innerWidth) - Math.max(box.left, strip.left, 0);
      const [top, bottom] = [Math.max(box.top, strip.top, 0), Math.min(box.bottom, strip.bottom, innerHeight)];
      if (across < box.width / 2 || bottom <= top) continue;
      note(pane, pane.scrollTop + top - box.top, pane.scrollTop + bottom - box.top);
    }
    tell(comparison);
  }

  function note(pane, from, to) {
    if (!seen.has(pane)) seen.set(pane, new Uint8Array(SLICES));
    seen.get(pane).fill(1, Math.floor((from / pane.scrollHeight) * SLICES), Math.ceil((to / pane.scrollHeight) * SLICES));
  }

  // The share of each response that was not on screen yet, in on-screen order.
  function shares(comparison) {
    return Seat.reading.panes(comparison).map((pane) => {
      const slices = seen.get(pane);
      return slices ? 1 - slices.reduce((sum, slice) => sum + slice, 0) / SLICES : 1;
    });
  }

  function tell(comparison) {
    const hint = comparison.querySelector(".unseen");
    const answered = comparison.querySelector(".answer input[type=radio]:checked, .answer .placed");
    const much = answered ? shares(comparison).map((share, side) => [share, side]).filter(([share]) => share > MUCH) : [];
    const panes = Seat.reading.panes(comparison);
    const words = much.map(([share, side]) => `${panes[side].dataset.letter} ${Math.round(share * 100)}%`).join(", ");
    if (words) hint.textContent = Seat.say("unseen", words);
    hint.hidden = !words;
  }

  function setUp(comparison) {
    let waiting = false;
    const soon = () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; if (comparison.isConnected) look(comparison); });
    };
    const strip = comparison.querySelector(".panes");
    strip.addEventListener("scroll", soon, { passive: true, capture: true });
    comparison.addEventListener("scroll", soon, { passive: true });
    new ResizeObserver(soon).observe(strip);
    comparison.querySelector(".answer")?.addEventListener("change", soon);
    window.addEventListener("scroll", soon, { passive: true });
  }

  return { setUp, shares, look };
})();
