// What the script adds to a page: it lives, without taking anything from the hands of the person who works on it.

import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";

import { MIDDLE, NARROW, play } from "./kit.mjs";

/** Between two refreshes. */
const REFRESH = 15_000;

const focused = (page) => page.evaluate(() => document.activeElement.outerHTML.slice(0, 200));
const rowOf = (page, asset) => page.locator("[data-row]").filter({ has: page.getByRole("link", { name: asset, exact: true }) });

/** A task fails, in a way of its own; returns when it is listed. */
async function fails(settings, task, exception) {
  const body = JSON.stringify({ dag_id: task, task_id: "live", run_id: `manual__${task}`, state: "failed", try_number: 1, max_tries: 0, operator: "PythonOperator", exception });
  const answer = await fetch(`${settings.app}airflow-monitor`, { method: "POST", headers: { "content-type": "application/json" }, body });
  assert.equal(answer.status, 200);
  for (let look = 0; ; look += 1) {
    const { tickets } = await (await fetch(`${settings.app}api/tickets?q=${task}.live`)).json();
    if (tickets.length > 0) return tickets[0].id;
    assert.ok(look < 100, `${task} is never listed`);
    await pause(100);
  }
}

/** Puts the clock forward to the next refresh, and waits until it has replaced the list. */
async function refreshed(page) {
  await page.evaluate(() => (document.querySelector("#week > *").isOld = true));
  await page.clock.runFor(REFRESH);
  for (let look = 0; await page.evaluate(() => document.querySelector("#week > *").isOld); look += 1) {
    assert.ok(look < 200, "the list is never refreshed");
    await pause(50);
  }
}

async function refresh(stage, settings) {
  stage.step("the list is refreshed");
  const page = await stage.visit(`${settings.dashboard}?sort=reported`, { clock: true });
  const next = page.getByRole("link", { name: "Next" });
  const places = {
    "a ticket": page.locator("[data-row] .what > a").nth(3),
    "a check box": page.locator("[data-row] input[name=id]").nth(1),
    "the box for all": page.locator("#all"),
    "a heading": page.locator("thead").getByRole("link", { name: "SLA" }),
    "a tile": page.locator(".tile").nth(3),
    "the button": page.getByRole("button", { name: "Close selected" }),
    "the next page": next,
    "an asset that fails often": page.locator(".ranks a").nth(2),
  };
  for (const [name, place] of Object.entries(places)) {
    await place.focus();
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Tab");
    const before = await focused(page);
    await page.evaluate(() => (document.activeElement.isOld = true));
    const top = await page.evaluate(() => scrollY);
    await refreshed(page);
    assert.equal(await focused(page), before, `${name} keeps the focus`);
    const [isOld, outline, now] = await page.evaluate(() => [document.activeElement.isOld, getComputedStyle(document.activeElement).outlineStyle, scrollY]);
    assert.deepEqual([isOld, outline, now], [undefined, "solid", top], `${name}: it is a new one, one sees it, and nothing has moved`);
  }

  stage.step("what is selected and typed stays, what is new comes");
  const [one, other] = [page.locator("input[name=id]").nth(0), page.locator("input[name=id]").nth(3)];
  const chosen = [await one.inputValue(), await other.inputValue()];
  await one.check();
  await other.check();
  await page.getByLabel("Find").fill("half a wo");
  await page.locator("select[name=status]").selectOption("open");
  await page.getByLabel("Find").focus();
  await fails(settings, "one", "KeyError: 'customer'");
  await refreshed(page);
  await rowOf(page, "one.live").waitFor();
  assert.deepEqual(await page.locator("input[name=id]:checked").evaluateAll((boxes) => boxes.map((box) => box.value)), chosen);
  assert.equal(await page.getByLabel("Find").inputValue(), "half a wo");
  assert.equal(await page.locator("select[name=status]").inputValue(), "open");
  await page.keyboard.type("rd");
  assert.equal(await page.getByLabel("Find").inputValue(), "half a word", "one types on");

  stage.step("text that is being marked is not replaced");
  const cause = page.locator("td.cause").first();
  await cause.evaluate((cell) => getSelection().selectAllChildren(cell));
  const marked = await page.evaluate(() => getSelection().toString());
  await fails(settings, "two", "OSError: [Errno 28] No space left on device");
  await page.clock.runFor(2 * REFRESH);
  await pause(300);
  assert.equal(await page.evaluate(() => getSelection().toString()), marked);
  assert.equal(await rowOf(page, "two.live").count(), 0);
  await page.evaluate(() => getSelection().removeAllRanges());
  await refreshed(page);
  await rowOf(page, "two.live").waitFor();

  stage.step("a list that stands still says so");
  await page.route("**/dashboard?*", (route) => route.abort("aborted"));
  await page.clock.runFor(REFRESH);
  await page.getByRole("status").filter({ hasText: /^Not refreshed since .+ Load the page again\.$/ }).waitFor();
  await stage.picture(page, "not-refreshed");
  await page.unroute("**/dashboard?*");
  await refreshed(page);
  assert.equal(await page.locator("#fresh").innerText(), "");
}

/** A row that goes leaves the focus where one is. */
async function gone(stage, settings) {
  stage.step("somebody else closes the ticket that one looks at");
  const page = await stage.visit(`${settings.dashboard}?sort=reported&status=open`, { clock: true });
  const links = page.locator("[data-row] .what > a:first-child");
  await links.nth(2).focus();
  const [id, after] = [await links.nth(2).getAttribute("id"), await links.nth(3).getAttribute("id")];
  const answer = await fetch(`${settings.app}api/tickets/${id.slice(2)}/acknowledge`, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" });
  assert.equal(answer.status, 200, await answer.text());
  await refreshed(page);
  assert.equal(await page.locator(`[id="${id}"]`).count(), 0);
  assert.equal(await page.evaluate(() => document.activeElement.id), after);
}

async function keys(stage, settings) {
  stage.step("keys");
  const view = `${settings.dashboard}?priority=P4&group=owner&page=2`;
  const page = await stage.visit(view);
  const links = await page.locator("[data-row] .what > a:first-child").evaluateAll((links) => links.map((link) => link.id));
  const at = async (index, words) => assert.equal(await page.evaluate(() => document.activeElement.id), links.at(index), words);
  await page.keyboard.press("j");
  await at(0, "j begins with the first");
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("k");
  await at(1, "j and k lead down and up");
  for (let press = 0; press < 60; press += 1) await page.keyboard.press("j");
  await at(-1, "j ends with the last");
  for (let press = 0; press < 60; press += 1) await page.keyboard.press("k");
  await at(0, "k ends with the first");
  await page.reload();
  await page.keyboard.press("k");
  await at(-1, "k begins with the last");

  stage.step("e selects, Enter closes");
  const open = await page.locator("[data-row] input[name=id]").evaluateAll((boxes) => boxes.map((box) => box.value));
  assert.ok(open.length > 4 && open.length === new Set(open).size);
  const chosen = [open[1], open[3]];
  for (const id of chosen) {
    await page.locator(`[id="a-${id}"]`).focus();
    await page.keyboard.press("e");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Close selected");
  }
  assert.deepEqual(await page.locator("input[name=id]:checked").evaluateAll((boxes) => boxes.map((box) => box.value)), chosen);
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  assert.equal(page.url(), view, "one is where one was");
  for (const id of chosen) {
    const ticket = await (await fetch(`${settings.app}api/tickets/${id}`)).json();
    assert.deepEqual([ticket.status, ticket.status_by.name], ["acknowledged", "local user"], id);
  }
  const left = await (await fetch(`${settings.app}api/tickets/${open[0]}`)).json();
  assert.notEqual(left.status, "acknowledged", "what was not selected is not closed");

  stage.step("all at once");
  const all = page.locator("#all");
  await stage.tabTo(page, all);
  await page.keyboard.press("Space");
  assert.equal(await page.locator("input[name=id]:not(:checked)").count(), 0);
  await page.locator("input[name=id]").first().uncheck();
  assert.equal(await all.isChecked(), false, "not all any more");

  stage.step("who types, types");
  await page.keyboard.press("/");
  await page.keyboard.type("jek/");
  assert.equal(await page.getByLabel("Find").inputValue(), "jek/");
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement.tagName), "BODY");
}

async function clocks(stage, settings) {
  stage.step("SLA counts down");
  const page = await stage.visit(settings.dashboard, { clock: true });
  const due = page.locator("[data-row] time[data-due]").first();
  const left = async () => {
    const [, minutes, seconds] = /^in (?:(\d+) min )?(\d+) s$/.exec(await due.innerText());
    return 60 * Number(minutes ?? 0) + Number(seconds);
  };
  const before = await left();
  await page.clock.runFor(7000);
  const after = await left();
  assert.ok(before - after >= 7 && before - after < 12, `${before} s, then ${after} s`);
  assert.ok(await due.evaluate((time) => time.classList.contains("soon")), "the end is near");
  await page.clock.fastForward(1000 * after + 2000);
  const id = await due.evaluate((time) => time.closest("[data-row]").id);
  const same = page.locator(`[id="${id}"] td.sla`);
  await page.clock.runFor(1000);
  assert.equal(await same.innerText(), "due");

  stage.step("local times");
  const zone = { timezoneId: "Asia/Tokyo", locale: "en-GB" };
  const there = await stage.visit(settings.dashboard, zone);
  await there.getByText("Times are local (Asia/Tokyo).").waitFor();
  const reported = there.locator("[data-row] td:last-child time").first();
  const hour = (iso) => new Date(iso).toLocaleTimeString("en-GB", { timeZone: "Asia/Tokyo" });
  const [iso, title] = await reported.evaluate((time) => [time.dateTime, time.title]);
  assert.match(await reported.innerText(), / ago$/, "how long ago stays");
  assert.ok(title.includes(`${hour(iso)} (`) && title.endsWith(" UTC)"), title);
  await there.locator("[data-row] .what > a").first().click();
  for (const time of await there.locator(".history time, .timeline time").all()) {
    assert.ok((await time.innerText()).includes(hour(await time.getAttribute("datetime"))), await time.innerText());
  }
}

/** On a phone the failures come first, and the filters are one touch away. */
async function phone(stage, settings) {
  stage.step("a phone");
  const page = await stage.visit(settings.dashboard, { viewport: NARROW });
  const priority = page.locator("select[name=priority]");
  assert.equal(await priority.isVisible(), false);
  const first = await page.locator("[data-row]").first().boundingBox();
  assert.ok(first.y + first.height < NARROW.height, `the first failure ends at ${first.y + first.height}`);
  await page.setViewportSize(MIDDLE);
  await priority.waitFor();
  await page.setViewportSize(NARROW);
  await priority.waitFor({ state: "hidden" });
  await stage.tabTo(page, page.locator(".filter summary"));
  await page.keyboard.press("Enter");
  await priority.selectOption("P3");
  await Promise.all([page.waitForNavigation(), page.getByRole("button", { name: "Show" }).click()]);
  assert.equal(await priority.inputValue(), "P3");
  assert.ok(await priority.isVisible(), "a filter that is in use is seen");
  const plain = await stage.visit(settings.dashboard, { viewport: NARROW, javaScriptEnabled: false });
  assert.ok(await plain.locator("select[name=priority]").isVisible(), "without scripts nothing is folded");
}

/** The page of a ticket, by keyboard. */
async function ticket(stage, settings) {
  stage.step("a ticket by keyboard");
  const page = await stage.visit(`${settings.dashboard}?status=open&sort=reported&page=2`);
  await page.keyboard.press("j");
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  await stage.printed(page, "a ticket");
  await stage.tabTo(page, page.getByLabel("Comment", { exact: true }));
  await page.keyboard.type("The <gateway> was being replaced.");
  await page.keyboard.press("Tab");
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  await page.locator(".history").getByText("The <gateway> was being replaced.").waitFor();
  await stage.tabTo(page, page.locator("details.other summary"));
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.type("conc");
  await page.keyboard.press("Tab");
  await page.keyboard.type("the gateway was replaced");
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  await page.locator(".corrected").getByText("concurrency: the gateway was replaced").waitFor();
  await stage.check(page, "a ticket whose cause is another");
  await page.goto(`${settings.dashboard}?q=the+gateway+was+replaced`);
  assert.deepEqual(await page.locator("td.cause").allInnerTexts(), ["Corrected: concurrency: the gateway was replaced"]);
  const { tickets } = await (await fetch(`${settings.app}api/tickets?category=concurrency`)).json();
  assert.equal(tickets.length, 1, "it counts as what it is");
}

await play(async (stage, settings) => {
  await clocks(stage, settings);
  await refresh(stage, settings);
  await gone(stage, settings);
  await keys(stage, settings);
  await phone(stage, settings);
  await ticket(stage, settings);
});
