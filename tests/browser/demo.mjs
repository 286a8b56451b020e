// Somebody has started the demo and looks around: the dashboard, JIRA, Slack, and what a click in one does to the others.

import assert from "node:assert/strict";

import { play } from "./kit.mjs";

/** The row of the dashboard's list with this asset. */
const row = (page, asset) => page.locator("table.tickets tbody tr").filter({ has: page.getByRole("link", { name: asset, exact: true }) });

/** The message of the channel with this header. */
const message = (page, asset) => page.locator("main > .message").filter({ has: page.locator("h2", { hasText: asset }) });

/** What a message itself says, its thread left out. */
const said = (page, asset, words) => message(page, asset).locator("> div > .section", { hasText: words });

async function overview(stage, page) {
  stage.step("the overview");
  const assets = await page.locator("table.tickets tbody td.what > a:first-child").allTextContents();
  assert.deepEqual(
    [...assets].sort(),
    ["hourly_inventory", "nightly ETL", "pl_ingest_sales", "pl_load_dwh", "pl_nightly_orders", "pl_notify", "pl_refresh_finance", "sales_etl.load_orders"],
  );
  const closed = await page.locator("table.tickets tr.settled td.what > a:first-child").allTextContents();
  assert.deepEqual([...closed].sort(), ["pl_load_dwh", "pl_nightly_orders", "pl_refresh_finance"]);
  assert.deepEqual(assets.slice(-3), closed, "what is closed stands below");
  assert.equal(await row(page, "pl_notify").locator("td").nth(4).innerText(), "open\nwaits for approval");
  const tile = (label) => page.locator(".tile", { hasText: label }).locator("strong").innerText();
  assert.deepEqual(await Promise.all(["open", "waiting for approval", "healed"].map(tile)), ["5", "1", "2"]);
  await stage.portrait(page, "dashboard", { shown: true, clip: (twin) => downTo(twin.locator("table.tickets")) });
  await stage.check(page, "the overview");
}

/** The platforms that are asked: each answers. */
async function scopes(stage, page) {
  stage.step("the platforms");
  await page.getByRole("link", { name: "Platforms that are asked" }).click();
  await page.getByRole("heading", { name: "Platforms", level: 1 }).waitFor();
  const names = await page.locator("tbody td:first-child strong").allTextContents();
  assert.equal(names.length, 2);
  assert.equal(names[0], "adf-prod");
  assert.deepEqual(await page.locator("tbody td:nth-child(3)").allTextContents(), ["answers", "answers"]);
  await stage.check(page, "the platforms");
  await page.getByRole("link", { name: "Back to all tickets" }).click();
}

async function filters(stage, page) {
  stage.step("filters");
  await page.getByLabel("Find").fill("ingest");
  await page.getByRole("button", { name: "Show" }).click();
  await page.waitForURL(/[?&]q=ingest/);
  assert.deepEqual(await page.locator("table.tickets tbody td.what > a:first-child").allTextContents(), ["pl_ingest_sales"]);
  assert.equal(await page.getByLabel("Find").inputValue(), "ingest", "the form shows what is filtered");

  await page.getByLabel("Find").fill("");
  await page.locator("select[name=status]").selectOption({ label: "acknowledged" });
  await page.locator("select[name=source]").selectOption({ label: "ADF" });
  // With the keyboard alone.
  await page.getByRole("button", { name: "Show" }).click();
  await page.waitForURL(/status=acknowledged/);
  assert.equal(await page.locator("table.tickets tbody tr").count(), 3);

  await page.locator("select[name=source]").selectOption({ label: "Airflow" });
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByRole("heading", { name: "No tickets here" }).waitFor();
  await stage.check(page, "an empty list");
  await page.getByRole("link", { name: "aiops-rca" }).click();
}

async function ticket(stage, page) {
  stage.step("open a ticket");
  await page.locator(".tickets").getByRole("link", { name: "pl_ingest_sales", exact: true }).click();
  await page.getByRole("heading", { name: "pl_ingest_sales", level: 1 }).waitFor();
  assert.match(await page.locator("p.cause").innerText(), /The source file sales\/\d{4}\/\d{2}\/\d{2}\/ventes_été\.csv was not found/);
  const quotes = await page.locator("blockquote").allInnerTexts();
  assert.ok(quotes.some((quote) => quote.includes("The required Blob is missing")), "the proof is shown");
  assert.equal(await page.locator("details[open]").count(), 0);
  await page.locator(".evidence summary").first().press("Enter");
  assert.equal(await page.locator("details[open] pre").count(), 1, "the keyboard opens evidence");
  await stage.portrait(page, "ticket", { shown: true, clip: (twin) => downTo(twin.locator("blockquote").first()) });
  await stage.check(page, "a ticket");
}

/** A person moves the issue: dashboard and Slack follow. */
async function jira(stage, page, slack) {
  stage.step("JIRA");
  const link = page.locator("dd a", { hasText: /^APAIOPS-\d+$/ });
  const issue = await stage.beside(page, await link.getAttribute("href"));
  await issue.getByRole("heading", { name: "ADF Pipeline Failure: pl_ingest_sales" }).waitFor();
  await stage.portrait(issue, "jira", { shown: true, width: 760, clip: (twin) => downTo(twin.locator("p", { hasText: "Dashboard: " })) });
  await stage.check(issue, "an issue");
  await issue.getByLabel("As").selectOption("Mia Krystof");
  await issue.getByRole("button", { name: "Move to Done" }).click();
  await issue.locator(".lozenge.done").waitFor();

  await stage.reloadUntil(page, "acknowledged closed by Mia Krystof on ");
  stage.step("Slack says so by itself");
  await said(slack, "✅ pl_ingest_sales - CLOSED", "Closed by Mia Krystof on ").waitFor();
  assert.equal(await message(slack, "pl_ingest_sales").count(), 1, "one message, edited in place");
}

/** A person acknowledges on the dashboard: JIRA and Slack follow. */
async function acknowledge(stage, page, slack, settings) {
  stage.step("acknowledge a ticket");
  await page.goto(settings.dashboard);
  await page.locator(".tickets").getByRole("link", { name: "nightly ETL", exact: true }).click();
  const link = page.locator("dd a", { hasText: /^APAIOPS-\d+$/ });
  const issue = await stage.beside(page, await link.getAttribute("href"));
  assert.equal(await issue.locator(".lozenge").innerText(), "TO DO");
  await page.getByLabel("Comment", { exact: true }).fill("The table is being loaded by hand.");
  await page.getByRole("button", { name: "Comment", exact: true }).click();
  await issue.getByText("The table is being loaded by hand.").waitFor();
  await message(slack, "nightly ETL").getByText("The table is being loaded by hand.").waitFor();
  await page.getByRole("button", { name: "I work on it" }).click();
  await page.locator(".status.in_progress").waitFor();
  await page.getByRole("button", { name: "Close" }).click();
  await page.locator(".status.acknowledged").waitFor();
  await stage.reloadUntil(page, "acknowledged closed by local user on ");
  await stage.check(page, "a closed ticket");
  // The pages that are open already change under the reader's eyes.
  await issue.locator(".lozenge.done").waitFor();
  await said(slack, "nightly ETL - CLOSED", "Closed by local user on ").waitFor();

  stage.step("reopen it");
  await page.getByRole("button", { name: "Reopen" }).click();
  await page.locator(".status.open").waitFor();
  await issue.locator(".lozenge.new").waitFor();
  await message(slack, "nightly ETL - REOPENED").waitFor();
  await page.goto(settings.dashboard);
  assert.equal(await row(page, "nightly ETL").locator("td").nth(4).innerText(), "open");
  await page.locator("select[name=status]").selectOption("acknowledged");
  await page.getByRole("button", { name: "Show" }).click();
  await row(page, "pl_ingest_sales").waitFor();
  assert.equal(await row(page, "nightly ETL").count(), 0);
}

/** The question in Slack: who may not answer changes nothing, who may starts the attempt. */
/** The same story in Teams: edited cards, and buttons that count for those who may decide. */
async function inTeams(stage, url) {
  stage.step("Teams");
  const page = await stage.visit(url);
  const card = (text) => page.locator("article").filter({ hasText: text });
  await card("✅ CLOSED: pl_notify").waitFor();
  await stage.check(page, "the channel of the team");
  const open = card("🔴 ALERT: ").first();
  const title = await open.locator(".large").first().textContent();
  await open.getByRole("button", { name: "Take it as Some Stranger" }).click();
  await page.getByText("You may not decide this here").waitFor();
  await card(title).first().getByRole("button", { name: "Take it as John Doe" }).click();
  await card(title.replace("🔴 ALERT", "🔄 IN PROGRESS")).first().waitFor();
}

async function approve(stage, slack, dashboard) {
  const asking = message(slack, "ALERT: pl_notify");
  stage.step("a stranger presses Approve");
  await asking.getByRole("link", { name: "Approve" }).click();
  await slack.getByText("Run this remediation?").waitFor();
  await stage.check(slack, "the confirm dialog in Slack");
  await slack.getByLabel("as").selectOption("Some Stranger");
  await slack.getByRole("button", { name: "Approve" }).click();
  await slack.getByText("Last click: the door answered 200").waitFor();
  assert.equal(await asking.getByRole("link", { name: "Approve" }).count(), 1, "the question stands");

  stage.step("John Doe presses Approve");
  await asking.getByRole("link", { name: "Approve" }).click();
  await slack.getByLabel("as").selectOption("John Doe");
  await slack.getByRole("button", { name: "Approve" }).click();
  await said(slack, "pl_notify - CLOSED", "👍 Approved by John Doe on ").waitFor();
  await message(slack, "pl_notify - CLOSED").getByText("Remediation succeeded with attempt 1").waitFor();
  const page = await stage.visit(dashboard);
  await page.locator(".tickets").getByRole("link", { name: "pl_notify", exact: true }).click();
  await stage.reloadUntil(page, "acknowledged closed by auto-remediation on ");
  assert.match(await page.locator("main").innerText(), /Approved by John Doe on /);
  await stage.check(page, "a ticket that was healed");
  await stage.portrait(page, "healed", { height: 900 });
}

await play(async (stage, settings) => {
  const page = await stage.visit(settings.dashboard);
  await overview(stage, page);
  await scopes(stage, page);
  await filters(stage, page);
  const slack = await stage.visit(settings.slack);
  const question = message(slack, "ALERT: pl_notify");
  await question.getByRole("link", { name: "Approve" }).waitFor();
  await stage.portrait(slack, "slack", { shown: true, width: 760, clip: (twin) => around(message(twin, "ALERT: pl_notify")) });
  await stage.portrait(slack, "slack-healed", { width: 760, clip: (twin) => around(message(twin, "pl_load_dwh - CLOSED")) });
  await stage.check(slack, "the channel");
  await ticket(stage, page);
  await jira(stage, page, slack);
  await acknowledge(stage, page, slack, settings);
  await approve(stage, slack, settings.dashboard);
  await inTeams(stage, settings.teams);

  const board = await stage.visit(settings.jira);
  await board.locator(".column", { hasText: "DONE" }).getByRole("link", { name: /pl_notify/ }).waitFor();
  await stage.portrait(board, "board", { height: 400 });
  await stage.check(board, "the board");
  await board.getByRole("link", { name: /pl_notify/ }).click();
  await board.locator(".lozenge.done").waitFor();
  const nothing = await stage.visit(`${settings.dashboard}?ticket=ADF-20260101T000000-000000`, { expected: [404] });
  await nothing.getByRole("heading", { name: "No such ticket" }).waitFor();
  await stage.check(nothing, "a ticket that is not there");
});

/** The place of something on its page, over the whole width. */
async function around(locator) {
  const { width } = locator.page().viewportSize();
  const { y, height } = await locator.boundingBox();
  return { x: 0, y, width, height };
}

/** From the top of the page to the end of something, and a little air. */
async function downTo(locator) {
  const { y, width, height } = await around(locator);
  return { x: 0, y: 0, width, height: y + height + 8 };
}
