// The guidelines beside the work: opened at the question being answered, and told when they have changed meanwhile.
"use strict";

Seat.guidelines = (() => {
  const drawer = document.getElementById("guidelines");
  const opener = document.getElementById("guidelines-open");
  const stage = document.getElementById("stage");
  const unread = opener.querySelector(".unread");
  const body = () => drawer.querySelector(".guidelines-body");
  const find = (key) => key && drawer.querySelector(`[data-topic="${CSS.escape(key)}"]`);

  // Where the guidelines speak of the question that takes the number keys now.
  function goTo(link) {
    for (const old of drawer.querySelectorAll(".here")) old.classList.remove("here");
    const heading = link && document.getElementById(decodeURIComponent(link.hash.slice(1)));
    if (!heading) return;
    heading.classList.add("here");
    body().scrollTop += heading.getBoundingClientRect().top - body().getBoundingClientRect().top - 12;
  }

  const asked = () => stage.querySelector(".answer .row.active")?.dataset.row;

  // A mouse's way there; `g` is the keyboard's.
  function link(comparison) {
    for (const row of comparison.querySelectorAll(".row[data-row]")) {
      const name = row.querySelector(".name");
      const topic = find(row.dataset.row);
      if (!topic || !name || name.querySelector(".guide")) continue;
      const made = document.createElement("a");
      made.className = "guide";
      made.tabIndex = -1;
      made.href = topic.hash;
      made.append(...name.childNodes);
      name.append(made);
    }
  }

  async function refresh() {
    let response;
    try { response = await Seat.request(drawer.dataset.refresh); } catch { return; }
    if (response.ok && !response.redirected) take(await response.text());
  }

  function take(html) {
    const holder = document.createElement("template");
    holder.innerHTML = html; // our own server's fragment
    const fresh = holder.content.querySelector("#guidelines");
    if (!fresh) return;
    body().replaceWith(fresh.querySelector(".guidelines-body"));
    drawer.querySelector(".guidelines-version").textContent = fresh.querySelector(".guidelines-version").textContent;
    drawer.dataset.version = fresh.dataset.version;
    notice();
  }

  const notice = () => { unread.hidden = !drawer.querySelector(".news"); };

  // A comparison says under which version it came, even one that only lies ready.
  let asking = false;
  async function told(comparison) {
    if (asking || !(Number(comparison.dataset.guidelines) > Number(drawer.dataset.version))) return;
    asking = true;
    await refresh();
    asking = false;
    if (!unread.hidden) Seat.announce(drawer.dataset.news);
  }

  function look() {
    const comparison = stage.querySelector(".comparison");
    if (!comparison) return;
    link(comparison);
    told(comparison);
  }

  drawer.addEventListener("submit", async (event) => {
    const form = event.target.closest(".news form");
    if (!form) return;
    event.preventDefault();
    let response;
    try {
      response = await Seat.request(form.getAttribute("action"), { method: "POST", body: new FormData(form) });
    } catch { Seat.outbox?.noticed(false); return; }
    if (response.ok && !response.redirected) {
      take(await response.text());
      document.getElementById("guidelines-title").focus();
    }
  });

  function toggle(event) {
    event?.preventDefault();
    const isOpen = drawer.classList.toggle("open");
    opener.setAttribute("aria-expanded", String(isOpen));
    (isOpen ? document.getElementById("guidelines-title") : opener).focus();
    if (!isOpen) return;
    if (unread.hidden) goTo(find(asked())); else body().scrollTop = 0;
  }
  opener.setAttribute("aria-expanded", "false");
  opener.addEventListener("click", toggle);
  document.getElementById("guidelines-close").addEventListener("click", toggle);
  drawer.addEventListener("click", (event) => {
    const topic = event.target.closest("[data-topic]");
    if (topic) { event.preventDefault(); goTo(topic); }
  });
  stage.addEventListener("click", (event) => {
    const made = event.target.closest(".guide");
    if (!made) return;
    event.preventDefault();
    if (!drawer.classList.contains("open")) toggle();
    goTo(find(made.closest(".row").dataset.row));
  });

  new MutationObserver(look).observe(stage, { childList: true });
  notice();
  look();

  // True when there was something to close.
  function close() {
    const was = drawer.classList.contains("open");
    if (was) toggle();
    return was;
  }

  return { close, told };
})();
