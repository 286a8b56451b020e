// A planned move: somebody silences what will fail meanwhile, looks at the list of silences, and ends one early.

import assert from "node:assert/strict";

import { play } from "./kit.mjs";

/** Not a whole number of hours from UTC, and the same all the year. */
const ZONE = "Asia/Kolkata";

/** As a field for day and time takes it, in so many minutes. */
const at = (minutes, timeZone = ZONE) => new Date(Date.now() + 60_000 * minutes).toLocaleString("sv-SE", { timeZone }).slice(0, 16).replace(" ", "T");

const row = (page, words) => page.locator(".silences tbody tr").filter({ hasText: words });

await play(async (stage, settings) => {
  const page = await stage.visit(settings.dashboard, { timezoneId: ZONE });
  await stage.tabTo(page, page.locator(".foot").getByRole("link", { name: "Silences" }));
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  await page.getByRole("heading", { name: "Nothing is silent" }).waitFor();
  await stage.check(page, "no silences");

  stage.step("set one with the keyboard");
  await stage.tabTo(page, page.getByLabel("Assets"));
  await page.keyboard.type("pl_finance_*");
  await stage.tabTo(page, page.getByLabel("Why"));
  await page.keyboard.type("move of the <warehouse>");
  await page.getByLabel("Until (your time)").fill(at(90));
  await stage.tabTo(page, page.getByRole("button", { name: "Silence" }));
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  assert.equal(new URL(page.url()).pathname, "/dashboard/silences");
  const now = row(page, "pl_finance_*");
  assert.equal(await now.locator("td").first().innerText(), "active");
  assert.match(await now.innerText(), /\(in 1 h (29|30) min\)/);
  assert.match(await now.innerText(), /move of the <warehouse>\s+set by local user on /);
  for (const time of await now.locator("time").all()) {
    const there = new Date(await time.getAttribute("datetime")).toLocaleTimeString("en-US", { timeZone: ZONE });
    assert.ok((await time.innerText()).includes(there), "in the reader's own time");
  }

  stage.step("one for later");
  const plain = await stage.visit(page.url(), { timezoneId: ZONE, javaScriptEnabled: false });
  await plain.getByLabel("Assets").fill("pl_load_*");
  await plain.getByLabel("Cause").fill("network");
  await plain.getByLabel("From (UTC)").fill(at(600, "UTC"));
  await plain.getByLabel("Until (UTC)").fill(at(700, "UTC"));
  await plain.getByLabel("Why").fill("new firewall");
  await plain.getByRole("button", { name: "Silence" }).click();
  await row(plain, "pl_load_*").waitFor();
  await page.reload();
  assert.match(await row(page, "pl_load_*").innerText(), /\(in 11 h\)/);
  assert.equal(await row(page, "pl_load_*").locator("td").first().innerText(), "planned");
  await stage.check(page, "silences");
  await stage.printed(page, "silences");
  for (const width of [390, 768]) {
    await page.setViewportSize({ width, height: 900 });
    await stage.picture(page, `silences-${width}`, { fullPage: true });
  }

  stage.step("end one early");
  await stage.tabTo(page, now.getByRole("button", { name: "End now" }));
  await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
  assert.match(await now.innerText(), /^ended\b[^]*ended by local user on /);
  assert.equal(await now.getByRole("button").count(), 0);
  assert.equal(await row(page, "pl_load_*").locator("td").first().innerText(), "planned", "the other stays");

  stage.step("from a ticket");
  await page.goto(`${settings.dashboard}?status=open&source=adf`);
  await page.locator("[data-row] .what > a").last().click();
  const ticket = page.url();
  await page.getByLabel("Silence for").selectOption({ label: "4 hours" });
  await page.locator("section", { hasText: "Expected for a while?" }).getByLabel("Why").fill("a test of the network");
  await page.getByRole("button", { name: "Silence failures like this" }).click();
  await page.locator("section p").getByText("Failures like this one are silenced by local user").waitFor();
  assert.equal(page.url(), ticket);
  await page.getByRole("link", { name: "All silences" }).click();
  await row(page, "a test of the network").waitFor();
  await page.goto(ticket);
  await page.getByRole("button", { name: "End the silence" }).click();
  await page.getByRole("heading", { name: "Expected for a while?" }).waitFor();

  stage.step("what cannot be silenced is said");
  const wrong = await stage.visit(`${settings.dashboard}/silences`, { expected: [400], timezoneId: ZONE });
  await wrong.getByLabel("Assets").fill("pl_x");
  await wrong.getByLabel("Until").fill(at(-60));
  await wrong.getByLabel("Why").fill("too late");
  await wrong.getByRole("button", { name: "Silence" }).click();
  await wrong.getByRole("heading", { name: "This cannot be silenced" }).waitFor();
  await stage.check(wrong, "a silence that is over before it begins");
});
