// Somebody opens a locked dashboard: the key, the cookie it is exchanged for, and an answer that only people inside may give.

import assert from "node:assert/strict";

import { play } from "./kit.mjs";

await play(async (stage, settings) => {
  const page = await stage.visit(settings.dashboard, { expected: [401] });
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.name), "key", "one can type at once");
  await stage.check(page, "the sign-in page");
  assert.equal(await page.locator("table").count(), 0, "nothing is shown outside");

  stage.step("a wrong key");
  await page.getByLabel("Dashboard key").fill("not the key at all");
  await page.keyboard.press("Enter");
  await page.getByText("That is not the key.").waitFor();
  await stage.check(page, "the sign-in page after a wrong key");
  assert.deepEqual(await page.context().cookies(), []);

  stage.step("the key");
  await page.getByLabel("Dashboard key").fill(settings.key);
  await page.getByLabel("Your name").fill("Jane Roe");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Failures" }).waitFor();
  assert.match(await page.locator("header .caller").innerText(), /^Jane Roe\b/);
  const [cookie] = await page.context().cookies();
  assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, "Lax"]);
  assert.ok(!cookie.value.includes(settings.key));

  stage.step("the question on the ticket's page");
  await stage.reloadUntil(page, "waits for approval");
  await page.locator(".tickets").getByRole("link", { name: "pl_notify", exact: true }).click();
  await page.getByText("A person is asked because ").waitFor();
  await stage.portrait(page, "question", { height: 760 });
  await stage.check(page, "a ticket with a question");
  await page.getByRole("button", { name: "Approve" }).click();
  await page.getByText(/Approved by Jane Roe on /).waitFor();
  await stage.reloadUntil(page, "acknowledged closed by auto-remediation on ");

  stage.step("a comment, and another cause");
  await page.getByLabel("Comment", { exact: true }).fill("The gateway was being replaced.");
  await page.getByRole("button", { name: "Comment", exact: true }).click();
  await page.getByText("Commented by Jane Roe").waitFor();
  await page.getByText("The cause is another", { exact: true }).click();
  await page.locator("select[name=category]").selectOption("platform");
  await page.getByLabel("In one line").fill("the gateway was replaced");
  await page.getByRole("button", { name: "Say so" }).click();
  await page.getByText("platform: the gateway was replaced").first().waitFor();

  stage.step("a name is asked for once");
  await page.getByRole("link", { name: "aiops-rca" }).click();
  await page.locator("td.cause", { hasText: "Corrected: platform: the gateway was replaced" }).waitFor();
  assert.match(await page.locator("header .caller").innerText(), /^Jane Roe\b/);
  assert.equal(await page.getByLabel("Your name").count(), 0);

  stage.step("out");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  assert.deepEqual(await page.context().cookies(), []);
  assert.equal(await page.getByLabel("Your name").inputValue(), "");

  stage.step("a second click on what was answered");
  const other = await stage.visit(settings.dashboard, { expected: [401] });
  await other.getByRole("heading", { name: "Sign in" }).waitFor();
});
