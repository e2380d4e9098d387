// Which words of two texts are not in their longest common subsequence. Off the main thread: reading goes on meanwhile.
// In: {id, a: [word], b: [word]}. Out: {id, a: [index], b: [index]}, ascending.
"use strict";

const TABLE = 16_000_000; // cells of the table, 32 MB

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
  if ((a1 - a0) * (b1 - b0) <= TABLE) { table(a, a0, a1, b, b0, b1, only); return; }
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

// The textbook table of lengths, read from its end.
function table(a, a0, a1, b, b0, b1, only) {
  const width = b1 - b0 + 1;
  const length = new Uint16Array((a1 - a0 + 1) * width);
  for (let i = a1 - a0 - 1; i >= 0; i -= 1) {
    for (let j = width - 2; j >= 0; j -= 1) {
      const here = i * width + j;
      length[here] = a[a0 + i] === b[b0 + j] ? length[here + width + 1] + 1 : Math.max(length[here + width], length[here + 1]);
    }
  }
  let [i, j] = [0, 0];
  while (i < a1 - a0 && j < width - 1) {
    const here = i * width + j;
    if (a[a0 + i] === b[b0 + j]) { i += 1; j += 1; }
    else if (length[here + width] >= length[here + 1]) { only.a.push(a0 + i); i += 1; }
    else { only.b.push(b0 + j); j += 1; }
  }
  all(a0 + i, a1, only.a);
  all(b0 + j, b1, only.b);
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

if (typeof onmessage !== "undefined") {
  onmessage = ({ data }) => postMessage({ id: data.id, ...difference(data.a, data.b) });
}
