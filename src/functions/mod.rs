//! The doors: one row per `functions/<Name>/function.json`; the wire format of the host.
//!
//! In: the host's HTTP. Out: contract answers. A door authenticates, caps, parses, calls the corridor and
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
use crate::trace::{Kind, Work};

pub mod access;
pub mod deployment;
mod door;
pub mod envelope;
pub mod events;
pub mod faults;
pub mod ingest;
pub mod pages;
pub mod queues;
pub mod reader;
pub mod secure_webhook;
pub mod wire;

use access::DashboardLock;
use deployment::Idle;
pub use door::{Door, Lock, Trigger};
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

/// What the doors need besides the corridor.
#[derive(Debug, Clone)]
pub struct Doors {
    /// The corridor; `Err` when the store's settings are unusable: every door that needs it answers 503.
    pub flow: Result<Flow, Fault>,
    /// The optional lock of secure webhooks on top of the function key.
    pub secure_webhook: Option<SecureWebhook>,
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
    metrics: Arc<pages::Counters>,
    reader: Option<Reader>,
    is_reader: bool,
    faults: Faults,
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
        let (request, token) = reader::incoming(request);
        if let Some(token) = token {
            access::adopt_form_token(token);
        }
        let path = request.path.trim_end_matches('/').to_owned();
        self.route(Door::of_path(&path), &path, request, Utc::now())
            .await
    }

    /// The corridor, with its tables and queues in place.
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
                let work = enter(door, route, &request);
                // Whom a proxying host names was seen to be its own peer: logged, and nothing is decided by it.
                let came_by = request.forwarded_for();
                let reads = matches!(request.method, Method::GET | Method::HEAD);
                let answer = work.run(self.route(Some(door), &path, request, now));
                let limit = self.faults.deadline(HTTP_DEADLINE);
                let answered = tokio::time::timeout(limit, answer).await;
                let response = if let Ok(response) = answered {
                    response
                } else {
                    tracing::error!(door = door.name(), "a request was not answered in time");
                    if let Some(reader) = self.reader.as_ref().filter(|_| reads) {
                        reader.end().await;
                    }
                    Response::late()
                };
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
                .answer(&request, &token, self.metrics.counted())
                .await;
        }
        self.faults.strike(&request).await;
        if door.queue().is_none() {
            self.faults.hang(door.name()).await;
        }
        match door {
            Door::AzureMonitor => self.azure_monitor(&request, now).await,
            Door::DatabricksMonitor => self.ingest(door, databricks::parse, &request, now).await,
            Door::AirflowMonitor => self.ingest(door, airflow::parse, &request, now).await,
            Door::JiraWebhook => self.jira_webhook(&request, now).await,
            Door::RemediationCallback => self.remediation_callback(&request, now).await,
            Door::SlackInteractions => self.slack_interaction(&request, now).await,
            Door::Dashboard => self.dashboard(path, &request, now).await,
            Door::Api => self.api(path, &request, now).await,
            Door::Health => self.health().await,
            Door::AnalyseFailure => self.invoke(door, Job::Analyse, &request, now).await,
            Door::DeliverTicket => self.invoke(door, Job::Deliver, &request, now).await,
            Door::RecordPoisonFailure => {
                let job = Job::Record(FAILURES);
                self.invoke(door, job, &request, now).await
            }
            Door::RecordPoisonDelivery => {
                let job = Job::Record(DELIVERIES);
                self.invoke(door, job, &request, now).await
            }
            Door::Sweep => self.invoke(door, Job::Sweep, &request, now).await,
        }
    }

    /// Anybody may ask: it says whether, never what.
    async fn health(&self) -> Response {
        if self.is_well().await {
            Response::json(StatusCode::OK, &serde_json::json!({"status": "ok"}))
        } else {
            Response::json(
                StatusCode::SERVICE_UNAVAILABLE,
                &serde_json::json!({"status": "degraded"}),
            )
        }
    }

    /// Is every function of queues and timers called, and does the store answer?
    async fn is_well(&self) -> bool {
        if self.doors.idle.iter().any(|idle| idle.degrades) {
            return false;
        }
        match self.flow().await {
            // Prepared once says nothing about now.
            Ok(flow) => flow.store.is_up().await.is_ok(),
            Err(_) => false,
        }
    }

    /// What somebody has to correct: functions that are not called, then settings.
    fn problems(&self) -> Vec<String> {
        let idle = self.doors.idle.iter().map(ToString::to_string);
        idle.chain(self.doors.problems.iter().cloned()).collect()
    }
}

/// A door as a piece of work: of its caller's trace if there is one, else the first of a new one.
fn enter(door: Door, route: &'static str, request: &Request) -> Work {
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

fn ready() -> Response {
    Response::json(StatusCode::OK, &serde_json::json!({"status": "ready"}))
}
