// An own judgment on its own page. The revision goes through the outbox, so a lost network loses nothing here either.
"use strict";

(() => {
  const stage = document.getElementById("stage");
  const comparison = stage.querySelector(".comparison");
  const form = comparison.querySelector("form.answer");
  const name = form && `revision.${comparison.dataset.assignment}`;
  const say = (text) => { document.getElementById("revising").textContent = text; Seat.announce(text); };

  Seat.root.classList.add("js");
  if (form) Seat.form.setUp(form);
  Seat.reading.setUp(comparison);
  Seat.cover.setUp(comparison, () => {});
  Seat.reading.shown(comparison);
  Seat.time.start(0);

  // A change that was not sent yet, from before a reload.
  const kept = form && Seat.store.read(name);
  if (kept) Seat.form.write(form, kept);
  const changed = () => Seat.store.write(name, Seat.form.read(form));
  form?.addEventListener("change", changed);
  form?.addEventListener("input", (event) => { if (event.target.matches("textarea")) changed(); });

  function submit(event) {
    event.preventDefault();
    if (Seat.cover.isCovered(comparison)) return;
    const [need] = Seat.form.missing(form);
    if (need) {
      if (need.field?.closest(".rows, .panels, .feedback, .ranking")) Seat.form.open(form, true);
      if (need.field?.name === "justification") form.classList.add("explain");
      need.field?.focus();
      Seat.announce(need.text);
      return;
    }
    const id = form.elements.client_id.value;
    const answer = {
      ...Seat.form.read(form), client_id: id, active_ms: Seat.time.milliseconds, protocol: Number(form.elements.protocol.value),
    };
    Seat.outbox.add({ id, assignment: `revision ${comparison.dataset.assignment}`, url: form.getAttribute("action"), answer });
    Seat.outbox.flush();
  }
  form?.addEventListener("submit", submit);

  const isThis = (entry) => entry.id === form?.elements.client_id.value;
  Seat.outbox.on("answered", (entry, kind, text) => {
    if (!isThis(entry)) return;
    Seat.store.write(name, null);
    location.assign(JSON.parse(text).next);
  });
  Seat.outbox.on("refused", (entry, text) => {
    if (!isThis(entry)) return false;
    const refusal = form.querySelector(".refusal");
    refusal.textContent = JSON.parse(text).error.reason;
    refusal.hidden = false;
    return true;
  });
  Seat.outbox.on("stuck", Seat.showStuck);
  Seat.outbox.on("changed", () => {
    const banner = document.getElementById("offline");
    banner.textContent = Seat.trouble([Seat.say("kept", Seat.outbox.size)]);
    banner.hidden = !banner.textContent;
  });
  Seat.outbox.on("loggedOut", () => setTimeout(() => say(Seat.say("loggedOut"))));
  if (Seat.outbox.size) Seat.outbox.flush();

  document.getElementById("keys-open").addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("keys").showModal();
  });
  Seat.escape = (event) => {
    const menu = event.target.closest("details[open]");
    if (menu) { menu.open = false; menu.querySelector("summary").focus(); return; }
    if (Seat.guidelines?.close()) return;
    if (event.target.matches(".answer textarea")) form.querySelector(".submit").focus();
  };
})();
