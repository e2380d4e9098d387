// The seat: what is on screen, what comes next, what was submitted and what is taken back.
"use strict";

(() => {
  const UNDO_MS = 10000;
  const LOOK_AGAIN = 1000;
  const FAULT_AGAIN = 10000;
  const stage = document.getElementById("stage");
  const done = document.getElementById("done");
  const toast = document.getElementById("toast");

  let last = null; // what can be undone: {element, assignment, id, undo, until}
  let taking = null; // what is taken back once the network returns
  let looking = false;
  const judged = new Set(); // answered or given away on this page

  const current = () => stage.querySelector(".comparison");
  const idOf = (comparison) => (comparison ? Number(comparison.dataset.assignment) : undefined);
  const formOf = (comparison) => comparison?.querySelector(".answer");
  const isDone = (id) => judged.has(id) || Boolean(Seat.outbox.find(id));
  // What is on screen waits for the next one: nothing is, or it has been answered.
  const isStale = () => !current() || isDone(idOf(current()));

  // ---- what is on screen ----

  function put(element, { focus = true } = {}) {
    stage.removeAttribute("aria-busy");
    stage.replaceChildren(element);
    if (element.matches(".comparison")) adopt(element);
    else Seat.ahead.clear();
    measure();
    if (focus) element.querySelector(element.matches(".covered") ? "#cover-title" : "h1")?.focus({ preventScroll: true });
  }

  function adopt(comparison) {
    // It may have been fetched ahead while an answer brought it back as well.
    Seat.ahead.drop(idOf(comparison));
    if (!comparison.dataset.ready) {
      comparison.dataset.ready = "yes";
      Seat.form.setUp(formOf(comparison));
      Seat.reading.setUp(comparison);
      Seat.cover.setUp(comparison, (url, fields) => leave(comparison, url, fields));
      listen(comparison);
      Seat.drafts.load(comparison);
    }
    Seat.reading.shown(comparison);
    Seat.keys.relabel(comparison);
    Seat.time.start(Number(comparison.dataset.activeMs));
    Seat.pace.started(comparison);
    status();
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

  function next(words = Seat.say("next"), warning = "") {
    const element = Seat.ahead.take();
    if (element) put(element);
    else {
      stage.setAttribute("aria-busy", "true");
      status();
    }
    if (element || warning) Seat.announce([warning, element && words].filter(Boolean).join(" "));
  }

  // ---- the next comparison ----

  const known = (id) => id === idOf(current()) || isDone(id);
  const having = () => [idOf(current()), ...Seat.outbox.pending.map((entry) => entry.assignment)].filter(Number.isInteger);

  function fetchAhead() {
    const comparison = current();
    // An answer on its way brings the next one back with it.
    if (!comparison || Seat.outbox.size) return;
    Seat.ahead.fetch(
      comparison.dataset.prefetch, having, known,
      (response) => { if (response.redirected) loggedOut(); else if (response.ok) Seat.outbox.noticed(true); },
      () => Seat.outbox.noticed(false),
    );
  }

  // What the outbox sends along with an answer: what is on screen now, and what lies ready.
  Seat.page = (entry) => {
    const id = idOf(current());
    const showing = id === undefined || id === entry.assignment || isDone(id) ? undefined : id;
    return { showing, having: [...having(), ...Seat.ahead.ids()].join(",") };
  };

  // Ask the server what is to be done now, because what the page thought is no longer so.
  async function look(announcement) {
    if (looking) return;
    looking = true;
    try {
      const response = await Seat.request(Seat.root.dataset.annotate);
      if (response.redirected) { loggedOut(); return; }
      if (!response.ok) { gone(response.status); return; }
      let element = Seat.ahead.parse(await response.text());
      if (element.matches(".comparison") && isDone(idOf(element))) {
        // The server fails at its answer; or another tab has answered it and is about to send that.
        const failing = Seat.outbox.find(idOf(element))?.stuck;
        element = failing && await after(element);
        if (!element) { setTimeout(look, failing ? FAULT_AGAIN : LOOK_AGAIN); return; }
      }
      put(element);
      if (announcement) Seat.announce(announcement);
    } catch { Seat.outbox.noticed(false); } finally { looking = false; }
  }

  // What comes after one whose answer has to wait.
  async function after(comparison) {
    const response = await Seat.request(`${comparison.dataset.prefetch}?having=${having().join(",")}`);
    if (response.status !== 200) return null;
    const element = Seat.ahead.parse(await response.text());
    const opened = await Seat.request(element.dataset.open, { method: "POST" });
    return opened.status === 204 ? element : null;
  }

  function gone(code) {
    if (code >= 500) setTimeout(look, FAULT_AGAIN);
    if (code !== 404 && code !== 403) return;
    stage.setAttribute("aria-busy", "true");
    Seat.note(Seat.say("gone"));
  }

  // ---- submitting ----

  function submit(comparison) {
    if (isDone(idOf(comparison)) || Seat.cover.isCovered(comparison)) return;
    const form = formOf(comparison);
    const needs = Seat.form.missing(form);
    if (needs.length) {
      if (needs[0].field?.closest(".rows, .panels, .feedback, .ranking")) Seat.form.open(form, true);
      if (needs[0].field?.name === "justification") form.classList.add("explain");
      needs[0].field?.focus();
      Seat.announce(needs[0].text);
      return;
    }
    const id = form.elements.client_id.value;
    const answer = {
      ...Seat.form.read(form),
      client_id: id,
      active_ms: Seat.time.milliseconds,
      protocol: Number(form.elements.protocol.value),
    };
    const words = Seat.form.summary(form);
    const warning = send(comparison, { id, url: form.getAttribute("action"), answer });
    count(1);
    last = { element: comparison, assignment: idOf(comparison), id, undo: comparison.dataset.undo, until: Date.now() + UNDO_MS };
    showToast(`${Seat.say("judged")} ${words}`, true);
    next(undefined, warning);
    Seat.outbox.flush();
  }

  // Gives what its author must hear about it.
  function send(comparison, entry) {
    const assignment = idOf(comparison);
    Seat.drafts.stop();
    const kept = Seat.outbox.add({ ...entry, assignment, seat: Seat.root.dataset.annotate });
    if (kept) Seat.drafts.forget(assignment);
    judged.add(assignment);
    Seat.outbox.tell({ judged: assignment });
    return kept ? "" : Seat.say("unkept");
  }

  // Skipped, or reported and skipped, or a kind of text this person does not want to see.
  function leave(comparison, url, fields) {
    if (isDone(idOf(comparison))) return;
    const warning = send(comparison, { id: crypto.randomUUID?.() || `${Date.now()}.${Math.random()}`, url, fields });
    if (fields.kind) Seat.ahead.clear(); // others of this kind may lie ready
    Seat.note(Seat.say("skipped"));
    next(undefined, warning);
    Seat.ahead.settled().then(Seat.outbox.flush);
  }

  // A second device has sent its own answer to the same comparison. An undo that is still open keeps its place.
  function tellFirstStands(entry) {
    const words = Seat.say("firstStands");
    if (judged.has(entry.assignment)) count(-1);
    if (!last || last.assignment === entry.assignment) Seat.note(words, UNDO_MS);
    else document.getElementById("toast-text").prepend(`${words} `);
  }

  // A page on its way while another tab's answer was stored shows what is judged already: it looks again.
  const stored = () => Seat.store.read("stored") || [];

  Seat.outbox.on("answered", (entry, kind, html, page, note) => {
    Seat.store.write("stored", [...stored().slice(-40), entry.assignment]);
    Seat.saved("ok", Seat.say("saved", Seat.clock(new Date())));
    if (note === "first-answer-stands") tellFirstStands(entry);
    if (taking?.assignment === entry.assignment) { takeBack(); return; }
    if (page.alone) return;
    const element = html && Seat.ahead.parse(html);
    const shown = idOf(current());
    if (kind === "ahead") {
      if (page.showing === shown) Seat.pace.extend();
      Seat.ahead.accept(element, known);
      if (isStale() && !Seat.outbox.size) next();
    } else if (kind === "empty" && !Seat.outbox.size) put(element);
    else if (kind === "current" && !Seat.outbox.size) {
      const wasLost = page.showing === shown && !isStale() && idOf(element) !== shown;
      if (isStale() && isDone(idOf(element))) { look(); return; }
      if (isStale() || wasLost) { put(element); Seat.announce(Seat.say(wasLost ? "lost" : "next")); }
      else Seat.ahead.accept(element, known);
    }
    if (Seat.outbox.size) return;
    if (isStale() && stage.contains(current()) && !html) look(); else fetchAhead();
  });

  Seat.outbox.on("refused", (entry, html) => {
    if (!entry.answer || entry.seat !== Seat.root.dataset.annotate) return false;
    count(-1);
    hideToast();
    judged.delete(entry.assignment);
    const shown = current();
    if (shown && idOf(shown) !== entry.assignment && !isDone(idOf(shown))) Seat.ahead.putBack(shown);
    put(Seat.ahead.parse(html));
    Seat.announce(Seat.say("refused"));
    return true;
  });

  Seat.outbox.on("stuck", (entry) => {
    Seat.showStuck();
    Seat.announce(document.querySelector("#stuck .why").textContent);
    if (taking?.assignment === entry.assignment) taking = null;
    if (!last || last.assignment === entry.assignment) hideToast();
    if (isStale()) look();
  });

  // Taken back before it was sent, or discarded: if it is offered again, it can be judged again.
  Seat.outbox.on("removed", (entry) => judged.delete(entry.assignment));

  // What another tab of this person did.
  Seat.outbox.on("elsewhere", (message) => {
    if (message.draft) Seat.drafts.heard(message);
    if (message.sent && isStale() && !Seat.outbox.size) look();
    if (!message.judged) return;
    judged.add(message.judged);
    Seat.ahead.drop(message.judged);
    if (idOf(current()) === message.judged) { Seat.drafts.stop(); next(Seat.say("elsewhere")); }
  });

  // ---- undo ----

  let countdown = null;

  function showToast(text, undoable, milliseconds = 5000) {
    document.getElementById("toast-text").textContent = text;
    document.getElementById("undo").hidden = !undoable;
    toast.hidden = false;
    clearInterval(countdown);
    const end = undoable ? last.until : Date.now() + milliseconds;
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

  Seat.note = (text, milliseconds) => {
    last = null;
    showToast(text, false, milliseconds);
  };

  function count(step) {
    done.textContent = String(Math.max(0, Number(done.textContent) + step));
  }

  function back(element) {
    const shown = current();
    judged.delete(idOf(element));
    if (shown && shown !== element && !isDone(idOf(shown))) Seat.ahead.putBack(shown);
    count(-1);
    hideToast();
    put(element);
    Seat.announce(Seat.say("undone"));
  }

  // An answer that never left is simply taken back; one that may have arrived is sent, and undone on the server.
  async function undo() {
    if (!last || toast.hidden) return;
    const entry = Seat.outbox.find(last.assignment);
    if (entry && entry.attempts === 0 && last.element) {
      const { element } = last;
      Seat.outbox.remove(entry.id);
      back(element);
      Seat.drafts.changed(element);
      return;
    }
    taking = last;
    if (entry) {
      if (Seat.outbox.offlineSince) Seat.note(Seat.say("undoOffline"));
      await Seat.outbox.flush();
      return;
    }
    await takeBack();
  }

  async function takeBack() {
    const taken = taking;
    taking = null;
    const button = document.getElementById("undo");
    button.disabled = true;
    try {
      if (current() && Seat.drafts.waits) await Seat.drafts.save(current());
      const response = await Seat.request(taken.undo, { method: "POST" });
      if (response.redirected) loggedOut();
      else if (response.ok) {
        const element = Seat.ahead.parse(await response.text());
        Seat.drafts.expect(element);
        back(element);
      } else {
        Seat.note(Seat.say("undoLate"));
        if (isStale()) look();
      }
    } catch {
      taking = taken;
      Seat.note(Seat.say("undoOffline"));
      Seat.outbox.noticed(false);
    } finally {
      button.disabled = false;
    }
  }

  // `b`: within the ten seconds back is undo, later it is the page of the last judgment.
  Seat.back = () => {
    if (last && !toast.hidden) undo();
    else location.assign(`${Seat.root.dataset.history}?last=1`);
    return true;
  };

  // ---- skip and report ----

  async function sendAway(form, comparison) {
    const data = new FormData(form);
    form.closest("details").open = false;
    if (form.matches(".skip-form") || data.get("and") === "skip") {
      data.delete("csrfmiddlewaretoken");
      leave(comparison, form.getAttribute("action"), Object.fromEntries(data));
      return;
    }
    try {
      const response = await Seat.request(form.getAttribute("action"), { method: "POST", body: data });
      if (response.redirected) { loggedOut(); return; }
      if (response.ok) { form.reset(); Seat.note(Seat.say("reported")); }
    } catch {
      Seat.outbox.noticed(false);
      Seat.note(Seat.say("reportOffline"));
    }
  }

  function listen(comparison) {
    const form = formOf(comparison);
    const changed = () => { if (!isDone(idOf(comparison))) Seat.drafts.changed(comparison); };
    form.addEventListener("submit", (event) => { event.preventDefault(); submit(comparison); });
    form.addEventListener("change", changed);
    form.addEventListener("input", (event) => { if (event.target.matches("textarea")) changed(); });
    for (const other of comparison.querySelectorAll(".away form")) {
      other.addEventListener("submit", (event) => { event.preventDefault(); sendAway(other, comparison); });
    }
  }

  // ---- network ----

  function status() {
    const banner = document.getElementById("offline");
    const whileOffline = isStale() ? ["offlineWait"] : ["offlineNext", "offlineReady"];
    const words = Seat.trouble(whileOffline.map((name) => Seat.say(name, Seat.ahead.ids().length)));
    banner.hidden = !words;
    if (banner.textContent !== words) banner.textContent = words;
    const { offlineSince, isFaulty, size, unkept } = Seat.outbox;
    if (unkept) Seat.saved("bad", Seat.say("unkeptCount", unkept));
    else if (size && (offlineSince || isFaulty)) Seat.saved("warn", Seat.say("kept", size));
    if (offlineSince || size) return;
    if (taking) takeBack(); else if (stage.hasAttribute("aria-busy")) look();
  }
  Seat.outbox.on("changed", () => { status(); Seat.showStuck(); });

  function loggedOut() {
    const banner = document.getElementById("offline");
    const link = document.createElement("a");
    link.href = `${Seat.root.dataset.login}?next=${encodeURIComponent(location.pathname)}`;
    link.textContent = Seat.say("logIn");
    if (Seat.outbox.unkept) link.target = "_blank"; // what was submitted is lost with this page
    banner.replaceChildren(`${Seat.say("loggedOut")} `, link);
    banner.hidden = false;
  }
  Seat.outbox.on("loggedOut", () => setTimeout(loggedOut));

  // ---- keys ----

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

  // ---- start ----

  const lost = () => look(Seat.say("lost"));
  Seat.root.classList.add("js");
  Seat.drafts.setUp({ comparison: current, lost, loggedOut, saved: Seat.pace.extend });
  Seat.pace.setUp({ comparison: current, busy: isStale, lost });
  if (current()) {
    const plain = stage.querySelector(".undo-plain");
    const until = plain ? new Date(plain.dataset.until).getTime() : 0;
    if (until > Date.now()) {
      const url = plain.getAttribute("action");
      last = { assignment: Number(url.match(/assignments\/(\d+)\//)[1]), undo: url, until };
      showToast(Seat.say("judgedBefore"), true);
    }
    adopt(current());
    measure();
    // Answered before a reload and not sent yet: what is next comes with its reply.
    if (isStale()) stage.setAttribute("aria-busy", "true");
    else if (stored().includes(idOf(current()))) {
      stage.setAttribute("aria-busy", "true");
      look();
    }
  }
  if (Seat.outbox.size) Seat.outbox.flush(); else status();
})();
