// Marks what only one response says, without touching the page: highlights are painted over text ranges.
"use strict";

Seat.difference = (() => {
  const MODES = ["off", "words", "sentences"];
  // One name for each side; from the third on they share one, as their letters do.
  const NAMES = ["only-a", "only-b", "only-c"];
  const able = "highlights" in CSS && "Worker" in window && "Segmenter" in Intl;
  const words = (mode) => `difference${mode[0].toUpperCase()}${mode.slice(1)}`;
  let worker = null;
  let asked = 0;
  let waiting = null;
  let mode = stored(Seat.store.read("reading")?.difference);

  function stored(value) {
    if (value === true) return "words";
    return MODES.includes(value) ? value : "off";
  }

  function clear() {
    for (const name of [...NAMES, "changed"]) CSS.highlights.delete(name);
  }

  function range(nodes, [startPiece, start, endPiece, end]) {
    const made = document.createRange();
    made.setStart(nodes[startPiece], start);
    made.setEnd(nodes[endPiece], end);
    return made;
  }

  function paint(sides, found) {
    const marks = new Map();
    const add = (name, ranges) => marks.set(name, [...(marks.get(name) || []), ...ranges]);
    found.forEach((side, index) => {
      const nodes = sides[index].flat();
      add(NAMES[Math.min(index, NAMES.length - 1)], side.only.map((run) => range(nodes, run)));
      add("changed", side.changed.map((run) => range(nodes, run)));
    });
    for (const [name, ranges] of marks) CSS.highlights.set(name, new Highlight(...ranges));
  }

  function compute(comparison) {
    const sides = Seat.reading.panes(comparison).map((pane) => Seat.texts.blocks(pane));
    if (!worker) {
      worker = new Worker(Seat.root.dataset.worker);
      worker.addEventListener("message", ({ data }) => { if (data.id === asked) waiting?.(data.sides); });
    }
    waiting = (found) => paint(sides, found);
    worker.postMessage({ id: asked, mode, sides: sides.map((blocks) => blocks.map((nodes) => nodes.map((node) => node.data))) });
  }

  function label(comparison) {
    const control = comparison.querySelector(".difference");
    control.setAttribute("aria-pressed", String(mode !== "off"));
    control.querySelector("span").textContent = Seat.say(`${words(mode)}Short`);
    for (const legend of comparison.querySelectorAll(".legend [data-mode]")) {
      legend.hidden = !legend.dataset.mode.split(" ").includes(mode);
    }
    comparison.querySelector(".legend").hidden = mode === "off";
  }

  function apply(comparison) {
    if (!able) return;
    label(comparison);
    clear();
    asked += 1;
    if (mode !== "off") compute(comparison);
  }

  function setUp(comparison) {
    const control = comparison.querySelector(".difference");
    control.hidden = !able;
    control.addEventListener("click", () => {
      mode = MODES[(MODES.indexOf(mode) + 1) % MODES.length];
      Seat.reading.prefer("difference", mode);
      apply(comparison);
      Seat.announce(Seat.say(words(mode)));
    });
  }

  return { setUp, apply };
})();
