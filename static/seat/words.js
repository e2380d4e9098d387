// Words of the page, translated by the server, and small ways to say them.
"use strict";
window.Seat = window.Seat || {};

Seat.root = document.getElementById("seat");

Seat.say = (name, value) => (document.getElementById("words").dataset[name] || name).replace("{}", value ?? "");

// As many of something: the server gives a form for some numbers, the language says which of them this number is like.
Seat.count = (() => {
  const rules = new Intl.PluralRules(document.documentElement.lang);
  return (name, number) => {
    const forms = JSON.parse(document.getElementById("words").dataset[name]);
    const kind = rules.select(number);
    const like = number in forms ? number : Object.keys(forms).findLast((sample) => rules.select(Number(sample)) === kind);
    return (forms[like] ?? Object.values(forms).at(-1)).replace("{}", number);
  };
})();

// For screen readers: what changed while the eyes were elsewhere.
Seat.announce = (text) => {
  const region = document.getElementById("announce");
  region.textContent = "";
  setTimeout(() => { region.textContent = text; }, 50);
};

Seat.clock = (date) => date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

Seat.saved = (state, text) => {
  const chip = document.getElementById("saved");
  chip.className = `saved state ${state}`;
  if (chip.textContent !== text) chip.textContent = text;
};

Seat.token = () => {
  const cookie = document.cookie.split("; ").find((part) => part.startsWith("csrftoken="));
  return cookie ? cookie.slice("csrftoken=".length) : document.querySelector("[name=csrfmiddlewaretoken]")?.value || "";
};

// A request of the page's own. Rejects only when the network failed.
Seat.request = (url, options = {}) => fetch(url, {
  credentials: "same-origin",
  ...options,
  headers: { "X-CSRFToken": Seat.token(), "HX-Request": "true", ...options.headers },
});

// What a browser can keep; a full or forbidden store must not stop the work.
Seat.store = {
  read(name) {
    try { return JSON.parse(localStorage.getItem(`switchyard.${Seat.root.dataset.user}.${name}`)); } catch { return null; }
  },
  write(name, value) {
    const key = `switchyard.${Seat.root.dataset.user}.${name}`;
    try {
      if (value === null) localStorage.removeItem(key); else localStorage.setItem(key, JSON.stringify(value));
      return true;
    } catch { return false; }
  },
  // All values whose name begins so.
  list(beginning) {
    const prefix = `switchyard.${Seat.root.dataset.user}.`;
    try {
      const names = Object.keys(localStorage).filter((key) => key.startsWith(prefix + beginning));
      return names.map((key) => Seat.store.read(key.slice(prefix.length)));
    } catch { return []; }
  },
};
