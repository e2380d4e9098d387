// An order of three to eight responses: a place for each, or the best and the worst. The controls are scales of the
// form; here is what they mean together.
"use strict";

(() => {
  const place = (form, name) => { const box = Seat.form.checked(form, name); return box ? Number(box.value) : null; };
  const ranks = (form) => [...form.querySelectorAll(".ranking .scale[data-name^='ranking.rank.']")];
  const letter = (scale) => scale.dataset.name.split(".").at(-1).toUpperCase();

  // "C > A = B": what is placed so far.
  function order(form) {
    const groups = new Map();
    for (const scale of ranks(form)) {
      const rank = place(form, scale.dataset.name);
      if (rank !== null) groups.set(rank, [...(groups.get(rank) || []), letter(scale)]);
    }
    return [...groups].sort(([a], [b]) => a - b).map(([, letters]) => letters.join(" = ")).join(" > ");
  }

  function bestWorst(form) {
    const name = (part) => Seat.form.checked(form, `ranking.${part}`)?.dataset.label;
    const said = [];
    if (name("best")) said.push(Seat.say("bestIs", name("best")));
    if (name("worst")) said.push(Seat.say("worstIs", name("worst")));
    return said.join(", ");
  }

  // Which place was given last: `=` gives it again.
  const last = new WeakMap();

  Seat.form.extend({
    setUp(form) {
      form.querySelector(".ranking")?.addEventListener("change", (event) => {
        last.set(form, event.target.value);
        apart(form, event.target);
      });
    },
    read(form, answer) {
      if (!form.querySelector(".ranking")) return;
      const scales = ranks(form);
      const given = scales.length
        ? { ranks: scales.map((scale) => place(form, scale.dataset.name)) }
        : { best: place(form, "ranking.best"), worst: place(form, "ranking.worst") };
      if (Object.values(given).flat().some((value) => value !== null)) answer.ranking = given;
    },
    write(form, answer) {
      const given = answer.ranking || {};
      ranks(form).forEach((scale, index) => Seat.form.set(form, scale.dataset.name, given.ranks?.[index] ?? null));
      for (const part of ["best", "worst"]) Seat.form.set(form, `ranking.${part}`, given[part] ?? null);
    },
    refresh(form) {
      const output = form.querySelector(".ranking .order");
      if (!output) return;
      const words = ranks(form).length ? order(form) : bestWorst(form);
      if (output.textContent !== words) output.textContent = words;
      show(form);
    },
  });

  // The best is not the worst as well.
  function apart(form, target) {
    const other = { "ranking.best": "ranking.worst", "ranking.worst": "ranking.best" }[target.name];
    if (other && place(form, other) === Number(target.value)) Seat.form.set(form, other, null);
  }

  // The place stands on the response too.
  function show(form) {
    form.closest(".comparison")?.querySelectorAll(".text").forEach((pane, index) => {
      const scale = ranks(form)[index];
      const rank = scale ? place(form, scale.dataset.name) : null;
      const said = place(form, "ranking.best") === index ? "+" : place(form, "ranking.worst") === index ? "−" : "";
      pane.dataset.place = rank ?? said;
    });
  }

  Seat.keys.extend((key, form) => {
    if (key !== "=" || !last.has(form)) return false;
    const box = Seat.form.active(form)?.closest(".ranking .scale")?.querySelector(`input[value="${CSS.escape(last.get(form))}"]`);
    if (box) Seat.form.press(box);
    return Boolean(box);
  });
})();
