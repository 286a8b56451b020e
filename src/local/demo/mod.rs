//! The demo: real sample failures, played against simulators a person can look at.
//!
//! In: a running stand-in host's port. Out: lines for the terminal, and whether everything arrived. It talks
//! to the app only through its doors and its API, as the outside world does; JIRA, Slack, Teams, the playbook and
//! the vendors are the simulators next door. Nothing outside this machine is reached.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use crate::http::Http;
use simulators::data_factory::{DataFactorySite, Ending};
use simulators::databricks::DatabricksSite;
use simulators::identity::IdentitySite;
use simulators::jira::{self, JiraSimulator};
use simulators::logic_app::{Deployment, LogicAppSettings, LogicAppSimulator};
use simulators::slack::{SlackOptions, SlackSimulator};
use simulators::teams::bot::{BotOptions, BotSimulator};
use simulators::{Server, serve};

mod story;
mod today;
mod unreported;

const SUBSCRIPTION: &str = "aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e";
const GROUP: &str = "rg-data";
const FACTORY: &str = "adf-prod";
const IDENTITY_HEADER: &str = "demo-identity-header";
const DATABRICKS_TOKEN: &str = "demo-databricks-token";
const MANAGEMENT: &str = "https://management.azure.com";
const WEBHOOK_SECRET: &str = "demo-webhook-secret";
const PLAYBOOK: &str = "retry-adf-pipeline";
const RETRY_ADF: &str = include_str!("../../../infra/playbooks/retry-adf-pipeline.json");
const RUN: &str = include_str!("samples/adf-gateway-timeout-run.json");
const DEADLOCK_RUN: &str = include_str!("samples/adf-deadlock-run.json");
const ACTIVITIES: &str = include_str!("samples/adf-gateway-timeout-activities.json");
/// The runs of the alert with several rows, as the factory knows them.
const SEVERAL: &str = include_str!("samples/adf-several-runs.json");
const JOB_RUN: &str =
    include_str!("../../../tests/fixtures/vendor/dbx-runs-get-library-error.json");

/// The simulators of one demo.
#[derive(Debug)]
pub struct Demo {
    jira: JiraSimulator,
    slack: SlackSimulator,
    team: BotSimulator,
    playbooks: LogicAppSimulator,
    factory: Server,
    factory_site: Arc<DataFactorySite>,
    databricks: Server,
    workspace: Arc<DatabricksSite>,
    identity: Server,
    base: Url,
    key: Option<String>,
}

/// A sample, as of today.
fn sample(text: &str) -> anyhow::Result<Value> {
    json(&today::moved(text, Utc::now()))
}

fn json(text: &str) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(text)?)
}

impl Demo {
    /// Starts the simulators for an app on this port, whose dashboard is open, or locked with this key.
    pub async fn start(port: u16, key: Option<String>) -> anyhow::Result<Self> {
        // People who look around may type any address.
        simulators::lenient();
        let base = Url::parse(&format!("http://localhost:{port}/"))?;
        let mut hook = base.join("jira-webhook")?;
        hook.query_pairs_mut().append_pair("secret", WEBHOOK_SECRET);
        let hook = jira::Hook {
            url: hook,
            secret: Some(SecretString::from(WEBHOOK_SECRET)),
            retry_after: Duration::from_secs(2),
        };
        let jira = JiraSimulator::start(
            0,
            jira::Config {
                hook: Some(hook),
                ..jira::Config::default()
            },
        )
        .await?;
        let slack = SlackSimulator::start_with(
            0,
            SlackOptions {
                door: Some(base.join("slack/interactions")?),
                ..SlackOptions::default()
            },
        )
        .await?;
        let team = BotSimulator::start(
            0,
            BotOptions {
                door: Some(base.join("teams/messages")?),
                ..BotOptions::default()
            },
        )
        .await?;
        let factory_site = DataFactorySite::new(
            SUBSCRIPTION,
            GROUP,
            FACTORY,
            &IdentitySite::token_for(MANAGEMENT),
        );
        let run = sample(RUN)?;
        factory_site.put_run(run.clone());
        factory_site.put_run(sample(DEADLOCK_RUN)?);
        let activities = sample(ACTIVITIES)?;
        let run_id = run.get("runId").and_then(Value::as_str).unwrap_or_default();
        factory_site.put_activities(
            run_id,
            activities.as_array().map(Vec::as_slice).unwrap_or_default(),
        );
        for failed in sample(SEVERAL)?.as_array().into_iter().flatten() {
            let (run, activities) = (
                failed.get("run").cloned().unwrap_or_default(),
                failed.get("activities"),
            );
            let run_id = run
                .get("runId")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            factory_site.put_run(run);
            factory_site.put_activities(
                &run_id,
                activities
                    .and_then(Value::as_array)
                    .map(Vec::as_slice)
                    .unwrap_or_default(),
            );
        }
        factory_site.script("pl_refresh_finance", 2, Ending::Succeeds);
        let factory_site = Arc::new(factory_site);
        let factory = serve(0, Arc::clone(&factory_site)).await?;
        let databricks_site = DatabricksSite::new(DATABRICKS_TOKEN);
        databricks_site.put_run(sample(JOB_RUN)?);
        let workspace = Arc::new(databricks_site);
        let databricks = serve(0, Arc::clone(&workspace)).await?;
        let identity = serve(0, Arc::new(IdentitySite::new(IDENTITY_HEADER))).await?;
        let playbooks = LogicAppSimulator::start(0, playbook_settings(&base, &factory)?).await?;
        Ok(Self {
            jira,
            slack,
            team,
            playbooks,
            factory,
            factory_site,
            databricks,
            workspace,
            identity,
            base,
            key,
        })
    }

    /// The app's settings that lead to the simulators.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let slack = SlackOptions::default();
        let site = jira::Config::default();
        // One of the people may decide: what the other one presses changes nothing.
        let approver = slack
            .people
            .first()
            .map(|(id, _)| id.clone())
            .unwrap_or_default();
        let channel = slack
            .channels
            .first()
            .map(|channel| channel.id.clone())
            .unwrap_or_default();
        let playbook = self
            .playbooks
            .url(PLAYBOOK)
            .map(String::from)
            .unwrap_or_default();
        [
            ("ITSM_TOOL", "jira".to_owned()),
            ("JIRA_DOMAIN", self.jira.base_url()),
            ("JIRA_GATEWAY_URL", self.jira.base_url()),
            ("JIRA_USER_EMAIL", site.email),
            ("JIRA_API_TOKEN", site.token),
            ("JIRA_PROJECT_KEY", site.project),
            ("JIRA_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
            ("SLACK_BOT_TOKEN", slack.token),
            ("SLACK_ALERT_CHANNEL", channel),
            ("SLACK_SIGNING_SECRET", slack.signing_secret),
            ("SLACK_APPROVERS", approver),
            ("SLACK_API_URL", self.slack.api_base()),
            ("AZURE_SUBSCRIPTION_ID", SUBSCRIPTION.to_owned()),
            ("AZURE_RESOURCE_GROUP", GROUP.to_owned()),
            ("AZURE_DATA_FACTORY_NAME", FACTORY.to_owned()),
            ("AZURE_MANAGEMENT_URL", self.factory.url()),
            (
                "IDENTITY_ENDPOINT",
                format!("{}/msi/token", self.identity.url().trim_end_matches('/')),
            ),
            ("IDENTITY_HEADER", IDENTITY_HEADER.to_owned()),
            ("DATABRICKS_WORKSPACE_URL", self.databricks.url()),
            ("DATABRICKS_TOKEN", DATABRICKS_TOKEN.to_owned()),
            ("AUTO_REMEDIATION_ENABLED", "true".to_owned()),
            // People who were notified would be notified again: that is for a person to decide.
            ("REMEDIATION_ASSETS", "pl_notify=ask".to_owned()),
            ("PLAYBOOK_RETRY_PIPELINE", playbook),
            (
                "CALLBACK_SIGNING_KEY",
                "demo-callback-signing-key".to_owned(),
            ),
        ]
        .into_iter()
        .chain(self.teams())
        .chain(self.key.clone().map(|key| ("DASHBOARD_KEY", key)))
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    /// The settings that lead to the team. Its first member may decide, its second may not.
    fn teams(&self) -> [(&'static str, String); 8] {
        let team = BotOptions::default();
        let approver = team.people.first().map(|(id, _)| id.clone());
        [
            ("TEAMS_BOT_APP_ID", team.app_id),
            ("TEAMS_TENANT_ID", team.tenant),
            ("TEAMS_TEAM_ID", team.team),
            ("TEAMS_CHANNEL_ID", team.channel),
            ("TEAMS_APPROVERS", approver.unwrap_or_default()),
            ("TEAMS_SERVICE_URL", self.team.service()),
            ("TEAMS_OPENID_URL", self.team.openid()),
            ("TEAMS_GRAPH_URL", self.team.graph()),
        ]
    }

    /// Where to look, a line each.
    pub fn addresses(&self) -> Vec<String> {
        let locked = self.key.as_ref().map(|key| format!(", key {key}"));
        vec![
            format!(
                "dashboard  {}dashboard{}",
                self.base,
                locked.unwrap_or_default()
            ),
            format!("JIRA       {}", self.jira.base_url()),
            format!("Slack      {}", self.slack.url()),
            format!("Teams      {}", self.team.page()),
        ]
    }

    /// Posts the samples, follows their tickets, says what happens; `true` when everything arrived.
    pub async fn play(&self, pace: Duration, say: impl Fn(&str)) -> bool {
        let Ok(http) = Http::new(None) else {
            return false;
        };
        self.addresses().iter().for_each(|line| say(line));
        let mut wanted = BTreeSet::new();
        let mut all_understood = true;
        for scene in story::SCENES {
            tokio::time::sleep(pace).await;
            match self.post(&http, scene).await {
                Ok(answer) => all_understood &= scene.tell(&answer, &mut wanted, &say),
                Err(why) => {
                    say(&format!("{}: {why}", scene.title));
                    all_understood = false;
                }
            }
        }
        let found = self.play_unreported(&http, &say).await;
        let arrived = self.follow(&http, wanted, &say).await;
        say(&format!(
            "{} issue(s) in JIRA, {} message(s) in Slack, {} card(s) in Teams, {} playbook run(s)",
            self.jira.issues().len(),
            self.posts(),
            self.team.messages().len(),
            self.playbooks.runs().len()
        ));
        all_understood && found && arrived
    }

    /// Messages of the channel itself, without threads.
    fn posts(&self) -> usize {
        self.slack
            .messages()
            .iter()
            .filter(|message| message.thread_ts.is_none())
            .count()
    }

    async fn post(&self, http: &Http, scene: &story::Scene) -> Result<Value, String> {
        let url = self
            .base
            .join(scene.door)
            .map_err(|error| error.to_string())?;
        let body = today::moved(scene.body, Utc::now()).into_owned();
        // The handler may still be starting.
        for _ in 0..50 {
            let request = http
                .request(Method::POST, &url)
                .header("content-type", "application/json")
                .body(body.clone());
            match http.send("the app", request).await {
                Ok(reply) if reply.is_success() => {
                    return reply
                        .json("the app")
                        .map_err(|fault| fault.reason().to_owned());
                }
                Ok(reply) if reply.status != 503 => {
                    return Err(format!("the door answered {}", reply.status));
                }
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
        Err("the door did not open".to_owned())
    }

    /// Waits until every ticket is in JIRA and Slack, and what is healed automatically is healed.
    async fn follow(&self, http: &Http, mut wanted: BTreeSet<String>, say: &impl Fn(&str)) -> bool {
        let give_up = Instant::now() + Duration::from_secs(120);
        let mut told = BTreeSet::new();
        while !wanted.is_empty() && Instant::now() < give_up {
            let mut done = BTreeSet::new();
            for id in &wanted {
                let Some(ticket) = self.ticket(http, id).await else {
                    continue;
                };
                if story::is_shown(&ticket) && told.insert(id.clone()) {
                    story::tell_ticket(&ticket, &self.base, |key| self.jira.browse_url(key), say);
                }
                if story::has_settled(&ticket) {
                    story::tell_end(&ticket, say);
                    done.insert(id.clone());
                }
            }
            wanted.retain(|id| !done.contains(id));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        for id in &wanted {
            say(&format!("{id} has not arrived everywhere"));
        }
        wanted.is_empty()
    }

    async fn ticket(&self, http: &Http, id: &str) -> Option<Value> {
        self.api(http, &format!("api/tickets/{id}")).await
    }

    async fn api(&self, http: &Http, path: &str) -> Option<Value> {
        let url = self.base.join(path).ok()?;
        let mut request = http.request(Method::GET, &url);
        if let Some(key) = &self.key {
            request = request.header("x-dashboard-key", key);
        }
        let reply = http.send("the app", request).await.ok()?;
        reply
            .is_success()
            .then(|| reply.json("the app").ok())
            .flatten()
    }
}

fn playbook_settings(base: &Url, factory: &Server) -> anyhow::Result<LogicAppSettings> {
    let factory_id = format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.DataFactory/factories/{FACTORY}"
    );
    let parameters = BTreeMap::from([
        (
            "callbackBase".to_owned(),
            Value::from(format!("{base}remediation-callback?")),
        ),
        ("factoryId".to_owned(), Value::from(factory_id)),
    ]);
    let deployment = Deployment {
        name: PLAYBOOK.to_owned(),
        definition: json(RETRY_ADF)?,
        parameters,
    };
    let here = base.as_str().trim_end_matches('/').to_owned();
    Ok(LogicAppSettings {
        deployments: vec![deployment],
        hosts: BTreeMap::from([
            (MANAGEMENT.to_owned(), Url::parse(&factory.url())?),
            (here, base.clone()),
        ]),
        tokens: BTreeMap::from([(MANAGEMENT.to_owned(), IdentitySite::token_for(MANAGEMENT))]),
        pace: Duration::from_millis(500),
        ..LogicAppSettings::default()
    })
}
