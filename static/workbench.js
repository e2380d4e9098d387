// The seat: what is on screen, what comes next, and everything that is sent.
"use strict";

(() => {
  const DRAFT_AFTER = 500;
  const UNDO_MS = 10000;
  const stage = document.getElementById("stage");
  const done = document.getElementById("done");
  const toast = document.getElementById("toast");

  let ahead = null; // the next comparison, off screen
  let fetching = null;
  let last = null; // what can be undone: {element, assignment, until, entry}
  let draftTimer = null;
  let draftQueue = Promise.resolve();

  const current = () => stage.querySelector(".comparison");
  const idOf = (comparison) => (comparison ? Number(comparison.dataset.assignment) : undefined);
  const formOf = (comparison) => comparison?.querySelector(".answer");

  function parse(html) {
    const holder = document.createElement("template");
    holder.innerHTML = html; // our own server's fragment; responses in it are sanitised there
    return holder.content.firstElementChild;
  }

  // ---- what is on screen ----

  function put(element, { focus = true } = {}) {
    stage.replaceChildren(element);
    if (element.matches(".comparison")) adopt(element);
    else ahead = null;
    measure();
    if (focus) element.querySelector("h1")?.focus({ preventScroll: true });
  }

  function adopt(comparison) {
    if (!comparison.dataset.ready) {
      comparison.dataset.ready = "yes";
      Seat.form.setUp(formOf(comparison));
      Seat.reading.setUp(comparison);
      listen(comparison);
      const kept = Seat.store.read(`draft.${idOf(comparison)}`);
      if (kept) {
        Seat.form.write(formOf(comparison), kept);
        changed(comparison);
      }
    }
    Seat.reading.shown(comparison);
    Seat.time.start(Number(comparison.dataset.activeMs));
    const saved = comparison.dataset.draftSaved;
    if (saved) Seat.saved("ok", Seat.say("saved", Seat.clock(new Date(saved))));
    fetchAhead();
  }

  // The toast stands on the answer bar, however high that is.
  const sizes = new ResizeObserver(([bar]) => {
    document.documentElement.style.setProperty("--answer-height", `${bar.target.offsetHeight}px`);
  });

  function measure() {
    sizes.disconnect();
    const bar = stage.querySelector(".answer");
    if (bar) sizes.observe(bar);
  }

  function next() {
    const element = ahead;
    ahead = null;
    if (element) {
      put(element);
      Seat.announce(Seat.say("next"));
    } else {
      stage.setAttribute("aria-busy", "true");
    }
  }

  // ---- drafts ----

  function changed(comparison) {
    Seat.store.write(`draft.${idOf(comparison)}`, Seat.form.read(formOf(comparison)));
    Seat.saved("busy", Seat.say("saving"));
    clearTimeout(draftTimer);
    draftTimer = setTimeout(() => saveDraft(comparison), DRAFT_AFTER);
  }

  function saveDraft(comparison, { keepalive = false } = {}) {
    clearTimeout(draftTimer);
    draftTimer = null;
    draftQueue = draftQueue.then(() => sendDraft(comparison, keepalive));
    return draftQueue;
  }

  async function sendDraft(comparison, keepalive) {
    if (Seat.outbox.find(idOf(comparison)) || comparison !== current()) return;
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
    if (comparison !== current() || draftTimer) return;
    if (response.status === 409) { Seat.store.write(`draft.${idOf(comparison)}`, null); look(Seat.say("lost")); return; }
    if (!response.ok || response.redirected) { Seat.saved("warn", Seat.say("unsaved")); if (response.redirected) loggedOut(); return; }
    const { saved_at: savedAt } = await response.json();
    Seat.store.write(`draft.${idOf(comparison)}`, null);
    Seat.saved("ok", Seat.say("saved", Seat.clock(new Date(savedAt))));
    Seat.outbox.noticed(true);
  }

  // ---- the next comparison ----

  function fetchAhead() {
    const comparison = current();
    // An answer on its way brings the next one back with it.
    if (ahead || fetching || !comparison || Seat.outbox.size) return;
    fetching = Seat.request(comparison.dataset.prefetch)
      .then(async (response) => {
        if (response.ok && response.status === 200 && !response.redirected) takeAhead(await response.text());
        if (response.redirected) loggedOut();
      })
      .catch(() => Seat.outbox.noticed(false))
      .finally(() => { fetching = null; });
  }

  function takeAhead(html) {
    const element = parse(html);
    if (!element?.matches(".comparison") || idOf(element) === idOf(current()) || Seat.outbox.find(idOf(element))) return;
    ahead = element;
  }

  // Ask the server what is to be done now, because what the page thought is no longer so.
  async function look(announcement) {
    try {
      const response = await Seat.request(Seat.root.dataset.annotate);
      if (response.redirected) { loggedOut(); return; }
      if (!response.ok) return;
      stage.removeAttribute("aria-busy");
      put(parse(await response.text()));
      if (announcement) Seat.announce(announcement);
    } catch { Seat.outbox.noticed(false); }
  }

  // ---- submitting ----

  function submit(comparison) {
    const form = formOf(comparison);
    const needs = Seat.form.missing(form);
    if (needs.length) {
      if (needs[0].field?.closest(".rows, .panels, .feedback")) Seat.form.open(form, true);
      if (needs[0].field?.name === "justification") form.classList.add("explain");
      needs[0].field?.focus();
      Seat.announce(needs[0].text);
      return;
    }
    clearTimeout(draftTimer);
    draftTimer = null;
    const entry = {
      id: form.elements.client_id.value,
      assignment: idOf(comparison),
      url: form.getAttribute("action"),
      answer: {
        ...Seat.form.read(form),
        client_id: form.elements.client_id.value,
        active_ms: Seat.time.milliseconds,
        protocol: Number(form.elements.protocol.value),
      },
    };
    const words = Seat.form.summary(form);
    Seat.outbox.add(entry);
    Seat.store.write(`draft.${entry.assignment}`, null);
    count(1);
    last = { element: comparison, assignment: entry.assignment, id: entry.id, undo: comparison.dataset.undo, until: Date.now() + UNDO_MS };
    showToast(`${Seat.say("judged")} ${words}`, true);
    next();
    // While the network is known to be away the outbox tries by itself; until then the answer can be taken back here.
    if (Seat.outbox.offlineSince && !navigator.onLine) status(); else Seat.outbox.flush();
  }

  Seat.onScreen = (entry) => {
    const id = idOf(current());
    return id === entry.assignment || Seat.outbox.find(id) ? undefined : id;
  };

  Seat.outbox.on("answered", (entry, kind, html) => {
    if (last?.id === entry.id) last.acknowledged = true;
    Seat.saved("ok", Seat.say("saved", Seat.clock(new Date())));
    const shown = idOf(current());
    const stale = shown === undefined || shown === entry.assignment || Boolean(Seat.outbox.find(shown));
    if (kind === "ahead") { if (!ahead) takeAhead(html); }
    else if (html && (stale || kind === "current" || kind === "empty") && !Seat.outbox.size) {
      stage.removeAttribute("aria-busy");
      const element = parse(html);
      if (idOf(element) !== shown || !element.matches(".comparison")) {
        put(element);
        if (kind !== "empty") Seat.announce(shown === undefined || stale ? Seat.say("next") : Seat.say("lost"));
      }
    }
    if (!html && stale && !Seat.outbox.size) look();
  });

  Seat.outbox.on("refused", (entry, code, kind, html) => {
    count(-1);
    hideToast();
    if (code === 422 && html) {
      ahead = current() && idOf(current()) !== entry.assignment ? current() : ahead;
      put(parse(html));
      Seat.announce(Seat.say("refused"));
    } else look(Seat.say("lost"));
  });

  // ---- undo ----

  let countdown = null;

  function showToast(text, undoable) {
    document.getElementById("toast-text").textContent = text;
    document.getElementById("undo").hidden = !undoable;
    toast.hidden = false;
    clearInterval(countdown);
    const end = undoable ? last.until : Date.now() + 4000;
    const left = () => {
      const seconds = Math.ceil((end - Date.now()) / 1000);
      document.getElementById("undo-left").textContent = undoable ? Seat.say("seconds", Math.max(0, seconds)) : "";
      if (seconds <= 0) hideToast();
    };
    left();
    countdown = setInterval(left, 250);
  }

  function hideToast() {
    clearInterval(countdown);
    toast.hidden = true;
    last = null;
  }

  function count(step) {
    done.textContent = String(Math.max(0, Number(done.textContent) + step));
  }

  function back(element, wasCounted = true) {
    const shown = current();
    if (shown && shown !== element) ahead = shown;
    if (wasCounted) count(-1);
    hideToast();
    stage.removeAttribute("aria-busy");
    put(element);
    Seat.announce(Seat.say("undone"));
  }

  async function undo() {
    if (!last || toast.hidden) return;
    const taken = last;
    const entry = Seat.outbox.find(taken.assignment);
    if (entry && entry.attempts === 0) {
      Seat.outbox.remove(entry.id);
      back(taken.element);
      changed(taken.element);
      return;
    }
    document.getElementById("undo").disabled = true;
    try {
      if (entry) await Seat.outbox.flush();
      if (Seat.outbox.find(taken.assignment)) { showNote(Seat.say("undoOffline")); return; }
      if (current() && draftTimer) await saveDraft(current());
      const response = await Seat.request(taken.undo, { method: "POST" });
      if (response.redirected) loggedOut();
      else if (response.ok) back(parse(await response.text()));
      else showNote(Seat.say("undoLate"));
    } catch {
      showNote(Seat.say("undoOffline"));
      Seat.outbox.noticed(false);
    } finally {
      document.getElementById("undo").disabled = false;
    }
  }

  function showNote(text) {
    last = null;
    showToast(text, false);
  }

  // ---- skip and report ----

  async function sendAway(form, comparison) {
    const data = new FormData(form);
    const leaves = form.matches(".skip-form") || data.get("and") === "skip";
    if (leaves && ahead) data.set("showing", String(idOf(ahead)));
    form.closest("details").open = false;
    clearTimeout(draftTimer);
    draftTimer = null;
    let response;
    try {
      response = await Seat.request(form.getAttribute("action"), { method: "POST", body: data });
    } catch { Seat.outbox.noticed(false); showNote(Seat.say("undoOffline")); return; }
    if (response.redirected) { loggedOut(); return; }
    if (!leaves) { if (response.ok) { form.reset(); showNote(Seat.say("reported")); } return; }
    if (!response.ok) { look(); return; }
    Seat.store.write(`draft.${idOf(comparison)}`, null);
    const html = response.status === 204 ? "" : await response.text();
    if (ahead && !["current", "empty"].includes(response.headers.get("Seat-Fragment"))) next(); else if (html) put(parse(html)); else look();
    if (response.headers.get("Seat-Fragment") === "ahead") takeAhead(html);
    showNote(Seat.say("skipped"));
  }

  function listen(comparison) {
    const form = formOf(comparison);
    form.addEventListener("submit", (event) => { event.preventDefault(); submit(comparison); });
    form.addEventListener("change", () => changed(comparison));
    form.addEventListener("input", (event) => { if (event.target.matches("textarea")) changed(comparison); });
    for (const other of comparison.querySelectorAll(".away form")) {
      other.addEventListener("submit", (event) => { event.preventDefault(); sendAway(other, comparison); });
    }
  }

  // ---- network ----

  function status() {
    const banner = document.getElementById("offline");
    const since = Seat.outbox.offlineSince;
    banner.hidden = !since;
    if (since) {
      const time = Seat.clock(since).slice(0, 5);
      const waiting = stage.hasAttribute("aria-busy") || Seat.outbox.find(idOf(current()));
      banner.textContent = `${Seat.say("offline", time)} ${Seat.say(waiting ? "offlineWait" : "offlineNext")}`;
    }
    if (Seat.outbox.size && since) Seat.saved("warn", Seat.say("kept", Seat.outbox.size));
  }
  Seat.outbox.on("changed", status);

  function loggedOut() {
    const banner = document.getElementById("offline");
    const link = document.createElement("a");
    link.href = `${Seat.root.dataset.login}?next=${encodeURIComponent(location.pathname)}`;
    link.textContent = Seat.say("logIn");
    banner.replaceChildren(`${Seat.say("loggedOut")} `, link);
    banner.hidden = false;
  }
  Seat.outbox.on("loggedOut", () => setTimeout(loggedOut));

  // ---- keys, leaving ----

  document.getElementById("keys-open").addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("keys").showModal();
  });
  document.getElementById("undo").addEventListener("click", undo);

  Seat.escape = (event) => {
    const menu = event.target.closest("details[open]");
    if (menu) { menu.open = false; menu.querySelector("summary").focus(); return; }
    if (Seat.guidelines.close()) return;
    if (event.target.matches(".answer textarea")) stage.querySelector(".answer .submit").focus();
  };

  window.addEventListener("pagehide", () => { if (draftTimer && current()) sendDraft(current(), true); });

  // ---- start ----

  Seat.root.classList.add("js");
  if (current()) {
    const plain = stage.querySelector(".undo-plain");
    const until = plain ? new Date(plain.dataset.until).getTime() : 0;
    if (until > Date.now()) {
      last = { assignment: Number(plain.getAttribute("action").match(/assignments\/(\d+)\//)[1]), undo: plain.getAttribute("action"), until, acknowledged: true };
      showToast(Seat.say("judgedBefore"), true);
    }
    adopt(current());
    measure();
  }
  if (Seat.outbox.size) Seat.outbox.flush();
})();
