// What a story in a browser needs: pages that are watched, checks that hold for every page, pictures.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { basename, join } from "node:path";

import { NONE, driver, find, start } from "./chrome.mjs";

export const WIDE = { width: 1280, height: 800 };
export const NARROW = { width: 390, height: 780 };
export const MIDDLE = { width: 768, height: 1024 };
/** A4, held upright, within a printer's margins. */
const PAPER = { width: 718, height: 1040 };
const PATIENCE = 20_000;

/** Plays a story with the settings that the test gave as JSON. Whatever any page complained of fails it. */
export async function play(story) {
  const settings = JSON.parse(process.argv[2]);
  const path = process.env.AIOPS_RCA_TEST_BROWSER || find(settings.tools);
  assert.ok(path, NONE);
  const stage = new Stage(settings, await start(settings.tools, path));
  try {
    await story(stage, settings);
    assert.deepEqual(stage.complaints, [], "no page complains");
  } catch (error) {
    const failed = `failed-${basename(process.argv[1], ".mjs")}`;
    for (const [index, page] of stage.pages.entries()) await stage.picture(page, `${failed}-${index}`).catch(() => {});
    console.error(`after: ${stage.steps.join(" → ")}\ncomplaints: ${JSON.stringify(stage.complaints, null, 2)}`);
    throw error;
  } finally {
    await stage.browser.close();
  }
  console.log(`${stage.steps.length} steps, ${stage.checked} checks of a page`);
}

class Stage {
  complaints = [];
  pages = [];
  steps = [];
  checked = 0;

  constructor(settings, browser) {
    this.settings = settings;
    this.browser = browser;
    this.axe = driver(settings.tools).axe;
  }

  step(words) {
    this.steps.push(words);
  }

  /**
   * A new visitor's page; `expected` are statuses that a document of it may be answered with besides 200. With `clock`
   * its scripts' time can be put forward.
   */
  async visit(url, { expected = [], clock = false, ...options } = {}) {
    const context = await this.browser.newContext({ viewport: WIDE, colorScheme: "light", ...options });
    context.setDefaultTimeout(PATIENCE);
    if (clock) await context.clock.install();
    const page = await context.newPage();
    this.watch(page, new URL(url).origin, expected);
    this.pages.push(page);
    await page.goto(url);
    return page;
  }

  /** Another page of the same visitor, on the same or on another site. */
  async beside(page, url) {
    const other = await page.context().newPage();
    this.watch(other, new URL(url).origin, []);
    this.pages.push(other);
    await other.goto(url);
    return other;
  }

  watch(page, origin, expected) {
    const complain = (what) => this.complaints.push(`${page.url()}: ${what}`);
    page.on("pageerror", (error) => complain(`error ${error.message}`));
    page.on("console", (message) => {
      const known = expected.some((status) => message.text().includes(`status of ${status} `));
      if (["error", "warning"].includes(message.type()) && !known) complain(`console: ${message.text()}`);
    });
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (url.protocol !== "data:" && url.origin !== origin) complain(`asks another host: ${url.href}`);
    });
    page.on("requestfailed", (request) => {
      // Leaving a page breaks off what its script was asking for.
      const left = request.resourceType() === "fetch" && request.failure()?.errorText === "net::ERR_ABORTED";
      if (!left) complain(`request failed: ${request.url()} ${request.failure()?.errorText}`);
    });
    page.on("response", (response) => {
      const known = expected.includes(response.status()) && response.request().isNavigationRequest();
      if (response.status() >= 400 && !known) complain(`${response.status()} ${response.url()}`);
    });
  }

  /** What holds for every page: wide and narrow, by day and by night. */
  async check(page, name) {
    this.step(`check ${name}`);
    await page.evaluate(() => {
      document.querySelectorAll("details").forEach((details) => (details.open = true));
      // A list that nobody sees is not refreshed: what is looked at stays what it is.
      Object.defineProperty(document, "hidden", { configurable: true, value: true });
    });
    if (!(await page.evaluate(() => Boolean(globalThis.axe)))) await page.evaluate(this.axe);
    for (const viewport of [WIDE, MIDDLE, NARROW]) {
      await page.setViewportSize(viewport);
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= viewport.width, `${name} is ${width} px wide on a screen of ${viewport.width} px`);
      await this.walk(page, `${name}, ${viewport.width} px`);
      await this.accessible(page, `${name}, ${viewport.width} px`);
      await page.emulateMedia({ colorScheme: "dark" });
      // By night only the colours are others.
      await this.accessible(page, `${name}, ${viewport.width} px, dark`, { runOnly: ["color-contrast"] });
      await page.emulateMedia({ colorScheme: "light" });
      this.checked += 1;
    }
    await page.evaluate(() => delete document.hidden);
    await page.setViewportSize(WIDE);
  }

  async accessible(page, name, rules = {}) {
    const { violations, passes } = await page.evaluate((rules) => globalThis.axe.run(document, rules), rules);
    assert.ok(passes.some((rule) => rule.id === "color-contrast"), `${name}: contrast was looked at`);
    const wrong = violations.filter((rule) => ["serious", "critical"].includes(rule.impact));
    const words = wrong.map((rule) => `${rule.id}: ${rule.help}\n${rule.nodes.map((node) => `  ${node.html}\n  ${node.failureSummary}`).join("\n")}`);
    assert.equal(words.join("\n"), "", `${name} is accessible`);
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll("input:not([type=hidden]), select, textarea")]
        .filter((field) => !field.labels?.length && !field.ariaLabel)
        .map((field) => field.outerHTML),
    );
    assert.deepEqual(nameless, [], `${name}: every field has a label`);
  }

  /** Everything that can be used is reached with the Tab key, and one sees where one is. */
  async walk(page, name) {
    const all = await page.evaluate(() => {
      const used = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
      globalThis.stops = [...document.querySelectorAll(used)].filter((stop) => stop.checkVisibility());
      document.activeElement?.blur?.();
      getSelection().removeAllRanges();
      return globalThis.stops.length;
    });
    assert.ok(all > 0, `${name}: there is something to use`);
    const reached = new Set();
    // A walk may begin in the middle, where somebody last clicked.
    for (let press = 0; press < 2 * all + 4 && reached.size < all; press += 1) {
      await page.keyboard.press("Tab");
      const [place, visible, html] = await page.evaluate(() => {
        const here = document.activeElement;
        const style = getComputedStyle(here);
        const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
        return [globalThis.stops.indexOf(here), outlined, here.outerHTML.slice(0, 200)];
      });
      if (place < 0) continue;
      assert.ok(visible, `${name}: one does not see the focus on ${html}`);
      reached.add(place);
    }
    const missed = await page.evaluate((seen) => globalThis.stops.filter((_, at) => !seen.includes(at)).map((stop) => stop.outerHTML), [...reached]);
    assert.deepEqual(missed, [], `${name}: the Tab key reaches everything`);
    await page.evaluate(() => document.activeElement?.blur?.());
  }

  /** Goes there with the Tab key. */
  async tabTo(page, locator) {
    await locator.waitFor();
    for (let press = 0; press < 400; press += 1) {
      if (await locator.evaluate((it) => it === document.activeElement)) return;
      await page.keyboard.press("Tab");
    }
    assert.fail(`the Tab key never reaches ${locator}`);
  }

  /** On paper nothing is left of what one can only click, all that is folded or scrolled can be read, and night is day. */
  async printed(page, name) {
    this.step(`print ${name}`);
    await page.setViewportSize(PAPER);
    await page.emulateMedia({ media: "print", colorScheme: "dark" });
    const [width, controls, hidden, paper] = await page.evaluate(() => {
      const some = (selector, what) => [...document.querySelectorAll(selector)].filter(what).map((one) => one.outerHTML.slice(0, 200));
      return [
        document.documentElement.scrollWidth,
        some("button, select, textarea, input:not([type=hidden])", (one) => one.checkVisibility()),
        some("details:not(.other, .more) > :not(summary), pre", (one) => !one.checkVisibility() || one.scrollHeight > one.clientHeight + 1),
        getComputedStyle(document.body).backgroundColor,
      ];
    });
    assert.ok(width <= PAPER.width, `${name} is ${width} px wide on paper`);
    assert.deepEqual(controls, [], `${name}: nothing to click on paper`);
    assert.deepEqual(hidden, [], `${name}: nothing is folded or cut on paper`);
    assert.equal(paper, "rgb(255, 255, 255)");
    if (!(await page.evaluate(() => Boolean(globalThis.axe)))) await page.evaluate(this.axe);
    await this.accessible(page, `${name}, on paper`, { runOnly: ["color-contrast"] });
    await this.picture(page, `print-${name.replace(/\W+/g, "-")}`, { fullPage: true });
    await page.emulateMedia({ media: null, colorScheme: "light" });
    await page.setViewportSize(WIDE);
  }

  /** Loads the page again until it holds these words. */
  async reloadUntil(page, words) {
    this.step(`wait for "${words}"`);
    const giveUp = Date.now() + PATIENCE;
    while (!(await page.textContent("main")).replace(/\s+/g, " ").includes(words)) {
      assert.ok(Date.now() < giveUp, `${page.url()} never says "${words}" but: ${await page.innerText("main")}`);
      await page.waitForTimeout(200);
      await page.reload();
    }
  }

  async picture(page, name, options = {}) {
    mkdirSync(this.settings.pictures, { recursive: true });
    const path = join(this.settings.pictures, `${name}.png`);
    for (let left = 5; ; left -= 1) {
      try {
        await page.screenshot({ path, animations: "disabled", ...options });
        return path;
      } catch (error) {
        // On a busy machine Chromium now and then has no frame to copy; the next one will do.
        if (left === 0 || !error.message.includes("Unable to capture screenshot")) throw error;
        await page.evaluate(() => new Promise(requestAnimationFrame));
      }
    }
  }

  /**
   * A picture of a page as it looks to somebody who just came, sharp. Where the README's pictures are renewed, it
   * becomes one of them if `shown`, in few colours: a tenth of a megabyte each.
   */
  async portrait(page, name, { width = 1120, height, clip, shown = false }) {
    this.step(`picture ${name}`);
    const storageState = await page.context().storageState();
    const viewport = { width, height: height ?? 720 };
    const context = await this.browser.newContext({ viewport, deviceScaleFactor: 2, colorScheme: "light", storageState });
    const twin = await context.newPage();
    await twin.goto(page.url());
    const path = await this.picture(twin, name, clip ? { clip: await clip(twin), fullPage: true } : {});
    await context.close();
    if (shown && this.settings.kept) {
      mkdirSync(this.settings.kept, { recursive: true });
      const kept = join(this.settings.kept, `${name}.png`);
      // apt-get install pngquant fonts-inter fonts-lato fonts-noto-color-emoji: CONTRIBUTING.md says so as well.
      execFileSync("pngquant", ["--force", "--speed", "1", "--quality", "60-95", "--strip", "--output", kept, path]);
    }
  }
}
