// The answer form: read it, set it, say what is missing. Which questions there are is in the page, not here.
"use strict";

Seat.form = (() => {
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
    return answer;
  }

  // Back into the controls, for a draft kept in the browser.
  function write(form, answer) {
    const set = (name, value) => {
      for (const box of form.querySelectorAll(`input[name="${CSS.escape(name)}"]`)) {
        box.checked = Array.isArray(value) ? value.includes(box.value) : value !== null && box.value === String(value);
      }
    };
    set("outcome", answer.outcome);
    set("level", answer.outcome === "level" ? answer.level : null);
    set("confidence", answer.confidence);
    set("reasons", answer.reasons);
    for (const [key, given] of Object.entries(answer.aspects || {})) {
      set(`aspect.${key}.level`, given.level);
      set(`aspect.${key}.confidence`, given.confidence);
      set(`aspect.${key}.reasons`, given.reasons || []);
    }
    for (const [key, sides] of Object.entries(answer.attributes || {})) {
      for (const [side, value] of Object.entries(sides)) set(`attribute.${key}.${side}`, value);
    }
    if (form.elements.justification) form.elements.justification.value = answer.justification || "";
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
    const wanted = box?.closest("[data-required]");
    if (wanted && !answer.justification) needs.push({ text: Seat.say("justify"), field: box });
    return needs;
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
    submit.querySelector("span").textContent = needs.length ? needs[0].text : Seat.say("submit");
    const rows = form.querySelectorAll(".rows .scale");
    const done = [...rows].filter((scale) => checked(form, scale.dataset.name)).length;
    const details = form.querySelector(".details");
    details.textContent = rows.length ? Seat.say("detailsOf", `${done}/${rows.length}`) : Seat.say("details");
    form.classList.toggle("explain", checked(form, "outcome")?.value === "cannot_judge");
  }

  // The question that takes number keys; its reasons and confidence are shown.
  function activate(form, scale) {
    for (const old of form.querySelectorAll(".active, .active-side")) old.classList.remove("active", "active-side");
    const row = scale.closest(".row");
    (row || scale).classList.add("active");
    if (scale.closest(".ratings")) scale.querySelector(".cells").classList.add("active-side");
    form.dataset.active = scale.dataset.name;
    showMeaning(form, row?.dataset.row);
    const panel = form.querySelector(`[data-panel="${CSS.escape(scale.dataset.key)}"]`);
    if (!panel) return;
    for (const other of form.querySelectorAll("[data-panel]")) other.toggleAttribute("data-shown", other === panel);
  }

  // What the numbers of the active rating mean.
  function showMeaning(form, key) {
    const meaning = key && form.querySelector(`[data-meaning="${CSS.escape(key)}"]`);
    if (!meaning) return;
    for (const other of form.querySelectorAll("[data-meaning]")) other.toggleAttribute("data-shown", other === meaning);
  }

  const active = (form) => form.querySelector(`.scale[data-name="${CSS.escape(form.dataset.active || "level")}"]`);

  // A level and "neither valid" or "cannot judge" exclude each other.
  function changed(form, target) {
    if (target.name === "outcome" && target.checked) {
      for (const other of form.querySelectorAll("input[name=outcome], input[name=level]")) if (other !== target) other.checked = false;
      if (target.value === "cannot_judge") { refresh(form); form.elements.justification?.focus(); }
    }
    if (target.name === "level") for (const other of form.querySelectorAll("input[name=outcome]")) other.checked = false;
    refresh(form);
  }

  function setUp(form) {
    activate(form, form.querySelector(".scale"));
    form.addEventListener("focusin", (event) => {
      const scale = event.target.closest(".scale");
      if (scale) activate(form, scale);
    });
    form.addEventListener("change", (event) => changed(form, event.target));
    form.addEventListener("input", (event) => { if (event.target.name === "justification") refresh(form); });
    const details = form.querySelector(".details");
    details.addEventListener("click", () => open(form, !form.classList.contains("open")));
    refresh(form);
  }

  function open(form, wanted) {
    form.classList.toggle("open", wanted);
    form.querySelector(".details").setAttribute("aria-expanded", String(wanted));
  }

  function press(input) {
    if (input.type === "radio") input.checked = true; else input.checked = !input.checked;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    if (input.type === "radio") input.focus();
  }

  return { read, write, missing, refresh, setUp, active, press, open };
})();
