// Find in the prompt, the documents and all responses. Ctrl+F stays the browser's own.
"use strict";

Seat.find = (() => {
  const MOST = 5000;
  const able = "highlights" in CSS;
  let found = []; // {range, region}
  let here = -1;
  let timer = null;

  const bar = (comparison) => comparison.querySelector(".find");
  const box = (comparison) => bar(comparison).querySelector("input");

  function regions(comparison) {
    return [
      ...comparison.querySelectorAll(".turns, .documents > .reading"),
      ...Seat.reading.panes(comparison),
    ];
  }

  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&").replace(/\s+/g, "\\s+");

  // Matches within one block, whatever is bold or a link in it.
  function inBlock(nodes, pattern, region, into) {
    const text = nodes.map((node) => node.data).join("");
    for (const match of text.matchAll(pattern)) {
      if (into.length >= MOST) return;
      const range = document.createRange();
      range.setStart(...at(nodes, match.index, false));
      range.setEnd(...at(nodes, match.index + match[0].length, true));
      into.push({ range, region });
    }
  }

  function at(nodes, offset, isEnd) {
    let left = offset;
    for (const node of nodes) {
      if (left < node.data.length || (isEnd && left === node.data.length)) return [node, left];
      left -= node.data.length;
    }
    return [nodes.at(-1), nodes.at(-1).data.length];
  }

  function clear() {
    CSS.highlights?.delete("found");
    CSS.highlights?.delete("found-here");
    found = [];
    here = -1;
  }

  function search(comparison) {
    clear();
    const wanted = box(comparison).value.trim();
    if (wanted) {
      const pattern = new RegExp(escaped(wanted), "giu");
      for (const region of regions(comparison)) {
        for (const nodes of Seat.texts.blocks(region)) inBlock(nodes, pattern, region, found);
      }
      CSS.highlights.set("found", new Highlight(...found.map((match) => match.range)));
    }
    count(comparison);
  }

  function count(comparison) {
    const sides = Seat.reading.panes(comparison);
    const each = [...bar(comparison).querySelectorAll("[data-of]")];
    each.forEach((output) => {
      const side = sides.find((pane) => pane.dataset.letter === output.dataset.of);
      output.querySelector("b").textContent = String(found.filter((match) => (side ? match.region === side : !sides.includes(match.region))).length);
    });
    bar(comparison).querySelector(".place").textContent = found.length ? `${here + 1}/${found.length}${found.length >= MOST ? "+" : ""}` : "0";
  }

  function step(comparison, by) {
    clearTimeout(timer);
    if (timer) { timer = null; search(comparison); }
    if (!found.length) { Seat.announce(Seat.say("findNone")); return; }
    // Nowhere yet: forwards is the first place, backwards the last.
    here = here < 0 && by < 0 ? found.length - 1 : (here + by + found.length) % found.length;
    const { range, region } = found[here];
    CSS.highlights.set("found-here", new Highlight(range));
    reveal(comparison, range, region);
    count(comparison);
  }

  function reveal(comparison, range, region) {
    Seat.same.openAround(comparison, range.startContainer);
    for (let details = range.startContainer.parentElement.closest("details:not([open])"); details; details = details.parentElement.closest("details:not([open])")) details.open = true;
    const sides = Seat.reading.panes(comparison);
    if (sides.includes(region)) Seat.reading.show(comparison, sides.indexOf(region));
    if (region.matches(".turns")) Seat.reading.fold(comparison, false);
    // The nearest element first: what is off screen has no place of its own until it is laid out.
    range.startContainer.parentElement.scrollIntoView({ block: "nearest", inline: "nearest" });
    const [there, room] = [range.getBoundingClientRect(), region.getBoundingClientRect()];
    if (there.top < room.top + 32 || there.bottom > room.bottom - 32) region.scrollTop += there.top - room.top - room.height / 3;
  }

  function open(comparison) {
    bar(comparison).hidden = false;
    comparison.querySelector(".find-open").setAttribute("aria-expanded", "true");
    box(comparison).focus();
    box(comparison).select();
    search(comparison);
  }

  function close(comparison) {
    clear();
    bar(comparison).hidden = true;
    const opener = comparison.querySelector(".find-open");
    opener.setAttribute("aria-expanded", "false");
    opener.focus();
  }

  function setUp(comparison) {
    const opener = comparison.querySelector(".find-open");
    opener.hidden = !able;
    opener.addEventListener("click", () => (bar(comparison).hidden ? open(comparison) : close(comparison)));
    box(comparison).addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => { timer = null; search(comparison); }, 120);
    });
    box(comparison).addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); step(comparison, event.shiftKey ? -1 : 1); }
      if (event.key === "Escape") { event.preventDefault(); event.stopPropagation(); close(comparison); }
    });
    bar(comparison).querySelector(".previous").addEventListener("click", () => step(comparison, -1));
    bar(comparison).querySelector(".next").addEventListener("click", () => step(comparison, 1));
    bar(comparison).querySelector(".close").addEventListener("click", () => close(comparison));
  }

  // Another text is on screen: what was found in the one before is nowhere.
  function apply(comparison) {
    clear();
    if (!bar(comparison).hidden) search(comparison);
  }

  return { setUp, apply };
})();
