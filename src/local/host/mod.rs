//! The Functions host as a library: what Azure does around a custom handler, on this machine.
//!
//! Comes in: [`HostOptions`] (a directory with `host.json`, an executable, a storage). Goes out: a
//! [`RunningHost`] that serves HTTP on a port, pumps queues and timers, and tells what happens as
//! [`HostEvent`]s. It does not know what the functions do, and nothing in the handler knows that this
//! is not Azure: routes, methods, locks, queues and schedules are read from the shipped files, and every
//! rule below is the Functions host's own, as its source and documentation have it.
//!
//! In walking order: [`manifest`] reads the files, `child` keeps the process alive, `door` takes HTTP
//! requests, `queue` and `timer` find work, `invoke` calls the handler with an [`envelope`] and
//! takes the [`verdict`]. What still differs from the real host stands in `docs/stand-in.md`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::fault::Fault;

pub mod event;
pub mod options;
pub mod settings;
pub mod route;
pub mod schedule;
pub mod manifest;
pub mod keys;
pub mod envelope;
pub mod verdict;
mod http1;
mod dotnet;
mod newtonsoft;
mod call;
mod child;
mod invoke;
mod queue;
mod timer;
mod door;

pub use child::ExitZero;
pub use event::{EventStream, HostEvent, Invocation, LineLevel, Outcome, StopReason};
pub use keys::Keys;
pub use options::{DEFAULT_PORT, HostOptions, Instances, Knobs, Traceparent};
pub use settings::Settings;

use child::{ChildPlan, Worker};
use event::EventLog;
use invoke::Core;
use manifest::{App, Trigger};

/// `X-Azure-Functions-HostVersion` of the host we stand in for.
pub const HOST_VERSION: &str = "4.1037.0.0";

/// Why the host could not start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file or directory.
    #[error("{path} cannot be read: {reason}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// `host.json` is refused.
    #[error("{path}: {reason}")]
    HostJson {
        /// Where it is.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A function is refused.
    #[error("function {name}: {reason}")]
    Function {
        /// Its folder's name.
        name: String,
        /// Why.
        reason: String,
    },
    /// Nothing to run: Azure would not even start the handler.
    #[error(
        "{root} has no function: no <Name>/function.json and no functions/<Name>/function.json"
    )]
    NoFunctions {
        /// Where they were looked for.
        root: PathBuf,
    },
    /// The port is taken, or none is free.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        reason: std::io::Error,
    },
    /// The HTTP client or the queues.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl HostError {
    pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        }
    }

    fn function(name: &str, reason: String) -> Self {
        Self::Function {
            name: name.to_owned(),
            reason,
        }
    }
}

/// Starts hosts.
#[derive(Debug)]
pub struct Host;

impl Host {
    /// Reads the files, creates the queues, starts the handler, the pumps and the HTTP listener. Like the
    /// real host it does not wait for the handler: calls that come early wait.
    pub async fn start(options: HostOptions) -> Result<RunningHost, HostError> {
        let mut app = App::read(&options.root, &options.settings)?;
        if let Some(executable) = &options.executable {
            app.host.handler.executable.clone_from(executable);
        }
        if let Some(arguments) = &options.arguments {
            app.host.handler.arguments.clone_from(arguments);
        }
        let http_reaches_it =
            app.host.forwards_http || (app.host.proxies_http && !options.older_host);
        if !http_reaches_it
            && app
                .enabled()
                .any(|function| matches!(function.trigger, Trigger::Http(_)))
        {
            let reason =
                "HTTP requests wrapped in JSON are not supported: set enableForwardingHttpRequest"
                    .to_owned();
            return Err(HostError::HostJson {
                path: app.root.join("host.json"),
                reason,
            });
        }
        let queues = queue::names_in_storage(&app, &options)?;
        options
            .storage
            .prepare(&[], &queues.iter().map(String::as_str).collect::<Vec<_>>())
            .await?;
        let listener =
            TcpListener::bind(options.address)
                .await
                .map_err(|reason| HostError::Listen {
                    address: options.address,
                    reason,
                })?;
        let address = listener.local_addr().map_err(|reason| HostError::Listen {
            address: options.address,
            reason,
        })?;

        let events = EventLog::new();
        for (function, why) in &app.in_error {
            events.push(HostEvent::InError {
                function: function.clone(),
                why: why.clone(),
            });
        }
        let stopping = watch::Sender::new(None);
        let workers = start_workers(&app, &options, &events, &stopping).await?;
        let keys = options.keys.clone().unwrap_or_else(Keys::generate);
        let core = Arc::new(Core::new(app, options, keys, workers, events, stopping));
        let front = door::open(core.clone(), listener);
        queue::pump_all(&core);
        timer::run_all(&core);
        let (done, stopped) = watch::channel(None);
        tokio::spawn(close(core.clone(), front, done));
        Ok(RunningHost {
            core,
            address,
            stopped,
        })
    }
}

/// One process for all, or one a group; each gets its free port once.
async fn start_workers(
    app: &App,
    options: &HostOptions,
    events: &EventLog,
    stopping: &watch::Sender<Option<StopReason>>,
) -> Result<BTreeMap<String, Worker>, HostError> {
    let mut environment: Vec<_> = options.settings.clone().into_iter().collect();
    environment.extend(options.environment.iter().cloned());
    let mut workers = BTreeMap::new();
    for function in app.enabled() {
        let group = group_of(options.instances, &function.name, &function.trigger);
        if workers.contains_key(&group) {
            continue;
        }
        let port = match app.host.handler_port {
            Some(port) if workers.is_empty() => port,
            _ => free_port().await?,
        };
        let plan = ChildPlan {
            group: group.clone(),
            command: app.host.handler.clone(),
            environment: environment.clone(),
            port,
            root: app.root.clone(),
            init_timeout: options
                .knobs
                .init_timeout
                .unwrap_or(app.host.initialization_timeout),
            exit_zero: options.knobs.exit_zero,
            crash_limit: options.knobs.crash_limit,
            orphans: options.knobs.orphans,
        };
        workers.insert(group, Worker::start(plan, events.clone(), stopping.clone()));
    }
    Ok(workers)
}

/// `rca-failures` is `failures` to a storage with the prefix `rca`.
fn bare_name(queue: &str, prefix: &str) -> Result<String, String> {
    let prefix = prefix.to_ascii_lowercase();
    let bare = if prefix.is_empty() {
        Some(queue)
    } else {
        queue
            .strip_prefix(&prefix)
            .and_then(|rest| rest.strip_prefix('-'))
    };
    bare.map(str::to_owned)
        .ok_or_else(|| format!("queue {queue} is outside of the storage's prefix `{prefix}`"))
}

/// The process that runs a function.
fn group_of(instances: Instances, name: &str, trigger: &Trigger) -> String {
    match (instances, trigger) {
        (Instances::One, _) => "handler".to_owned(),
        (Instances::PerGroup, Trigger::Http(_)) => "http".to_owned(),
        (Instances::PerGroup, _) => name.to_owned(),
    }
}

async fn free_port() -> Result<u16, HostError> {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let listen = |reason| HostError::Listen { address, reason };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    Ok(listener.local_addr().map_err(listen)?.port())
}

/// Waits for a reason to stop, lets running calls end, then kills.
async fn close(core: Arc<Core>, front: JoinHandle<()>, done: watch::Sender<Option<StopReason>>) {
    let mut stopping = core.stopping.subscribe();
    let reason = match stopping.wait_for(Option::is_some).await {
        Ok(reason) => reason.unwrap_or(StopReason::Asked),
        Err(_) => StopReason::Asked,
    };
    if reason == StopReason::Asked {
        // Requests end first, however long they take; meanwhile queues are read on.
        let mut answering = core.answering.subscribe();
        let longest = core.function_timeout();
        drop(tokio::time::timeout(longest, answering.wait_for(|requests| *requests == 0)).await);
        core.draining.send_replace(true);
        let mut running = core.running.subscribe();
        let _too_long = tokio::time::timeout(
            core.options.knobs.drain,
            running.wait_for(|calls| *calls == 0),
        )
        .await;
    }
    core.draining.send_replace(true);
    futures::future::join_all(core.workers.values().map(Worker::stop)).await;
    // The port is free again when this is done.
    front.abort();
    let _aborted = front.await;
    core.events.push(HostEvent::Stopped(reason));
    done.send_replace(Some(reason));
}

/// A host that runs. Dropping it stops it; [`RunningHost::stop`] also waits.
#[derive(Debug)]
pub struct RunningHost {
    core: Arc<Core>,
    address: SocketAddr,
    stopped: watch::Receiver<Option<StopReason>>,
}

impl RunningHost {
    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The address of a path, e.g. `http://localhost:7071/health`.
    pub fn url(&self, path: &str) -> String {
        let host = if self.address.ip().is_loopback() {
            "localhost".to_owned()
        } else {
            self.address.ip().to_string()
        };
        format!(
            "http://{host}:{}/{}",
            self.port(),
            path.trim_start_matches('/')
        )
    }

    /// What its files say.
    pub fn app(&self) -> &App {
        &self.core.app
    }

    /// The keys, when they are asked for.
    pub fn keys(&self) -> Option<&Keys> {
        self.core.options.enable_auth.then_some(&self.core.keys)
    }

    /// What happens, from the first kept event on.
    pub fn events(&self) -> EventStream {
        self.core.events.reader()
    }

    /// What has happened.
    pub fn events_so_far(&self) -> Vec<HostEvent> {
        self.core.events.so_far()
    }

    /// Waits until every process answers; `false` when one does not `within` that time.
    pub async fn ready(&self, within: Duration) -> bool {
        let all = futures::future::join_all(
            self.core
                .workers
                .values()
                .map(|worker| worker.ready(within)),
        );
        all.await.iter().all(Result::is_ok)
    }

    /// SIGKILL to every handler process, as if it had crashed: it is restarted by the rules.
    pub fn kill_child(&self) {
        for worker in self.core.workers.values() {
            worker.crash();
        }
    }

    /// No new work, a short time for running calls, then SIGKILL. Returns when everything is gone.
    pub async fn stop(&self) -> StopReason {
        self.core.stop(StopReason::Asked);
        self.wait().await
    }

    /// Something that can begin the stop without holding the host.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.core.stopping.clone())
    }

    /// Waits for the end.
    pub async fn wait(&self) -> StopReason {
        let mut stopped = self.stopped.clone();
        match stopped.wait_for(Option::is_some).await {
            Ok(reason) => reason.unwrap_or(StopReason::Asked),
            Err(_) => StopReason::Asked,
        }
    }
}

/// Begins the stop of a host; see [`RunningHost::stopper`].
#[derive(Debug, Clone)]
pub struct Stopper(watch::Sender<Option<StopReason>>);

impl Stopper {
    /// Begins it; [`RunningHost::wait`] tells when it is done.
    pub fn begin(&self) {
        invoke::stop(&self.0, StopReason::Asked);
    }
}

impl Drop for RunningHost {
    fn drop(&mut self) {
        self.core.stop(StopReason::Asked);
    }
}
