// Compiles what the program posts against @slack/types.
import { readFileSync } from 'node:fs';
import ts from 'typescript';

const { messages, views } = JSON.parse(readFileSync(0, 'utf8'));
const file = new URL('./payloads.ts', import.meta.url).pathname;
const lines = ["import type { KnownBlock, MessageMetadata, ModalView } from '@slack/types';", "type Payload = { channel: string; text: string; blocks: KnownBlock[]; metadata: MessageMetadata };"];
messages.forEach(({ channel, text, blocks, metadata }, index) => {
  lines.push(`export const p${index}: Payload = ${JSON.stringify({ channel, text, blocks, metadata })};`);
});
views.forEach((view, index) => lines.push(`export const v${index}: ModalView = ${JSON.stringify(view)};`));
const source = lines.join('\n');
const options = { noEmit: true, strict: true, skipLibCheck: true, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, target: ts.ScriptTarget.ES2022, types: [] };
const host = ts.createCompilerHost(options);
const read = host.getSourceFile.bind(host);
host.getSourceFile = (name, ...rest) => (name === file ? ts.createSourceFile(name, source, ts.ScriptTarget.ES2022) : read(name, ...rest));
const exists = host.fileExists.bind(host);
host.fileExists = (name) => name === file || exists(name);
const program = ts.createProgram([file], options, host);
const problems = ts.getPreEmitDiagnostics(program);
if (problems.length) {
  console.error(problems.slice(0, 5).map((problem) => ts.flattenDiagnosticMessageText(problem.messageText, '\n')).join('\n'));
  process.exit(1);
}
console.log(`${messages.length} messages and ${views.length} form compiled against @slack/types`);
