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

/** People type times of their own zone; forms carry them in UTC. */
function typed() {
  for (const field of document.querySelectorAll("input[type=datetime-local]")) {
    const sent = Object.assign(document.createElement("input"), { type: "hidden", name: field.name });
    field.removeAttribute("name");
    field.after(sent);
    const words = field.labels[0].firstChild;
    words.textContent = words.textContent.replace("UTC", "your time");
    field.form.addEventListener("submit", () => (sent.value = field.value && new Date(field.value).toISOString()));
  }
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

/** On a phone the failures come first: filters that are not in use are folded. */
function fold() {
  const more = document.querySelector(".filter .more");
  if (!more) return;
  const phone = matchMedia("(max-width: 600px)");
  const used = [...more.querySelectorAll("select")].some((select) => select.value);
  const set = () => (more.open = used || !phone.matches);
  phone.addEventListener("change", set);
  set();
}

const rows = () => [...document.querySelectorAll("[data-row]")];
const boxes = () => [...document.querySelectorAll("input[name=id]")];

/** By what an element is known again in the next copy of its row or part. */
const mark = (element) => element.id || `${element.tagName} ${element.getAttribute("href") || element.textContent}`;

/** Where an element stands, if that will be replaced. */
function place(element) {
  const row = element.closest("[data-row]");
  const home = row || element.closest("[data-live]");
  return home && { home: home.id, at: row ? rows().indexOf(row) : -1, mark: mark(element) };
}

/** What stands there now: the same, or its row, or the one in the place of its row. */
function found({ home, at, mark: wanted }) {
  const there = document.getElementById(home);
  const same = there && [...there.querySelectorAll("a, button, input")].find((one) => mark(one) === wanted);
  if (same || at < 0) return same;
  const near = there || rows()[Math.min(at, rows().length - 1)];
  return near && near.querySelector(".what a");
}

/** Does somebody mark text that would be replaced? */
function marks() {
  const selection = getSelection();
  return !selection.isCollapsed && [...document.querySelectorAll("[data-live]")].some((part) => selection.containsNode(part, true));
}

/** The box that selects all of them follows the others. */
function settle() {
  const all = document.getElementById("all");
  if (!all) return;
  all.closest("label").hidden = boxes().length === 0;
  all.checked = boxes().every((box) => box.checked);
}

let seen = new Date();

/** Says since when the list stands still, if it does. */
function answered(well) {
  if (well) seen = new Date();
  const words = well ? "" : `Not refreshed since ${seen.toLocaleTimeString([], { timeStyle: "short" })}. Load the page again.`;
  const fresh = document.getElementById("fresh");
  if (fresh.textContent !== words) fresh.textContent = words;
}

/** Puts what is new into the page: what has the focus keeps it, what is selected stays so. */
async function refresh() {
  if (document.hidden || !list || marks()) return;
  const answer = await fetch(location.href, { headers: { accept: "text/html" }, credentials: "same-origin" }).catch(() => null);
  const text = answer && answer.ok && !answer.redirected && (await answer.text().catch(() => null));
  answered(Boolean(text));
  if (!text || marks()) return;
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const chosen = new Set(boxes().flatMap((box) => (box.checked ? [box.value] : [])));
  const focused = document.activeElement && place(document.activeElement);
  for (const old of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(old.id);
    if (!next) continue;
    old.replaceChildren(...next.childNodes);
    localize(old);
  }
  for (const box of boxes()) box.checked = chosen.has(box.value);
  settle();
  count();
  const again = focused && found(focused);
  if (again) again.focus({ preventScroll: true });
}

/** The row that has the focus moves up or down. */
function move(step) {
  const all = rows();
  const at = all.findIndex((row) => row.contains(document.activeElement));
  const next = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1)];
  const link = next && next.querySelector(".what a");
  if (link) link.focus();
}

document.addEventListener("change", (event) => {
  if (event.target.id === "all") for (const box of boxes()) box.checked = event.target.checked;
  settle();
});

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
      settle();
      box.form.querySelector("button[type=submit]").focus();
    }
  }
});

localize(document);
typed();
fold();
settle();
count();
setInterval(count, 1000);
if (list) setInterval(refresh, REFRESH);
document.addEventListener("visibilitychange", refresh);
