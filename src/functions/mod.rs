//! The doors: one row per `functions/<Name>/function.json`; the wire format of the host.
//!
//! In: the host's HTTP. Out: contract answers. A door authenticates, caps, parses, calls the corridor and
//! words the outcome; it decides nothing. HTTP and queue functions may run in different processes, so
//! nothing is kept here that matters (law L9).

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::OnceCell;
use warp::http::{Method, StatusCode};

use crate::fault::Fault;
use crate::flow::{DELIVERIES, FAILURES, Flow};
use crate::sources::{airflow, databricks};
use crate::trace::{Kind, Work};

pub mod access;
mod door;
pub mod envelope;
pub mod events;
pub mod ingest;
pub mod pages;
pub mod queues;
pub mod secure_webhook;
pub mod wire;

use access::DashboardLock;
pub use door::{Door, Lock, Trigger};
use queues::Job;
use secure_webhook::SecureWebhook;
use wire::{Request, Response};

/// The sweep writes a probe every minute; an older one means that nothing can be written.
const PROBE_AGE: chrono::TimeDelta = chrono::TimeDelta::minutes(5);
const PROBE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(150);
/// After so many refused tries at a door each further one takes longer.
const FREE_TRIES: u64 = 10;
const SLOWED: std::time::Duration = std::time::Duration::from_millis(250);

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
}

/// The handler: routes requests to doors.
#[derive(Debug, Clone)]
pub struct Handler {
    doors: Arc<Doors>,
    prepared: Arc<OnceCell<()>>,
    metrics: Arc<pages::Counters>,
    started: std::time::Instant,
}

impl Handler {
    /// Nothing is opened before the first request that needs it: `GET /` answers at once.
    pub fn new(doors: Doors) -> Self {
        Self {
            doors: Arc::new(doors),
            prepared: Arc::new(OnceCell::new()),
            metrics: Arc::default(),
            started: std::time::Instant::now(),
        }
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
                let tried = tries_a_credential(door, &request);
                let response = work.run(self.route(Some(door), &path, request, now)).await;
                if tried && response.status == StatusCode::UNAUTHORIZED {
                    self.refuse(door).await;
                }
                leave(&work, response.status);
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

    async fn health(&self) -> Response {
        let now = Utc::now();
        let asked = match self.flow().await {
            // Prepared once says nothing about now.
            Ok(flow) => self.unwritten(flow, now).await,
            Err(fault) => Err(fault),
        };
        match asked {
            Ok(None) => Response::json(StatusCode::OK, &serde_json::json!({"status": "ok"})),
            Ok(Some(why)) => Response::json(
                StatusCode::SERVICE_UNAVAILABLE,
                &serde_json::json!({"status": "degraded", "store": why}),
            ),
            Err(_) => Response::json(
                StatusCode::SERVICE_UNAVAILABLE,
                &serde_json::json!({"status": "unavailable"}),
            ),
        }
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

/// Does this request come with a credential? A first visit without one is no try.
fn tries_a_credential(door: Door, request: &Request) -> bool {
    match door {
        Door::Dashboard => {
            request.path.ends_with("/login") || request.header("x-dashboard-key").is_some()
        }
        Door::Api => request.header("x-dashboard-key").is_some(),
        _ => true,
    }
}

fn ready() -> Response {
    Response::json(StatusCode::OK, &serde_json::json!({"status": "ready"}))
}
