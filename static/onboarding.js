// Tutorial and qualification: the form is sent as any form is; Enter goes on from an explanation.
"use strict";

(() => {
  const form = document.querySelector("#stage form.answer");
  const next = document.querySelector("#stage .next");
  const banner = document.getElementById("offline");

  form?.addEventListener("submit", (event) => {
    if (event.defaultPrevented) return;
    // A browser that loads an error page would take the answer with it.
    if (!navigator.onLine) {
      event.preventDefault();
      banner.textContent = banner.dataset.words;
      banner.hidden = false;
    }
  });
  window.addEventListener("online", () => { banner.hidden = true; });

  document.addEventListener("keydown", (event) => {
    const aside = event.target.closest("a, button, input, textarea, select, summary, dialog");
    if (event.key === "Enter" && next && !aside && !event.repeat) { event.preventDefault(); next.click(); }
  });
})();
