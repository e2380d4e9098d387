// The better response as its judge would have it: an editor over the page, with what was changed beside it.
"use strict";

(() => {
  const WORD = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]|[\p{L}\p{M}\p{N}_]+|[^\s]/gu;
  const states = new WeakMap(); // form → {side, kept: {side: text}}

  const part = (form, name) => form.querySelector(`.edit ${name}`);
  const box = (form) => part(form, "textarea");
  // A text box knows one kind of line break; the stored text may have another.
  const plain = (text) => text.replace(/\r\n?/g, "\n");
  const likeStored = (text, stored) => (/\r\n/.test(stored) && !/[^\r]\n/.test(stored) ? text.replace(/\n/g, "\r\n") : text);
  const original = (form, side) => plain(Seat.form.texts(form)[side] || "");
  const isChanged = (form) => { const { side } = states.get(form); return Boolean(side) && box(form).value.trim() !== "" && box(form).value !== original(form, side); };

  // The better one by what is answered so far; "" while it is not known.
  function better(form) {
    const level = Seat.form.checked(form, "level")?.dataset.side;
    const best = Seat.form.checked(form, "ranking.best");
    const first = form.querySelector(".ranking input[name^='ranking.rank.'][value='1']:checked");
    return level || (best && "abcdefgh"[Number(best.value)]) || first?.name.split(".").at(-1) || "";
  }

  // ---- which one ----

  function take(form, side) {
    const state = states.get(form);
    if (state.side) state.kept[state.side] = box(form).value;
    state.side = side;
    part(form, "[name='edit.side']").value = side;
    box(form).value = state.kept[side] ?? original(form, side);
    for (const chip of form.querySelectorAll(".edit [name=edited]")) chip.checked = chip.value === side;
    part(form, ".editing").hidden = false;
    compare(form);
  }

  function open(form) {
    const state = states.get(form);
    const side = isChanged(form) ? state.side : better(form) || state.side;
    part(form, ".editing").hidden = !side;
    if (side && side !== state.side) take(form, side);
    part(form, "dialog").showModal();
    if (side) { compare(form); box(form).focus(); } else part(form, "[name=edited]").focus();
  }

  function closed(form) {
    part(form, ".open-edit").focus();
    form.dispatchEvent(new Event("change", { bubbles: true }));
  }

  // ---- what was changed ----

  let worker = null;
  let asked = 0;
  let waiting = null;

  function compare(form) {
    if (!("Worker" in window)) return;
    if (!worker) {
      worker = new Worker(Seat.root.dataset.worker);
      worker.addEventListener("message", ({ data }) => { if (data.id === asked) waiting?.(data); });
    }
    const [before, after] = [original(form, states.get(form).side), box(form).value];
    asked += 1;
    waiting = ({ sides }) => show(form, before, after, ...sides.map((side) => side.only.map(([, from, , to]) => [from, to])));
    worker.postMessage({ id: asked, mode: "words", sides: [[[before]], [[after]]] });
  }

  // Where each word stands that both texts have.
  function common(text, runs) {
    const found = [];
    let at = 0;
    for (const [from, to] of [...runs, [text.length, text.length]]) {
      for (const match of text.slice(at, from).matchAll(WORD)) found.push(at + match.index + match[0].length);
      at = to;
    }
    return found;
  }

  // How many of the ascending places are not behind this one.
  const upTo = (places, limit) => { let count = 0; while (count < places.length && places[count] <= limit) count += 1; return count; };

  function show(form, before, after, gone, come) {
    const [old, now] = [common(before, gone), common(after, come)];
    const pieces = [
      ...gone.map(([from, to]) => ({ tag: "del", text: before.slice(from, to), after: upTo(old, from) })),
      ...come.map(([from, to]) => ({ tag: "ins", from, to, after: upTo(now, from) })),
    ].sort((x, y) => x.after - y.after || (x.tag === "del" ? -1 : 1) - (y.tag === "del" ? -1 : 1));
    const made = [];
    let at = 0;
    for (const piece of pieces) {
      const place = piece.tag === "ins" ? piece.from : Math.max(at, piece.after ? now[piece.after - 1] : 0);
      made.push(after.slice(at, place));
      at = piece.tag === "ins" ? piece.to : place;
      const element = document.createElement(piece.tag);
      element.textContent = piece.tag === "ins" ? after.slice(piece.from, piece.to) : piece.text;
      if (piece.tag === "del" && /\S$/.test(made.at(-1))) made.push(" ");
      made.push(element);
    }
    made.push(after.slice(at));
    part(form, ".changes").replaceChildren(...made);
    count(form, gone, come, before, after);
  }

  function count(form, gone, come, before, after) {
    const words = (text, runs) => runs.reduce((sum, [from, to]) => sum + (text.slice(from, to).match(WORD)?.length || 0), 0);
    part(form, ".added").textContent = `+${words(after, come)}`;
    part(form, ".removed").textContent = `−${words(before, gone)}`;
    part(form, ".reset").disabled = before === after;
  }

  // ---- part of the form ----

  Seat.form.extend({
    setUp(form) {
      if (!form.querySelector(".edit")) return;
      const side = part(form, "[name='edit.side']").value;
      states.set(form, { side, kept: {} });
      part(form, ".open-edit").addEventListener("click", () => open(form));
      part(form, "dialog").addEventListener("close", () => closed(form));
      part(form, ".finish").addEventListener("click", () => part(form, "dialog").close());
      part(form, ".reset").addEventListener("click", () => { box(form).value = original(form, states.get(form).side); compare(form); box(form).focus(); });
      box(form).addEventListener("input", () => compare(form));
      // Pages that send the form itself: an editor that was only looked into has said nothing.
      form.addEventListener("formdata", ({ formData }) => {
        formData.delete("edited");
        if (!isChanged(form)) for (const name of ["edit.side", "edit.text"]) formData.delete(name);
      });
      box(form).addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) part(form, "dialog").close(); });
      for (const chip of form.querySelectorAll(".edit [name=edited]")) {
        chip.addEventListener("change", () => { take(form, chip.value); box(form).focus(); });
      }
      // Which one is asked when nobody knows the better one: its letter or its number answers.
      part(form, ".which").addEventListener("keydown", (event) => {
        const chips = [...form.querySelectorAll(".edit [name=edited]")];
        const chip = chips.find((one, index) => event.key === String(index + 1) || event.key.toLowerCase() === one.value);
        if (!chip && event.key !== "Enter") return;
        event.preventDefault();
        take(form, (chip || chips.find((one) => one.checked) || chips[0]).value);
        box(form).focus();
      });
    },
    read(form, answer) {
      if (!states.has(form) || !isChanged(form)) return;
      const { side } = states.get(form);
      answer.edit = { side, text: likeStored(box(form).value, Seat.form.texts(form)[side] || "") };
    },
    write(form, answer) {
      if (!states.has(form) || !answer.edit?.side) return;
      take(form, answer.edit.side);
      box(form).value = plain(answer.edit.text);
    },
    missing(form) {
      return states.has(form) && "required" in part(form, ".open-edit").dataset && !isChanged(form)
        ? [{ text: Seat.say("improve"), field: part(form, ".open-edit") }] : [];
    },
    refresh(form) {
      if (!states.has(form)) return;
      const { side } = states.get(form);
      part(form, ".edited").textContent = isChanged(form) ? Seat.say("edited", side.toUpperCase()) : "";
    },
  });

  Seat.keys.extend((key, form) => {
    const control = form.querySelector(".edit .open-edit");
    if (!control || control.getAttribute("aria-keyshortcuts") !== key) return false;
    open(form);
    return true;
  });
})();
