// Active time: counts while the page is seen and something was done in the last 30 seconds.
"use strict";

Seat.time = (() => {
  const IDLE_AFTER = 30000;
  const TICK = 500;
  let counted = 0;
  let total = 0; // since the page was loaded, whatever is on screen
  let lastInput = performance.now();
  let lastTick = performance.now();

  function tick() {
    const current = performance.now();
    const until = Math.min(current, lastInput + IDLE_AFTER);
    // A sleeping machine makes one long step: it counts no further than the last input allows.
    if (document.visibilityState === "visible" && until > lastTick) {
      counted += until - lastTick;
      total += until - lastTick;
    }
    lastTick = current;
  }

  function acted() {
    tick();
    lastInput = performance.now();
  }

  for (const name of ["keydown", "pointerdown", "pointermove", "wheel", "touchmove"]) {
    window.addEventListener(name, acted, { passive: true, capture: true });
  }
  document.addEventListener("visibilitychange", () => { lastTick = performance.now(); acted(); });
  setInterval(tick, TICK);

  return {
    start(alreadyCounted) { acted(); counted = alreadyCounted; },
    get milliseconds() { tick(); return Math.round(counted); },
    get total() { tick(); return total; },
    get idle() { return performance.now() - lastInput; },
  };
})();
