// What was submitted and not yet acknowledged. Each entry lies in the browser's storage under a key of its own before it
// is sent, so no closed tab, lost network or second tab loses one or writes over another; its client id makes sending
// it again the same submission. Of several tabs one sends at a time. What the server will not take stays, marked.
"use strict";

Seat.outbox = (() => {
  const RETRY_FIRST = 2000;
  const RETRY_MOST = 30000;
  const PATIENCE = 30000;
  const LOCK = `switchyard.${Seat.root.dataset.user}.outbox`;
  let wait = RETRY_FIRST;
  let timer = null;
  let offlineSince = null;
  let running = null;
  let number = 0;

  // {answered, refused, changed, loggedOut, elsewhere}
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

  function keep(entry) {
    const done = Seat.store.write(`out.${entry.id}`, entry);
    if (done) unkept.delete(entry.id); else unkept.set(entry.id, entry);
    return done;
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
    drop(id);
    handlers.changed?.();
  }

  function failed() {
    offlineSince = offlineSince || new Date();
    clearTimeout(timer);
    timer = setTimeout(flush, wait);
    wait = Math.min(2 * wait, RETRY_MOST);
    handlers.changed?.();
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
    keep({ ...entry, attempts: entry.attempts + 1 });
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
    if (response.status >= 500 || response.status === 429 || response.status === 408) {
      failed();
      return false;
    }
    offlineSince = null;
    wait = RETRY_FIRST;
    const kind = response.headers.get("Seat-Fragment") || "";
    if (response.ok) {
      drop(entry.id);
      tell({ sent: entry.id, assignment: entry.assignment });
      handlers.answered?.(entry, kind, html, page);
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
    for (let [entry] = waiting(); entry; [entry] = waiting()) {
      if (!(await send(entry))) return;
    }
    handlers.changed?.();
  }

  // Another tab may be sending: then wait for it, and send what it has left.
  const alone = (work) => (navigator.locks ? navigator.locks.request(LOCK, work) : work());

  function flush() {
    clearTimeout(timer);
    running = running || alone(drain).finally(() => {
      running = null;
      if (waiting().length && navigator.onLine && !offlineSince) setTimeout(flush);
    });
    return running;
  }

  window.addEventListener("online", () => { wait = RETRY_FIRST; if (waiting().length) flush(); else noticed(true); });
  window.addEventListener("offline", () => { offlineSince = offlineSince || new Date(); handlers.changed?.(); });
  window.addEventListener("storage", (event) => { if (event.key?.includes(".out.")) handlers.changed?.(); });

  // Nothing to send, but something else noticed that the network is away or back.
  function noticed(reachable) {
    if (reachable) {
      if (waiting().length) { if (offlineSince) flush(); } else if (offlineSince) { offlineSince = null; handlers.changed?.(); }
    } else if (!offlineSince) {
      offlineSince = new Date();
      handlers.changed?.();
    }
  }

  function retry() {
    for (const entry of stuck()) keep({ ...entry, stuck: undefined });
    flush();
  }

  // One list under one key was how it was kept before; what lies there is taken over.
  for (const old of Seat.store.read("outbox") || []) keep({ seat: "", ...old, at: Date.now() });
  Seat.store.write("outbox", null);

  return {
    add, remove, flush, noticed, stuck, retry, tell, waiting,
    on: (name, handler) => { handlers[name] = handler; },
    find: (assignment) => waiting().find((entry) => entry.assignment === assignment),
    get size() { return waiting().length; },
    get offlineSince() { return offlineSince; },
  };
})();
