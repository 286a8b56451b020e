// Our documents by Atlassian's own schema; our bodies, and the simulator's answers, by jira.js, which checks every answer.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import Ajv from 'ajv-draft-04';
import { createCloudClient } from 'jira.js';

const given = JSON.parse(readFileSync(0, 'utf8'));
const require = createRequire(import.meta.url);
const schema = require('@atlaskit/adf-schema/dist/json-schema/v1/full.json');
const ajv = new Ajv({ strict: false, allErrors: false, validateFormats: false });
const valid = ajv.compile(schema);
const problems = [];
for (const { where, document } of given.documents) {
  if (!valid(document)) {
    const { instancePath, message } = valid.errors[0];
    problems.push(`${where}: ${instancePath} ${message}`);
  }
}

const jira = createCloudClient({
  host: given.host,
  auth: { type: 'basic', email: given.email, apiToken: given.token },
  onSchemaMismatch: 'throw',
});
const step = async (what, call) => {
  try {
    return await call();
  } catch (error) {
    problems.push(`${what}: ${error.message}`);
    return undefined;
  }
};
const is = (what, holds) => holds || problems.push(what);

const project = await step('getProject', () => jira.projects.getProject({ projectIdOrKey: given.project }));
is('the project has its key', project?.key === given.project);
await step('getAllStatuses', () => jira.projects.getAllStatuses({ projectIdOrKey: given.project }));
await step('getCurrentUser', () => jira.myself.getCurrentUser());
await step('getMyPermissions', () => jira.permissions.getMyPermissions({ projectKey: given.project, permissions: 'CREATE_ISSUES' }));
const types = await step('getCreateIssueMetaIssueTypes', () => jira.issues.getCreateIssueMetaIssueTypes({ projectIdOrKey: given.project }));
const type = types?.issueTypes?.find(({ subtask }) => !subtask)?.id;
await step('getCreateIssueMetaIssueTypeId', () =>
  jira.issues.getCreateIssueMetaIssueTypeId({ projectIdOrKey: given.project, issueTypeId: type }));
const made = await step('createIssue', () => jira.issues.createIssue(given.create));
const id = made?.id;
const label = given.create.fields.labels.find((one) => one !== 'rca');
const jql = `project = "${given.project}" AND labels = "${label}" ORDER BY created DESC`;
const bare = await step('search by GET', () => jira.issueSearch.searchAndReconsileIssuesUsingJql({ jql }));
is('ids only, unless fields are asked for', bare?.issues?.[0]?.id === id && bare.issues[0].key === undefined);
const found = await step('search by POST', () =>
  jira.issueSearch.searchAndReconsileIssuesUsingJqlPost({ jql, fields: ['summary', 'status', 'labels', 'description'] }));
is('the newest first', found?.issues?.[0]?.key === made?.key && found.issues.length === 2);
const issue = await step('getIssue by id', () => jira.issues.getIssue({ issueIdOrKey: id, fields: ['status'], expand: 'changelog' }));
is('the issue has its key', issue?.key === made?.key);
await step('editIssue', () => jira.issues.editIssue({ issueIdOrKey: id, update: { labels: [{ add: 'seen' }] }, fields: given.edit.fields }));
const edited = await step('getIssue', () => jira.issues.getIssue({ issueIdOrKey: id }));
is('label edits take effect', edited?.fields?.labels?.includes('seen'));
const said = await step('addComment', () => jira.issueComments.addComment({ issueIdOrKey: id, body: given.comment.body }));
const comments = await step('getComments', () => jira.issueComments.getComments({ issueIdOrKey: id, orderBy: '-created' }));
is('the comment is there', comments?.comments?.some((comment) => comment.id === said?.id));
const ways = await step('getTransitions', () => jira.issues.getTransitions({ issueIdOrKey: id, expand: 'transitions.fields' }));
await step('doTransition', () => jira.issues.doTransition({ issueIdOrKey: id, transition: { id: ways?.transitions?.[0]?.id } }));

if (problems.length) {
  console.error(problems.join('\n'));
  process.exit(1);
}
console.log(`${given.documents.length} documents by @atlaskit/adf-schema, 15 calls of jira.js`);
