// A browser for the tests. `node tests/browser/chrome.mjs .tools` prints one that starts, after getting it if need be:
//
// 1. what CHROME names;
// 2. on Linux x86-64 the Chromium of a pinned npm package, with the few libraries and the font it needs: the same
//    browser everywhere, and nothing asked of the machine;
// 3. a Chrome, Chromium or Edge that is installed;
// 4. Debian's or Ubuntu's chromium, where apt may install it.
//
// Each is started before it is believed. Without any of them the tests fail: they never pass for want of a browser.

import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, join, resolve } from "node:path";
import { brotliDecompressSync } from "node:zlib";

const PACKAGE = "@sparticuz/chromium";
const VERSION = "147.0.0"; // the newest that runs on Node 20
const NAMES = ["google-chrome-stable", "google-chrome", "chromium", "chromium-browser", "chrome", "microsoft-edge"];
const APPLICATIONS = [
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
  "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
];
export const NONE = "no browser for the tests: run ./tests/run once, or set CHROME to a Chrome or Chromium";

/** The driver, from the folder of the tools. */
export function driver(tools) {
  const modules = createRequire(join(resolve(tools), "package.json"));
  return { chromium: modules("playwright-core").chromium, axe: readFileSync(modules.resolve("axe-core/axe.min.js"), "utf8") };
}

/** What Chromium is started with. */
export function start(tools, path) {
  const home = unpacked(tools);
  const env = { ...process.env };
  if (path === join(home, "chromium")) {
    Object.assign(env, { HOME: home, LD_LIBRARY_PATH: join(home, "lib"), FONTCONFIG_FILE: join(home, "fonts.conf") });
  }
  const quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
  const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", ...quiet];
  return driver(tools).chromium.launch({ executablePath: path, args, env, headless: true, timeout: 30_000 });
}

/** A browser that is here already, not started. */
export function find(tools) {
  if (process.env.CHROME) return process.env.CHROME;
  const own = join(unpacked(tools), "chromium");
  const folders = (process.env.PATH ?? "").split(delimiter).filter(Boolean);
  const installed = NAMES.flatMap((name) => folders.map((folder) => join(folder, name)));
  return [own, ...installed, ...APPLICATIONS].find(isProgram);
}

function unpacked(tools) {
  return join(resolve(tools), `chromium-${VERSION}`);
}

function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function say(words) {
  console.error(`tests/browser: ${words}`);
}

function run(program, args, options = {}) {
  return execFileSync(program, args, { stdio: ["pipe", 2, 2], ...options });
}

/** Does it show a page? */
async function works(tools, path) {
  try {
    const browser = await start(tools, path);
    const page = await browser.newPage();
    await page.setContent("<h1>Here</h1>");
    const shows = (await page.textContent("h1")) === "Here";
    await browser.close();
    return shows;
  } catch (error) {
    // The driver tells its whole command line several times.
    const lines = error.message.split("\n").filter((line) => line.trim() && !/<launch|<process|<will|<kill|<grace|Call log/.test(line));
    say(`${path} does not start: ${lines.slice(0, 8).join("\n  ")}`);
    return false;
  }
}

/** The package's browser, unpacked in one piece or not at all. */
function unpack(tools) {
  const home = unpacked(tools);
  if (existsSync(home)) return;
  say(`installing ${PACKAGE} ${VERSION} into ${tools}/`);
  run("npm", ["install", "--prefix", tools, "--no-audit", "--no-fund", "--loglevel=error", `${PACKAGE}@${VERSION}`]);
  const packed = (name) => brotliDecompressSync(readFileSync(join(tools, "node_modules", PACKAGE, "bin", `${name}.br`)));
  const unfinished = `${home}.${process.pid}`;
  mkdirSync(unfinished, { recursive: true });
  // `al2023` are the shared libraries of its usual home, which other machines may lack.
  for (const name of ["al2023.tar", "swiftshader.tar", "fonts.tar"]) {
    run("tar", ["-x", "--no-same-owner", "-C", unfinished], { input: packed(name) });
  }
  writeFileSync(join(unfinished, "chromium"), packed("chromium"), { mode: 0o755 });
  writeFileSync(join(unfinished, "fonts.conf"), fonts(home));
  renameSync(unfinished, home);
}

/** The font that comes with it, and before it better ones where the machine has them: pictures look as pages do elsewhere. */
function fonts(home) {
  const prefer = (generic, families) =>
    `<alias binding="strong"><family>${generic}</family><prefer>${families.map((name) => `<family>${name}</family>`).join("")}</prefer></alias>`;
  return `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
<dir>${join(home, "fonts")}</dir><dir>/usr/share/fonts</dir><cachedir>${join(home, "cache")}</cachedir>
${prefer("system-ui", ["Inter", "Open Sans"])}${prefer("sans-serif", ["Inter", "Open Sans"])}
${prefer("monospace", ["DejaVu Sans Mono", "Noto Sans Mono"])}</fontconfig>
`;
}

async function install(tools) {
  if (process.env.CHROME) {
    if (await works(tools, process.env.CHROME)) return process.env.CHROME;
    throw new Error("the browser that CHROME names does not start");
  }
  if (process.platform === "linux" && process.arch === "x64") {
    const own = join(unpacked(tools), "chromium");
    try {
      unpack(tools);
    } catch (error) {
      say(`the package's Chromium is not to be had: ${error.message}`);
    }
    if (isProgram(own) && (await works(tools, own))) return own;
    // It must not be found in place of one that starts.
    rmSync(unpacked(tools), { recursive: true, force: true });
  }
  const installed = find(tools);
  if (installed && (await works(tools, installed))) return installed;
  if (existsSync("/usr/bin/apt-get") && process.getuid?.() === 0) {
    say("installing Debian's chromium");
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    try {
      run("apt-get", ["update", "-qq"], { env });
      run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", "chromium"], { env });
    } catch (error) {
      say(`apt-get could not install it: ${error.message}`);
    }
    const debians = find(tools);
    if (debians && (await works(tools, debians))) return debians;
  }
  throw new Error("no Chrome or Chromium starts on this machine and none could be installed: install one, or set CHROME to one");
}

if (process.argv[1] && resolve(process.argv[1]) === new URL(import.meta.url).pathname) {
  try {
    console.log(await install(process.argv[2]));
  } catch (error) {
    say(error.message);
    process.exitCode = 1;
  }
}
