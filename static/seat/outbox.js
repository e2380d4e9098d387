// What was submitted and not yet acknowledged. It lies in the browser's storage before it is sent, so neither a
// closed tab nor a lost network loses it; its client id makes sending it again the same submission.
"use strict";

Seat.outbox = (() => {
  const RETRY_FIRST = 2000;
  const RETRY_MOST = 30000;
  let entries = Seat.store.read("outbox") || [];
  let wait = RETRY_FIRST;
  let timer = null;
  let offlineSince = null;
  let running = null;

  const handlers = { answered: null, refused: null, changed: null, loggedOut: null };

  // Another window of the same person may have added or sent entries meanwhile.
  const mine = new Set();
  function save() {
    const stored = (Seat.store.read("outbox") || []).filter((other) => !mine.has(other.id));
    for (const entry of entries) mine.add(entry.id);
    Seat.store.write("outbox", [...stored.filter((other) => !entries.some((entry) => entry.id === other.id)), ...entries]);
    handlers.changed?.();
  }

  function add(entry) {
    entries.push({ ...entry, attempts: 0 });
    mine.add(entry.id);
    save();
  }

  function remove(id) {
    entries = entries.filter((entry) => entry.id !== id);
    save();
  }

  function failed() {
    offlineSince = offlineSince || new Date();
    clearTimeout(timer);
    timer = setTimeout(flush, wait);
    wait = Math.min(2 * wait, RETRY_MOST);
    handlers.changed?.();
  }

  // Sends one entry. True: go on with the next one.
  async function send(entry) {
    entry.attempts += 1;
    save();
    let response;
    try {
      response = await Seat.request(entry.url, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ ...entry.answer, showing: entry.showing?.() ?? Seat.onScreen?.(entry) }),
      });
    } catch {
      failed();
      return false;
    }
    if (response.redirected || response.status === 401 || response.status === 403) {
      handlers.loggedOut?.();
      failed();
      return false;
    }
    if (response.status >= 500 || response.status === 429) {
      failed();
      return false;
    }
    offlineSince = null;
    wait = RETRY_FIRST;
    remove(entry.id);
    const html = response.status === 204 ? "" : await response.text();
    const kind = response.headers.get("Seat-Fragment") || "";
    if (response.ok) handlers.answered?.(entry, kind, html); else handlers.refused?.(entry, response.status, kind, html);
    return true;
  }

  async function drain() {
    while (entries.length) {
      if (!(await send(entries[0]))) return;
    }
    handlers.changed?.();
  }

  function flush() {
    clearTimeout(timer);
    running = running || drain().finally(() => { running = null; });
    return running;
  }

  window.addEventListener("online", () => { wait = RETRY_FIRST; flush(); });
  window.addEventListener("offline", () => { offlineSince = offlineSince || new Date(); handlers.changed?.(); });
  // Nothing to send, but something else noticed that the network is away or back.
  function noticed(reachable) {
    if (reachable) {
      if (offlineSince && !entries.length) { offlineSince = null; handlers.changed?.(); }
      if (entries.length) flush();
    } else if (!offlineSince) {
      offlineSince = new Date();
      handlers.changed?.();
    }
  }

  return {
    add, remove, flush, noticed,
    on: (name, handler) => { handlers[name] = handler; },
    find: (assignment) => entries.find((entry) => entry.assignment === assignment),
    get size() { return entries.length; },
    get offlineSince() { return offlineSince; },
  };
})();
