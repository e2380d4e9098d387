// One comparison on a page of its own: no queue, no outbox; its form is sent as any form is.
"use strict";

(() => {
  const comparison = document.querySelector("#stage .comparison");
  const form = comparison?.querySelector("form.answer");
  Seat.root.classList.add("js");
  if (form) Seat.form.setUp(form);
  if (comparison) {
    Seat.reading.setUp(comparison);
    Seat.difference.setUp(comparison);
    Seat.difference.apply(comparison);
  }

  form?.addEventListener("submit", (event) => {
    const [need] = Seat.form.missing(form);
    if (!need) return;
    event.preventDefault();
    if (need.field?.closest(".rows, .panels")) Seat.form.open(form, true);
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
