// What cannot be done without a script: copying, filtering while typing, and a word before a secret is lost.
"use strict";

document.documentElement.classList.add("scripted");

// A dialog that is open without a script becomes one that keeps the focus.
for (const dialog of document.querySelectorAll("dialog[data-modal]")) {
  dialog.close();
  dialog.showModal();
  // Escape is the way out that the dialog offers, if it offers one.
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    dialog.querySelector("[data-cancel]")?.click();
  });
}

function select(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  const selection = getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}

async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    // Over plain HTTP there is no clipboard but the selection's.
    select(element);
    return document.execCommand("copy");
  }
}

for (const button of document.querySelectorAll("[data-print]")) {
  button.addEventListener("click", () => print());
}

// A secret that can be shown again goes straight to the clipboard, and never into the page. Where that does not succeed, the
// form is sent as it is without a script, and a page shows the secret.
async function revealed(form) {
  const body = new URLSearchParams(new FormData(form));
  const response = await fetch(form.action, { method: "POST", body, redirect: "error" });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const secret = page.getElementById("secret")?.textContent;
  if (!response.ok || !secret) throw new Error("no secret");
  return secret;
}

// What a list has is prepared again when another list takes its place.
function prepare(root) {
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const copied = await copy(document.getElementById(button.dataset.copy));
      const status = document.getElementById("copied");
      if (copied && status) status.textContent = button.dataset.copied;
    });
  }

  for (const form of root.querySelectorAll("form[data-copies]")) {
    if (!navigator.clipboard?.write || typeof ClipboardItem === "undefined") continue;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      button.disabled = true;
      try {
        // The promise goes to the clipboard itself: some browsers allow that only at once after the click.
        const text = revealed(form).then((secret) => new Blob([secret], { type: "text/plain" }));
        await navigator.clipboard.write([new ClipboardItem({ "text/plain": text })]);
        const status = document.getElementById("copied");
        if (status) status.textContent = form.dataset.copied;
      } catch {
        form.submit();
      }
      button.disabled = false;
    });
  }

  // A tick for all boxes of the page.
  for (const all of root.querySelectorAll("[data-ticks]")) {
    const boxes = document.querySelectorAll(`input[type=checkbox][name="${all.dataset.ticks}"]`);
    all.addEventListener("change", () => {
      for (const box of boxes) box.checked = all.checked;
    });
  }
}
prepare(document);

// Leaving loses the secret: the browser asks, unless the way out is the one that says that it is stored.
const shown = document.querySelector("[data-warn-leave]");
if (shown) {
  const warn = (event) => event.preventDefault();
  addEventListener("beforeunload", warn);
  for (const link of document.querySelectorAll("[data-leave]")) {
    link.addEventListener("click", () => removeEventListener("beforeunload", warn));
  }
}
// Nothing of a secret stays behind in a page that is kept for going back.
addEventListener("pagehide", () => {
  for (const element of document.querySelectorAll("[data-secret]")) element.replaceChildren();
});

for (const field of document.querySelectorAll("[data-filter]")) {
  const list = document.getElementById(field.dataset.filter);
  const rows = list.querySelectorAll("[data-text]");
  // What is folded is looked through too.
  const rest = list.querySelectorAll("details");
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    for (const more of rest) more.open = wanted !== "";
    for (const row of rows) {
      row.classList.toggle("hide", !row.dataset.text.toLowerCase().includes(wanted));
    }
  });
  // Return would send the form.
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") event.preventDefault();
  });
}

// A day that is entered is chosen.
for (const day of document.querySelectorAll("[data-picks]")) {
  day.addEventListener("input", () => {
    if (day.value) document.getElementById(day.dataset.picks).checked = true;
  });
}
for (const period of document.querySelectorAll("input[name=life]:not([value=date])")) {
  period.addEventListener("change", () => {
    const day = document.querySelector("[data-picks]");
    if (day) day.value = day.defaultValue;
  });
}

// A list whose choice changes the rest of the form presses the button beside it.
for (const list of document.querySelectorAll("[data-submits]")) {
  list.addEventListener("change", () => document.getElementById(list.dataset.submits)?.click());
}

// Typing filters a list after a short pause: the form is sent as its button sends it, and the list of the answer takes the
// place of this one. A text that may be a secret waits for the button, and so does everything that leads to another page.
const PAUSE_MS = 300;
const SECRET_CHARS = 24;
// More than the id, with which a secret begins.
const OWN_SECRET = /^[a-z][a-z0-9]{1,15}_[0-9A-Za-z]{11}/;

function mayBeSecret(word) {
  return word.length >= SECRET_CHARS || OWN_SECRET.test(word);
}

function filterWhileTyping(form, field) {
  const status = document.querySelector("[data-live-status]");
  let timer = 0;
  let request = new AbortController();
  let sent = field.value.trim();

  async function filter() {
    const text = field.value.trim();
    if (text === sent || text.split(/\s+/).some(mayBeSecret)) return;
    sent = text;
    request.abort();
    request = new AbortController();
    const body = new URLSearchParams(new FormData(form));
    const answer = await fetch(form.action, { method: "POST", body, signal: request.signal });
    const isList = answer.redirected && new URL(answer.url).pathname === new URL(form.action).pathname;
    if (!answer.ok || !isList) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const list = page.getElementById(form.dataset.live);
    if (!list || field.value.trim() !== text) return;
    document.getElementById(form.dataset.live).replaceWith(list);
    prepare(list);
    history.replaceState(null, "", answer.url);
    status.textContent = list.querySelector("[data-total]").textContent;
  }

  field.addEventListener("input", (event) => {
    clearTimeout(timer);
    // What is not written to its end, as in Japanese, is not sought. Without an answer, the button still works.
    if (!event.isComposing) timer = setTimeout(() => filter().catch(() => {}), PAUSE_MS);
  });
  field.addEventListener("compositionend", () => field.dispatchEvent(new Event("input")));
  form.addEventListener("submit", () => {
    clearTimeout(timer);
    request.abort();
  });
}

for (const form of document.querySelectorAll("form[data-live]")) {
  filterWhileTyping(form, form.querySelector("[data-search]"));
}

// The slash goes to the search, unless something is being typed.
addEventListener("keydown", (event) => {
  const search = document.querySelector("[data-search]");
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing || !search) return;
  event.preventDefault();
  search.focus();
  search.select();
});
