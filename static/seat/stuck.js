// Answers the server did not take, or failed at: shown with their words, to be downloaded, tried again or discarded.
// Never dropped. And what to say while answers cannot be sent or kept.
"use strict";

(() => {
  const section = document.getElementById("stuck");

  function words(entry) {
    const given = entry.answer || entry.fields || {};
    const texts = [given.justification, ...Object.values(given.feedback || {}), given.edit?.text, given.reason];
    return texts.filter(Boolean).join(" · ") || Seat.say("stuckNoWords");
  }

  function reason({ stuck }) {
    if (stuck.again) return Seat.say("stuckFault");
    try { return JSON.parse(stuck.html).error.reason; } catch { /* the server gave no words */ }
    return Seat.say([403, 404].includes(stuck.status) ? "stuckGone" : "stuckRefused");
  }

  const why = (entries) => [...new Set(entries.map(reason))].join(" ");

  // What is wrong with the network, the server or this browser's storage, and what that means for what was submitted.
  Seat.trouble = (whileOffline) => {
    const { offlineSince: since, keepsNothing, isFaulty } = Seat.outbox;
    const words = since ? [Seat.say("offline", Seat.clock(since).slice(0, 5))] : [];
    if (keepsNothing) words.push(Seat.say("unkept"));
    else if (since) words.push(...whileOffline);
    else if (isFaulty) words.push(Seat.say("fault"));
    return words.join(" ");
  };

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
