// The comparisons after the one on screen: a few are leased and kept ready, so that the next one is there at once and a
// lost network leaves work to do.
"use strict";

Seat.ahead = (() => {
  const MOST = 3;
  const AGAIN = 20000;
  let ready = [];
  let fetching = null;
  let later = null;
  let round = 0; // what was asked for before the last `clear` is not wanted any more

  const idOf = (element) => Number(element.dataset.assignment);
  const ids = () => ready.map(idOf);

  function parse(html) {
    const holder = document.createElement("template");
    holder.innerHTML = html; // our own server's fragment; responses in it are sanitised there
    return holder.content.firstElementChild;
  }

  // `known(id)` says whether the page has it already, on screen, waiting or judged.
  function accept(element, known) {
    if (element) Seat.guidelines?.told(element);
    if (!element?.matches(".comparison") || known(idOf(element)) || ids().includes(idOf(element))) return false;
    ready.push(element);
    return true;
  }

  // One after the other, so that each names what came before it.
  async function fill(url, having, known, heard) {
    const asked = round;
    while (ready.length < MOST && asked === round) {
      const response = await Seat.request(`${url}?having=${[...having(), ...ids()].join(",")}`);
      heard(response);
      if (response.redirected || response.status !== 200) return;
      const element = parse(await response.text());
      if (asked !== round || !accept(element, known)) return;
    }
  }

  function fetch(url, having, known, heard, lost) {
    clearTimeout(later);
    if (ready.length >= MOST || fetching) return;
    fetching = fill(url, having, known, heard).catch(lost).finally(() => {
      fetching = null;
      if (ready.length < MOST) later = setTimeout(() => fetch(url, having, known, heard, lost), AGAIN);
    });
  }

  return {
    parse, accept, fetch, ids,
    take: () => ready.shift(),
    putBack: (element) => { ready = [element, ...ready.filter((other) => idOf(other) !== idOf(element))]; },
    drop: (id) => { ready = ready.filter((element) => idOf(element) !== id); },
    clear: () => { ready = []; round += 1; },
    // After this nothing is leased by a request that is still on its way.
    settled: () => fetching || Promise.resolve(),
  };
})();
