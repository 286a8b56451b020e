//! The doors: one row per `functions/<Name>/function.json`; the wire format of the host.
//!
//! In: the host's HTTP. Out: contract answers. A door authenticates, caps, parses, calls the flow and
//! words the outcome; it decides nothing. HTTP and queue functions may run in different processes, so
//! nothing is kept here that matters (law L9).

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::OnceCell;
use warp::http::{Method, StatusCode};

use crate::fault::Fault;
use crate::flow::{DELIVERIES, FAILURES, Flow};
use crate::sources::{airflow, databricks};
use crate::storage::Trouble;
use crate::trace::{Kind, Work};

pub mod access;
pub mod api;
pub mod bot_token;
pub mod deployment;
mod door;
pub mod envelope;
pub mod events;
pub mod faults;
pub mod ingest;
mod keys;
pub mod metrics;
pub mod pages;
pub mod queues;
pub mod reader;
pub mod routes;
pub mod secure_webhook;
mod silences;
mod slack;
mod teams;
pub mod wire;

use access::DashboardLock;
use bot_token::BotToken;
use deployment::Idle;
pub use door::{Door, Trigger};
use faults::Faults;
use queues::Job;
use reader::Reader;
use secure_webhook::SecureWebhook;
use wire::{Request, Response};

/// How long an HTTP door may take; then its caller is answered 503 and comes again.
pub const HTTP_DEADLINE: Duration = Duration::from_secs(20);
/// How long a queue function may take; then its message is put back. Far below `functionTimeout` of `host.json`: two
/// invocations that reach that together stop the whole host.
pub const QUEUE_DEADLINE: Duration = Duration::from_secs(120);
/// How long a timer function may take; the next run goes on.
pub const TIMER_DEADLINE: Duration = Duration::from_secs(45);
/// How long the caller of a page that was not made in time waits for the reader's end.
const READER_END: Duration = Duration::from_secs(1);
/// The sweep writes a probe every minute; an older one means that nothing can be written.
const PROBE_AGE: chrono::TimeDelta = chrono::TimeDelta::minutes(5);
const PROBE_PATIENCE: Duration = Duration::from_secs(150);
/// After this many refused tries at a door each further one takes longer.
const FREE_TRIES: u64 = 10;
const SLOWED: Duration = Duration::from_millis(250);

/// What the doors need besides the flow.
#[derive(Debug, Clone)]
pub struct Doors {
    /// The flow; `Err` when the store's settings are unusable: every door that needs it answers 503.
    pub flow: Result<Flow, Fault>,
    /// The optional lock of secure webhooks on top of the function key.
    pub secure_webhook: Option<SecureWebhook>,
    /// The lock of Teams' door; `None`: there is no bot.
    pub bot_token: Option<BotToken>,
    /// The lock of dashboard and API.
    pub dashboard: DashboardLock,
    /// Problems of the settings, for the dashboard.
    pub problems: Vec<String>,
    /// Functions that the host does not call.
    pub idle: Vec<Idle>,
}

/// The handler: routes requests to doors.
#[derive(Debug, Clone)]
pub struct Handler {
    doors: Arc<Doors>,
    prepared: Arc<OnceCell<()>>,
    metrics: Arc<metrics::Counters>,
    reader: Option<Reader>,
    is_reader: bool,
    faults: Faults,
    started: std::time::Instant,
}

impl Handler {
    /// Nothing is opened before the first request that needs it: `GET /` answers at once.
    pub fn new(doors: Doors) -> Self {
        Self {
            doors: Arc::new(doors),
            prepared: Arc::new(OnceCell::new()),
            metrics: Arc::default(),
            reader: None,
            is_reader: false,
            faults: Faults::default(),
            started: std::time::Instant::now(),
        }
    }

    /// GETs are answered by another process (see [`reader`]).
    #[must_use]
    pub fn with_reader(mut self, reader: Reader) -> Self {
        self.reader = Some(reader);
        self
    }

    /// This is that process.
    #[must_use]
    pub fn as_reader(mut self) -> Self {
        self.is_reader = true;
        self
    }

    /// For tests.
    #[must_use]
    pub fn with_faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// In the reader: answers a GET that the handler passed on.
    pub async fn read(self, request: Request) -> Response {
        let (request, token, trouble) = reader::incoming(request);
        self.metrics.wrote(trouble);
        if let Some(token) = token {
            access::adopt_form_token(token);
        }
        let path = request.path.trim_end_matches('/').to_owned();
        self.route(Door::of_path(&path), &path, request, Utc::now())
            .await
    }

    /// The flow, with its tables and queues in place.
    async fn flow(&self) -> Result<&Flow, Fault> {
        let flow = self.doors.flow.as_ref().map_err(Clone::clone)?;
        self.prepared.get_or_try_init(|| flow.prepare()).await?;
        Ok(flow)
    }

    /// Answers one request.
    pub async fn answer(self, request: Request) -> Response {
        let now = Utc::now();
        let started = std::time::Instant::now();
        let path = request.path.trim_end_matches('/').to_owned();
        let door = Door::of_path(&path);
        let response = match door.and_then(|door| Some((door, door.route()?))) {
            Some((door, route)) => {
                let work = dispatch(door, route, &request);
                // Whom a proxying host names was seen to be its own peer: logged, and nothing is decided by it.
                let came_by = request.forwarded_for();
                let reads = matches!(request.method, Method::GET | Method::HEAD);
                let tried = tries_a_credential(door, &request);
                let answer = work.run(self.route(Some(door), &path, request, now));
                let limit = self.faults.deadline(HTTP_DEADLINE);
                let answered = tokio::time::timeout(limit, answer).await;
                let response = if let Ok(response) = answered {
                    response
                } else {
                    tracing::error!(door = door.name(), "a request was not answered in time");
                    if let Some(reader) = self.reader.as_ref().filter(|_| reads) {
                        // One that another request starts just now is none that hangs.
                        let _ended = tokio::time::timeout(READER_END, reader.end()).await;
                    }
                    Response::late()
                };
                if tried && response.status == StatusCode::UNAUTHORIZED {
                    self.refuse(door).await;
                }
                leave(&work, response.status);
                if matches!(response.status.as_u16(), 401 | 403) {
                    tracing::info!(
                        door = door.name(),
                        http.status = response.status.as_u16(),
                        forwarded.for = came_by.as_deref().unwrap_or("nobody"),
                        "a request was refused"
                    );
                }
                response
            }
            // Queue and timer functions belong to their message's report.
            None => self.route(door, &path, request, now).await,
        };
        self.metrics.count(
            door.map_or("none", Door::name),
            response.status.as_u16(),
            started.elapsed(),
        );
        response
    }

    /// Counts, logs and slows tries with a wrong credential. The right one is never slowed.
    async fn refuse(&self, door: Door) {
        let count = self.metrics.refused(door.name());
        // A guesser fills no log: the 1st, 2nd, 4th, 8th … try.
        if count.is_power_of_two() {
            tracing::warn!(
                faas.name = door.name(),
                refused.count = count,
                "a caller with a wrong credential was refused"
            );
        }
        if count > FREE_TRIES {
            tokio::time::sleep(SLOWED).await;
        }
    }

    async fn route(
        &self,
        door: Option<Door>,
        path: &str,
        mut request: Request,
        now: DateTime<Utc>,
    ) -> Response {
        // The wire leaves the body out.
        if request.method == Method::HEAD {
            request.method = Method::GET;
        }
        let Some(door) = door else {
            return if path.is_empty() {
                ready()
            } else {
                Response::error(
                    StatusCode::NOT_FOUND,
                    "no_such_route",
                    "there is nothing here",
                    "",
                )
            };
        };
        if !door.takes(request.method.as_str()) {
            return Response::error(
                StatusCode::METHOD_NOT_ALLOWED,
                "wrong_method",
                "this method is not served here",
                "",
            );
        }
        if let Some(reader) = self
            .reader
            .as_ref()
            .filter(|_| request.method == Method::GET)
        {
            let token = access::form_token_of_this_process();
            return reader
                .answer(&request, &token, self.metrics.unwritable())
                .await;
        }
        self.faults.strike(&request).await;
        // Queue and timer functions hang within their own deadline.
        if door.route().is_some() {
            self.faults.hang(door.name()).await;
        }
        match door {
            Door::AzureMonitor => self.azure_monitor(&request, now).await,
            Door::DatabricksMonitor => self.ingest(door, databricks::parse, &request, now).await,
            Door::AirflowMonitor => self.ingest(door, airflow::parse, &request, now).await,
            Door::JiraWebhook => self.jira_webhook(&request, now).await,
            Door::RemediationCallback => self.remediation_callback(&request, now).await,
            Door::SlackInteractions => self.slack_interaction(&request, now).await,
            Door::TeamsMessages => Box::pin(self.teams_message(&request, now)).await,
            Door::Dashboard => self.dashboard(path, &request, now).await,
            Door::Api => self.api(path, &request, now).await,
            Door::Health => self.health().await,
            Door::AnalyseFailure => self.invoke(door, Job::Work(FAILURES), &request, now).await,
            Door::DeliverTicket => {
                self.invoke(door, Job::Work(DELIVERIES), &request, now)
                    .await
            }
            Door::RecordPoisonFailure => {
                let job = Job::Record(FAILURES);
                self.invoke(door, job, &request, now).await
            }
            Door::RecordPoisonDelivery => {
                let job = Job::Record(DELIVERIES);
                self.invoke(door, job, &request, now).await
            }
            Door::Sweep => self.invoke(door, Job::Sweep, &request, now).await,
            Door::Patrol => self.invoke(door, Job::Patrol, &request, now).await,
        }
    }

    /// Anybody may ask: it says whether, never what.
    async fn health(&self) -> Response {
        if self.is_called() && self.store_trouble(Utc::now()).await.is_none() {
            Response::json(StatusCode::OK, &serde_json::json!({"status": "ok"}))
        } else {
            Response::json(
                StatusCode::SERVICE_UNAVAILABLE,
                &serde_json::json!({"status": "degraded"}),
            )
        }
    }

    /// Is every function of queues and timers called?
    fn is_called(&self) -> bool {
        !self.doors.idle.iter().any(|idle| idle.degrades)
    }

    /// What of the store does not work, for people.
    async fn store_trouble(&self, now: DateTime<Utc>) -> Option<String> {
        let asked = match self.flow().await {
            // Prepared once says nothing about now.
            Ok(flow) => self.unwritten(flow, now).await,
            Err(fault) => Err(fault),
        };
        asked.unwrap_or_else(|fault| Some(Trouble::of(&fault).sentence().to_owned()))
    }

    /// What somebody has to correct: functions that are not called, then settings.
    fn problems(&self) -> Vec<String> {
        let idle = self.doors.idle.iter().map(ToString::to_string);
        idle.chain(self.doors.problems.iter().cloned()).collect()
    }

    /// Why nothing can be written to the store, if so: what the sweep of this process met last, else the age of the last write it
    /// made in any process. `None` while all is well.
    async fn unwritten(&self, flow: &Flow, now: DateTime<Utc>) -> Result<Option<String>, Fault> {
        let probed = flow.store.probed().await?;
        if let Some(trouble) = self.metrics.unwritable() {
            return Ok(Some(trouble.sentence().to_owned()));
        }
        // After a pause of the whole app the first sweep is at most a minute away.
        let settled = self.started.elapsed() > PROBE_PATIENCE;
        Ok(probed
            .filter(|at| settled && now - *at > PROBE_AGE)
            .map(|at| {
                format!(
                    "Nothing was written to the store since {}: it is full or read-only, or the timer does not run.",
                    at.format("%Y-%m-%d %H:%M UTC")
                )
            }))
    }
}

/// A door as a piece of work: of its caller's trace if there is one, else the first of a new one.
fn dispatch(door: Door, route: &'static str, request: &Request) -> Work {
    let work = Work::begin(Kind::Server, door.name(), request.trace().as_ref());
    work.note("faas.name", door.name());
    work.note("faas.trigger", "http");
    work.note("http.route", format!("/{route}"));
    work.note("http.request.method", method_name(&request.method));
    work
}

fn leave(door: &Work, status: StatusCode) {
    door.note("http.response.status_code", i64::from(status.as_u16()));
    // What the sender did wrong is no error of the door.
    if status.is_server_error() {
        door.note("error.type", status.as_str().to_owned());
        door.fail("");
    }
}

/// A method that anybody may invent is outside text.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        _ => "_OTHER",
    }
}

/// Does this request come with a credential? A first visit without one is no try.
fn tries_a_credential(door: Door, request: &Request) -> bool {
    match door {
        Door::Dashboard => {
            request.path.ends_with("/login") || request.header("x-dashboard-key").is_some()
        }
        Door::Api => request.header("x-dashboard-key").is_some(),
        Door::AzureMonitor
        | Door::DatabricksMonitor
        | Door::AirflowMonitor
        | Door::JiraWebhook
        | Door::RemediationCallback
        | Door::SlackInteractions
        | Door::TeamsMessages
        | Door::Health
        | Door::AnalyseFailure
        | Door::DeliverTicket
        | Door::RecordPoisonFailure
        | Door::RecordPoisonDelivery
        | Door::Sweep
        | Door::Patrol => true,
    }
}

fn ready() -> Response {
    Response::json(StatusCode::OK, &serde_json::json!({"status": "ready"}))
}
