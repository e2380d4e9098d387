// Scrolls the responses together: by what share is read, and from heading to heading where all have the same ones.
"use strict";

Seat.scroll = (() => {
  const narrow = matchMedia("(max-width: 900px)");
  const room = (pane) => Math.max(0, pane.scrollHeight - pane.clientHeight);
  const together = (comparison) => comparison.querySelector(".sync input").checked && !narrow.matches && !comparison.matches(".full");

  const headings = (pane) => [...pane.querySelectorAll(":scope > .reading:not(.replaced) :is(h1, h2, h3, h4, h5, h6)")];
  const words = (found) => found.map((heading) => heading.textContent.trim().toLowerCase()).join("\n");

  // Pairs of places that belong together, from top to bottom.
  function landmarks(from, to) {
    const [ours, theirs] = [headings(from), headings(to)];
    const pairs = [[0, 0]];
    if (ours.length && words(ours) === words(theirs)) {
      const top = (pane, heading) => Math.min(room(pane), heading.getBoundingClientRect().top - pane.getBoundingClientRect().top + pane.scrollTop);
      ours.forEach((heading, index) => {
        const pair = [top(from, heading), top(to, theirs[index])];
        if (pair[0] > pairs.at(-1)[0] && pair[1] >= pairs.at(-1)[1]) pairs.push(pair);
      });
    }
    if (room(from) > pairs.at(-1)[0]) pairs.push([room(from), room(to)]);
    return pairs;
  }

  function matching(from, to) {
    const pairs = landmarks(from, to);
    const here = from.scrollTop;
    for (let index = 1; index < pairs.length; index += 1) {
      const [[x0, y0], [x1, y1]] = [pairs[index - 1], pairs[index]];
      if (here <= x1) return y0 + ((here - x0) / (x1 - x0)) * (y1 - y0);
    }
    return pairs.at(-1)[1];
  }

  function setUp(comparison) {
    const panes = Seat.reading.panes(comparison);
    let leading = null;
    let release = null;
    const follow = (from) => {
      if (!together(comparison) || (leading && leading !== from)) return;
      leading = from;
      clearTimeout(release);
      release = setTimeout(() => { leading = null; }, 120);
      const places = panes.map((to) => (to === from ? null : matching(from, to)));
      panes.forEach((to, index) => { if (to !== from) to.scrollTop = places[index]; });
    };
    for (const pane of panes) pane.addEventListener("scroll", () => follow(pane), { passive: true });
    const sync = comparison.querySelector(".sync input");
    sync.checked = Seat.reading.preferences.sync !== false;
    sync.addEventListener("change", () => Seat.reading.prefer("sync", sync.checked));
  }

  // Arrow keys and Space when nothing that wants them has the focus.
  function by(comparison, share) {
    const panes = Seat.reading.panes(comparison);
    let pane = panes[Seat.reading.current(comparison)];
    if (together(comparison)) pane = panes.reduce((longest, other) => (room(other) > room(longest) ? other : longest), pane);
    pane.scrollTop += Math.abs(share) < 0.2 ? 48 * Math.sign(share) : share * pane.clientHeight;
  }

  return { setUp, by };
})();
