// What only one of several texts says, by words or by sentences. Off the main thread: reading goes on meanwhile.
// In:  {id, mode: "words" | "sentences", sides: [[block]]}; a block is the list of its pieces of text.
// Out: {id, sides: [{only: [run], changed: [run]}]}; a run is [piece, offset, piece, offset], pieces counted through
//      the whole side. `changed` are the words that differ in a sentence that another side has almost alike.
"use strict";

const WORD = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]|[\p{L}\p{M}\p{N}_]+|[^\s]/gu;
const BITS = 400_000_000; // of a table of comparisons: 50 MB
const ALIKE = 0.6; // share of words that two sentences must have in common to be the same one, changed
const EVERYWHERE = 200; // a word in more sentences than this says nothing about which two belong together

// ---- words that are not in the longest common subsequence ----

function difference(a, b) {
  const only = { a: [], b: [] };
  split(a, 0, a.length, b, 0, b.length, only);
  only.a.sort((x, y) => x - y);
  only.b.sort((x, y) => x - y);
  return only;
}

function split(a, a0, a1, b, b0, b1, only) {
  while (a0 < a1 && b0 < b1 && a[a0] === b[b0]) { a0 += 1; b0 += 1; }
  while (a0 < a1 && b0 < b1 && a[a1 - 1] === b[b1 - 1]) { a1 -= 1; b1 -= 1; }
  if (a0 === a1 || b0 === b1) { all(a0, a1, only.a); all(b0, b1, only.b); return; }
  if ((a1 - a0) * (b1 - b0) <= BITS) { exact(a, a0, a1, b, b0, b1, only); return; }
  const pairs = anchors(a, a0, a1, b, b0, b1);
  if (!pairs.length) { all(a0, a1, only.a); all(b0, b1, only.b); return; }
  let [i, j] = [a0, b0];
  for (const [x, y] of pairs) {
    split(a, i, x, b, j, y, only);
    [i, j] = [x + 1, y + 1];
  }
  split(a, i, a1, b, j, b1, only);
}

function all(from, to, into) {
  for (let index = from; index < to; index += 1) into.push(index);
}

// The table of lengths kept as its steps, 32 columns a machine word (Hyyrö 2004): a bit is 0 where a column adds one.
function exact(a, a0, a1, b, b0, b1, only) {
  const width = (b1 - b0 + 31) >>> 5;
  const rows = new Uint32Array((a1 - a0 + 1) * width).fill(0xffffffff, 0, width);
  const where = places(b, b0, b1, width);
  for (let i = 0; i < a1 - a0; i += 1) nextRow(rows, i * width, width, where.get(a[a0 + i]));
  let [i, j] = [a1 - a0, b1 - b0];
  const flat = (row, column) => (rows[row * width + (column >>> 5)] >>> (column & 31)) & 1;
  while (i && j) {
    if (flat(i, j - 1)) { j -= 1; only.b.push(b0 + j); }
    else if (!flat(i - 1, j - 1)) { i -= 1; only.a.push(a0 + i); }
    else { i -= 1; j -= 1; }
  }
  all(a0, a0 + i, only.a);
  all(b0, b0 + j, only.b);
}

// For each word, in which columns it stands.
function places(b, b0, b1, width) {
  const where = new Map();
  for (let j = 0; j < b1 - b0; j += 1) {
    let bits = where.get(b[b0 + j]);
    if (!bits) where.set(b[b0 + j], bits = new Uint32Array(width));
    bits[j >>> 5] |= 1 << (j & 31);
  }
  return where;
}

function nextRow(rows, row, width, matches) {
  if (!matches) { rows.copyWithin(row + width, row, row + width); return; }
  let carry = 0;
  for (let k = 0; k < width; k += 1) {
    const old = rows[row + k];
    const sum = old + ((old & matches[k]) >>> 0) + carry;
    carry = sum > 0xffffffff ? 1 : 0;
    rows[row + width + k] = (sum >>> 0) | (old & ~matches[k]);
  }
}

// Words that are unique on both sides and keep their order: the longest increasing run of them (patience).
function anchors(a, a0, a1, b, b0, b1) {
  const seen = new Map();
  for (let i = a0; i < a1; i += 1) seen.set(a[i], seen.has(a[i]) ? null : { x: i, y: -1 });
  for (let j = b0; j < b1; j += 1) {
    const found = seen.get(b[j]);
    if (found) { if (found.y < 0) found.y = j; else seen.set(b[j], null); }
  }
  const tops = [];
  for (const pair of seen.values()) {
    if (!pair || pair.y < 0) continue;
    let [low, high] = [0, tops.length];
    while (low < high) { const middle = (low + high) >> 1; if (tops[middle].y < pair.y) low = middle + 1; else high = middle; }
    pair.before = low ? tops[low - 1] : null;
    tops[low] = pair;
  }
  const run = [];
  for (let pair = tops.at(-1); pair; pair = pair.before) run.push([pair.x, pair.y]);
  return run.reverse();
}

// ---- texts as numbered words ----

// Every word of a side: its number, and where it begins and ends.
function read(blocks, numbers, sentences) {
  const side = { words: [], from: [], to: [], sentences: [] };
  let piece = 0;
  for (const pieces of blocks) {
    const text = pieces.join("");
    const starts = [];
    let length = 0;
    for (const part of pieces) { starts.push(length); length += part.length; }
    const at = { piece: 0 };
    const first = side.words.length;
    for (const match of text.matchAll(WORD)) {
      if (!numbers.has(match[0])) numbers.set(match[0], numbers.size);
      side.words.push(numbers.get(match[0]));
      side.from.push(place(starts, pieces, at, piece, match.index, false));
      side.to.push(place(starts, pieces, at, piece, match.index + match[0].length, true));
    }
    if (sentences) cut(text, side, first);
    piece += pieces.length;
  }
  return side;
}

// Offset in a block -> [piece, offset in it]. An end belongs to the piece before it, a beginning to the one behind.
function place(starts, pieces, at, base, offset, isEnd) {
  while (at.piece + 1 < pieces.length && (isEnd ? starts[at.piece + 1] < offset : starts[at.piece + 1] <= offset)) at.piece += 1;
  return [base + at.piece, offset - starts[at.piece]];
}

// Sentences as ranges of words. The words of `text` begin at `first`.
function cut(text, side, first) {
  let word = first;
  const offsets = [...text.matchAll(WORD)].map((match) => match.index);
  const segmenter = new Intl.Segmenter(undefined, { granularity: "sentence" });
  for (const { index, segment } of segmenter.segment(text)) {
    const from = word;
    while (word - first < offsets.length && offsets[word - first] < index + segment.length) word += 1;
    if (word > from) side.sentences.push({ from, to: word, words: side.words.slice(from, word) });
  }
}

// Words that follow each other are one run, so that the space between them is marked too; `across` pieces as well where
// they belong to one sentence.
function runs(side, indices, across = false) {
  const made = [];
  let last = -2;
  for (const index of indices) {
    const [piece, offset] = side.to[index];
    if (index === last + 1 && (across || made.at(-1)[2] === side.from[index][0])) {
      made.at(-1)[2] = piece;
      made.at(-1)[3] = offset;
    } else made.push([...side.from[index], piece, offset]);
    last = index;
  }
  return made;
}

// ---- the two ways of comparing ----

// With more than two sides, what none of the others has.
function byWords(sides) {
  const missing = sides.map((side) => new Uint8Array(side.words.length));
  for (let x = 0; x < sides.length; x += 1) {
    for (let y = x + 1; y < sides.length; y += 1) {
      const only = difference(sides[x].words, sides[y].words);
      for (const index of only.a) missing[x][index] += 1;
      for (const index of only.b) missing[y][index] += 1;
    }
  }
  return sides.map((side, x) => {
    const only = [];
    missing[x].forEach((count, index) => { if (count === sides.length - 1) only.push(index); });
    return { only: runs(side, only), changed: [] };
  });
}

function bySentences(sides) {
  return sides.map((side, x) => {
    const others = sides.filter((_, y) => y !== x).flatMap((other) => other.sentences);
    const index = postings(others);
    const found = { only: [], changed: [] };
    for (const sentence of side.sentences) {
      if (index.exact.has(sentence.words.join(" "))) continue;
      const near = nearest(sentence, others, index);
      const words = [];
      if (near) {
        for (const word of difference(sentence.words, near.words).a) words.push(sentence.from + word);
        found.changed.push(...runs(side, words, true));
      } else {
        all(sentence.from, sentence.to, words);
        found.only.push(...runs(side, words, true));
      }
    }
    return found;
  });
}

function postings(sentences) {
  const exact = new Set();
  const having = new Map();
  sentences.forEach((sentence, number) => {
    exact.add(sentence.words.join(" "));
    for (const word of new Set(sentence.words)) {
      if (!having.has(word)) having.set(word, []);
      having.get(word).push(number);
    }
  });
  return { exact, having };
}

function nearest(sentence, others, { having }) {
  const shared = new Map();
  for (const word of new Set(sentence.words)) {
    const numbers = having.get(word) || [];
    if (numbers.length > EVERYWHERE) continue;
    for (const number of numbers) shared.set(number, (shared.get(number) || 0) + 1);
  }
  let best = null;
  let most = ALIKE;
  for (const [number, count] of shared) {
    const other = others[number];
    // Not worth a closer look when few of its different words are shared.
    if (4 * count < most * new Set(other.words).size) continue;
    const share = alike(sentence.words, other.words);
    if (share >= most) [best, most] = [other, share];
  }
  return best;
}

// Dice's share of common words, each counted as often as both have it.
function alike(a, b) {
  const counts = new Map();
  for (const word of a) counts.set(word, (counts.get(word) || 0) + 1);
  let common = 0;
  for (const word of b) {
    const left = counts.get(word) || 0;
    if (left) { common += 1; counts.set(word, left - 1); }
  }
  return (2 * common) / (a.length + b.length);
}

function compare({ mode, sides }) {
  const numbers = new Map();
  const texts = sides.map((blocks) => read(blocks, numbers, mode === "sentences"));
  return mode === "sentences" ? bySentences(texts) : byWords(texts);
}

if (typeof onmessage !== "undefined") {
  onmessage = ({ data }) => postMessage({ id: data.id, sides: compare(data) });
}
