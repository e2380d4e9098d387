// Passages of a stored text: where words and sentences are, how a passage moves and grows, and its place in code
// points. Offsets inside the browser are UTF-16 units; what is sent are code points. Nothing here touches the page.
"use strict";

Seat.passage = (() => {
  const ASTRAL = /[\ud800-\udfff]/;
  // Symbols and emoji stand for themselves; punctuation belongs to the word before it.
  const SYMBOL = /[\p{S}\p{Extended_Pictographic}]/u;

  function segments(text, granularity, wanted) {
    const found = [];
    for (const part of new Intl.Segmenter(undefined, { granularity }).segment(text)) {
      if (wanted(part)) found.push([part.index, part.index + part.segment.length]);
    }
    return found;
  }

  const trimmed = (text) => ([start, end]) => {
    const said = text.slice(start, end);
    return [start + said.length - said.trimStart().length, end - (said.length - said.trimEnd().length)];
  };

  // What is asked of one text again and again, made once.
  function of(text) {
    const wordLike = (part) => part.isWordLike || SYMBOL.test(part.segment);
    const all = [0, text.length];
    const words = segments(text, "word", wordLike);
    const sentences = segments(text, "sentence", (part) => part.segment.trim()).map(trimmed(text));
    return { text, words: words.length ? words : [all], sentences: sentences.length ? sentences : [all], ...points(text) };
  }

  // UTF-16 units to code points and back. A place inside a pair of units is the character's own.
  function points(text) {
    if (!ASTRAL.test(text)) return { toPoint: (unit) => unit, toUnit: (point) => point };
    const starts = [];
    for (let unit = 0; unit < text.length; unit += text.codePointAt(unit) > 0xffff ? 2 : 1) starts.push(unit);
    starts.push(text.length);
    return { toPoint: (unit) => before(starts, unit), toUnit: (point) => starts[Math.min(point, starts.length - 1)] };
  }

  // How many of the ascending numbers are below this one.
  function before(numbers, limit) {
    let [low, high] = [0, numbers.length];
    while (low < high) { const middle = (low + high) >> 1; if (numbers[middle] < limit) low = middle + 1; else high = middle; }
    return low;
  }

  // Whole characters as people see them, without the white space around.
  function snapped(passage, start, end) {
    const { text } = passage;
    const near = [Math.max(0, start - 40), Math.min(text.length, end + 40)];
    let [from, to] = [start, end];
    for (const part of new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(text.slice(...near))) {
      const [low, high] = [near[0] + part.index, near[0] + part.index + part.segment.length];
      if (low < start && start < high) from = low;
      if (low < end && end < high) to = high;
    }
    [from, to] = trimmed(text)([from, to]);
    return to > from ? [from, to] : null;
  }

  // The word at a place, or the next one.
  const wordAt = (passage, place) => passage.words.find(([, end]) => end > place) || passage.words.at(-1);

  // The unit `step` units from a passage: behind its end, or before its start.
  function next(units, [start, end], step) {
    if (step > 0) return units.find(([from]) => from >= end) || units.at(-1);
    return units.findLast(([, to]) => to <= start) || units[0];
  }

  // The sentence a passage stands in, when it is not the whole of it already; else the next or the one before.
  function sentence(passage, [start, end], step) {
    const own = passage.sentences.find(([from, to]) => from <= start && start < to);
    if (own && (own[0] !== start || own[1] !== end)) return own;
    return next(passage.sentences, own || [start, end], step);
  }

  // The end moved by one character as people see it, never behind the start.
  function stretched(passage, [start, end], step) {
    const around = passage.text.slice(Math.max(start, end - 40), end + 40);
    const base = Math.max(start, end - 40);
    const stops = [...new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(around)].map((part) => base + part.index);
    stops.push(base + around.length);
    const to = step > 0 ? stops.find((stop) => stop > end) : stops.findLast((stop) => stop < end);
    return to === undefined || to <= start ? [start, end] : [start, to];
  }

  return { of, snapped, wordAt, next, sentence, stretched };
})();
