// Every card by the official parser (adaptivecards) at the version that it declares, and by the types of @microsoft/teams.cards.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import ts from 'typescript';

// Its bundle: its modules name one another in a way that Node does not look up.
const { AdaptiveCard, HostConfig, SerializationContext, Version } = createRequire(import.meta.url)('adaptivecards/dist/adaptivecards.js');

const fail = (why) => {
  console.error(why);
  process.exit(1);
};
const { cards, types } = JSON.parse(readFileSync(0, 'utf8'));
cards.forEach((card, index) => {
  const version = Version.parse(card.version, new SerializationContext());
  const context = new SerializationContext(version);
  const parsed = new AdaptiveCard();
  // As Teams: six buttons, the rest in an overflow menu.
  parsed.hostConfig = new HostConfig({ actions: { maxActions: 6 } });
  parsed.parse(card, context);
  const events = [...Array(context.eventCount).keys()].map((number) => context.getEventAt(number).message);
  events.push(...parsed.validateProperties().validationEvents.map((event) => event.message));
  if (events.length) fail(`adaptivecards, card ${index}: ${events.join('; ')}`);
});

const file = new URL('./cards.ts', import.meta.url).pathname;
const lines = ["import type { IAdaptiveCard } from '@microsoft/teams.cards';"];
types.forEach((card, index) => {
  // Teams' page on cards has it in upper case, the types in lower.
  const msteams = { ...card.msteams, width: card.msteams.width.toLowerCase() };
  lines.push(`export const c${index}: IAdaptiveCard = ${JSON.stringify({ ...card, msteams })};`);
});
const source = lines.join('\n');
const options = { noEmit: true, strict: true, skipLibCheck: true, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, target: ts.ScriptTarget.ES2022, types: [] };
const host = ts.createCompilerHost(options);
const read = host.getSourceFile.bind(host);
host.getSourceFile = (name, ...rest) => (name === file ? ts.createSourceFile(name, source, ts.ScriptTarget.ES2022) : read(name, ...rest));
const exists = host.fileExists.bind(host);
host.fileExists = (name) => name === file || exists(name);
const problems = ts.getPreEmitDiagnostics(ts.createProgram([file], options, host));
if (problems.length) {
  const said = problems.slice(0, 5).map((problem) => ts.flattenDiagnosticMessageText(problem.messageText, '\n'));
  fail(`@microsoft/teams.cards: ${said.join('\n')}`);
}
console.log(`${cards.length} cards parsed by adaptivecards, ${types.length} compiled against @microsoft/teams.cards`);
