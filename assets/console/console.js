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

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const copied = await copy(document.getElementById(button.dataset.copy));
    const status = document.getElementById("copied");
    if (copied && status) status.textContent = button.dataset.copied;
  });
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

for (const form of document.querySelectorAll("form[data-copies]")) {
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
  for (const id of ["secret", "curl"]) document.getElementById(id)?.replaceChildren();
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
