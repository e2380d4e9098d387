// Marks the words that only one response has, without touching the page: highlights are painted over text ranges.
"use strict";

Seat.difference = (() => {
  const WORD = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]|[\p{L}\p{M}\p{N}_]+|[^\s]/gu;
  const able = "highlights" in CSS && "Worker" in window;
  let worker = null;
  let asked = 0;
  let waiting = null;
  let words = Seat.store.read("reading")?.difference === true;

  // Every word of a pane with the text node and offsets it stands at.
  function tokens(pane) {
    const found = [];
    const walker = document.createTreeWalker(pane, NodeFilter.SHOW_TEXT, (node) => (
      node.parentElement.closest(".code-name") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT));
    while (walker.nextNode()) {
      for (const match of walker.currentNode.data.matchAll(WORD)) {
        found.push({ word: match[0], node: walker.currentNode, start: match.index, end: match.index + match[0].length });
      }
    }
    return found;
  }

  // Neighbours in one text node become one range, so that the space between them is marked too.
  function ranges(all, indices) {
    const made = [];
    let last = -2;
    let open = null;
    for (const index of indices) {
      const token = all[index];
      if (open && index === last + 1 && open.startContainer === token.node) open.setEnd(token.node, token.end);
      else {
        open = document.createRange();
        open.setStart(token.node, token.start);
        open.setEnd(token.node, token.end);
        made.push(open);
      }
      last = index;
    }
    return made;
  }

  function clear() {
    CSS.highlights.delete("only-a");
    CSS.highlights.delete("only-b");
  }

  function compute(comparison) {
    const sides = Seat.reading.panes(comparison).map(tokens);
    if (!worker) {
      worker = new Worker(Seat.root.dataset.worker);
      worker.addEventListener("message", ({ data }) => { if (data.id === asked) waiting?.(data); });
    }
    asked += 1;
    waiting = (only) => {
      CSS.highlights.set("only-a", new Highlight(...ranges(sides[0], only.a)));
      CSS.highlights.set("only-b", new Highlight(...ranges(sides[1], only.b)));
    };
    worker.postMessage({ id: asked, a: sides[0].map((token) => token.word), b: sides[1].map((token) => token.word) });
  }

  function apply(comparison) {
    comparison.querySelector(".difference").setAttribute("aria-pressed", String(words));
    clear();
    asked += 1;
    if (words) compute(comparison);
  }

  function setUp(comparison) {
    const control = comparison.querySelector(".difference");
    if (!able) { control.hidden = true; return; }
    control.addEventListener("click", () => {
      words = !words;
      Seat.reading.prefer("difference", words);
      apply(comparison);
      Seat.announce(Seat.say(words ? "differenceOn" : "differenceOff"));
    });
  }

  return { setUp, apply: (comparison) => able && apply(comparison) };
})();
