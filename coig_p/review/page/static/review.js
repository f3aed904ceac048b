"use strict";
// Keys, the time that the page is in view, and saving without leaving the page where the server does not answer.
// Without this script the forms do the same, less the keys.
const form = document.getElementById("answer");
const undo = document.getElementById("undo");
const message = document.getElementById("message");

let seen = 0; // milliseconds in view before the last time it came into view
let since = document.hidden ? null : performance.now();
document.addEventListener("visibilitychange", () => {
  if (document.hidden && since !== null) {
    seen += performance.now() - since;
    since = null;
  } else if (!document.hidden && since === null) since = performance.now();
});
const seconds = () => ((seen + (since === null ? 0 : performance.now() - since)) / 1000).toFixed(1);

// A page that comes back from the browser's memory shows what stood in it then: ask for it anew.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

let sending = false;
const say = (text) => {
  message.textContent = text;
  message.hidden = false;
  message.scrollIntoView({ block: "nearest" });
};
const send = async (event) => {
  event.preventDefault();
  if (sending) return;
  sending = true;
  const fields = new URLSearchParams(new FormData(event.target, event.submitter));
  if (fields.has("seconds")) fields.set("seconds", seconds());
  try {
    const answer = await fetch(event.target.getAttribute("action"), { method: "POST", body: fields });
    if (answer.ok) {
      location.assign(answer.url);
      return; // stays locked until the next page is here
    }
    const said = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("message");
    const text = said ? said.textContent : message.dataset.words + " (" + answer.status + ")";
    const stamp = said && said.ownerDocument.querySelector("#answer [name=stamp]");
    if (stamp && event.target === form) form.elements.stamp.value = stamp.value;
    say(text);
  } catch {
    say(message.dataset.words + ": " + message.dataset.noServer);
  }
  sending = false;
};
form?.addEventListener("submit", send);
if (message) undo?.addEventListener("submit", send);

// A triple's keys give places to one response after the other; this is whose turn it is.
const sides = [...document.querySelectorAll(".side")];
let turn = -1;
const take = (place) => {
  turn = place % sides.length;
  sides.forEach((side, at) => side.classList.toggle("now", at === turn));
};
if (sides.length) {
  take(Math.max(0, sides.findIndex((side) => !side.querySelector(":checked"))));
  sides.forEach((side, at) => side.addEventListener("change", () => take(at + 1)));
}

const lines = [...document.querySelectorAll("a.go")];
let line = -1;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.tagName === "TEXTAREA") {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const follow = (rel) => document.querySelector(`a[rel=${rel}]`)?.click();
  if (key === "j" || key === "k") {
    const next = line + (key === "j" ? 1 : -1);
    if (!lines.length) follow(key === "j" ? "next" : "prev");
    else if (next >= 0 && next < lines.length) lines[(line = next)].focus();
  } else if (key === "u") undo?.requestSubmit();
  else if (key === "?") {
    const keys = document.getElementById("keys");
    keys.open = !keys.open;
    keys.querySelector("summary").focus();
  } else if (!form || event.repeat) return;
  else if (key === "Enter") {
    if (/^(A|BUTTON|SUMMARY)$/.test(event.target.tagName)) return;
    event.preventDefault();
    form.requestSubmit(form.querySelector("[value=answer]"));
  } else if (key === "s") {
    const skip = form.querySelector("button[value=skip]");
    if (skip) form.requestSubmit(skip);
  } else if (key === "c") {
    event.preventDefault();
    form.elements.comment.focus();
  } else if (sides.length && /^[123]$/.test(key)) sides[turn].querySelector(`[value="${key}"]`).click();
  else form.querySelector(`[data-key="${CSS.escape(key)}"]`)?.click();
});
