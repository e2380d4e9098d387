// Keys of the workbench. They are printed on what they press; `?` lists them, and single keys can be switched off.
"use strict";

Seat.keys = (() => {
  const box = document.getElementById("keys-on");
  box.checked = Seat.store.read("keys") !== false;
  box.addEventListener("change", () => Seat.store.write("keys", box.checked));

  const typing = (target) => target.closest("textarea, select, input:not([type=radio]):not([type=checkbox])");
  const presses = (target) => target.closest("a[href], button, summary, [role=button]");

  function confidence(form, step) {
    const key = Seat.form.active(form)?.dataset.key;
    const group = form.querySelector(`[data-confidence="${CSS.escape(key || "overall")}"]`) || form.querySelector("[data-confidence]");
    if (!group) return false;
    const options = [...group.querySelectorAll("input")];
    const at = options.findIndex((option) => option.checked);
    const next = at < 0 ? (step < 0 ? 0 : options.length - 1) : Math.max(0, Math.min(options.length - 1, at + step));
    options[next].checked = true;
    options[next].dispatchEvent(new Event("change", { bubbles: true }));
    return true;
  }

  // Number keys answer the active question; ratings own their 0.
  function digit(form, key) {
    const scale = Seat.form.active(form);
    const option = scale?.querySelector(`input[data-key="${key}"]`);
    if (option) { Seat.form.press(option); return true; }
    return key === "0" && outcome(form, "neither_valid");
  }

  function outcome(form, value) {
    const control = form.querySelector(`input[name=outcome][value=${value}]`);
    if (control) Seat.form.press(control);
    return Boolean(control);
  }

  function reason(form, key) {
    const chip = form.querySelector(`:is([data-panel][data-shown], .flags) input[data-key="${CSS.escape(key)}"]`);
    if (chip) Seat.form.press(chip);
    return Boolean(chip);
  }

  const click = (selector) => { const found = document.querySelector(selector); found?.click(); return Boolean(found); };

  function away(field) {
    const menu = document.querySelector(".away");
    if (!menu) return false;
    menu.open = true;
    menu.querySelector(`${field} input[name=reason]`).focus();
    return true;
  }

  // A key of one's own for any command: {command's key: own key}. The printed keys follow.
  let own = Seat.store.read("remap") || {};

  // The command that a pressed key stands for; "" when its own command has moved to another key.
  function meant(key) {
    const command = Object.keys(own).find((each) => own[each] === key);
    return command || (key in own ? "" : key);
  }

  function relabel(root = document) {
    for (const print of root.querySelectorAll("kbd")) {
      print.dataset.key = print.dataset.key || print.textContent;
      print.textContent = own[print.dataset.key] || print.dataset.key;
    }
  }

  // In the list of keys: press a row's button, then the key it shall have. A key that was taken changes places.
  function choose(button) {
    const command = button.dataset.command;
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("keydown", function take(event) {
      if (["Tab", "Shift", "Control", "Alt", "Meta"].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      button.removeEventListener("keydown", take);
      button.setAttribute("aria-pressed", "false");
      if (event.key.length !== 1 || event.key === " " || /[0-9]/.test(event.key)) return;
      const other = meant(event.key);
      const former = own[command] || command;
      if (other && other !== command && document.querySelector(`#keys [data-command="${CSS.escape(other)}"]`)) own[other] = former;
      own[command] = event.key;
      for (const [each, key] of Object.entries(own)) if (each === key) delete own[each];
      remember();
    });
  }

  function remember() {
    Seat.store.write("remap", Object.keys(own).length ? own : null);
    relabel();
  }

  for (const button of document.querySelectorAll("#keys [data-command]")) button.addEventListener("click", () => choose(button));
  document.getElementById("keys-reset")?.addEventListener("click", () => { own = {}; remember(); });
  if (Object.keys(own).length) relabel();

  function write(form) {
    if (!form.elements.justification) return false;
    form.classList.add("explain");
    form.elements.justification.focus();
    return true;
  }

  // Keys of controls that only some protocols have: (key, form, comparison) → whether it meant something.
  const more = [];

  // True when the key meant something.
  function single(key, form, comparison) {
    if (key === "g") return click("#guidelines-open");
    if (key === "?") return click("#keys-open");
    if (key === "u") return click("#undo");
    if (!form) return false;
    if (/^[0-9]$/.test(key)) return digit(form, key);
    if (key === "x") return outcome(form, "cannot_judge");
    if (key === "[" || key === "]") return confidence(form, key === "[" ? -1 : 1);
    if (key === "/") return write(form);
    if (key === "d") return click(".comparison .difference");
    if (key === "s") return click(".comparison .sync input");
    if (key === "p") return click(".comparison .fold");
    if (key === "P") return Seat.reading.toggleEarlier(comparison);
    if (key === "v") return click(".comparison .raw-toggle");
    if (key === "c") return click(".comparison .collapse-same");
    if (key === "f") return click(".comparison .full-toggle");
    if (key === "h") return click(".comparison .find-open");
    if (key === "k") return away(".skip-form");
    if (key === "m") return away(".flag-form");
    return more.some((handle) => handle(key, form, comparison)) || reason(form, key) || (key === "b" && Boolean(Seat.back?.()));
  }

  function scroll(event, comparison) {
    const steps = { ArrowDown: 0.1, ArrowUp: -0.1, PageDown: 0.85, PageUp: -0.85, " ": event.shiftKey ? -0.85 : 0.85, Home: -1e6, End: 1e6 };
    const page = event.key.startsWith("Page");
    const sideways = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if ((!(event.key in steps) && !sideways) || (event.target.closest("input, .text, .turns, .guidelines") && !page)) return false;
    if (sideways) return Seat.reading.step(comparison, sideways);
    Seat.reading.scrollBy(comparison, steps[event.key]);
    return true;
  }

  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const comparison = document.querySelector("#stage .comparison");
    const form = comparison?.querySelector(".answer");
    if (event.key === "Escape") { Seat.escape(event); return; }
    if (Seat.cover?.key(event, comparison, box.checked)) return;
    if (event.key === "Enter" && form) {
      const inBox = event.target.matches(".answer textarea");
      if ((inBox && event.shiftKey) || (!inBox && (typing(event.target) || presses(event.target)))) return;
      event.preventDefault();
      if (!event.repeat) form.requestSubmit();
      return;
    }
    if (typing(event.target)) return;
    const done = (box.checked && event.key.length === 1 && !event.repeat && event.key !== " " && single(meant(event.key), form, comparison))
      || (comparison && !presses(event.target) && scroll(event, comparison));
    if (done) event.preventDefault();
  });

  return { extend: (handle) => more.push(handle), relabel: (root) => { if (Object.keys(own).length) relabel(root); } };
})();
