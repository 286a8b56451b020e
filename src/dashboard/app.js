// What makes a page live. Everything works without it: links, forms and times are the server's.
"use strict";

const REFRESH = 15000;
const list = document.getElementById("tickets");

/** Times in the reader's own zone; the whole one stands in the title. */
function localize(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const local = at.toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
    // A point in time is replaced; what says how long ago keeps its words.
    if (/ UTC$/.test(time.textContent)) time.textContent = local;
    time.title = `${local} (${at.toISOString().slice(0, 19).replace("T", " ")} UTC)`;
    time.dataset.local = "";
  }
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const place of root.querySelectorAll("[data-zone]")) place.textContent = `Times are local (${zone}).`;
}

/** How long is left until an SLA is over. */
function count() {
  for (const due of document.querySelectorAll("time[data-due]")) {
    const left = Math.floor((new Date(due.dateTime) - Date.now()) / 1000);
    const hours = Math.floor(left / 3600);
    const minutes = Math.floor((left % 3600) / 60);
    const words = left < 0 ? "due" : hours > 0 ? `${hours} h ${minutes} min` : minutes > 0 ? `${minutes} min ${left % 60} s` : `${left} s`;
    due.textContent = left < 0 ? words : `in ${words}`;
    due.classList.toggle("soon", left >= 0 && left < 900);
    due.classList.toggle("bad", left < 0);
  }
}

/** Puts what is new into the page: what has the focus keeps it, what is selected or opened stays so. */
async function refresh() {
  if (document.hidden || !list) return;
  const answer = await fetch(location.href, { headers: { accept: "text/html" }, credentials: "same-origin" }).catch(() => null);
  if (!answer || !answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const chosen = new Set([...document.querySelectorAll("input[name=id]:checked")].map((box) => box.value));
  const focused = document.activeElement && document.activeElement.id;
  for (const old of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(old.id);
    if (!next) continue;
    old.replaceChildren(...next.childNodes);
    localize(old);
  }
  for (const box of document.querySelectorAll("input[name=id]")) box.checked = chosen.has(box.value);
  const again = focused && document.getElementById(focused);
  if (again && again !== document.activeElement) again.focus({ preventScroll: true });
  count();
}

/** The row that has the focus moves up or down. */
function move(step) {
  const rows = [...document.querySelectorAll("[data-row]")];
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const next = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + step, 0), rows.length - 1)];
  const link = next && next.querySelector(".what a");
  if (link) link.focus();
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=checkbox]), select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.key === "Escape" && typing) return typing.blur();
  if (typing) return;
  const find = document.getElementById("find");
  if (event.key === "/" && find) {
    event.preventDefault();
    find.focus();
    find.select();
  } else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "e") {
    // Selected, and the button has the focus: Enter closes, nothing is closed by one key.
    const row = document.activeElement.closest("[data-row]");
    const box = row && row.querySelector("input[name=id]");
    if (box) {
      box.checked = true;
      box.form.querySelector("button[type=submit]").focus();
    }
  }
});

localize(document);
count();
setInterval(count, 1000);
if (list) setInterval(refresh, REFRESH);
document.addEventListener("visibilitychange", refresh);
