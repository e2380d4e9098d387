// The texts exactly as stored, with what cannot be seen written out; and a line in a pane that holds such characters.
"use strict";

Seat.raw = (() => {
  const PIECE = 4000; // characters that are laid out together
  const NAMES = {
    "\t": "TAB", "\r": "CR", "\u00a0": "NBSP", "\u00ad": "SHY", "\u034f": "CGJ", "\u061c": "ALM", "\u180e": "MVS",
    "\u200b": "ZWSP", "\u200c": "ZWNJ", "\u200d": "ZWJ", "\u200e": "LRM", "\u200f": "RLM", "\u2028": "LS", "\u2029": "PS",
    "\u202a": "LRE", "\u202b": "RLE", "\u202c": "PDF", "\u202d": "LRO", "\u202e": "RLO", "\u202f": "NNBSP", "\u2060": "WJ",
    "\u2066": "LRI", "\u2067": "RLI", "\u2068": "FSI", "\u2069": "PDI", "\u3000": "IDSP", "\ufeff": "BOM",
  };
  // Runs of one character are one mark, so that a thousand of them do not bury the text.
  const UNSEEN = /([\t\r\u00a0\u202f\u3000\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e0fff}])\1*/gu;
  // What deserves a warning: joiners, direction marks and variants do honest work in many scripts and in emoji.
  const SUSPECT = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e0fff}]|(?<=[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}\p{Nd}\s])[\u200c\u200d]|(?<=[\ufe00-\ufe0f])[\ufe00-\ufe0f]/gu;

  const wanted = new WeakMap(); // comparison -> promise of its texts
  let used = false; // somebody who looks at raw texts gets the next ones ahead

  function load(comparison) {
    if (!wanted.has(comparison)) {
      wanted.set(comparison, Seat.request(comparison.dataset.raw).then((response) => {
        if (!response.ok || response.redirected) throw new Error(response.status);
        return response.json();
      }));
      wanted.get(comparison).catch(() => wanted.delete(comparison));
    }
    return wanted.get(comparison);
  }

  function name(character) {
    return NAMES[character] || `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  }

  // The characters stay in the text, each run shut in, so that none turns the direction of its neighbours.
  function mark(run, character) {
    const made = document.createElement("bdi");
    made.className = "unseen-mark";
    const count = run.length / character.length;
    made.dataset.name = count > 1 ? `${name(character)} ×${count}` : name(character);
    made.textContent = run;
    return made;
  }

  function* pieces(text) {
    let begin = 0;
    while (begin < text.length) {
      const paragraph = text.indexOf("\n\n", begin);
      const line = text.indexOf("\n", begin + PIECE);
      const ends = [paragraph < 0 ? text.length : paragraph + 2, line < 0 ? text.length : line + 1];
      const end = Math.min(...ends);
      yield text.slice(begin, end);
      begin = end;
    }
  }

  function show(text) {
    const made = document.createElement("div");
    made.className = "raw";
    for (const piece of pieces(text)) {
      const block = document.createElement("pre");
      block.className = "raw-piece";
      block.dir = "auto";
      let last = 0;
      for (const match of piece.matchAll(UNSEEN)) {
        block.append(piece.slice(last, match.index), mark(match[0], match[1]));
        last = match.index + match[0].length;
      }
      block.append(piece.slice(last));
      made.append(block);
    }
    return made;
  }

  function put(rendered, text) {
    rendered.classList.add("replaced");
    rendered.after(show(text));
  }

  async function on(comparison) {
    let texts;
    try { texts = await load(comparison); } catch { Seat.reading.tell(comparison, Seat.say("rawAway")); return; }
    off(comparison);
    Seat.reading.panes(comparison).forEach((pane, side) => put(pane.querySelector(".reading"), texts.sides[side]));
    const said = [...comparison.querySelectorAll(".turns .turn > .said")];
    texts.turns.forEach((turn, index) => { if (said[index]) put(said[index], turn.content); });
    changed(comparison, true);
  }

  function off(comparison) {
    for (const made of comparison.querySelectorAll(".raw")) made.remove();
    for (const rendered of comparison.querySelectorAll(".replaced")) rendered.classList.remove("replaced");
  }

  function changed(comparison, shown) {
    comparison.querySelector(".raw-toggle").setAttribute("aria-pressed", String(shown));
    Seat.announce(Seat.say(shown ? "rawOn" : "rawOff"));
    Seat.reading.retold(comparison);
  }

  function toggle(comparison) {
    used = true;
    Seat.same.expand(comparison);
    if (comparison.querySelector(".raw-toggle").getAttribute("aria-pressed") === "true") {
      off(comparison);
      changed(comparison, false);
    } else on(comparison);
  }

  // "3 invisible characters", before the text that holds them; pressing it shows which and where.
  function warn(comparison) {
    for (const pane of Seat.reading.panes(comparison)) {
      const count = (pane.textContent.match(SUSPECT) || []).length;
      if (!count) continue;
      const note = document.createElement("p");
      note.className = "pane-note";
      const control = document.createElement("button");
      control.type = "button";
      control.className = "btn quiet small";
      control.textContent = Seat.say("invisible", count);
      control.addEventListener("click", () => toggle(comparison));
      note.append(control);
      pane.prepend(note);
    }
  }

  function setUp(comparison) {
    warn(comparison);
    comparison.querySelector(".raw-toggle").addEventListener("click", () => toggle(comparison));
  }

  return { setUp, load, ahead: (comparison) => { if (used) load(comparison).catch(() => {}); } };
})();
