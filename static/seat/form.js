// The answer form: read it, set it, say what is missing. Which questions there are is in the page, not here.
// What only some protocols ask (texts, marked errors, an edited response, an order) are parts, each in a file of its own.
"use strict";

Seat.form = (() => {
  // {setUp(form), read(form, answer), write(form, answer), missing(form, answer), refresh(form), pressed(form, input)},
  // all optional; `pressed` says true when it moved the focus on.
  const parts = [];
  const ask = (name, ...given) => parts.flatMap((part) => part[name]?.(...given) ?? []);

  // The responses as stored, by side: only pages whose protocol marks or edits them hold them twice.
  const stored = new WeakMap();
  function texts(form) {
    if (!stored.has(form)) stored.set(form, JSON.parse(form.querySelector(".stored-texts")?.textContent || "{}"));
    return stored.get(form);
  }

  const number = (field) => (field ? Number(field.value) : null);
  const checked = (form, name) => form.querySelector(`input[name="${CSS.escape(name)}"]:checked`);
  const words = (form, name) => [...form.querySelectorAll(`input[name="${CSS.escape(name)}"]:checked`)].map((box) => box.value);

  // The answer in the server's JSON shape (on-screen order).
  function read(form) {
    const answer = {
      outcome: checked(form, "outcome")?.value || "level",
      level: number(checked(form, "level")),
      confidence: number(checked(form, "confidence")),
      aspects: {},
      attributes: {},
      reasons: words(form, "reasons"),
      flags: words(form, "flags"),
      justification: form.elements.justification?.value.trim() || "",
    };
    for (const scale of form.querySelectorAll(".scale")) {
      const parts = scale.dataset.name.split(".");
      const [kind, key, part] = [parts[0], parts.slice(1, -1).join("."), parts.at(-1)];
      const value = number(checked(form, scale.dataset.name));
      if (kind === "aspect" && value !== null) {
        answer.aspects[key] = {
          level: value,
          confidence: number(checked(form, `aspect.${key}.confidence`)),
          reasons: words(form, `aspect.${key}.reasons`),
        };
      }
      if (kind === "attribute" && value !== null) (answer.attributes[key] = answer.attributes[key] || {})[part] = value;
    }
    ask("read", form, answer);
    return answer;
  }

  // Sets the boxes of this name that have this value (or one of these).
  function set(form, name, value) {
    for (const box of form.querySelectorAll(`input[name="${CSS.escape(name)}"]`)) {
      box.checked = Array.isArray(value) ? value.includes(box.value) : value !== null && box.value === String(value);
    }
  }

  // Back into the controls, for a draft kept in the browser.
  function write(form, answer) {
    set(form, "outcome", answer.outcome);
    set(form, "level", answer.outcome === "level" ? answer.level : null);
    set(form, "confidence", answer.confidence);
    set(form, "reasons", answer.reasons);
    set(form, "flags", answer.flags || []);
    for (const [key, given] of Object.entries(answer.aspects || {})) {
      set(form, `aspect.${key}.level`, given.level);
      set(form, `aspect.${key}.confidence`, given.confidence);
      set(form, `aspect.${key}.reasons`, given.reasons || []);
    }
    for (const [key, sides] of Object.entries(answer.attributes || {})) {
      for (const [side, value] of Object.entries(sides)) set(form, `attribute.${key}.${side}`, value);
    }
    if (form.elements.justification) form.elements.justification.value = answer.justification || "";
    ask("write", form, answer);
    refresh(form);
  }

  // Required questions without an answer, in order: {text, field}.
  function missing(form) {
    const answer = read(form);
    const box = form.elements.justification;
    if (answer.outcome === "cannot_judge") {
      return answer.justification || answer.reasons.length ? [] : [{ text: Seat.say("why"), field: box }];
    }
    if (answer.outcome === "neither_valid") return [];
    const open = [...form.querySelectorAll(".scale[data-required]")].filter((scale) => !checked(form, scale.dataset.name));
    const needs = open.map((scale) => ({
      text: scale.dataset.key === "overall" ? Seat.say("choose") : Seat.say("missing", open.length),
      field: scale.querySelector("input"),
    }));
    return [...needs, ...ask("missing", form, answer)];
  }

  // Words beside the scales, the button, the count behind "Details".
  function refresh(form) {
    for (const output of form.querySelectorAll("output.chosen")) {
      const option = checked(form, output.dataset.of);
      output.textContent = option ? option.dataset.label : "";
      output.className = `chosen ${option?.dataset.side || ""}`;
    }
    const needs = missing(form);
    const submit = form.querySelector(".submit");
    submit.classList.toggle("waiting", needs.length > 0);
    submit.querySelector("span").textContent = needs.length ? needs[0].text : form.dataset.submit || Seat.say("submit");
    const rows = form.querySelectorAll(".rows .scale");
    const done = [...rows].filter((scale) => checked(form, scale.dataset.name)).length;
    const details = form.querySelector(".details");
    details.textContent = rows.length ? Seat.say("detailsOf", `${done}/${rows.length}`) : Seat.say("details");
    form.classList.toggle("explain", checked(form, "outcome")?.value === "cannot_judge");
    ask("refresh", form);
  }

  // The question that takes number keys; its reasons and confidence are shown.
  function activate(form, scale) {
    for (const old of form.querySelectorAll(".active, .active-side")) old.classList.remove("active", "active-side");
    const row = scale.closest(".row");
    (row || scale).classList.add("active");
    if (scale.closest(".ratings")) scale.querySelector(".cells").classList.add("active-side");
    form.dataset.active = scale.dataset.name;
    show(form, "meaning", row?.dataset.row || scale.dataset.key);
    show(form, "panel", scale.dataset.key);
  }

  // What the numbers of the active question mean, and its reasons; what has none leaves the last ones in view.
  function show(form, kind, key) {
    const wanted = form.querySelector(`[data-${kind}="${CSS.escape(key)}"]`);
    if (!wanted) return;
    for (const other of form.querySelectorAll(`[data-${kind}]`)) other.toggleAttribute("data-shown", other === wanted);
  }

  const active = (form) => form.querySelector(`.scale[data-name="${CSS.escape(form.dataset.active || "level")}"]`);

  // A level and "neither valid" or "cannot judge" exclude each other.
  function changed(form, target) {
    if (target.name === "outcome" && target.checked) {
      const others = "input[name=outcome], input[name=level], input[name^='ranking.']";
      for (const other of form.querySelectorAll(others)) if (other !== target) other.checked = false;
      if (target.value === "cannot_judge") { refresh(form); form.elements.justification?.focus(); }
    }
    if (target.name === "level" || target.name.startsWith("ranking.")) {
      for (const other of form.querySelectorAll("input[name=outcome]")) other.checked = false;
    }
    refresh(form);
  }

  function setUp(form) {
    activate(form, form.querySelector(".scale"));
    form.addEventListener("focusin", (event) => {
      const scale = event.target.closest(".scale");
      if (scale) activate(form, scale);
    });
    form.addEventListener("change", (event) => changed(form, event.target));
    form.addEventListener("input", (event) => { if (event.target.matches("textarea")) refresh(form); });
    const details = form.querySelector(".details");
    details.addEventListener("click", () => open(form, !form.classList.contains("open")));
    ask("setUp", form);
    refresh(form);
  }

  function open(form, wanted) {
    form.classList.toggle("open", wanted);
    form.querySelector(".details").setAttribute("aria-expanded", String(wanted));
  }

  // As by a key: rows of numbers go on to the next empty one, and whoever wants it is done with one key.
  function press(input) {
    if (input.type === "radio") input.checked = true; else input.checked = !input.checked;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    const form = input.form;
    if (input.type === "radio" && !goOn(form, input)) input.focus();
    const ends = input.checked && (input.name === "outcome" || input.closest(".overall"));
    if (ends && oneKey.checked && !missing(form).length) form.requestSubmit();
  }

  // From a rating or a place to the next that has none.
  function goOn(form, input) {
    const list = input.closest(".ratings, .ranking");
    if (!list) return false;
    const scales = [...list.querySelectorAll(".scale")];
    const here = scales.indexOf(input.closest(".scale"));
    const next = [...scales.slice(here + 1), ...scales.slice(0, here)].find((scale) => !checked(form, scale.dataset.name));
    next?.querySelector("input").focus();
    return Boolean(next);
  }

  // What was answered, in words, for the line that offers to take it back.
  function summary(form) {
    return form.querySelector("[name=outcome]:checked + span")?.lastChild.textContent.trim()
      || checked(form, "level")?.dataset.label
      || form.querySelector(".ranking .order")?.textContent.trim()
      || "";
  }

  // The list of keys shows those of this protocol.
  document.getElementById("keys-open")?.addEventListener("click", () => {
    const form = document.querySelector(".comparison .answer");
    for (const line of document.querySelectorAll("#keys [data-needs]")) line.hidden = !form?.querySelector(line.dataset.needs);
  });

  const oneKey = document.getElementById("one-key") || { checked: false };
  if (oneKey instanceof HTMLInputElement) {
    oneKey.checked = Seat.store.read("oneKey") === true;
    oneKey.addEventListener("change", () => Seat.store.write("oneKey", oneKey.checked));
  }

  return { read, write, missing, refresh, setUp, active, press, open, set, checked, summary, texts, extend: (part) => parts.push(part) };
})();
