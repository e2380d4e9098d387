// Reading aids: fold the prompt, scroll both panes together, tabs on narrow screens, code with copy and wrap.
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

  function fold(comparison, wanted) {
    comparison.querySelector(".prompt").classList.toggle("folded", wanted);
    const control = comparison.querySelector(".fold");
    control.setAttribute("aria-expanded", String(!wanted));
    control.querySelector("span").textContent = Seat.say(wanted ? "show" : "collapse");
  }

  // By proportion: equal shares read, whatever the lengths.
  function scrollTogether(comparison) {
    const [a, b] = panes(comparison);
    let leading = null;
    let release = null;
    const follow = (from, to) => () => {
      if (!comparison.querySelector(".sync input").checked || narrow.matches || (leading && leading !== from)) return;
      leading = from;
      clearTimeout(release);
      release = setTimeout(() => { leading = null; }, 120);
      const room = from.scrollHeight - from.clientHeight;
      to.scrollTop = room > 0 ? (from.scrollTop / room) * (to.scrollHeight - to.clientHeight) : 0;
    };
    a.addEventListener("scroll", follow(a, b), { passive: true });
    b.addEventListener("scroll", follow(b, a), { passive: true });
  }

  function tabs(comparison) {
    const strip = comparison.querySelector(".panes");
    const links = [...comparison.querySelectorAll(".tab")];
    const mark = (here) => links.forEach((link, index) => (
      index === here ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current")));
    links.forEach((link, index) => link.addEventListener("click", (event) => {
      event.preventDefault();
      if (narrow.matches) show(comparison, index); else panes(comparison)[index].focus();
    }));
    strip.addEventListener("scroll", () => {
      if (narrow.matches) mark(Math.abs(strip.scrollLeft) > strip.clientWidth / 2 ? 1 : 0);
    }, { passive: true });
  }

  function show(comparison, index) {
    const strip = comparison.querySelector(".panes");
    const pane = panes(comparison)[index];
    strip.scrollTo({ left: pane.offsetLeft - panes(comparison)[0].offsetLeft, behavior: still.matches ? "auto" : "smooth" });
  }

  // Arrow keys and Space when nothing that wants them has the focus.
  function scrollBy(comparison, share) {
    const [a, b] = panes(comparison);
    const strip = comparison.querySelector(".panes");
    const pane = narrow.matches && Math.abs(strip.scrollLeft) > strip.clientWidth / 2 ? b : a;
    const step = Math.abs(share) < 0.2 ? 48 * Math.sign(share) : share * pane.clientHeight;
    const longer = comparison.querySelector(".sync input").checked && !narrow.matches && b.scrollHeight > a.scrollHeight ? b : pane;
    longer.scrollTop += step;
  }

  function setUp(comparison) {
    panes(comparison).forEach((pane, index) => {
      comparison.querySelectorAll(".tab .length")[index].textContent = Seat.say("words", countWords(pane.textContent));
    });
    dressCode(comparison);
    scrollTogether(comparison);
    tabs(comparison);
    const control = comparison.querySelector(".fold");
    control.addEventListener("click", () => {
      const wanted = control.getAttribute("aria-expanded") === "true";
      prefer(narrow.matches ? "foldedNarrow" : "folded", wanted);
      fold(comparison, wanted);
    });
    fold(comparison, narrow.matches ? preferences.foldedNarrow !== false : preferences.folded === true);
    const sync = comparison.querySelector(".sync input");
    sync.checked = preferences.sync !== false;
    sync.addEventListener("change", () => prefer("sync", sync.checked));
  }

  return { setUp, show, scrollBy, panes, prefer, preferences };
})();
