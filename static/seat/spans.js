// Errors marked in the responses, by mouse, by touch and by keys. They are marked on the text exactly as stored, one
// text node a response, so that a place on screen is a place in the stored text.
"use strict";

(() => {
  const able = "Segmenter" in Intl;
  const states = new WeakMap(); // form → {marks, regions, chosen, step}

  const section = (form) => form.querySelector(".spans");
  const inside = (form, name) => section(form).querySelector(name);
  const comparisonOf = (form) => form.closest(".comparison");
  const isOpen = (form) => Boolean(comparisonOf(form)?.classList.contains("marking"));
  const label = (form, list, key) => inside(form, `.${list} [data-value="${CSS.escape(key || "")}"] .words`)?.textContent || "";
  const markKey = (form) => inside(form, ".mark-errors").getAttribute("aria-keyshortcuts");
  const asksComment = (form) => "comment" in section(form).dataset;

  // ---- the text as stored, in place of the rendered one ----

  function region(form, pane, side) {
    const text = Seat.form.texts(form)[side];
    const made = document.createElement("pre");
    made.className = "marked";
    made.dir = "auto";
    made.tabIndex = 0;
    made.setAttribute("role", "application");
    made.setAttribute("aria-label", Seat.say("markIn", side.toUpperCase()));
    made.setAttribute("aria-describedby", inside(form, ".how").id);
    made.append(document.createTextNode(text));
    made.addEventListener("keydown", (event) => moved(form, side, event));
    made.addEventListener("click", () => clicked(form, side));
    made.addEventListener("focus", () => { if (states.get(form).chosen?.side !== side) choose(form, side, Seat.passage.wordAt(passageOf(form, side), 0)); });
    pane.append(made);
    return { pane, pre: made, node: made.firstChild, passage: Seat.passage.of(text) };
  }

  const passageOf = (form, side) => states.get(form).regions[side].passage;

  function enter(form, side) {
    const state = states.get(form);
    const comparison = comparisonOf(form);
    if (!state.regions) {
      state.regions = {};
      comparison.querySelectorAll(".text").forEach((pane) => {
        const letter = pane.dataset.letter.toLowerCase();
        state.regions[letter] = region(form, pane, letter);
      });
    }
    comparison.classList.add("marking");
    // Tab goes from text to text: the panes around them need no stop of their own meanwhile.
    for (const { pane } of Object.values(state.regions)) pane.tabIndex = -1;
    inside(form, ".mark-errors").setAttribute("aria-pressed", "true");
    Seat.form.open(form, true);
    paint(form);
    const wanted = state.regions[side];
    wanted.pane.scrollIntoView({ block: "nearest", inline: "start" });
    wanted.pre.focus({ preventScroll: true });
    Seat.announce(Seat.say("markIn", side.toUpperCase()));
  }

  function leave(form) {
    const state = states.get(form);
    const side = state.chosen?.side || "a";
    comparisonOf(form).classList.remove("marking");
    for (const { pane } of Object.values(state.regions)) pane.tabIndex = 0;
    inside(form, ".mark-errors").setAttribute("aria-pressed", "false");
    state.chosen = null;
    step(form, "select");
    getSelection().removeAllRanges();
    paint(form);
    comparisonOf(form).querySelector(`#pane-${side}`).focus({ preventScroll: true });
  }

  // Where marking begins: the response that has the focus, or is on screen.
  function sideHere(form) {
    const pane = document.activeElement?.closest(".text");
    if (pane) return pane.dataset.letter.toLowerCase();
    const strip = comparisonOf(form).querySelector(".panes");
    const at = strip.clientWidth ? Math.round(Math.abs(strip.scrollLeft) / strip.clientWidth) : 0;
    return "abcdefgh"[at];
  }

  // ---- choosing a passage ----

  // `anchor` and `focus` are the units where choosing began and where it is: Shift grows and shrinks between them.
  function choose(form, side, unit, { anchor = unit, quiet = false } = {}) {
    const state = states.get(form);
    const start = Math.min(anchor[0], unit[0]);
    const end = Math.max(anchor[1], unit[1]);
    begin(form, { side, start, end, anchor, focus: unit });
    const { node, pre } = state.regions[side];
    if (document.activeElement === pre) getSelection().setBaseAndExtent(node, start, node, end);
    reveal(state.regions[side], start, end, unit === anchor || unit[0] >= anchor[0]);
    paint(form);
    if (!quiet) Seat.announce(node.data.slice(start, end));
  }

  // A passage that is marked already begins with what was said of it.
  function begin(form, chosen) {
    const state = states.get(form);
    const index = same(state, chosen.side, chosen.start, chosen.end);
    state.chosen = { ...chosen, index, type: state.marks[index]?.type, severity: state.marks[index]?.severity };
    step(form, "select");
  }

  const same = (state, side, start, end) => state.marks.findIndex((mark) => mark.side === side && mark.from === start && mark.to === end);

  function reveal({ pane, node }, start, end, atEnd) {
    const range = document.createRange();
    range.setStart(node, atEnd ? Math.max(start, end - 1) : start);
    range.setEnd(node, atEnd ? end : Math.min(end, start + 1));
    const [box, frame] = [range.getBoundingClientRect(), pane.getBoundingClientRect()];
    if (box.top < frame.top + 24) pane.scrollTop += box.top - frame.top - 48;
    else if (box.bottom > frame.bottom - 24) pane.scrollTop += box.bottom - frame.bottom + 48;
  }

  function clicked(form, side) {
    const { node, passage } = states.get(form).regions[side];
    const selection = getSelection();
    if (selection.anchorNode !== node || !selection.isCollapsed) return;
    const place = selection.anchorOffset;
    const mark = states.get(form).marks.find((one) => one.side === side && one.from <= place && place < one.to);
    choose(form, side, mark ? [mark.from, mark.to] : Seat.passage.wordAt(passage, place));
  }

  // By mouse or finger: the browser's own selection is the passage.
  document.addEventListener("selectionchange", () => {
    const form = document.querySelector(".comparison.marking .answer");
    const selection = getSelection();
    if (!form || selection.isCollapsed || selection.anchorNode !== selection.focusNode) return;
    const state = states.get(form);
    const side = Object.keys(state.regions).find((one) => state.regions[one].node === selection.anchorNode);
    if (!side || state.step === "comment") return;
    const range = selection.getRangeAt(0);
    if (state.chosen?.side === side && state.chosen.start === range.startOffset && state.chosen.end === range.endOffset) return;
    const unit = Seat.passage.snapped(passageOf(form, side), range.startOffset, range.endOffset);
    if (!unit) return;
    begin(form, { side, start: unit[0], end: unit[1], anchor: unit, focus: unit });
    paint(form);
  });

  function moved(form, side, event) {
    const state = states.get(form);
    if (event.ctrlKey || event.metaKey || event.altKey || state.chosen?.side !== side) return;
    const passage = passageOf(form, side);
    const { start, end, anchor, focus } = state.chosen;
    const forward = getComputedStyle(state.regions[side].pre).direction === "rtl" ? -1 : 1;
    const from = event.shiftKey ? focus : [start, end];
    const to = {
      ArrowRight: () => Seat.passage.next(passage.words, from, forward),
      ArrowLeft: () => Seat.passage.next(passage.words, from, -forward),
      ArrowDown: () => Seat.passage.sentence(passage, from, 1),
      ArrowUp: () => Seat.passage.sentence(passage, from, -1),
      Home: () => passage.words[0],
      End: () => passage.words.at(-1),
      ">": () => Seat.passage.stretched(passage, [start, end], 1),
      "<": () => Seat.passage.stretched(passage, [start, end], -1),
    }[event.key]?.();
    if (!to) return;
    event.preventDefault();
    event.stopPropagation();
    choose(form, side, to, event.shiftKey && !/[<>]/.test(event.key) ? { anchor } : {});
  }

  // ---- kind, severity, comment ----

  function step(form, name) {
    const state = states.get(form);
    state.step = name;
    section(form).dataset.step = name;
    const { chosen } = state;
    const bar = inside(form, ".bar");
    bar.hidden = !chosen || !isOpen(form);
    if (!chosen) return;
    const { node } = state.regions[chosen.side];
    inside(form, ".passage").textContent = shortened(node.data.slice(chosen.start, chosen.end));
    inside(form, ".of").textContent = chosen.side.toUpperCase();
    inside(form, ".of").className = `of side ${chosen.side}`;
    inside(form, ".remove").hidden = chosen.index < 0;
    for (const [name, value] of [["types", chosen.type], ["severities", chosen.severity]]) {
      for (const chip of section(form).querySelectorAll(`.${name} [data-value]`)) chip.setAttribute("aria-pressed", String(chip.dataset.value === value));
    }
  }

  function shortened(text) {
    const flat = text.replace(/\s+/gu, " ").trim();
    const letters = [...flat];
    return letters.length > 60 ? `${letters.slice(0, 38).join("")} … ${letters.slice(-18).join("")}` : flat;
  }

  // A key or a click on a kind or on how bad it is, in either order.
  function answer(form, list, value) {
    const { chosen } = states.get(form);
    if (!chosen) return;
    if (list === "types") chosen.type = value; else chosen.severity = value;
    // The same keys make a mark and change it: after a kind comes how bad it is, or Enter where that was said before.
    const waits = list === "types" && inside(form, ".severities") && (chosen.index >= 0 || !chosen.severity);
    if (waits) { step(form, "kinds"); Seat.announce(Seat.say("markSeverity")); } else complete(form);
  }

  function complete(form) {
    if (lacks(form)) {
      step(form, "kinds");
      Seat.announce(Seat.say(lacks(form)));
    } else if (asksComment(form)) comment(form);
    else keep(form);
  }

  // What of a begun mark is not said yet: the words that ask for it.
  function lacks(form) {
    const { chosen } = states.get(form);
    if (!chosen.type) return "markKind";
    return inside(form, ".severities") && !chosen.severity ? "markSeverity" : "";
  }

  function comment(form) {
    const state = states.get(form);
    const box = inside(form, ".remark");
    box.value = state.marks[state.chosen.index]?.comment || "";
    step(form, "comment");
    box.focus();
  }

  // The mark is made, or changed where there was one of the same passage.
  function keep(form) {
    const state = states.get(form);
    const { side, start, end, type, severity = "", index } = state.chosen;
    const passage = passageOf(form, side);
    const made = {
      side, type, severity, from: start, to: end,
      start: passage.toPoint(start), end: passage.toPoint(end),
      comment: state.step === "comment" ? inside(form, ".remark").value.trim() : state.marks[index]?.comment || "",
    };
    if (index >= 0) state.marks[index] = made; else state.marks.push(made);
    state.regions[side].pre.focus({ preventScroll: true });
    choose(form, side, [start, end], { quiet: true });
    touched(form);
    Seat.announce(Seat.say("marked", state.marks.length));
  }

  function remove(form, index) {
    const state = states.get(form);
    if (index < 0) return;
    state.marks.splice(index, 1);
    if (state.chosen) state.chosen.index = same(state, state.chosen.side, state.chosen.start, state.chosen.end);
    step(form, "select");
    touched(form);
    Seat.announce(Seat.say("unmarked", state.marks.length));
  }

  function touched(form) {
    inside(form, "[name=spans]").value = JSON.stringify(sent(form));
    list(form);
    paint(form);
    inside(form, "[name=spans]").dispatchEvent(new Event("change", { bubbles: true }));
  }

  const sent = (form) => states.get(form).marks.map(({ side, start, end, type, severity, comment: words }) => (
    { side, start, end, type, severity, comment: words }));

  // ---- the list, and the marks in the text ----

  function line(form, mark, index) {
    const made = inside(form, ".one-mark").content.firstElementChild.cloneNode(true);
    const kinds = [...inside(form, ".types").querySelectorAll("[data-value]")].map((one) => one.dataset.value);
    made.querySelector(".side").textContent = mark.side.toUpperCase();
    made.querySelector(".side").classList.add(mark.side);
    const text = shortened(Seat.form.texts(form)[mark.side].slice(mark.from, mark.to));
    made.querySelector(".excerpt").textContent = text;
    made.querySelector(".excerpt").classList.add(`kind-${kinds.indexOf(mark.type)}`);
    made.querySelector(".kind").textContent = [label(form, "types", mark.type), label(form, "severities", mark.severity)].filter(Boolean).join(", ");
    made.querySelector(".said").textContent = mark.comment;
    const go = () => { enter(form, mark.side); choose(form, mark.side, [mark.from, mark.to]); };
    made.querySelector(".jump").addEventListener("click", go);
    made.querySelector(".change").addEventListener("click", () => { go(); if (asksComment(form)) comment(form); });
    made.querySelector(".delete").addEventListener("click", () => {
      remove(form, index);
      (inside(form, ".marks .delete") || inside(form, ".mark-errors")).focus();
    });
    for (const control of made.querySelectorAll("button")) control.setAttribute("aria-label", `${control.title || ""} ${text}`.trim());
    return made;
  }

  function list(form) {
    const { marks } = states.get(form);
    inside(form, ".marks").replaceChildren(...marks.map((mark, index) => line(form, mark, index)));
    inside(form, ".count").textContent = marks.length ? Seat.say("markedCount", marks.length) : Seat.say("markedNone");
  }

  // One highlight a kind, each with an underline of its own; the passage being marked once more, as the browser's own
  // selection is gone while the comment is written.
  function paint(form) {
    if (!("highlights" in CSS)) return;
    const state = states.get(form);
    const kinds = [...inside(form, ".types").querySelectorAll("[data-value]")].map((one) => one.dataset.value);
    const range = ({ side }, from, to) => {
      const made = document.createRange();
      made.setStart(state.regions[side].node, from);
      made.setEnd(state.regions[side].node, to);
      return made;
    };
    kinds.forEach((kind, index) => {
      const ranges = isOpen(form) ? state.marks.filter((mark) => mark.type === kind).map((mark) => range(mark, mark.from, mark.to)) : [];
      if (ranges.length) CSS.highlights.set(`error-${index}`, new Highlight(...ranges)); else CSS.highlights.delete(`error-${index}`);
    });
    CSS.highlights.delete("passage");
    if (isOpen(form) && state.chosen) {
      const chosen = new Highlight(range(state.chosen, state.chosen.start, state.chosen.end));
      chosen.priority = 1;
      CSS.highlights.set("passage", chosen);
    }
  }

  // ---- keys while marking ----

  function key(form, event) {
    const state = states.get(form);
    const target = event.target;
    if (target.matches(".remark")) {
      if (event.key === "Enter") keep(form);
      else if (event.key === "Escape") { state.regions[state.chosen.side].pre.focus(); step(form, "select"); }
      else return false;
      return true;
    }
    if (target.matches("input, textarea")) return false;
    if (event.key === "Escape") { leave(form); return true; }
    if (!target.matches(".marked")) return false;
    if (event.key === "Delete" || event.key === "Backspace") { remove(form, state.chosen.index); return true; }
    if (event.key === markKey(form)) { leave(form); return true; }
    if (event.key === "Enter" && state.step === "kinds") { complete(form); return true; }
    const chip = section(form).querySelector(`.kinds [data-key="${CSS.escape(event.key)}"]`);
    if (chip) answer(form, chip.closest(".types") ? "types" : "severities", chip.dataset.value);
    return Boolean(chip) || ((event.key === "n" || event.key === "N") && jump(form, event.key === "n" ? 1 : -1)) || /^\d$/.test(event.key);
  }

  function jump(form, by) {
    const { marks, chosen } = states.get(form);
    if (!marks.length) return false;
    const at = chosen.index < 0 ? (by > 0 ? -1 : 0) : chosen.index;
    const mark = marks[(at + by + marks.length) % marks.length];
    enter(form, mark.side);
    choose(form, mark.side, [mark.from, mark.to]);
    return true;
  }

  // Before the keys of the seat: digits name kinds here, and Escape leaves marking only.
  document.addEventListener("keydown", (event) => {
    const form = event.target.closest?.(".comparison.marking")?.querySelector(".answer");
    if (!form || event.isComposing || event.ctrlKey || event.metaKey || event.altKey || !key(form, event)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);

  Seat.keys.extend((pressed, form) => {
    if (!section(form) || !able || pressed !== markKey(form)) return false;
    enter(form, sideHere(form));
    return true;
  });

  // ---- part of the form ----

  function take(form, given) {
    const texts = Seat.form.texts(form);
    const passages = {};
    const marks = (given || []).filter((mark) => mark.side in texts).map((mark) => {
      const passage = passages[mark.side] = passages[mark.side] || Seat.passage.of(texts[mark.side]);
      return { ...mark, from: passage.toUnit(mark.start), to: passage.toUnit(mark.end) };
    });
    Object.assign(states.get(form), { marks });
    inside(form, "[name=spans]").value = JSON.stringify(sent(form));
    list(form);
  }

  Seat.form.extend({
    setUp(form) {
      for (const name of CSS.highlights?.keys() || []) if (/^(error-|passage)/.test(name)) CSS.highlights.delete(name);
      if (!section(form)) return;
      if (!able) { section(form).hidden = true; return; }
      states.set(form, { marks: [], regions: null, chosen: null, step: "select" });
      take(form, JSON.parse(inside(form, "[name=spans]").value || "[]"));
      inside(form, ".mark-errors").addEventListener("click", () => (isOpen(form) ? leave(form) : enter(form, sideHere(form))));
      for (const name of ["types", "severities"]) {
        for (const chip of inside(form, `.${name}`)?.querySelectorAll("[data-value]") || []) {
          // The selection of a finger stays while its kind is chosen.
          chip.addEventListener("pointerdown", (event) => event.preventDefault());
          chip.addEventListener("click", () => answer(form, name, chip.dataset.value));
        }
      }
      inside(form, ".done")?.addEventListener("click", () => keep(form));
      inside(form, ".remove").addEventListener("click", () => remove(form, states.get(form).chosen?.index ?? -1));
    },
    read(form, answer) { if (states.has(form)) answer.spans = sent(form); },
    write(form, answer) { if (states.has(form)) take(form, answer.spans); },
  });
})();
