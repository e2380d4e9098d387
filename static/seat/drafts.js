// Unfinished answers: in the browser at every change, on the server half a second later, told to other tabs. Of a
// draft here and one on the server the newer is shown, and whoever it surprises is told.
"use strict";

Seat.drafts = (() => {
  const AFTER = 500;
  let timer = null;
  let queue = Promise.resolve();
  // {comparison() on screen, changed(), lost(), loggedOut()}
  let page = null;

  const idOf = (comparison) => Number(comparison.dataset.assignment);
  const formOf = (comparison) => comparison.querySelector(".answer");
  const told = (savedAt) => Seat.saved("ok", Seat.say("saved", Seat.clock(new Date(savedAt))));
  const forget = (id) => { Seat.store.write(`draft.${id}`, null); Seat.store.write(`known.${id}`, null); };

  function changed(comparison) {
    Seat.store.write(`draft.${idOf(comparison)}`, { answer: Seat.form.read(formOf(comparison)), at: Date.now() });
    Seat.saved("busy", Seat.say("saving"));
    clearTimeout(timer);
    timer = setTimeout(() => save(comparison), AFTER);
  }

  function stop() {
    clearTimeout(timer);
    timer = null;
  }

  function save(comparison, keepalive = false) {
    stop();
    queue = queue.then(() => send(comparison, keepalive));
    return queue;
  }

  async function send(comparison, keepalive) {
    const id = idOf(comparison);
    if (Seat.outbox.find(id) || comparison !== page.comparison()) return;
    const answer = Seat.form.read(formOf(comparison));
    let response;
    try {
      response = await Seat.request(comparison.dataset.draft, {
        method: "POST",
        keepalive,
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ ...answer, active_ms: Seat.time.milliseconds }),
      });
    } catch {
      Seat.saved("warn", Seat.say("unsaved"));
      Seat.outbox.noticed(false);
      return;
    }
    if (comparison !== page.comparison() || timer) return;
    if (response.status === 409) { forget(id); page.lost(); return; }
    if (!response.ok || response.redirected) {
      Seat.saved("warn", Seat.say("unsaved"));
      if (response.redirected) page.loggedOut();
      return;
    }
    const { saved_at: savedAt } = await response.json();
    Seat.store.write(`draft.${id}`, null);
    Seat.store.write(`known.${id}`, savedAt);
    comparison.dataset.draftSaved = savedAt;
    told(savedAt);
    Seat.outbox.noticed(true);
    Seat.outbox.tell({ draft: id, answer, savedAt });
    page.saved?.();
  }

  // What the form starts with: the server's draft is in it already.
  function load(comparison) {
    const id = idOf(comparison);
    const kept = Seat.store.read(`draft.${id}`);
    const saved = comparison.dataset.draftSaved;
    const known = Seat.store.read(`known.${id}`);
    const here = kept && (kept.answer || kept);
    const newer = saved && (!known || new Date(saved) > new Date(known)) && (!kept || new Date(saved) >= kept.at);
    if (here && !newer) {
      Seat.form.write(formOf(comparison), here);
      changed(comparison);
      return;
    }
    if (here) Seat.store.write(`draft.${id}`, null);
    if (saved) { told(saved); Seat.store.write(`known.${id}`, saved); }
    if (saved && newer) Seat.note?.(Seat.say("draftElsewhere", Seat.clock(new Date(saved))));
  }

  // Another tab has saved a draft of what is on screen here.
  function heard({ draft, answer, savedAt }) {
    const comparison = page?.comparison();
    if (!comparison || idOf(comparison) !== draft || timer) return;
    Seat.form.write(formOf(comparison), answer);
    told(savedAt);
  }

  window.addEventListener("pagehide", () => { if (timer && page?.comparison()) send(page.comparison(), true); });

  return {
    changed, save, stop, load, heard, forget,
    setUp: (given) => { page = given; },
    // An answer that came back from an undo is no surprise.
    expect: (comparison) => Seat.store.write(`known.${idOf(comparison)}`, comparison.dataset.draftSaved || null),
    get waits() { return timer !== null; },
  };
})();
