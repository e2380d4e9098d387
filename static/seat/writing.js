// Text boxes of the form: how long they are, how long they must be, words about each response.
"use strict";

(() => {
  const PAUSE = 5000; // a longer one is thinking, not typing
  // As the server counts: code points, any white space between words as one.
  const length = (text) => [...text.trim().replace(/\s+/gu, " ")].length;
  const boxes = (form) => [...form.querySelectorAll("textarea[name^='feedback.']")];

  // How the justification came to be: {keys, pasted, ms}. Unknown where its beginning is (another device).
  const typed = new WeakMap();

  function watch(form, box) {
    if (!box.value) typed.set(form, { keys: 0, pasted: 0, ms: 0 });
    let last = 0;
    box.addEventListener("input", (event) => {
      const record = typed.get(form);
      if (!record) return;
      const gap = performance.now() - last;
      last = performance.now();
      if (gap < PAUSE) record.ms += Math.round(gap);
      if (!/^insertFrom(Paste|Drop)/.test(event.inputType)) record.keys += 1;
    });
    box.addEventListener("paste", (event) => {
      const record = typed.get(form);
      if (record) record.pasted += length(event.clipboardData?.getData("text/plain") || "");
    });
  }

  function count(box) {
    const counter = box.parentElement.querySelector(".counter");
    if (!counter) return;
    const least = Number(box.dataset.least);
    const written = length(box.value);
    counter.textContent = Seat.say("characters", written).replace("[]", least);
    counter.classList.toggle("enough", written >= least);
  }

  // What a box still needs before the answer can be sent.
  function short(box, words) {
    const least = Math.max(Number(box.dataset.least) || 0, "required" in box.dataset ? 1 : 0);
    const written = length(box.value);
    if (written >= least || (!written && !("required" in box.dataset))) return [];
    return [{ text: written ? Seat.count("longer", least - written) : Seat.say(words), field: box }];
  }

  Seat.form.extend({
    setUp(form) {
      const box = form.elements.justification;
      if (box) watch(form, box);
    },
    read(form, answer) {
      if (boxes(form).length) {
        answer.feedback = Object.fromEntries(boxes(form).map((box) => [box.name.slice("feedback.".length), box.value.trim()]));
      }
      if (answer.justification && typed.get(form)) answer.typed = { ...typed.get(form) };
    },
    write(form, answer) {
      for (const box of boxes(form)) box.value = answer.feedback?.[box.name.slice("feedback.".length)] || "";
      if (answer.typed) typed.set(form, answer.typed); else if (answer.justification) typed.delete(form);
    },
    missing(form) {
      const box = form.elements.justification;
      return [...boxes(form).flatMap((one) => short(one, "feedbackOf")), ...(box ? short(box, "justify") : [])];
    },
    refresh(form) {
      for (const box of form.querySelectorAll("textarea[data-least]")) count(box);
    },
  });

  // The key printed beside a box of feedback goes into it.
  Seat.keys.extend((key, form) => {
    const box = boxes(form).find((one) => one.getAttribute("aria-keyshortcuts") === key);
    if (!box) return false;
    Seat.form.open(form, true);
    box.focus();
    return true;
  });
})();
