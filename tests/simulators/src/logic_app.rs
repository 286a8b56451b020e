//! A stand-in for Azure Logic Apps that *runs* workflow definitions: the very files in `infra/playbooks`.
//!
//! In: definitions with their parameters, and where the hosts they name really are. Out: request
//! triggers on 127.0.0.1 with the service's answers (202, 401, 404, 429, a Response action's own, 504),
//! the calls of the actions, and a run history. So what ships is what is tested. It knows no playbook in
//! particular: the guide's own steps run in it unchanged. What differs from the service: branches run one
//! after the other, waiting takes no time, and the asynchronous pattern (202 with Location) is not followed.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::Utc;
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot, watch};
use url::Url;
use warp::Filter;

use super::{FaultScript, Request, lock};

mod actions;
mod check;
mod connect;
mod definition;
mod door;
mod engine;
mod expression;
mod functions;
mod history;
mod schema;

pub use definition::DefinitionError;
pub use expression::ExpressionError;
pub use history::{ActionRun, RunStatus, Shown, WorkflowRun};

use definition::{Actions, Definition};

/// The playbooks that ship: file name without `.json`, and the definition's text.
pub const SHIPPED: [(&str, &str); 6] = [
    (
        "retry-adf-pipeline",
        include_str!("../../../infra/playbooks/retry-adf-pipeline.json"),
    ),
    (
        "retry-databricks-job",
        include_str!("../../../infra/playbooks/retry-databricks-job.json"),
    ),
    (
        "restart-cluster",
        include_str!("../../../infra/playbooks/restart-cluster.json"),
    ),
    (
        "reinstall-libraries",
        include_str!("../../../infra/playbooks/reinstall-libraries.json"),
    ),
    (
        "retry-airflow-task",
        include_str!("../../../infra/playbooks/retry-airflow-task.json"),
    ),
    (
        "rerun-upstream",
        include_str!("../../../infra/playbooks/rerun-upstream.json"),
    ),
];

/// How long the service waits for a Response action.
const RESPONSE_TIMEOUT: Duration = Duration::from_mins(2);
/// How many runs the history keeps.
const HISTORY_LENGTH: usize = 5_000;

/// One workflow to run.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// The workflow's name.
    pub name: String,
    /// Its definition.
    pub definition: Value,
    /// Values of its parameters; others take their defaults.
    pub parameters: BTreeMap<String, Value>,
}

/// What happens when an Until loop reaches its limits: the service has done both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UntilLimit {
    /// The loop is TimedOut: what runs after its success is skipped.
    #[default]
    TimesOut,
    /// The loop succeeds as if its condition were met.
    Succeeds,
}

/// What the simulator is given.
#[derive(Debug, Clone, Default)]
pub struct LogicAppSettings {
    /// The workflows.
    pub deployments: Vec<Deployment>,
    /// Where the hosts named by definitions and callback URLs really are: origin → address.
    pub hosts: BTreeMap<String, Url>,
    /// Managed API connections by their last name: `azuredatafactory` → `https://management.azure.com`.
    pub connections: BTreeMap<String, String>,
    /// Tokens of the managed identity by audience (without a slash at its end); others get `simulated`.
    pub tokens: BTreeMap<String, String>,
    /// How long every Wait really takes.
    pub pace: Duration,
    /// What an exhausted Until loop comes to.
    pub until_limit: UntilLimit,
    /// How long a caller waits for a Response action before the service answers 504 (120 s there).
    pub response_timeout: Option<Duration>,
}

/// What goes wrong around the next run; further faults of the door are in [`LogicAppSimulator::faults`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaybookFault {
    /// The run starts, the caller gets 504.
    GatewayTimeout,
    /// The callback never leaves; the workflow believes it did.
    CallbackLost,
    /// The callback is sent twice.
    CallbackTwice,
}

/// Why the simulator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A definition would not be accepted by the service.
    #[error("playbook '{playbook}': {error}")]
    Definition {
        /// Which.
        playbook: String,
        /// Why.
        error: DefinitionError,
    },
    /// The port cannot be had, or the client cannot be built.
    #[error("{0}")]
    Start(String),
}

#[derive(Debug)]
struct Workflow {
    name: String,
    definition: Definition,
    parameters: BTreeMap<String, Value>,
    signature: String,
    answers: bool,
    enabled: AtomicBool,
    runs: Semaphore,
    waiting: AtomicUsize,
    waiting_limit: usize,
}

#[derive(Debug)]
struct World {
    http: reqwest::Client,
    hosts: BTreeMap<String, Url>,
    connections: BTreeMap<String, String>,
    tokens: BTreeMap<String, String>,
    pace: Duration,
    until_limit: UntilLimit,
    response_timeout: Duration,
    strangers: std::sync::Mutex<Vec<String>>,
    run_faults: std::sync::Mutex<VecDeque<PlaybookFault>>,
    history: std::sync::Mutex<Vec<WorkflowRun>>,
    aborts: std::sync::Mutex<BTreeMap<String, tokio::task::AbortHandle>>,
    /// Grows with every run that ends.
    ended: watch::Sender<u64>,
}

/// A running simulator; dropping it stops its door (runs in progress go on).
#[derive(Debug)]
pub struct LogicAppSimulator {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Faults of the door: what the caller of a trigger sees.
    pub faults: FaultScript,
    workflows: Arc<BTreeMap<String, Arc<Workflow>>>,
    world: Arc<World>,
    _stop: oneshot::Sender<()>,
}

impl LogicAppSimulator {
    /// Starts on `127.0.0.1:port` (0: any free port).
    pub async fn start(port: u16, settings: LogicAppSettings) -> Result<Self, StartError> {
        let http =
            crate::outgoing::client().map_err(|error| StartError::Start(error.to_string()))?;
        let workflows = settings.deployments.into_iter().map(|deployment| {
            let name = deployment.name.clone();
            let workflow = Workflow::new(deployment).map_err(|error| StartError::Definition {
                playbook: name.clone(),
                error,
            })?;
            Ok((name, Arc::new(workflow)))
        });
        let workflows = Arc::new(workflows.collect::<Result<BTreeMap<_, _>, StartError>>()?);
        let world = Arc::new(World {
            http,
            hosts: settings.hosts,
            connections: settings.connections,
            tokens: settings.tokens,
            pace: settings.pace,
            until_limit: settings.until_limit,
            response_timeout: settings.response_timeout.unwrap_or(RESPONSE_TIMEOUT),
            strangers: std::sync::Mutex::default(),
            run_faults: std::sync::Mutex::default(),
            history: std::sync::Mutex::default(),
            aborts: std::sync::Mutex::default(),
            ended: watch::Sender::new(0),
        });
        let faults = FaultScript::default();
        let (all, around, script) = (Arc::clone(&workflows), Arc::clone(&world), faults.clone());
        let filter = super::request().then(move |request: Request| {
            let (all, around, script) = (Arc::clone(&all), Arc::clone(&around), script.clone());
            async move { door::door(&all, &around, &script, &request).await }
        });
        let bound = super::bind(port, filter.map(|response: warp::reply::Response| response)).await;
        let (addr, stop) = bound.map_err(|error| StartError::Start(error.to_string()))?;
        Ok(Self {
            addr,
            faults,
            workflows,
            world,
            _stop: stop,
        })
    }

    /// The trigger URL of a playbook, signature included; `None` when it is not deployed.
    pub fn url(&self, playbook: &str) -> Option<Url> {
        let workflow = self.workflows.get(playbook)?;
        let mut url = Url::parse(&format!(
            "http://{}/workflows/{playbook}/triggers/manual/paths/invoke",
            self.addr
        ))
        .ok()?;
        let pairs = [
            ("api-version", "2016-10-01"),
            ("sp", "/triggers/manual/run"),
            ("sv", "1.0"),
            ("sig", &workflow.signature),
        ];
        url.query_pairs_mut().extend_pairs(pairs);
        Some(url)
    }

    /// All runs so far, oldest first.
    pub fn runs(&self) -> Vec<WorkflowRun> {
        lock(&self.world.history).clone()
    }

    /// Origins that definitions tried to reach and that the simulator does not know.
    pub fn strangers(&self) -> Vec<String> {
        lock(&self.world.strangers).clone()
    }

    /// Scripts what goes wrong around the next run.
    pub fn next_run(&self, fault: PlaybookFault) {
        lock(&self.world.run_faults).push_back(fault);
    }

    /// Have all scripted faults happened?
    pub fn is_drained(&self) -> bool {
        self.faults.is_drained() && lock(&self.world.run_faults).is_empty()
    }

    /// Switches a workflow on or off, as the portal does.
    pub fn set_enabled(&self, playbook: &str, enabled: bool) {
        if let Some(workflow) = self.workflows.get(playbook) {
            workflow.enabled.store(enabled, Ordering::SeqCst);
        }
    }

    /// Cancels a run, as an operator does: nothing of it goes on, not even its callback.
    pub fn cancel(&self, run_id: &str) {
        let abort = lock(&self.world.aborts).remove(run_id);
        if let Some(abort) = abort {
            abort.abort();
            self.world.end(run_id, RunStatus::Cancelled, None);
        }
    }

    /// Waits until every run has ended.
    pub async fn settled(&self) {
        let mut ended = self.world.ended.subscribe();
        loop {
            let open =
                |run: &WorkflowRun| matches!(run.status, RunStatus::Waiting | RunStatus::Running);
            if !lock(&self.world.history).iter().any(open) || ended.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Workflow {
    fn new(deployment: Deployment) -> Result<Self, DefinitionError> {
        let definition = Definition::parse(&deployment.definition)?;
        let mut parameters = BTreeMap::new();
        for (name, declared) in &definition.parameters {
            let value = deployment
                .parameters
                .get(name)
                .or(declared.default_value.as_ref());
            let value = value.ok_or_else(|| {
                DefinitionError::Workflow(format!("the parameter '{name}' has no value"))
            })?;
            if !has_type(&declared.kind, value)
                || declared
                    .allowed_values
                    .as_ref()
                    .is_some_and(|allowed| !allowed.contains(value))
            {
                return Err(DefinitionError::Workflow(format!(
                    "the parameter '{name}' has a value that is not allowed"
                )));
            }
            parameters.insert(name.clone(), value.clone());
        }
        if let Some(stray) = deployment
            .parameters
            .keys()
            .find(|name| !definition.parameters.contains_key(*name))
        {
            return Err(DefinitionError::Workflow(format!(
                "the parameter '{stray}' is not declared"
            )));
        }
        let concurrency = definition
            .trigger()
            .map(|(_, trigger)| trigger.runtime_configuration.concurrency.clone())
            .unwrap_or_default();
        let runs = concurrency
            .runs
            .map_or(Semaphore::MAX_PERMITS, |runs| runs.max(1) as usize);
        let waiting_limit = concurrency
            .maximum_waiting_runs
            .map_or(usize::MAX, |limit| limit as usize);
        let signature = uuid::Uuid::new_v4().simple().to_string();
        let answers = has_response(&definition.actions);
        Ok(Self {
            name: deployment.name,
            parameters,
            signature,
            answers,
            enabled: AtomicBool::new(true),
            runs: Semaphore::new(runs),
            waiting: AtomicUsize::new(0),
            waiting_limit,
            definition,
        })
    }
}

fn has_type(kind: &str, value: &Value) -> bool {
    match kind.to_lowercase().as_str() {
        "string" | "securestring" => value.is_string(),
        "int" => value.is_i64(),
        "float" => value.is_number(),
        "bool" => value.is_boolean(),
        "array" => value.is_array(),
        "object" | "secureobject" => value.is_object(),
        _ => false,
    }
}

fn has_response(actions: &Actions) -> bool {
    actions
        .values()
        .any(|action| action.kind == "Response" || action.children().any(has_response))
}

impl World {
    fn begin(&self, run_id: &str, playbook: &str, tracking_id: &str) {
        let mut history = lock(&self.history);
        if history.len() == HISTORY_LENGTH {
            history.remove(0);
        }
        history.push(WorkflowRun {
            id: run_id.to_owned(),
            playbook: playbook.to_owned(),
            tracking_id: tracking_id.to_owned(),
            status: RunStatus::Waiting,
            started_at: Utc::now(),
            ended_at: None,
            actions: Vec::new(),
        });
    }

    fn running(&self, run_id: &str) {
        if let Some(run) = lock(&self.history).iter_mut().find(|run| run.id == run_id) {
            run.status = RunStatus::Running;
        }
    }

    fn end(&self, run_id: &str, status: RunStatus, actions: Option<Vec<ActionRun>>) {
        if let Some(run) = lock(&self.history)
            .iter_mut()
            .find(|run| run.id == run_id && run.ended_at.is_none())
        {
            run.status = status;
            run.ended_at = Some(Utc::now());
            run.actions = actions.unwrap_or_default();
        }
        lock(&self.aborts).remove(run_id);
        self.ended.send_modify(|count| *count += 1);
    }

    fn take_gateway_timeout(&self) -> bool {
        let mut faults = lock(&self.run_faults);
        let at = faults
            .iter()
            .position(|fault| *fault == PlaybookFault::GatewayTimeout);
        at.and_then(|at| faults.remove(at)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_definition_would_be_accepted() {
        for (name, text) in SHIPPED {
            let definition = serde_json::from_str(text).unwrap();
            if let Err(error) = Definition::parse(&definition) {
                panic!("{name}: {error}");
            }
        }
    }
}
