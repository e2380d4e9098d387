// Collapses what all responses say alike, so that what differs stands together.
"use strict";

Seat.same = (() => {
  const LEAST = 2; // words: a heading alone is not worth a line that says so

  const blocksOf = (pane) => [...(pane.querySelector(":scope > .raw") || pane.querySelector(":scope > .reading")).children].filter((block) => !block.matches(".same-note"));

  // Runs of blocks that all panes have in the same order: [[{from, to} of each pane], …].
  function alike(panes) {
    const texts = panes.map((pane) => blocksOf(pane).map((block) => `${block.tagName} ${block.textContent}`));
    let kept = texts[0].map((_, index) => [index]);
    for (const other of texts.slice(1)) kept = common(texts[0], other, kept);
    const found = [];
    for (const places of kept) {
      const last = found.at(-1);
      if (last && places.every((place, side) => place === last[side].to)) places.forEach((place, side) => { last[side].to = place + 1; });
      else found.push(places.map((place) => ({ from: place, to: place + 1 })));
    }
    return found;
  }

  // The longest common subsequence of blocks, over those of the first side that the sides before have kept.
  function common(first, other, kept) {
    const width = other.length + 1;
    const length = new Uint16Array((kept.length + 1) * width);
    for (let i = kept.length - 1; i >= 0; i -= 1) {
      for (let j = other.length - 1; j >= 0; j -= 1) {
        const here = i * width + j;
        length[here] = first[kept[i][0]] === other[j] ? length[here + width + 1] + 1 : Math.max(length[here + width], length[here + 1]);
      }
    }
    const both = [];
    for (let i = 0, j = 0; i < kept.length && j < other.length;) {
      if (first[kept[i][0]] === other[j]) { both.push([...kept[i], j]); i += 1; j += 1; }
      else if (length[(i + 1) * width + j] >= length[i * width + j + 1]) i += 1;
      else j += 1;
    }
    return both;
  }

  function note(comparison, blocks) {
    const made = document.createElement("p");
    made.className = "same-note";
    const control = document.createElement("button");
    control.type = "button";
    control.className = "btn quiet small";
    control.textContent = Seat.count("same", Seat.reading.countWords(blocks.map((block) => block.textContent).join("\n")));
    control.addEventListener("click", () => toggle(comparison, false));
    made.append(control);
    return made;
  }

  function collapse(comparison) {
    const panes = Seat.reading.panes(comparison);
    const blocks = panes.map(blocksOf);
    let any = false;
    for (const run of alike(panes)) {
      const words = Seat.reading.countWords(blocks[0].slice(run[0].from, run[0].to).map((block) => block.textContent).join("\n"));
      if (words < LEAST) continue;
      any = true;
      run.forEach(({ from, to }, side) => {
        const hidden = blocks[side].slice(from, to);
        hidden[0].before(note(comparison, hidden));
        for (const block of hidden) block.classList.add("same");
      });
    }
    return any;
  }

  function expand(comparison) {
    comparison.querySelector(".collapse-same").setAttribute("aria-pressed", "false");
    for (const made of comparison.querySelectorAll(".same-note")) made.remove();
    for (const block of comparison.querySelectorAll(".same")) block.classList.remove("same");
  }

  function toggle(comparison, wanted) {
    expand(comparison);
    const done = wanted && collapse(comparison);
    comparison.querySelector(".collapse-same").setAttribute("aria-pressed", String(done));
    Seat.announce(Seat.say(done ? "sameOn" : wanted ? "sameNone" : "sameOff"));
    if (wanted && !done) Seat.reading.tell(comparison, Seat.say("sameNone"));
  }

  function openAround(comparison, node) {
    if (node.parentElement.closest(".same")) toggle(comparison, false);
  }

  function setUp(comparison) {
    const control = comparison.querySelector(".collapse-same");
    control.addEventListener("click", () => toggle(comparison, control.getAttribute("aria-pressed") !== "true"));
  }

  return { setUp, expand, openAround };
})();
