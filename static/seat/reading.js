// Reading: panes and tabs, prompt and documents, code with copy and wrap. The aids stand in files of their own.
"use strict";

Seat.reading = (() => {
  const preferences = Seat.store.read("reading") || {};
  function prefer(name, value) {
    preferences[name] = value;
    Seat.store.write("reading", preferences);
  }

  const narrow = matchMedia("(max-width: 900px)");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const panes = (comparison) => [...comparison.querySelectorAll(".text")];
  const tabs = (comparison) => [...comparison.querySelectorAll(".tab")];
  const LONG = 20000; // characters from which on blocks out of view are left out
  const pressed = (control) => control.getAttribute("aria-expanded") === "true";

  function countWords(text) {
    if (!("Segmenter" in Intl) || text.length > 60000) return text.split(/\s+/).filter(Boolean).length;
    let words = 0;
    for (const part of new Intl.Segmenter(undefined, { granularity: "word" }).segment(text)) words += part.isWordLike ? 1 : 0;
    return words;
  }

  function button(words, action) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "btn quiet small";
    made.textContent = Seat.say(words);
    made.addEventListener("click", action);
    return made;
  }

  function dressCode(comparison) {
    for (const block of comparison.querySelectorAll(".code")) {
      const wrap = button("wrap", () => wrap.setAttribute("aria-pressed", String(block.classList.toggle("wrapped"))));
      const copy = button("copy", async () => {
        await navigator.clipboard.writeText(block.querySelector("pre").textContent);
        copy.textContent = Seat.say("copied");
        setTimeout(() => { copy.textContent = Seat.say("copy"); }, 1500);
      });
      wrap.setAttribute("aria-pressed", "false");
      block.querySelector(".code-name").append(wrap, ...(navigator.clipboard ? [copy] : []));
    }
  }

  // ---- prompt and documents ----

  function fold(comparison, wanted) {
    comparison.querySelector(".prompt").classList.toggle("folded", wanted);
    const control = comparison.querySelector(".fold");
    control.setAttribute("aria-expanded", String(!wanted));
    control.querySelector("span").textContent = Seat.say(wanted ? "show" : "collapse");
  }

  function setUpPrompt(comparison) {
    const control = comparison.querySelector(".fold");
    control.addEventListener("click", () => {
      const wanted = pressed(control);
      prefer(narrow.matches ? "foldedNarrow" : "folded", wanted);
      fold(comparison, wanted);
    });
    fold(comparison, narrow.matches ? preferences.foldedNarrow !== false : preferences.folded === true);
    const earlier = comparison.querySelector(".turns > .earlier");
    if (!earlier) return;
    earlier.open = preferences.earlier === true;
    // A toggle event comes too late to tell the person's wish from ours.
    earlier.querySelector("summary").addEventListener("click", () => prefer("earlier", !earlier.open));
  }

  function toggleEarlier(comparison) {
    const earlier = comparison.querySelector(".turns > .earlier");
    if (!earlier) return false;
    fold(comparison, false);
    earlier.querySelector("summary").click();
    return true;
  }

  function setUpDocuments(comparison) {
    const aside = comparison.querySelector(".documents");
    if (!aside) return;
    for (const found of aside.querySelectorAll(".document")) found.open = true;
    aside.querySelector(".num").textContent = String(aside.querySelectorAll(".document").length);
    const control = aside.querySelector(".documents-fold");
    const name = () => (narrow.matches ? "documentsNarrow" : "documents");
    const show = (wanted) => {
      comparison.classList.toggle("documents-folded", !wanted);
      control.setAttribute("aria-expanded", String(wanted));
      control.textContent = Seat.say(wanted ? "hide" : "showIt");
    };
    control.addEventListener("click", () => { prefer(name(), !pressed(control)); show(!pressed(control)); });
    show(narrow.matches ? preferences.documentsNarrow === true : preferences.documents !== false);
  }

  // Blocks out of view are left out; until one was seen, its place is as high as its text probably is.
  function lighten(pane) {
    pane.classList.add("long");
    for (const block of pane.querySelector(":scope > .reading").children) {
      const text = block.textContent;
      const breaks = block.matches("pre, .code") ? text.split("\n").length : 1;
      block.style.containIntrinsicBlockSize = `auto ${1.5 * Math.max(breaks, text.length / 80)}em`;
    }
  }

  // ---- panes and tabs ----

  function mark(comparison, here) {
    tabs(comparison).forEach((link, index) => (
      index === here ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current")));
  }

  // Which pane is read: the one alone on the stage, the one that has the focus, or the one swiped to.
  function current(comparison) {
    if (comparison.dataset.full) return Number(comparison.dataset.full);
    const all = panes(comparison);
    const focused = all.findIndex((pane) => pane.contains(document.activeElement));
    if (focused >= 0 && !narrow.matches) return focused;
    const strip = comparison.querySelector(".panes");
    const middle = strip.getBoundingClientRect().left + Math.min(all[0].offsetWidth, strip.clientWidth) / 2;
    return Math.max(0, all.findIndex((pane) => {
      const box = pane.getBoundingClientRect();
      return box.left <= middle && box.right > middle;
    }));
  }

  function show(comparison, index) {
    if (comparison.dataset.full) { Seat.full.move(comparison, index); return; }
    const strip = comparison.querySelector(".panes");
    const first = panes(comparison)[0];
    strip.scrollTo({ left: panes(comparison)[index].offsetLeft - first.offsetLeft, behavior: still.matches ? "auto" : "smooth" });
  }

  function setUpTabs(comparison) {
    const strip = comparison.querySelector(".panes");
    tabs(comparison).forEach((link, index) => link.addEventListener("click", (event) => {
      event.preventDefault();
      show(comparison, index);
      if (!narrow.matches) panes(comparison)[index].focus({ preventScroll: true });
    }));
    strip.addEventListener("scroll", () => { if (strip.scrollWidth > strip.clientWidth) mark(comparison, current(comparison)); }, { passive: true });
    panes(comparison).forEach((pane, index) => {
      if (pane.textContent.length > LONG) lighten(pane);
      tabs(comparison)[index].querySelector(".length").textContent = Seat.count("words", countWords(pane.textContent));
    });
  }

  // One response to the side, where they stand in a strip.
  function step(comparison, by) {
    const all = panes(comparison);
    const strip = comparison.querySelector(".panes");
    if (strip.scrollWidth <= strip.clientWidth) return false;
    show(comparison, Math.max(0, Math.min(all.length - 1, current(comparison) + by)));
    return true;
  }

  // ---- on screen ----

  let quiet = null;

  // A line under the tools, for a while.
  function tell(comparison, text) {
    const line = comparison.querySelector(".reading-note");
    line.textContent = text;
    line.hidden = false;
    clearTimeout(quiet);
    quiet = setTimeout(() => { line.hidden = true; }, 6000);
  }

  function setUp(comparison) {
    Seat.raw.setUp(comparison);
    setUpTabs(comparison);
    dressCode(comparison);
    setUpPrompt(comparison);
    setUpDocuments(comparison);
    for (const aid of [Seat.scroll, Seat.difference, Seat.same, Seat.find, Seat.full, Seat.unseen]) aid.setUp(comparison);
    const more = comparison.querySelector(".aids-open");
    more.addEventListener("click", () => more.setAttribute("aria-expanded", String(comparison.querySelector(".aids").classList.toggle("open"))));
  }

  // What is painted over the text, after it came on screen or changed.
  function retold(comparison) {
    Seat.difference.apply(comparison);
    Seat.find.apply(comparison);
  }

  function shown(comparison) {
    retold(comparison);
    Seat.unseen.look(comparison);
    Seat.raw.ahead(comparison);
  }

  return {
    setUp, shown, retold, show, step, mark, current, panes, prefer, preferences, fold, toggleEarlier, countWords, tell,
    scrollBy: (comparison, share) => Seat.scroll.by(comparison, share),
    unseen: (comparison) => Seat.unseen.shares(comparison),
  };
})();
