//! JIRA's REST API v3, as far as bots use it, with its refusals word for word.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::workflow::value_id;
use super::{Config, Issue, Jira, World, documents, webhooks};
use crate::{Answer, Request, lock};

impl Jira {
    pub(super) fn api(&self, request: &Request, path: &[&str]) -> Answer {
        if !self.is_bot(request) {
            return unauthenticated();
        }
        if self.is_too_fast() {
            return Answer::empty(429)
                .with_header("retry-after", "1")
                .with_header("x-ratelimit-remaining", "0")
                .with_header("ratelimit-reason", "jira-burst-based");
        }
        match (request.method.as_str(), path) {
            ("GET", ["myself"]) => Answer::json(200, &webhooks::user_json(&self.bot, self.base())),
            ("GET", ["mypermissions"]) => self.permissions(request),
            ("GET", ["project", key]) => self.project(key, false),
            ("GET", ["project", key, "statuses"]) => self.project(key, true),
            ("GET", ["issue", "createmeta", project, "issuetypes", rest @ ..]) => {
                self.create_meta(project, rest)
            }
            (_, ["search"]) => refused(
                410,
                "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API. A full migration guideline is available at https://developer.atlassian.com/changelog/#CHANGE-2046",
            ),
            ("GET", ["search", "jql"]) => self.search(&search_in_query(request)),
            ("POST", ["search", "jql"]) => self.search(&request.json()),
            ("POST", ["issue"]) => self.create(&request.json()),
            (_, ["issue", key, rest @ ..]) => self.one_issue(request, key, rest),
            _ => Answer::not_modelled(request),
        }
    }

    fn permissions(&self, request: &Request) -> Answer {
        let lacking = lock(&self.world).config.lacking.clone();
        let asked = request
            .query("permissions")
            .unwrap_or_default()
            .split(',')
            .filter(|name| !name.is_empty());
        let all: Map<String, Value> = asked
            .map(|name| (name.to_owned(), json!({"key": name, "havePermission": !lacking.iter().any(|lacks| lacks == name)})))
            .collect();
        Answer::json(200, &json!({"permissions": all}))
    }

    fn project(&self, key: &str, statuses_only: bool) -> Answer {
        let config = lock(&self.world).config.clone();
        if key != config.project {
            return refused(404, &format!("No project could be found with key '{key}'."));
        }
        let statuses: Vec<Value> = config
            .workflow
            .statuses
            .iter()
            .map(|status| status.json(self.base()))
            .collect();
        let body = if statuses_only {
            json!([{"id": "10001", "name": "Task", "subtask": false, "statuses": statuses,
                "self": format!("{}rest/api/3/issuetype/10001", self.base())}])
        } else {
            json!({"id": "10000", "key": key, "name": "AIOps", "style": "classic", "simplified": false,
                "self": format!("{}rest/api/3/project/10000", self.base())})
        };
        Answer::json(200, &body)
    }

    fn create_meta(&self, project: &str, rest: &[&str]) -> Answer {
        let config = lock(&self.world).config.clone();
        if project != config.project {
            return refused(404, "No project could be found.");
        }
        match rest {
            [] => {
                let types: Vec<Value> = types(&config)
                    .map(|(id, name, sub)| json!({"id": id, "name": name, "subtask": sub}))
                    .collect();
                Answer::json(
                    200,
                    &json!({"issueTypes": types, "maxResults": 50, "startAt": 0, "total": types.len()}),
                )
            }
            [id] if types(&config).any(|(known, _, _)| known == *id) => {
                let field = |id: &str, name: &str, required: bool, default: bool| {
                    json!({"fieldId": id, "key": id, "name": name, "required": required, "hasDefaultValue": default,
                    "operations": ["set"], "schema": {"type": "string", "system": id}})
                };
                let mut fields = vec![
                    field("summary", "Summary", true, false),
                    field("issuetype", "Issue Type", true, false),
                    field("project", "Project", true, false),
                    field("reporter", "Reporter", true, false),
                ];
                fields.extend(
                    config
                        .screen
                        .iter()
                        .map(|name| field(name, name, false, false)),
                );
                fields.extend(
                    config
                        .required
                        .iter()
                        .map(|(id, name)| field(id, name, true, false)),
                );
                Answer::json(
                    200,
                    &json!({"fields": fields, "maxResults": 50, "startAt": 0, "total": fields.len()}),
                )
            }
            _ => refused(404, "Issue type not found."),
        }
    }

    fn search(&self, body: &Value) -> Answer {
        let now = self.clock.now();
        let world = lock(&self.world);
        let (jql, order) = ordered(body["jql"].as_str().unwrap_or_default());
        let clauses = match clauses(jql) {
            Ok(clauses) => clauses,
            Err(why) => return refused(400, &why),
        };
        let order = match order.map(Order::read).transpose() {
            Ok(order) => order.unwrap_or(Order {
                by_key: false,
                down: true,
            }),
            Err(why) => return refused(400, &why),
        };
        let foreign = clauses
            .iter()
            .find(|clause| matches!(clause, Clause::Project(key) if *key != world.config.project));
        if let Some(Clause::Project(key)) = foreign {
            return refused(
                400,
                &format!("The value '{key}' does not exist for the field 'project'."),
            );
        }
        let reconciled: Vec<u64> = body["reconcileIssues"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_u64)
            .collect();
        let lag = world.config.index_lag;
        let indexed = |issue: &&Issue| {
            (now - issue.created).to_std().is_ok_and(|age| age >= lag)
                || reconciled.contains(&issue.id)
        };
        let mut found: Vec<&Issue> = world
            .issues
            .values()
            .filter(indexed)
            .filter(|issue| clauses.iter().all(|clause| clause.holds(issue)))
            .collect();
        order.sort(&mut found);
        let fields: Vec<&str> = body["fields"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let most = body["maxResults"]
            .as_u64()
            .and_then(|most| usize::try_from(most).ok())
            .unwrap_or(50);
        let from = body["nextPageToken"]
            .as_str()
            .and_then(|token| token.strip_prefix("from-")?.parse().ok())
            .unwrap_or(0_usize);
        // Nothing but the ids, unless fields are asked for.
        let shown = |issue: &&Issue| match fields.as_slice() {
            [] | ["id"] => json!({"id": issue.id.to_string()}),
            fields => issue_json(issue, &world.config, self.base(), fields, false),
        };
        let issues: Vec<Value> = found.iter().skip(from).take(most).map(shown).collect();
        let mut answer = json!({"issues": issues, "isLast": true});
        if from + most < found.len() {
            answer = json!({"issues": issues, "isLast": false, "nextPageToken": format!("from-{}", from + most)});
        }
        Answer::json(200, &answer)
    }

    fn create(&self, body: &Value) -> Answer {
        let now = self.clock.now();
        let mut world = lock(&self.world);
        let fields = &body["fields"];
        let errors = check_create(fields, &world.config);
        if !errors.is_empty() {
            return Answer::json(400, &json!({"errorMessages": [], "errors": errors}));
        }
        if let Some(message) = documents_refusal(fields) {
            return refused(400, message);
        }
        let World {
            config,
            issues,
            next_id,
            next_number,
            ..
        } = &mut *world;
        *next_id += 1;
        let (id, key) = (*next_id, format!("{}-{next_number}", config.project));
        *next_number += 1;
        let issue_type = types(config).find(|(id, name, _)| {
            fields
                .pointer("/issuetype/id")
                .is_some_and(|asked| asked == id)
                || fields
                    .pointer("/issuetype/name")
                    .is_some_and(|asked| asked == name)
        });
        let issue = Issue {
            id,
            key: key.clone(),
            issue_type: issue_type.map(|(_, name, _)| name).unwrap_or_default(),
            summary: fields["summary"].as_str().unwrap_or_default().to_owned(),
            description: fields["description"].clone(),
            priority: fields
                .pointer("/priority/name")
                .and_then(Value::as_str)
                .map(str::to_owned),
            labels: fields["labels"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            components: component_names(fields).map(str::to_owned).collect(),
            assignee: fields
                .pointer("/assignee/accountId")
                .and_then(Value::as_str)
                .map(str::to_owned),
            status: config
                .workflow
                .statuses
                .first()
                .map(|status| status.name.clone())
                .unwrap_or_default(),
            resolution: None,
            comments: Vec::new(),
            history: Vec::new(),
            created: now,
        };
        if config.tells_creation {
            let body = webhooks::created(&issue, config, &self.bot, self.base());
            self.postman.tell(config.hook.as_ref(), &body);
        }
        issues.insert(key.clone(), issue);
        Answer::json(
            201,
            &json!({"id": id.to_string(), "key": key, "self": format!("{}rest/api/3/issue/{id}", self.base())}),
        )
    }

    fn one_issue(&self, request: &Request, key: &str, rest: &[&str]) -> Answer {
        let (issue, config) = {
            let world = lock(&self.world);
            let Some(issue) = world.issues.get(&world.current(key)).cloned() else {
                return refused(
                    404,
                    "Issue does not exist or you do not have permission to see it.",
                );
            };
            (issue, world.config.clone())
        };
        let key = issue.key.as_str();
        match (request.method.as_str(), rest) {
            ("GET", []) => {
                let fields: Vec<&str> = request
                    .query("fields")
                    .unwrap_or("*all")
                    .split(',')
                    .collect();
                let with_history = request
                    .query("expand")
                    .unwrap_or_default()
                    .split(',')
                    .any(|part| part == "changelog");
                Answer::json(
                    200,
                    &issue_json(&issue, &config, self.base(), &fields, with_history),
                )
            }
            ("PUT", []) => self.edit_from(&issue, &request.json(), &config),
            ("DELETE", []) => {
                self.delete(key, &self.bot);
                Answer::empty(204)
            }
            ("GET", ["comment"]) => self.list_comments(&issue, request),
            ("POST", ["comment"]) => self.comment_from(key, &request.json()),
            ("GET", ["transitions"]) => {
                let with_fields = request.query("expand") == Some("transitions.fields");
                let ways = config.workflow.from(&issue.status);
                let ways: Vec<Value> = ways
                    .map(|way| way.json(&config.workflow, self.base(), with_fields))
                    .collect();
                Answer::json(200, &json!({"expand": "transitions", "transitions": ways}))
            }
            ("POST", ["transitions"]) => self.transition_from(&issue, &request.json(), &config),
            _ => Answer::not_modelled(request),
        }
    }

    fn edit_from(&self, issue: &Issue, body: &Value, config: &Config) -> Answer {
        let fields = &body["fields"];
        let errors = check_fields(fields, config);
        if !errors.is_empty() {
            return Answer::json(400, &json!({"errorMessages": [], "errors": errors}));
        }
        if let Some(message) = documents_refusal(fields) {
            return refused(400, message);
        }
        let summary = fields["summary"].as_str().map(str::to_owned);
        let labels = relabelled(&issue.labels, body);
        let description = fields.get("description").cloned();
        self.edit(&issue.key, summary, description, Some(labels), &self.bot);
        Answer::empty(204)
    }

    fn list_comments(&self, issue: &Issue, request: &Request) -> Answer {
        let comment = |comment: &super::Comment| json!({"id": comment.id.to_string(), "author": webhooks::user_json(&comment.author, self.base()), "body": comment.body, "created": when(comment.created)});
        let most = request
            .query("maxResults")
            .and_then(|most| most.parse().ok())
            .unwrap_or(50);
        let mut comments: Vec<Value> = issue.comments.iter().map(comment).collect();
        if request.query("orderBy") == Some("-created") {
            comments.reverse();
        }
        comments.truncate(most);
        Answer::json(
            200,
            &json!({"startAt": 0, "maxResults": most, "total": issue.comments.len(), "comments": comments}),
        )
    }

    fn comment_from(&self, key: &str, body: &Value) -> Answer {
        if let Some(message) = documents::refusal(&body["body"]) {
            return refused(400, message);
        }
        match self.add_comment(key, body["body"].clone(), &self.bot) {
            Some(id) => Answer::json(201, &json!({"id": id.to_string(), "body": body["body"]})),
            None => refused(
                404,
                "Issue does not exist or you do not have permission to see it.",
            ),
        }
    }

    fn transition_from(&self, issue: &Issue, body: &Value, config: &Config) -> Answer {
        let id = body
            .pointer("/transition/id")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let Some(way) = config
            .workflow
            .from(&issue.status)
            .find(|way| way.id.to_string() == id)
        else {
            return refused(
                400,
                "It seems that you have tried to perform an illegal workflow operation: the transition is not valid in the current state of the issue.",
            );
        };
        let mut errors = Map::new();
        let mut resolution = None;
        for (field, values) in &way.required {
            let given = body
                .pointer(&format!("/fields/{field}/id"))
                .and_then(Value::as_str);
            let known = (1..)
                .zip(values)
                .find(|(n, _)| given == Some(value_id(*n).as_str()));
            match known {
                Some((_, name)) if field == "resolution" => resolution = Some(name.clone()),
                Some(_) => {}
                None => drop(errors.insert(field.clone(), json!(format!("{field} is required.")))),
            }
        }
        if !errors.is_empty() {
            return Answer::json(400, &json!({"errorMessages": [], "errors": errors}));
        }
        self.relocate(&issue.key, &way.to, &self.bot, resolution.as_deref());
        Answer::empty(204)
    }
}

pub(super) fn unauthenticated() -> Answer {
    Answer::text(401, "Client must be authenticated to access this resource.")
        .with_header("x-seraph-loginreason", "AUTHENTICATED_FAILED")
}

fn refused(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({"errorMessages": [message], "errors": {}}))
}

/// (id, name, is a subtask)
fn types(config: &Config) -> impl Iterator<Item = (String, String, bool)> {
    let subtask = ("10000".to_owned(), "Subtask".to_owned(), true);
    let whole = (10_001_u32..)
        .zip(&config.issue_types)
        .map(|(id, name)| (id.to_string(), name.clone(), false));
    std::iter::once(subtask).chain(whole)
}

fn check_create(fields: &Value, config: &Config) -> Map<String, Value> {
    let mut errors = check_fields(fields, config);
    if fields
        .pointer("/project/key")
        .is_none_or(|key| *key != *config.project)
        || config.lacking.iter().any(|lacks| lacks == "CREATE_ISSUES")
    {
        errors.insert("project".to_owned(), json!("valid project is required"));
    }
    let asked = &fields["issuetype"];
    if !types(config)
        .any(|(id, name, subtask)| !subtask && (asked["id"] == *id || asked["name"] == *name))
    {
        errors.insert("issuetype".to_owned(), json!("Specify a valid issue type"));
    }
    if fields["summary"]
        .as_str()
        .is_none_or(|summary| summary.trim().is_empty())
    {
        errors.insert(
            "summary".to_owned(),
            json!("You must specify a summary of the issue."),
        );
    }
    for (id, name) in config
        .required
        .iter()
        .filter(|(id, _)| fields[id.as_str()].is_null())
    {
        errors.insert(id.clone(), json!(format!("{name} is required.")));
    }
    errors
}

fn check_fields(fields: &Value, config: &Config) -> Map<String, Value> {
    let mut errors = Map::new();
    let always = ["project", "issuetype", "summary"];
    for name in fields.as_object().into_iter().flat_map(Map::keys) {
        let on_screen = config.screen.contains(name) || config.required.contains_key(name);
        if !always.contains(&name.as_str()) && !on_screen {
            let words = format!(
                "Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."
            );
            errors.insert(name.clone(), json!(words));
        }
    }
    let summary = fields["summary"].as_str().unwrap_or_default();
    if summary.contains(['\n', '\r']) {
        errors.insert(
            "summary".to_owned(),
            json!("The summary is invalid because it contains newline characters."),
        );
    } else if summary.encode_utf16().count() > 255 {
        errors.insert(
            "summary".to_owned(),
            json!("Summary can't exceed 255 characters."),
        );
    }
    let priority = fields.pointer("/priority/name").and_then(Value::as_str);
    if priority.is_some_and(|name| !config.priorities.iter().any(|known| known == name)) {
        errors
            .entry("priority")
            .or_insert_with(|| json!("Specify the Priority (name) in the string format"));
    }
    let unknown = |name: &&str| !config.components.iter().any(|known| known == name);
    if let Some(name) = component_names(fields).find(unknown) {
        let words = format!("Component name '{name}' is not valid");
        errors.entry("components").or_insert_with(|| json!(words));
    }
    let assignee = fields
        .pointer("/assignee/accountId")
        .and_then(Value::as_str);
    if assignee.is_some_and(|id| !config.assignable.iter().any(|known| known == id)) {
        let words = format!(
            "User '{}' cannot be assigned issues.",
            assignee.unwrap_or_default()
        );
        errors.entry("assignee").or_insert_with(|| json!(words));
    }
    let labels = fields["labels"].as_array().into_iter().flatten();
    if let Some(label) = labels
        .filter_map(Value::as_str)
        .find(|label| label.contains(' '))
    {
        errors.insert(
            "labels".to_owned(),
            json!(format!(
                "The label '{label}' contains spaces which is invalid."
            )),
        );
    }
    if documents_refusal(fields) == Some("CONTENT_LIMIT_EXCEEDED") {
        errors.insert("description".to_owned(), json!("CONTENT_LIMIT_EXCEEDED"));
    }
    errors
}

fn component_names(fields: &Value) -> impl Iterator<Item = &str> {
    let components = fields["components"].as_array().into_iter().flatten();
    components.filter_map(|component| component["name"].as_str())
}

fn documents_refusal(fields: &Value) -> Option<&'static str> {
    fields
        .get("description")
        .filter(|description| !description.is_null())
        .and_then(documents::refusal)
}

fn when(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}

fn issue_json(
    issue: &Issue,
    config: &Config,
    base: &str,
    fields: &[&str],
    with_history: bool,
) -> Value {
    let all = json!({
        "summary": issue.summary,
        "description": issue.description,
        "labels": issue.labels,
        "priority": issue.priority.as_ref().map(|name| json!({"name": name})),
        "issuetype": {"name": issue.issue_type},
        "status": config.workflow.status(&issue.status).map(|status| status.json(base)),
        "resolution": issue.resolution.as_ref().map(|name| json!({"name": name})),
        "created": when(issue.created),
    });
    let wanted = |name: &String| fields.contains(&"*all") || fields.contains(&name.as_str());
    let shown: Map<String, Value> = all
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| wanted(name))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let mut json = json!({"id": issue.id.to_string(), "key": issue.key, "self": format!("{base}rest/api/3/issue/{}", issue.id), "fields": shown});
    if with_history && let Some(json) = json.as_object_mut() {
        let history = |change: &super::Change| {
            let items: Vec<Value> = change
                .items
                .iter()
                .map(|item| webhooks::item_json(item, config))
                .collect();
            json!({"id": change.id.to_string(), "author": webhooks::user_json(&change.author, base), "created": when(change.at), "items": items})
        };
        let histories: Vec<Value> = issue.history.iter().rev().take(100).map(history).collect();
        json.insert(
            "changelog".to_owned(),
            json!({"startAt": 0, "total": issue.history.len(), "histories": histories}),
        );
    }
    json
}

/// The labels after an edit: `fields.labels` sets them, `update.labels` adds and removes.
fn relabelled(labels: &[String], body: &Value) -> Vec<String> {
    let texts = |value: &Value| -> Option<Vec<String>> {
        let all = value.as_array()?.iter().filter_map(Value::as_str);
        Some(all.map(str::to_owned).collect())
    };
    let mut labels = body
        .pointer("/fields/labels")
        .and_then(texts)
        .unwrap_or_else(|| labels.to_vec());
    let changes = body.pointer("/update/labels").and_then(Value::as_array);
    for change in changes.into_iter().flatten() {
        if let Some(whole) = texts(&change["set"]) {
            labels = whole;
        }
        if let Some(label) = change["remove"].as_str() {
            labels.retain(|known| known != label);
        }
        if let Some(label) = change["add"].as_str()
            && !labels.iter().any(|known| known == label)
        {
            labels.push(label.to_owned());
        }
    }
    labels
}

/// A search by GET says the same in its query.
fn search_in_query(request: &Request) -> Value {
    let fields: Vec<&str> = request
        .query
        .iter()
        .filter(|(name, _)| name == "fields")
        .flat_map(|(_, value)| value.split(','))
        .collect();
    let number = |name: &str| {
        request
            .query(name)
            .and_then(|text| text.parse::<u64>().ok())
    };
    let reconciled: Vec<u64> = request
        .query
        .iter()
        .filter(|(name, _)| name == "reconcileIssues")
        .filter_map(|(_, value)| value.parse().ok())
        .collect();
    json!({"jql": request.query("jql"), "fields": fields, "maxResults": number("maxResults"),
        "nextPageToken": request.query("nextPageToken"), "reconcileIssues": reconciled})
}

/// The query, and what stands behind `ORDER BY`.
fn ordered(jql: &str) -> (&str, Option<&str>) {
    let at = jql.to_ascii_uppercase().find("ORDER BY ");
    match at.and_then(|at| jql.split_at_checked(at)) {
        Some((query, order)) => (query.trim(), order.get("ORDER BY ".len()..)),
        None => (jql, None),
    }
}

/// In which order issues are found: by when they were made, or by key; the newest first when nothing is said.
struct Order {
    by_key: bool,
    down: bool,
}

impl Order {
    fn read(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let by_key = match words.next().unwrap_or_default() {
            "key" | "issuekey" | "id" => true,
            "created" | "createdDate" => false,
            other => {
                return Err(format!("Not able to sort using field '{other}'."));
            }
        };
        let down = words
            .next()
            .is_some_and(|way| way.eq_ignore_ascii_case("DESC"));
        Ok(Self { by_key, down })
    }

    fn sort(&self, issues: &mut [&Issue]) {
        issues.sort_by_key(|issue| {
            (
                if self.by_key {
                    None
                } else {
                    Some(issue.created)
                },
                issue.id,
            )
        });
        if self.down {
            issues.reverse();
        }
    }
}

enum Clause {
    Project(String),
    Label(String),
    Text(String),
}

impl Clause {
    fn holds(&self, issue: &Issue) -> bool {
        match self {
            Self::Project(project) => issue.key.split('-').next() == Some(project),
            Self::Label(label) => issue.labels.contains(label),
            Self::Text(phrase) => {
                issue.summary.contains(phrase) || issue.description_text().contains(phrase)
            }
        }
    }
}

/// The part of JQL that bots of our kind use: equalities and phrases joined by AND.
fn clauses(jql: &str) -> Result<Vec<Clause>, String> {
    if jql.trim().is_empty() {
        return Err("Unbounded JQL queries are not allowed here. Please add a search restriction to your query.".to_owned());
    }
    let unquoted = |text: &str| {
        text.trim()
            .trim_matches('"')
            .replace("\\\"", "")
            .replace('"', "")
    };
    jql.split(" AND ")
        .map(|clause| {
            let (name, value) = clause
                .split_once(['=', '~'])
                .ok_or_else(|| format!("Error in the JQL Query: '{clause}'."))?;
            match name.trim() {
                "project" => Ok(Clause::Project(unquoted(value))),
                "labels" => Ok(Clause::Label(unquoted(value))),
                "text" => Ok(Clause::Text(unquoted(value).trim_matches('\\').to_owned())),
                other => Err(format!(
                    "Field '{other}' does not exist or you do not have permission to view it."
                )),
            }
        })
        .collect()
}
