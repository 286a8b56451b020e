//! A rig to walk a story through: the real binary under the stand-in host, simulators around it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aiops_rca::http::{Http, Reply};
use aiops_rca::local::host::event::{HostEvent, LineLevel};
use aiops_rca::local::host::{Host, HostOptions, RunningHost};
use aiops_rca::storage::{Storage, StorageSettings};
use secrecy::SecretString;
use serde_json::{Value, json};
use simulators::jira::{self, Issue, JiraSimulator};
use simulators::slack::{SlackMessage, SlackOptions, SlackSimulator};
use url::Url;

use crate::support;

pub(super) const WEBHOOK_SECRET: &str = "rig-webhook-secret";
/// Of a staged package, whose dashboard is never open.
const DASHBOARD_KEY: &str = "rig-dashboard-key";

/// Where the rig keeps its tickets.
#[derive(Debug, Clone)]
pub(super) enum Backend {
    /// The embedded store.
    Embedded,
    /// An Azurite, by its connection string.
    Azurite(String),
    /// Something in front of the shared Azurite: the handler goes through it, the host does not.
    Behind(String),
}

impl Backend {
    pub(super) fn azurite() -> Self {
        Self::Azurite(support::azurite::next_azurite())
    }
}

/// How much longer than on an idle machine things may take beside other tests.
const PATIENCE: u32 = 3;

/// Everything that runs.
pub(super) struct Rig {
    pub(super) host: RunningHost,
    pub(super) jira: JiraSimulator,
    pub(super) slack: SlackSimulator,
    pub(super) storage: Storage,
    pub(super) store: PathBuf,
    http: Http,
    base: Url,
    staged: bool,
}

impl Rig {
    pub(super) async fn build(backend: &Backend, more: &[(&str, String)]) -> Self {
        let more: Vec<(String, String)> = more
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        Self::build_around(backend, async |_| more).await
    }

    /// `around` builds what stands around the rig, given its address, and answers the settings that lead there.
    pub(super) async fn build_around(
        backend: &Backend,
        around: impl AsyncFnOnce(&Url) -> Vec<(String, String)>,
    ) -> Self {
        Self::build_under(backend, around, |_| {}).await
    }

    /// As [`Self::build_around`], under a host with other options.
    pub(super) async fn build_under(
        backend: &Backend,
        around: impl AsyncFnOnce(&Url) -> Vec<(String, String)>,
        change: impl FnOnce(&mut HostOptions),
    ) -> Self {
        let port = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let base = Url::parse(&format!("http://localhost:{port}/")).unwrap();
        let hook = jira::Hook {
            url: base.join("jira-webhook").unwrap(),
            secret: Some(SecretString::from(WEBHOOK_SECRET)),
            retry_after: Duration::from_millis(300),
        };
        let jira = JiraSimulator::start(
            0,
            jira::Config {
                hook: Some(hook),
                ..jira::Config::default()
            },
        )
        .await
        .unwrap();
        let options = SlackOptions {
            door: Some(base.join("slack/interactions").unwrap()),
            ..SlackOptions::default()
        };
        let slack = SlackSimulator::start_with(0, options).await.unwrap();
        let store = support::embedded_path();
        let prefix = support::prefix();
        let mut settings = settings(&jira, &slack, &base, &prefix);
        let staged = staged();
        let azurite = Backend::azurite();
        // A package has no embedded store.
        let backend = match backend {
            Backend::Embedded if staged.is_some() => &azurite,
            backend => backend,
        };
        if staged.is_some() {
            settings.insert("DASHBOARD_KEY".to_owned(), DASHBOARD_KEY.to_owned());
        }
        let storage = match backend {
            Backend::Embedded => {
                settings.insert(
                    "AIOPS_RCA_STORE".to_owned(),
                    store.to_string_lossy().into_owned(),
                );
                StorageSettings::embedded(&store)
            }
            Backend::Azurite(text) => {
                settings.insert("AzureWebJobsStorage".to_owned(), text.clone());
                StorageSettings::from_connection_string(text).unwrap()
            }
            Backend::Behind(text) => {
                settings.insert("AzureWebJobsStorage".to_owned(), text.clone());
                StorageSettings::from_connection_string(&support::azurite()).unwrap()
            }
        };
        let storage =
            Storage::open(&storage.with_prefix(prefix.clone()), &support::http()).unwrap();
        settings.extend(around(&base).await);
        let root = staged
            .as_deref()
            .unwrap_or(Path::new(env!("CARGO_MANIFEST_DIR")));
        let mut options = HostOptions::new(root, storage, prefix);
        // What is staged runs what its host.json names.
        options.executable = staged
            .is_none()
            .then(|| env!("CARGO_BIN_EXE_aiops-rca").into());
        options.arguments = Some(Vec::new());
        options.address = ([127, 0, 0, 1], port).into();
        options.settings = settings;
        options.knobs.crash_limit = None;
        options.knobs.visibility_timeout = Some(Duration::from_millis(300));
        options.knobs.dequeue_invisibility = Duration::from_secs(20);
        options.knobs.poll_max = Some(Duration::from_millis(200));
        change(&mut options);
        let kept = options.storage.clone();
        let host = Host::start(options).await.unwrap();
        assert!(
            host.ready(Duration::from_secs(20)).await,
            "the handler does not become ready"
        );
        Self {
            host,
            jira,
            slack,
            storage: kept,
            store,
            http: support::http(),
            base,
            staged: staged.is_some(),
        }
    }

    pub(super) async fn post(&self, door: &str, body: impl Into<reqwest::Body>) -> Option<Reply> {
        let url = self.base.join(door).unwrap();
        let request = self
            .http
            .request(reqwest::Method::POST, &url)
            .header("content-type", "application/json")
            .body(body);
        self.http.send("the app", self.with_key(request)).await.ok()
    }

    /// Posts until the door takes it, as Azure Monitor does.
    pub(super) async fn deliver(&self, door: &str, body: &Value) -> Value {
        for _ in 0..60 {
            match self.post(door, body.to_string()).await {
                Some(reply) if reply.is_success() => return reply.json("the app").unwrap(),
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        panic!("{door} never took the body");
    }

    pub(super) async fn get(&self, path: &str) -> Option<Reply> {
        let url = self.base.join(path).unwrap();
        let request = self.http.request(reqwest::Method::GET, &url);
        self.http.send("the app", self.with_key(request)).await.ok()
    }

    fn with_key(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        if self.staged {
            request.header("x-dashboard-key", DASHBOARD_KEY)
        } else {
            request
        }
    }

    pub(super) async fn ticket(&self, id: &str) -> Option<Value> {
        let reply = self.get(&format!("api/tickets/{id}")).await?;
        reply.is_success().then(|| reply.json("the app").unwrap())
    }

    /// Runs the sweep now instead of at the next minute.
    pub(super) async fn sweep(&self) {
        let reply = self.post("admin/functions/Sweep", "{}").await.unwrap();
        assert_eq!(reply.status, 202);
    }

    pub(super) fn issues(&self) -> Vec<Issue> {
        self.jira.issues()
    }

    /// The channel's own messages, without threads.
    pub(super) fn messages(&self) -> Vec<SlackMessage> {
        self.slack
            .messages()
            .into_iter()
            .filter(|message| message.thread_ts.is_none())
            .collect()
    }

    /// Waits until `holds`, or fails saying `what`.
    pub(super) async fn until(
        &self,
        what: &str,
        within: Duration,
        mut holds: impl AsyncFnMut(&Self) -> bool,
    ) {
        let within = within * PATIENCE;
        let give_up = Instant::now() + within;
        while !holds(self).await {
            if Instant::now() > give_up {
                let last: Vec<_> = self
                    .host
                    .events_so_far()
                    .into_iter()
                    .rev()
                    .take(60)
                    .collect();
                panic!("not within {within:?}: {what}\nlast events, newest first: {last:#?}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until each of these tickets is in JIRA and in Slack and nothing lags.
    pub(super) async fn until_shown(&self, tickets: &[String], within: Duration) {
        let within = within * PATIENCE;
        let give_up = Instant::now() + within;
        for id in tickets {
            loop {
                let ticket = self.ticket(id).await.unwrap_or_default();
                let version = ticket["version"].as_u64().unwrap_or(u64::MAX);
                let shown = ["jira", "slack"]
                    .iter()
                    .all(|sink| ticket["deliveries"][sink].as_u64() >= Some(version));
                if shown && !ticket["jira"]["key"].is_null() && !ticket["slack"]["ts"].is_null() {
                    break;
                }
                assert!(
                    Instant::now() < give_up,
                    "{id} is not shown within {within:?}: {ticket:#}\n{}",
                    self.log()
                );
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Everything the handler has written to its log.
    pub(super) fn log(&self) -> String {
        let lines = self
            .host
            .events_so_far()
            .into_iter()
            .filter_map(|event| match event {
                HostEvent::ChildLine { text, .. } => Some(text),
                _ => None,
            });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The laws of the wire: errors and nothing else on stderr, one line each; no answer that would hang.
    pub(super) fn assert_wire_laws(&self) {
        for event in self.host.events_so_far() {
            match event {
                HostEvent::ChildLine { level, text, .. } => {
                    let on_stderr = matches!(level, LineLevel::Error | LineLevel::Warning);
                    let line: Result<Value, _> = serde_json::from_str(&text);
                    let is_error = line.is_ok_and(|line| line["level"] == "ERROR");
                    assert_eq!(on_stderr, is_error, "{level:?}: {text}");
                }
                HostEvent::Hang { function, why } => panic!("{function} would hang: {why}"),
                _ => {}
            }
        }
    }
}

/// The folder of a staged package that the stories are to run, instead of this checkout: `AIOPS_RCA_TEST_PACKAGE`.
#[expect(
    clippy::disallowed_methods,
    reason = "a switch of the tests, not a setting of the program"
)]
fn staged() -> Option<PathBuf> {
    let package = PathBuf::from(std::env::var_os("AIOPS_RCA_TEST_PACKAGE")?);
    assert!(
        package.join("host.json").is_file(),
        "there is no staged package in {}",
        package.display()
    );
    Some(package)
}

fn settings(
    jira: &JiraSimulator,
    slack: &SlackSimulator,
    base: &Url,
    prefix: &str,
) -> BTreeMap<String, String> {
    let (site, workspace) = (jira::Config::default(), SlackOptions::default());
    [
        ("AIOPS_RCA_LOCAL", "true".to_owned()),
        ("STORAGE_PREFIX", prefix.to_owned()),
        ("PUBLIC_BASE_URL", base.to_string()),
        ("ITSM_TOOL", "jira".to_owned()),
        ("JIRA_DOMAIN", jira.base_url()),
        ("JIRA_GATEWAY_URL", jira.base_url()),
        ("JIRA_USER_EMAIL", site.email),
        ("JIRA_API_TOKEN", site.token),
        ("JIRA_PROJECT_KEY", site.project),
        ("JIRA_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
        ("SLACK_BOT_TOKEN", workspace.token),
        ("SLACK_ALERT_CHANNEL", "aiops-rca-alerts".to_owned()),
        ("SLACK_SIGNING_SECRET", workspace.signing_secret),
        ("SLACK_APPROVERS", "U0JOHNDOE".to_owned()),
        ("SLACK_API_URL", slack.api_base()),
        // One of each per run, but where a story is about incidents.
        ("FOLD", "none".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// One failed ADF run, as a row of the guide's rule.
pub(super) fn row(pipeline: &str, run: &str, code: &str, message: &str) -> Value {
    json!([
        "2026-07-27T09:12:03.1123Z",
        pipeline,
        run,
        "Copy_Data",
        code,
        message
    ])
}

/// An alert of the guide's rule as the V1 schema delivers it, with these rows.
pub(super) fn alert(id: &str, rows: &[Value]) -> Value {
    let columns = [
        "TimeGenerated",
        "PipelineName",
        "RunId",
        "ActivityName",
        "ErrorCode",
        "ErrorMessage",
    ];
    alert_of("adf-pipeline-failure-alert", id, &columns, rows)
}

/// An alert of this rule, with rows of these columns.
pub(super) fn alert_of(rule: &str, id: &str, columns: &[&str], rows: &[Value]) -> Value {
    let columns: Vec<Value> = columns
        .iter()
        .map(|name| json!({"name": name, "type": "string"}))
        .collect();
    json!({
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {
                "alertId": format!("/subscriptions/s/providers/Microsoft.AlertsManagement/alerts/{id}"),
                "alertRule": rule, "severity": "Sev3", "signalType": "Log",
                "monitorCondition": "Fired", "monitoringService": "Log Analytics",
                "alertTargetIDs": ["/subscriptions/s/resourcegroups/rg/providers/microsoft.operationalinsights/workspaces/w"],
                "firedDateTime": "2026-07-27T09:15:31.4471205Z", "essentialsVersion": "1.0", "alertContextVersion": "1.1"
            },
            "alertContext": {
                "SearchQuery": "ADFPipelineRun", "ResultCount": rows.len(), "AlertType": "Number of results",
                "SearchIntervalStartTimeUtc": "2026-07-27T09:00:00Z", "SearchIntervalEndtimeUtc": "2026-07-27T09:15:00Z",
                "IncludedSearchResults": "True",
                "SearchResults": {"tables": [{"name": "PrimaryResult", "columns": columns, "rows": rows}], "dataSources": []}
            }
        }
    })
}

pub(super) const BLOB_MISSING: &str = "ErrorCode=UserErrorSourceBlobNotExist,'Type=Microsoft.DataTransfer.Common.Shared.HybridDeliveryException,\
    Message=The required Blob is missing. ContainerName: https://stprod.blob.core.windows.net/in, path: sales/2026.csv.,Source=Microsoft.DataTransfer.ClientLibrary,'";

pub(super) fn run(number: u32) -> String {
    format!("2f7fdb90-5df1-4b8e-ac2f-{number:012x}")
}

/// The ids of an ingest answer, in order.
pub(super) fn ids(answer: &Value) -> Vec<String> {
    answer["tickets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ticket| ticket["ticket_id"].as_str().unwrap().to_owned())
        .collect()
}
