// What was submitted and not yet acknowledged. Each entry lies in the browser's storage under a key of its own before it
// is sent, so no closed tab, lost network or second tab loses one or writes over another; its client id makes sending
// it again the same submission. Of several tabs one sends at a time. What the server will not take stays, marked; what
// it fails at stays marked too, is tried again later, and lets the others pass.
"use strict";

Seat.outbox = (() => {
  const RETRY_FIRST = 2000;
  const RETRY_MOST = 30000;
  const PATIENCE = 30000;
  const FAULTS = 3; // so often the server may fail at an entry before the others go first
  const AGAIN_FIRST = 15000;
  const AGAIN_MOST = 600000;
  const LOCK = `switchyard.${Seat.root.dataset.user}.outbox`;
  let wait = RETRY_FIRST;
  let timer = null;
  let offlineSince = null;
  let running = null;
  let number = 0;
  let keeps = true; // the browser kept what it was last given

  // {answered, refused, stuck, removed, changed, loggedOut, elsewhere}
  const handlers = {};
  // Where storage is full or forbidden an entry lives as long as the page does.
  const unkept = new Map();

  const channel = "BroadcastChannel" in window ? new BroadcastChannel(LOCK) : null;
  const tell = (message) => channel?.postMessage(message);
  channel?.addEventListener("message", ({ data }) => handlers.elsewhere?.(data));

  function all() {
    const kept = Seat.store.list("out.").filter((entry) => entry && entry.id && !unkept.has(entry.id));
    return [...kept, ...unkept.values()].sort((one, other) => one.at - other.at);
  }
  const waiting = () => all().filter((entry) => !entry.stuck);
  const stuck = () => all().filter((entry) => entry.stuck);
  const isTriedAgain = (entry) => !entry.stuck || Boolean(entry.stuck.again);
  const due = () => stuck().filter((entry) => entry.stuck.again <= Date.now());
  // What is lost with the page: an older state of an entry in the storage is enough to send it.
  const atRisk = () => [...unkept.keys()].filter((id) => !Seat.store.read(`out.${id}`)).length;

  function keep(entry) {
    keeps = Seat.store.write(`out.${entry.id}`, entry);
    if (keeps) unkept.delete(entry.id); else unkept.set(entry.id, entry);
    return keeps;
  }

  function drop(id) {
    unkept.delete(id);
    Seat.store.write(`out.${id}`, null);
  }

  // {id, assignment, url, answer | fields, seat}; false when the browser cannot keep it.
  function add(entry) {
    number += 1;
    const done = keep({ ...entry, attempts: 0, at: Date.now() + number / 1000 });
    handlers.changed?.();
    return done;
  }

  function remove(id) {
    const entry = all().find((each) => each.id === id);
    drop(id);
    if (entry) handlers.removed?.(entry);
    handlers.changed?.();
  }

  function pause() {
    clearTimeout(timer);
    timer = setTimeout(flush, wait);
    wait = Math.min(2 * wait, RETRY_MOST);
    handlers.changed?.();
  }

  function failed() {
    offlineSince = offlineSince || new Date();
    pause();
  }

  // The network is there, and the server fails: at everything for a while, or at this entry for good. Nobody can tell
  // which, so after a few times the others go first. True: go on with the next one.
  function faulted(entry, status) {
    offlineSince = null;
    if (!all().some((each) => each.id === entry.id)) return true; // discarded meanwhile
    const faults = (entry.faults || 0) + 1;
    if (faults < FAULTS) {
      keep({ ...entry, faults });
      pause();
      return false;
    }
    const again = Date.now() + Math.min(AGAIN_FIRST * 2 ** (faults - FAULTS), AGAIN_MOST);
    keep({ ...entry, faults, stuck: { status, at: Date.now(), html: "", again } });
    if (!entry.stuck) handlers.stuck?.(entry);
    handlers.changed?.();
    return true;
  }

  // An entry of another page (another project, an own judgment) is only stored: what comes next there is not for here.
  function body(entry) {
    const here = entry.seat && entry.seat === Seat.root.dataset.annotate && Seat.page?.(entry);
    const page = here || { alone: true };
    if (entry.answer) return { page, type: "application/json", text: JSON.stringify({ ...entry.answer, ...page }) };
    const fields = Object.entries({ ...entry.fields, ...page }).filter(([, value]) => value !== undefined);
    return { page, type: "application/x-www-form-urlencoded", text: new URLSearchParams(fields).toString() };
  }

  // Sends one entry. True: go on with the next one.
  async function send(entry) {
    if (!navigator.onLine) { failed(); return false; }
    const tried = { ...entry, attempts: entry.attempts + 1 };
    keep(tried);
    const { page, type, text } = body(entry);
    let response;
    let html;
    try {
      response = await Seat.request(entry.url, {
        method: "POST", headers: { "Content-Type": type }, body: text, signal: AbortSignal.timeout(PATIENCE),
      });
      html = response.status === 204 ? "" : await response.text();
    } catch {
      failed();
      return false;
    }
    if (response.redirected || response.status === 401) {
      handlers.loggedOut?.();
      failed();
      return false;
    }
    if (response.status >= 500 || response.status === 429 || response.status === 408) return faulted(tried, response.status);
    offlineSince = null;
    wait = RETRY_FIRST;
    const kind = response.headers.get("Seat-Fragment") || "";
    if (response.ok) {
      drop(entry.id);
      tell({ sent: entry.id, assignment: entry.assignment });
      handlers.answered?.(entry, kind, html, page, response.headers.get("Seat-Note"));
    } else if (response.status === 422 && handlers.refused?.(entry, html)) {
      drop(entry.id);
    } else {
      // Not mine any more, or never takeable: it stays until its author has saved or discarded it.
      keep({ ...entry, stuck: { status: response.status, at: Date.now(), html: response.status === 409 ? html : "" } });
      handlers.stuck?.(entry);
    }
    handlers.changed?.();
    return true;
  }

  async function drain() {
    const first = () => [...waiting(), ...due()][0];
    for (let entry = first(); entry; entry = first()) {
      if (!(await send(entry))) return;
    }
    handlers.changed?.();
  }

  // Another tab may be sending: then wait for it, and send what it has left.
  const alone = (work) => (navigator.locks ? navigator.locks.request(LOCK, work) : work());

  function flush() {
    clearTimeout(timer);
    timer = null;
    running = running || alone(drain).finally(() => {
      running = null;
      if (timer) return;
      if (!waiting().length) later(); else if (navigator.onLine && !offlineSince) setTimeout(flush);
    });
    return running;
  }

  // What the server failed at comes round again, after a reload too.
  function later() {
    const times = stuck().filter(isTriedAgain).map((entry) => entry.stuck.again);
    if (times.length) timer = setTimeout(flush, Math.max(RETRY_FIRST, Math.min(...times) - Date.now()));
  }

  window.addEventListener("online", () => { wait = RETRY_FIRST; if (waiting().length) flush(); else noticed(true); });
  window.addEventListener("offline", () => { offlineSince = offlineSince || new Date(); handlers.changed?.(); });
  window.addEventListener("beforeunload", (event) => { if (atRisk()) event.preventDefault(); });
  window.addEventListener("storage", (event) => { if (event.key?.includes(".out.")) handlers.changed?.(); });

  // Nothing to send, but something else noticed that the network is away or back.
  function noticed(reachable) {
    // A reply that was on its way already says nothing about a network that has just gone.
    if (reachable && !navigator.onLine) return;
    if (reachable) {
      if (waiting().length) { if (offlineSince) flush(); } else if (offlineSince) { offlineSince = null; handlers.changed?.(); }
    } else if (!offlineSince) {
      offlineSince = new Date();
      handlers.changed?.();
    }
  }

  function retry() {
    for (const entry of stuck()) keep({ ...entry, stuck: undefined, faults: 0 });
    flush();
  }

  // One list under one key was how it was kept before; what lies there is taken over.
  for (const old of Seat.store.read("outbox") || []) keep({ seat: "", ...old, at: Date.now() });
  Seat.store.write("outbox", null);
  later();

  return {
    add, remove, flush, noticed, stuck, retry, tell, waiting,
    on: (name, handler) => { handlers[name] = handler; },
    // To be sent, now or later.
    find: (assignment) => all().find((entry) => isTriedAgain(entry) && entry.assignment === assignment),
    get pending() { return all().filter(isTriedAgain); },
    get size() { return waiting().length; },
    get unkept() { return atRisk(); },
    get keepsNothing() { return !keeps || atRisk() > 0; },
    get isFaulty() { return !offlineSince && waiting().some((entry) => entry.faults); },
    get offlineSince() { return offlineSince; },
  };
})();
