"use strict";
// The slider of the overview: it marks a row of the table, and says the row in one line.
const slider = document.getElementById("slider");
if (slider) {
  const table = document.getElementById("thresholds");
  const rows = [...table.tBodies[0].rows];
  const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  const at = document.getElementById("at");
  const show = () => {
    rows.forEach((row, place) => row.classList.toggle("here", place === Number(slider.value)));
    const cells = [...rows[Number(slider.value)].cells].map((cell) => cell.textContent.trim());
    at.textContent = cells.map((text, place) => (place ? heads[place] + " " + text : text)).join(" · ");
    slider.setAttribute("aria-valuetext", at.textContent);
  };
  slider.value = String(Math.max(0, rows.findIndex((row) => row.classList.contains("default"))));
  slider.closest("p").hidden = false;
  slider.addEventListener("input", show);
  show();
}

// Keys: see the foot of each page.
const lines = [...document.querySelectorAll("a.go")];
let place = -1;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const go = (rel) => document.querySelector(`a[rel=${rel}]`)?.click();
  if (event.key === "j" || event.key === "k") {
    if (lines.length) {
      const next = place + (event.key === "j" ? 1 : -1);
      if (next >= lines.length) go("next");
      else if (next < 0) go("prev");
      else lines[(place = next)].focus();
    } else go(event.key === "j" ? "next" : "prev");
  } else if (event.key === "/") {
    const search = document.getElementById("q");
    if (search) {
      event.preventDefault();
      search.focus();
    } else document.querySelector("nav a[href*='queries']").click();
  } else if (event.key === "o" && place >= 0) lines[place].click();
  else if (event.key === "?") {
    const keys = document.getElementById("keys");
    keys.open = !keys.open;
    keys.querySelector("summary").focus();
  }
});
