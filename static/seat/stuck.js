// Answers the server did not take: shown with their words, to be downloaded, tried again or discarded. Never dropped.
"use strict";

(() => {
  const section = document.getElementById("stuck");

  function words(entry) {
    const given = entry.answer || entry.fields || {};
    const texts = [given.justification, ...Object.values(given.feedback || {}), given.edit?.text, given.reason];
    return texts.filter(Boolean).join(" · ") || Seat.say("stuckNoWords");
  }

  function why(entries) {
    const told = entries.map((entry) => {
      try { return JSON.parse(entry.stuck.html).error.reason; } catch { return ""; }
    }).find(Boolean);
    return told || Seat.say(entries.some((entry) => [403, 404].includes(entry.stuck.status)) ? "stuckGone" : "stuckRefused");
  }

  Seat.showStuck = () => {
    const entries = Seat.outbox.stuck();
    section.hidden = !entries.length;
    if (!entries.length) return;
    section.querySelector(".why").textContent = why(entries);
    section.querySelector("ul").replaceChildren(...entries.map((entry) => {
      const item = document.createElement("li");
      const time = new Date(entry.at).toLocaleString();
      const text = document.createElement("bdi");
      text.textContent = words(entry);
      item.append(`${time} · `, text);
      return item;
    }));
    const link = document.getElementById("stuck-download");
    URL.revokeObjectURL(link.href);
    link.href = URL.createObjectURL(new Blob([JSON.stringify(entries, null, 2)], { type: "application/json" }));
  };

  document.getElementById("stuck-again").addEventListener("click", () => { Seat.outbox.retry(); Seat.showStuck(); });
  document.getElementById("stuck-discard").addEventListener("click", () => {
    for (const entry of Seat.outbox.stuck()) Seat.outbox.remove(entry.id);
    Seat.showStuck();
  });
  Seat.showStuck();
})();
