// Keeps what is shown true: asks for the page again and puts the new content in place of the old, only when
// it differs, without taking the focus, the place on the page or what was chosen from whoever looks at it.
const seconds = Number(document.currentScript.dataset.seconds);
let last = document.querySelector("main").innerHTML;

const reachable = (main) => [...main.querySelectorAll("a, button, select, summary")];

async function look() {
  const answer = await fetch(location.href, { cache: "no-store" });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const [main, next] = [document.querySelector("main"), page.querySelector("main")];
  const choosing = document.activeElement?.matches("select");
  if (!answer.ok || !next || next.innerHTML === last || choosing) return;
  last = next.innerHTML;
  const focused = reachable(main).indexOf(document.activeElement);
  const chosen = [...main.querySelectorAll("select")].map((select) => select.value);
  main.replaceWith(next);
  next.querySelectorAll("select").forEach((select, index) => (select.value = chosen[index] ?? select.value));
  reachable(next)[focused]?.focus({ preventScroll: true });
}

async function watch() {
  // A simulator that has ended shows its last state.
  if (!document.hidden) await look().catch(() => {});
  setTimeout(watch, seconds * 1000);
}

setTimeout(watch, seconds * 1000);
