//! A JIRA Cloud that fits in memory: issues with keys, histories, comments and a workflow.
//!
//! In: REST calls of a bot, clicks of people. Out: JIRA's answers in JIRA's JSON, signed webhooks, and pages
//! on which a person sees the issue as JIRA would show it and moves it. It refuses what JIRA refuses (bad
//! documents, unknown fields, unbounded JQL, transitions that the workflow does not have) and lags where
//! JIRA lags (its search index). It knows nothing of tickets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Answer, Clock, FaultScript, Request, Server, Site, lock, serve};

mod api;
mod documents;
mod pages;
mod webhooks;
mod workflow;

pub use webhooks::{Delivery, Hook};
pub use workflow::{Category, StatusDef, TransitionDef, Workflow};

/// Somebody who acts in JIRA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// JIRA's id of the account.
    pub account_id: String,
    /// The name people see.
    pub name: String,
    /// An automation or app rather than a person.
    pub app: bool,
}

impl Person {
    /// A person; equal names are the same person.
    pub fn named(name: &str) -> Self {
        let hash = hex::encode(Sha256::digest(name.as_bytes()));
        Self {
            account_id: format!("712020:{}", hash.get(..24).unwrap_or_default()),
            name: name.to_owned(),
            app: false,
        }
    }

    /// `Automation for Jira`.
    pub fn automation() -> Self {
        Self {
            app: true,
            ..Self::named("Automation for Jira")
        }
    }
}

/// What the site looks like: everything a test or a demo may want otherwise.
#[derive(Debug, Clone)]
pub struct Config {
    /// The bot's e-mail address.
    pub email: String,
    /// The bot's API token.
    pub token: String,
    /// Is it one with scopes? Those are taken at the gateway alone.
    pub scoped: bool,
    /// The site's id at the gateway, which this server is as well.
    pub cloud_id: String,
    /// The project's key.
    pub project: String,
    /// Names of issue types, besides a `Subtask`.
    pub issue_types: Vec<String>,
    /// Names of priorities.
    pub priorities: Vec<String>,
    /// Fields on the create and edit screens, besides summary.
    pub screen: Vec<String>,
    /// Components of the project.
    pub components: Vec<String>,
    /// Account ids of people who can be assigned issues.
    pub assignable: Vec<String>,
    /// Further fields that the create screen requires: id → name.
    pub required: BTreeMap<String, String>,
    /// Permissions that the bot does not have.
    pub lacking: Vec<String>,
    /// The workflow.
    pub workflow: Workflow,
    /// How long a new issue stays unknown to search.
    pub index_lag: Duration,
    /// How many calls a second are answered before 429.
    pub calls_per_second: Option<u32>,
    /// Where changes are told.
    pub hook: Option<Hook>,
    /// Does the webhook subscribe to the making of issues?
    pub tells_creation: bool,
}

impl Default for Config {
    fn default() -> Self {
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        Self {
            email: "aiops-bot@company.com".to_owned(),
            token: "simulated-api-token".to_owned(),
            scoped: false,
            cloud_id: "0c2f7a5e-1111-4222-8333-944455566677".to_owned(),
            project: "APAIOPS".to_owned(),
            issue_types: names(&["Task", "Bug", "Story"]),
            priorities: names(&["Highest", "High", "Medium", "Low", "Lowest"]),
            screen: names(&[
                "description",
                "priority",
                "labels",
                "components",
                "assignee",
            ]),
            components: names(&["Finance", "Data Platform"]),
            assignable: names(&["5b10ac8d82e05b22cc7d4ef5"]),
            required: BTreeMap::new(),
            lacking: Vec::new(),
            workflow: Workflow::simple(),
            index_lag: Duration::ZERO,
            calls_per_second: None,
            hook: None,
            tells_creation: false,
        }
    }
}

/// One issue.
#[derive(Debug, Clone, PartialEq)]
pub struct Issue {
    /// Its number.
    pub id: u64,
    /// E.g. `APAIOPS-1`.
    pub key: String,
    /// Type by name.
    pub issue_type: String,
    /// Summary.
    pub summary: String,
    /// The description as an Atlassian document, or null.
    pub description: Value,
    /// Priority by name.
    pub priority: Option<String>,
    /// Labels.
    pub labels: Vec<String>,
    /// Components by name.
    pub components: Vec<String>,
    /// Account id of whom it is assigned to.
    pub assignee: Option<String>,
    /// Status by name.
    pub status: String,
    /// Resolution by name, while it is done.
    pub resolution: Option<String>,
    /// Comments, oldest first.
    pub comments: Vec<Comment>,
    /// Changes, oldest first.
    pub history: Vec<Change>,
    /// When it was made.
    pub created: DateTime<Utc>,
}

impl Issue {
    /// The description as a person reads it.
    pub fn description_text(&self) -> String {
        documents::plain_text(&self.description)
    }
}

/// One comment.
#[derive(Debug, Clone, PartialEq)]
pub struct Comment {
    /// Its number.
    pub id: u64,
    /// Who wrote it.
    pub author: Person,
    /// Atlassian document.
    pub body: Value,
    /// When.
    pub created: DateTime<Utc>,
}

impl Comment {
    /// The comment as a person reads it.
    pub fn text(&self) -> String {
        documents::plain_text(&self.body)
    }
}

/// One change, with everything that changed at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub id: u64,
    /// Who.
    pub author: Person,
    /// When.
    pub at: DateTime<Utc>,
    /// What: (field, from, to).
    pub items: Vec<(String, Option<String>, Option<String>)>,
}

#[derive(Debug)]
struct World {
    config: Config,
    issues: BTreeMap<String, Issue>,
    /// Keys that issues had in other projects, and those that they got instead.
    former: BTreeMap<String, String>,
    next_id: u64,
    next_number: u64,
    window: (i64, u32),
}

impl World {
    /// The key of the issue that has, or had, this key or number.
    fn current(&self, name: &str) -> String {
        let numbered = self
            .issues
            .values()
            .find(|issue| issue.id.to_string() == name);
        if let Some(issue) = numbered {
            return issue.key.clone();
        }
        let mut key = name;
        while let Some(next) = self.former.get(key) {
            key = next;
        }
        key.to_owned()
    }
}

/// The site behind the server.
#[derive(Debug)]
struct Jira {
    world: Mutex<World>,
    clock: Clock,
    base: OnceLock<String>,
    bot: Person,
    postman: webhooks::Postman,
}

/// A running JIRA. Dropping it stops it.
#[derive(Debug)]
pub struct JiraSimulator {
    server: Server,
    site: Arc<Jira>,
}

impl JiraSimulator {
    /// Starts on `127.0.0.1:port` (0: any free port).
    pub async fn start(port: u16, config: Config) -> std::io::Result<Self> {
        let world = World {
            config,
            issues: BTreeMap::new(),
            former: BTreeMap::new(),
            next_id: 10_000,
            next_number: 1,
            window: (0, 0),
        };
        let site = Arc::new(Jira {
            world: Mutex::new(world),
            clock: Clock::default(),
            base: OnceLock::new(),
            bot: Person::named("AIOps RCA"),
            postman: webhooks::Postman::new().map_err(std::io::Error::other)?,
        });
        let server = serve(port, Arc::clone(&site)).await?;
        site.base.get_or_init(|| server.url());
        Ok(Self { server, site })
    }

    /// `http://127.0.0.1:<port>/`: the value of `JIRA_DOMAIN`, and the board for people.
    pub fn base_url(&self) -> String {
        self.server.url()
    }

    /// The page of one issue.
    pub fn browse_url(&self, key: &str) -> String {
        format!("{}browse/{key}", self.base_url())
    }

    /// Faults to come.
    pub fn faults(&self) -> &FaultScript {
        &self.server.faults
    }

    /// The site's clock.
    pub fn clock(&self) -> &Clock {
        &self.site.clock
    }

    /// Changes the site.
    pub fn configure(&self, change: impl FnOnce(&mut Config)) {
        change(&mut lock(&self.site.world).config);
    }

    /// The bot's own account.
    pub fn bot(&self) -> &Person {
        &self.site.bot
    }

    /// All issues, in the order of their making.
    pub fn issues(&self) -> Vec<Issue> {
        let mut issues: Vec<Issue> = lock(&self.site.world).issues.values().cloned().collect();
        issues.sort_by_key(|issue| issue.id);
        issues
    }

    /// One issue.
    pub fn issue(&self, key: &str) -> Option<Issue> {
        lock(&self.site.world).issues.get(key).cloned()
    }

    /// Somebody moves an issue to a status of the workflow, however it is reached. `false` if there is no
    /// such issue or status, or it is there already.
    pub fn moves(&self, key: &str, status: &str, who: &Person) -> bool {
        self.site.relocate(key, status, who, None)
    }

    /// Somebody comments.
    pub fn comments(&self, key: &str, text: &str, who: &Person) -> bool {
        self.site
            .add_comment(key, documents::paragraph(text), who)
            .is_some()
    }

    /// Somebody renames an issue (an update that changes no status).
    pub fn renames(&self, key: &str, summary: &str, who: &Person) -> bool {
        self.site
            .edit(key, Some(summary.to_owned()), None, None, who)
    }

    /// Somebody moves an issue to another project: it gets another key and keeps its number, and its old key leads to it.
    /// The new key; `None` if there is no such issue.
    pub fn transfers(&self, key: &str, project: &str, who: &Person) -> Option<String> {
        self.site.transfer(key, project, who)
    }

    /// Somebody deletes an issue.
    pub fn deletes(&self, key: &str, who: &Person) -> bool {
        self.site.delete(key, who)
    }

    /// All requests, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// Takes the calls so far that are not modelled.
    pub fn take_not_modelled(&self) -> Vec<String> {
        self.server.take_not_modelled()
    }

    /// Requests with this method and this text in their path.
    pub fn requests_to(&self, method: &str, path_part: &str) -> Vec<Request> {
        self.server.requests_to(method, path_part)
    }

    /// Waits until every webhook sent so far is delivered or given up; all deliveries, oldest first.
    pub async fn deliveries(&self) -> Vec<Delivery> {
        self.site.postman.settled().await
    }

    /// Panics when a scripted fault did not happen.
    ///
    /// # Panics
    /// That is what it is for: a test whose faults did not happen has tested nothing.
    pub fn assert_drained(&self) {
        assert!(
            self.server.faults.is_drained(),
            "a scripted fault of the JIRA simulator did not happen"
        );
    }

    /// Cuts everything off.
    pub fn stop(&mut self) {
        self.server.stop();
    }
}

impl Site for Jira {
    fn answer(&self, request: &Request) -> Answer {
        match request
            .segments()
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .as_slice()
        {
            ["rest", "api", "3", path @ ..] => {
                if lock(&self.world).config.scoped {
                    return api::unauthenticated();
                }
                self.api(request, path)
            }
            ["_edge", "tenant_info"] => {
                let id = lock(&self.world).config.cloud_id.clone();
                Answer::json(200, &serde_json::json!({"cloudId": id}))
            }
            ["ex", "jira", cloud, "rest", "api", "3", path @ ..] => {
                let (id, scoped) = {
                    let config = &lock(&self.world).config;
                    (config.cloud_id.clone(), config.scoped)
                };
                let told = format!("{}ex/jira/{id}/", self.base());
                if *cloud != id {
                    return Answer::json(
                        404,
                        &serde_json::json!({"code": 404, "message": "Not Found"}),
                    );
                }
                if !scoped {
                    return api::unauthenticated();
                }
                // What an answer says about its own address is the gateway's.
                let answer = self.api(request, path);
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                let own = format!("{}rest/api/3/", self.base());
                Answer {
                    body: text.replace(&own, &format!("{told}rest/api/3/")).into(),
                    ..answer
                }
            }
            path => self.page(request, path),
        }
    }
}

impl Jira {
    fn base(&self) -> &str {
        self.base.get().map_or("http://127.0.0.1/", String::as_str)
    }

    fn is_bot(&self, request: &Request) -> bool {
        let world = lock(&self.world);
        let expected = format!(
            "Basic {}",
            BASE64.encode(format!("{}:{}", world.config.email, world.config.token))
        );
        request.is_authorized_by(&expected)
    }

    /// More calls in this second than the site allows?
    fn is_too_fast(&self) -> bool {
        let mut world = lock(&self.world);
        let Some(limit) = world.config.calls_per_second else {
            return false;
        };
        let second = self.clock.now().timestamp();
        if world.window.0 != second {
            world.window = (second, 0);
        }
        world.window.1 += 1;
        world.window.1 > limit
    }

    /// Changes an issue under the lock, records the change and tells it.
    fn change(
        &self,
        key: &str,
        who: &Person,
        act: impl FnOnce(&mut Issue, &Config) -> Vec<(String, Option<String>, Option<String>)>,
    ) -> bool {
        let mut world = lock(&self.world);
        let World {
            config,
            issues,
            next_id,
            ..
        } = &mut *world;
        let Some(issue) = issues.get_mut(key) else {
            return false;
        };
        let items = act(issue, config);
        if items.is_empty() {
            return false;
        }
        *next_id += 1;
        let change = Change {
            id: *next_id,
            author: who.clone(),
            at: self.clock.now(),
            items,
        };
        issue.history.push(change.clone());
        let body = webhooks::updated(issue, config, Some(&change), who, change.at, self.base());
        self.postman.tell(config.hook.as_ref(), &body);
        true
    }

    fn relocate(&self, key: &str, status: &str, who: &Person, resolution: Option<&str>) -> bool {
        self.change(key, who, |issue, config| {
            let Some(target) = config.workflow.status(status) else {
                return Vec::new();
            };
            if issue.status == target.name {
                return Vec::new();
            }
            let before = std::mem::replace(&mut issue.status, target.name.clone());
            let mut items = vec![("status".to_owned(), Some(before), Some(target.name.clone()))];
            let resolved = (target.category == Category::Done)
                .then(|| resolution.unwrap_or("Done").to_owned());
            if resolved != issue.resolution {
                let before = std::mem::replace(&mut issue.resolution, resolved.clone());
                items.insert(0, ("resolution".to_owned(), before, resolved));
            }
            items
        })
    }

    fn transfer(&self, key: &str, project: &str, who: &Person) -> Option<String> {
        let new = {
            let mut world = lock(&self.world);
            let mut issue = world.issues.remove(key)?;
            let number = world.next_number;
            world.next_number += 1;
            let new = format!("{project}-{number}");
            issue.key.clone_from(&new);
            world.issues.insert(new.clone(), issue);
            world.former.insert(key.to_owned(), new.clone());
            new
        };
        let from = key.split('-').next().unwrap_or_default().to_owned();
        self.change(&new, who, |issue, _| {
            vec![
                ("project".to_owned(), Some(from), Some(project.to_owned())),
                (
                    "Key".to_owned(),
                    Some(key.to_owned()),
                    Some(issue.key.clone()),
                ),
            ]
        });
        Some(new)
    }

    fn edit(
        &self,
        key: &str,
        summary: Option<String>,
        description: Option<Value>,
        labels: Option<Vec<String>>,
        who: &Person,
    ) -> bool {
        self.change(key, who, |issue, _| {
            let mut items = Vec::new();
            if let Some(summary) = summary.filter(|summary| *summary != issue.summary) {
                let before = std::mem::replace(&mut issue.summary, summary.clone());
                items.push(("summary".to_owned(), Some(before), Some(summary)));
            }
            if let Some(description) =
                description.filter(|description| *description != issue.description)
            {
                let before = issue.description_text();
                issue.description = description;
                items.push((
                    "description".to_owned(),
                    Some(before),
                    Some(issue.description_text()),
                ));
            }
            if let Some(labels) = labels.filter(|labels| *labels != issue.labels) {
                let before = std::mem::replace(&mut issue.labels, labels);
                let after = issue.labels.join(" ");
                items.push(("labels".to_owned(), Some(before.join(" ")), Some(after)));
            }
            items
        })
    }

    fn add_comment(&self, key: &str, body: Value, who: &Person) -> Option<u64> {
        let mut world = lock(&self.world);
        let World {
            config,
            issues,
            next_id,
            ..
        } = &mut *world;
        let issue = issues.get_mut(key)?;
        *next_id += 1;
        let created = self.clock.now();
        issue.comments.push(Comment {
            id: *next_id,
            author: who.clone(),
            body,
            created,
        });
        let told = webhooks::updated(issue, config, None, who, created, self.base());
        self.postman.tell(config.hook.as_ref(), &told);
        Some(*next_id)
    }

    fn delete(&self, key: &str, who: &Person) -> bool {
        let mut world = lock(&self.world);
        let Some(issue) = world.issues.remove(key) else {
            return false;
        };
        let told = webhooks::deleted(&issue, &world.config, who, self.clock.now(), self.base());
        self.postman.tell(world.config.hook.as_ref(), &told);
        true
    }
}
