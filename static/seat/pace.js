// Breaks, and the end of a lease. A break is suggested, once, in a line that can be dismissed; time is shown to whoever
// asks; the lease is counted down in its last two minutes only, and is renewed by itself while its holder is at work.
"use strict";

Seat.pace = (() => {
  const PAUSE = 5 * 60000; // without input as long as this, work starts anew
  const STEP = 1000;
  const SHORT = 2 * 60000;
  const AT_WORK = 20000;
  const after = Number(Seat.root.dataset.breakAfter || 0) * 60000;
  const line = document.getElementById("break");
  const lease = document.getElementById("lease");
  const output = document.getElementById("time-worked");

  // Of all tabs together, and over a reload: {active, seen (clock time of the last input), told}
  let worked = { active: 0, seen: 0, told: false };
  let before = Seat.time.total;
  let until = 0;
  let renewing = false;

  const minutes = () => Math.floor(worked.active / 60000);

  function count() {
    const total = Seat.time.total;
    const seen = Date.now() - Seat.time.idle;
    worked = Seat.store.read("pace") || worked;
    if (seen - worked.seen > PAUSE) worked = { active: 0, seen, told: false };
    worked = { ...worked, active: worked.active + total - before, seen: Math.max(seen, worked.seen) };
    before = total;
    Seat.store.write("pace", worked);
    const tell = after && !worked.told && worked.active >= after && Seat.time.idle < PAUSE;
    if (tell && line.hidden) line.querySelector("span").textContent = Seat.say("break", minutes());
    line.hidden = !tell;
  }

  async function renew(comparison, lost) {
    renewing = true;
    try {
      const response = await Seat.request(comparison.dataset.open, { method: "POST" });
      if (response.status === 204) extend();
      if (response.status === 409) lost();
    } catch { Seat.outbox.noticed(false); } finally { renewing = false; }
  }

  function left(page) {
    const rest = until - Date.now();
    const comparison = page.comparison();
    const isShort = Boolean(comparison) && until && rest < SHORT && !page.busy();
    lease.hidden = !isShort;
    if (!isShort) return;
    const seconds = Math.max(0, Math.ceil(rest / 1000));
    const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    lease.textContent = seconds ? Seat.say("lease", clock) : Seat.say("leaseOver");
    if (Seat.time.idle < AT_WORK && !renewing && navigator.onLine) renew(comparison, page.lost);
  }

  // The server has just held the comparison for as long as it holds any.
  function extend() { until = Date.now() + Number(Seat.root.dataset.leaseSeconds) * 1000; }

  function setUp(page) {
    setInterval(() => { count(); left(page); }, STEP);
    line.querySelector("button").addEventListener("click", () => {
      worked.told = true;
      Seat.store.write("pace", worked);
      line.hidden = true;
    });
    document.getElementById("time-show").addEventListener("click", () => {
      count();
      output.textContent = Seat.count("worked", minutes());
    });
  }

  return { setUp, extend, started: (comparison) => { until = Date.parse(comparison.dataset.leasedUntil) || 0; } };
})();
