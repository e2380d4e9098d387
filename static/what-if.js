// The budget planner: a slider moves along budgets that are all on the page already. Without this script the same
// budgets are chosen from a list and sent.
"use strict";

(() => {
  const form = document.querySelector("form.what-if");
  if (!form) return;
  const list = form.querySelector("select");
  const slider = form.querySelector("input[type=range]");
  const parts = document.querySelectorAll("[data-stop]");
  const asked = document.querySelector("form[data-make-plan] [name=budget]");

  const show = (index) => {
    list.selectedIndex = index;
    slider.value = index;
    slider.setAttribute("aria-valuetext", list.options[index].textContent.trim());
    for (const part of parts) part.toggleAttribute("hidden", Number(part.dataset.stop) !== index);
    for (const row of document.querySelectorAll("[data-row]")) {
      row.classList.toggle("here", Number(row.dataset.row) === index);
    }
    if (asked) asked.value = list.value;
  };

  form.querySelector("[data-list]").hidden = true;
  form.querySelector("[data-slider]").hidden = false;
  slider.addEventListener("input", () => show(Number(slider.value)));
  // A reload or an address passed on shows the same budget.
  slider.addEventListener("change", () => history.replaceState(null, "", `?budget=${encodeURIComponent(list.value)}`));
  // Some browsers keep what was chosen over a reload: the page shows what its address says.
  slider.value = list.selectedIndex = Number(slider.dataset.at);
  slider.setAttribute("aria-valuetext", list.options[list.selectedIndex].textContent.trim());
})();
