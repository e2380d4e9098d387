// Uploads with progress: how far it is, cancel, and words when the connection breaks or stands still. Without this
// script the browser sends the same form by itself. The page's words stand in its data attributes.
"use strict";

(() => {
  const form = document.querySelector("form[data-upload]");
  if (!form || !window.XMLHttpRequest || !window.FormData) return;
  const words = form.dataset;
  const part = form.querySelector("[data-progress]");
  const bar = part.querySelector("progress");
  const shown = part.querySelector("[data-shown]");
  const spoken = part.querySelector("[data-spoken]");
  const problem = form.querySelector("[data-problem]");
  const send = form.querySelector("button[type=submit]");
  const cancel = part.querySelector("[data-cancel]");
  const fields = form.querySelectorAll("input:not([type=hidden])");
  const locale = document.documentElement.lang;
  // Milliseconds without a packet after which the page says so: a lost network breaks a connection only after minutes.
  const PATIENCE = 15000;
  let request = null;
  let stalled = 0;

  const megabytes = (bytes) =>
    new Intl.NumberFormat(locale, { style: "unit", unit: "megabyte", maximumFractionDigits: bytes < 1e7 ? 1 : 0 }).format(bytes / 1e6);
  const percent = (share) => new Intl.NumberFormat(locale, { style: "percent" }).format(share);
  const filled = (text, values) => text.replace(/%\((\w+)\)s/g, (_all, name) => values[name]);

  const say = (text, isBad = true) => {
    problem.textContent = text;
    problem.hidden = !text;
    problem.classList.toggle("bad", isBad);
    problem.classList.toggle("plain", !isBad);
  };

  const busy = (is) => {
    part.hidden = !is;
    send.disabled = is;
    for (const field of fields) field.disabled = is;
  };

  const over = () => {
    clearTimeout(stalled);
    request = null;
  };

  const failed = (text, isBad) => {
    over();
    busy(false);
    say(text, isBad);
    send.focus();
  };

  const watch = () => {
    clearTimeout(stalled);
    stalled = setTimeout(() => { shown.textContent = spoken.textContent = words.stalled; }, PATIENCE);
  };

  const progressed = (event) => {
    if (!event.lengthComputable) return;
    watch();
    if (event.loaded === event.total) clearTimeout(stalled);
    const share = event.loaded / event.total;
    bar.value = share;
    const values = { done: megabytes(event.loaded), total: megabytes(event.total), share: percent(share) };
    shown.textContent = share < 1 ? filled(words.sending, values) : words.reading;
    // Read aloud at every tenth, not at every packet.
    const tenth = share < 1 ? percent(Math.floor(share * 10) / 10) : words.reading;
    if (spoken.textContent !== tenth) spoken.textContent = tenth;
  };

  const answered = () => {
    let answer = null;
    try {
      answer = JSON.parse(request.responseText);
    } catch {
      failed(words.refused);
      return;
    }
    if (answer.next) {
      over();
      location.assign(answer.next);
    } else failed((answer.errors || [words.refused]).join(" "));
  };

  form.addEventListener("submit", (event) => {
    const file = form.querySelector("input[type=file]").files[0];
    if (!file) return;
    event.preventDefault();
    say("");
    if (file.size > Number(words.limit)) {
      say(filled(words.tooLarge, { size: megabytes(file.size), limit: megabytes(Number(words.limit)) }));
      return;
    }
    const data = new FormData(form);
    request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.upload.addEventListener("progress", progressed);
    request.addEventListener("load", answered);
    request.addEventListener("error", () => failed(filled(words.broken, { share: percent(bar.value) })));
    request.addEventListener("abort", () => failed(words.cancelled, false));
    bar.value = 0;
    shown.textContent = spoken.textContent = "";
    busy(true);
    cancel.focus();
    watch();
    request.send(data);
  });

  cancel.addEventListener("click", () => request && request.abort());
  // To leave the page is to break the upload off: the browser asks first.
  window.addEventListener("beforeunload", (event) => request && event.preventDefault());
  // Back from the preview the browser may show this page as it was left.
  window.addEventListener("pageshow", () => busy(false));
})();
