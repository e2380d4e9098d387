// One comparison on a page of its own: no queue, no outbox; its form is sent as any form is.
"use strict";

(() => {
  const comparison = document.querySelector("#stage .comparison");
  const form = comparison?.querySelector("form.answer");
  Seat.root.classList.add("js");
  if (form) Seat.form.setUp(form);
  if (comparison) {
    Seat.reading.setUp(comparison);
    Seat.cover.setUp(comparison, () => {});
    Seat.reading.shown(comparison);
  }

  // What is typed here is kept until the server knows better. `from` is the answer the page came with: a page that
  // comes with another one was made after the answer had arrived.
  const DRAFTS = 20;
  const name = comparison?.dataset.raw;
  const others = () => (Seat.store.read("alone") || []).filter((draft) => draft.name !== name);
  const from = form && JSON.stringify(Seat.form.read(form));

  function keep() {
    Seat.store.write("alone", [...others(), { name, from, answer: Seat.form.read(form) }].slice(-DRAFTS));
  }

  function restore() {
    const draft = (Seat.store.read("alone") || []).find((each) => each.name === name);
    if (!draft) return;
    if (draft.from === from) Seat.form.write(form, draft.answer);
    else Seat.store.write("alone", others());
  }

  if (comparison) restore();
  form?.addEventListener("change", keep);
  form?.addEventListener("input", (event) => { if (event.target.matches("textarea")) keep(); });

  // Sent once: until another page came, or it is clear that none will.
  const PATIENCE = 15000; // milliseconds
  let isSent = false;
  function sent(wanted) {
    isSent = wanted;
    form?.querySelector(".submit").toggleAttribute("disabled", wanted);
  }
  window.addEventListener("pageshow", (event) => { if (event.persisted) sent(false); });

  form?.addEventListener("submit", (event) => {
    if (isSent || Seat.cover.isCovered(comparison)) { event.preventDefault(); return; }
    const [need] = Seat.form.missing(form);
    if (!need) {
      // Another script may still hold it back: it has spoken when this runs.
      setTimeout(() => {
        if (event.defaultPrevented) return;
        sent(true);
        setTimeout(() => sent(false), PATIENCE);
      });
      return;
    }
    event.preventDefault();
    if (need.field?.closest(".rows, .panels, .feedback, .ranking")) Seat.form.open(form, true);
    if (need.field?.name === "justification") form.classList.add("explain");
    need.field?.focus();
    Seat.announce(need.text);
  });

  document.getElementById("keys-open")?.addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("keys").showModal();
  });

  Seat.escape = (event) => {
    const menu = event.target.closest("details[open]");
    if (menu) { menu.open = false; menu.querySelector("summary").focus(); return; }
    if (Seat.guidelines?.close()) return;
    if (form?.contains(event.target)) form.querySelector(".submit")?.focus();
  };
})();
