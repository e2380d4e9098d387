// The words on screen as text nodes in blocks: a sentence or a search result never runs from one block into the next.
"use strict";

Seat.texts = (() => {
  const BLOCKS = "p, li, h1, h2, h3, h4, h5, h6, td, th, pre, blockquote, summary, div";
  // What is ours, and the rendered text while the one as stored stands in its place.
  const NOT_TEXT = ".code-name, .same-note, .pane-note, .by, .replaced";

  // [[node, …], …], a list for each block that has text of its own.
  function blocks(region) {
    const found = [];
    let here = null;
    const walker = document.createTreeWalker(region, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT, (node) => (
      node.nodeType === Node.ELEMENT_NODE && node.matches(NOT_TEXT) ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT));
    while (walker.nextNode()) {
      const node = walker.currentNode;
      if (node.nodeType !== Node.TEXT_NODE) continue;
      const block = node.parentElement.closest(BLOCKS);
      if (block !== here || !found.length) found.push([]);
      here = block;
      found.at(-1).push(node);
    }
    return found;
  }

  return { blocks };
})();
