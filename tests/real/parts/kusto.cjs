// Queries by the Kusto language service, over the tables' official columns.
const { readFileSync } = require('node:fs');
require('@kusto/language-service-next/bridge.min.js');
require('@kusto/language-service-next/Kusto.Language.Bridge.min.js');

const given = JSON.parse(readFileSync(0, 'utf8'));
const { Symbols, GlobalState, KustoCode } = Kusto.Language;
const tables = Object.entries(given.tables).map(([name, columns]) => {
  const schema = Object.entries(columns).map(([column, type]) => `['${column}']: ${type}`).join(', ');
  return new Symbols.TableSymbol.$ctor7(name, `(${schema})`, null);
});
const globals = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.$ctor1('logs', tables, false));
const problems = [];
for (const { name, query } of given.queries) {
  const found = KustoCode.ParseAndAnalyze(query, globals).GetDiagnostics();
  for (let index = 0; index < found.Count; index += 1) {
    const { Severity, Message } = found.getItem(index);
    // Hints on style and on what a full scan costs are no errors.
    if (Severity === 'Error') problems.push(`${name}: ${Message}\n${query}`);
  }
}
if (problems.length) {
  console.error(problems.join('\n'));
  process.exit(1);
}
console.log(`${given.queries.length} queries`);
