//! One handler process and its life: start, readiness, restart, end.
//!
//! Comes in: a command and a port. Goes out: "ready" to those who wait to call it, and events. It does
//! not know functions. Its rules are the host's: the port is chosen once and kept over restarts; any
//! answer to `GET /` is ready; exit code 200 restarts free of charge, other exits are counted and the
//! third within the window ends the host; the end is always SIGKILL.

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};

use super::call::{Broken, Outgoing};
use super::event::{EventLog, HostEvent, StopReason};
use super::http1::Headers;
use super::manifest::HandlerCommand;

mod output;

/// Errors farther apart than this start a new count.
const CRASH_WINDOW: Duration = Duration::from_mins(30);
const PROBE_PAUSE: Duration = Duration::from_millis(25);

/// What the host does when the handler exits with code 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitZero {
    /// Hosts since 2026: a restart was asked for.
    Restarts,
    /// Older hosts do not notice: every later call fails.
    Ignored,
}

/// How to run a handler.
#[derive(Debug, Clone)]
pub(super) struct ChildPlan {
    pub group: String,
    pub command: HandlerCommand,
    pub environment: Vec<(String, String)>,
    pub port: u16,
    pub root: std::path::PathBuf,
    pub init_timeout: Duration,
    pub exit_zero: ExitZero,
    pub crash_limit: Option<u32>,
    /// Leave the process behind at the end.
    pub orphans: bool,
}

/// A supervised handler process.
#[derive(Debug)]
pub(super) struct Worker {
    pub port: u16,
    state: watch::Sender<State>,
    orders: mpsc::UnboundedSender<Order>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Starting,
    /// Ready; the number tells one process from the next.
    Ready(u64),
    /// Exited with code 0 under an older host.
    Gone(u64),
    Stopped,
}

#[derive(Debug)]
enum Order {
    /// SIGKILL from outside: counts as a crash.
    Crash,
    /// A function timed out in that process: kill and restart, free of charge.
    Renew(u64),
    Stop(oneshot::Sender<()>),
}

/// Why no process can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotReady {
    TimedOut,
    Stopped,
}

impl Worker {
    /// Starts the process and its supervisor. `fatal` is notified when the host has to end.
    pub(super) fn start(
        plan: ChildPlan,
        events: EventLog,
        fatal: watch::Sender<Option<StopReason>>,
    ) -> Self {
        let state = watch::Sender::new(State::Starting);
        let (orders, inbox) = mpsc::unbounded_channel();
        let port = plan.port;
        let supervisor = Supervisor {
            plan,
            events,
            fatal,
            state: state.clone(),
            inbox,
            number: 0,
            errors: 0,
            last_error: None,
        };
        tokio::spawn(supervisor.run());
        Self {
            port,
            state,
            orders,
        }
    }

    /// Waits for a process to call; its number is for [`Worker::renew`].
    pub(super) async fn ready(&self, within: Duration) -> Result<u64, NotReady> {
        let mut state = self.state.subscribe();
        let settled =
            tokio::time::timeout(within, state.wait_for(|state| *state != State::Starting)).await;
        match settled.map_err(|_| NotReady::TimedOut)?.as_deref() {
            Ok(State::Ready(number) | State::Gone(number)) => Ok(*number),
            _ => Err(NotReady::Stopped),
        }
    }

    /// Resolves when the process with this number is no longer the one.
    pub(super) async fn replaced(&self, number: u64) {
        let mut state = self.state.subscribe();
        let _stopped = state.wait_for(|state| *state != State::Ready(number)).await;
    }

    /// Kills the process with this number and starts another: the host's answer to a function timeout.
    pub(super) fn renew(&self, number: u64) {
        self.no_longer_ready(|ready| ready == number);
        let _stopped = self.orders.send(Order::Renew(number));
    }

    /// SIGKILL, as if it had crashed.
    pub(super) fn crash(&self) {
        self.no_longer_ready(|_| true);
        let _stopped = self.orders.send(Order::Crash);
    }

    /// From here on calls wait for the next process.
    fn no_longer_ready(&self, doomed: impl Fn(u64) -> bool) {
        self.state.send_if_modified(|state| {
            let ends = matches!(state, State::Ready(number) if doomed(*number));
            if ends {
                *state = State::Starting;
            }
            ends
        });
    }

    /// SIGKILL and no restart; returns when it is gone.
    pub(super) async fn stop(&self) {
        let (done, gone) = oneshot::channel();
        if self.orders.send(Order::Stop(done)).is_ok() {
            let _already_gone = gone.await;
        }
    }
}

struct Supervisor {
    plan: ChildPlan,
    events: EventLog,
    fatal: watch::Sender<Option<StopReason>>,
    state: watch::Sender<State>,
    inbox: mpsc::UnboundedReceiver<Order>,
    number: u64,
    errors: u32,
    last_error: Option<Instant>,
}

/// What came after a process.
enum Next {
    Restart,
    Wait,
    End(Option<oneshot::Sender<()>>),
}

impl Supervisor {
    async fn run(mut self) {
        let done = loop {
            self.number += 1;
            self.state.send_replace(State::Starting);
            let next = match self.spawn() {
                Ok(child) => self.attend(child).await,
                // Neither counted nor tried again: calls wait until the host gives up.
                Err(error) => {
                    self.events.push(HostEvent::ChildExited {
                        group: self.plan.group.clone(),
                        how: format!("could not be started: {error}"),
                        counted: None,
                        last_errors: Vec::new(),
                    });
                    Next::Wait
                }
            };
            match next {
                Next::Restart => {}
                Next::Wait => break self.idle().await,
                Next::End(done) => break done,
            }
        };
        self.state.send_replace(State::Stopped);
        if let Some(done) = done {
            let _nobody_waits = done.send(());
        }
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let plan = &self.plan;
        let id = uuid::Uuid::new_v4().to_string();
        let port = plan.port.to_string();
        let mut command = Command::new(&plan.command.executable);
        command
            .args(&plan.command.arguments)
            .current_dir(&plan.command.directory)
            .envs(plan.environment.iter().map(|(name, value)| (name, value)))
            .env("FUNCTIONS_CUSTOMHANDLER_PORT", &port)
            .env("FUNCTIONS_CUSTOMHANDLER_WORKER_ID", &id)
            .env("FUNCTIONS_HTTPWORKER_PORT", &port)
            .env("FUNCTIONS_HTTPWORKER_ID", &id)
            .env("FUNCTIONS_APP_ROOT_PATH", &plan.root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(!plan.orphans);
        // A group of its own: Ctrl-C reaches the host alone, which drains first and then kills.
        #[cfg(unix)]
        command.process_group(0);
        command.spawn()
    }

    /// From start to end of one process.
    async fn attend(&mut self, mut child: Child) -> Next {
        let pid = child.id().unwrap_or_default();
        let group = self.plan.group.clone();
        self.events.push(HostEvent::ChildStarted {
            group: group.clone(),
            pid,
            port: self.plan.port,
        });
        let lines = output::Lines::follow(&mut child, &group, &self.events);
        let started = Instant::now();
        let mut probe = std::pin::pin!(tokio::time::timeout(
            self.plan.init_timeout,
            probe(self.plan.port)
        ));
        let mut probing = true;
        loop {
            tokio::select! {
                answered = &mut probe, if probing => {
                    probing = false;
                    if answered.is_err() {
                        kill(&mut child).await;
                        return self.count_error("did not answer GET / in time".to_owned(), lines.last_errors().await);
                    }
                    self.events.push(HostEvent::ChildReady { group: group.clone(), pid, after: started.elapsed() });
                    self.state.send_replace(State::Ready(self.number));
                }
                exit = child.wait() => {
                    self.state.send_replace(State::Starting);
                    return self.exited(exit, lines.last_errors().await);
                }
                order = self.inbox.recv() => match order {
                    Some(Order::Renew(number)) if number != self.number => {}
                    Some(Order::Renew(_)) => {
                        // No call goes to a process on its way out.
                        self.state.send_replace(State::Starting);
                        kill(&mut child).await;
                        let how = "killed: a function timed out".to_owned();
                        let last_errors = lines.last_errors().await;
                        self.events.push(HostEvent::ChildExited { group, how, counted: None, last_errors });
                        return Next::Restart;
                    }
                    Some(Order::Crash) => {
                        let _already_gone = child.start_kill();
                    }
                    Some(Order::Stop(done)) => {
                        if !self.plan.orphans {
                            kill(&mut child).await;
                        }
                        return Next::End(Some(done));
                    }
                    None => {
                        kill(&mut child).await;
                        return Next::End(None);
                    }
                },
            }
        }
    }

    fn exited(&mut self, exit: std::io::Result<ExitStatus>, last_errors: Vec<String>) -> Next {
        let (how, code) = match exit {
            Ok(status) => (describe(status), status.code()),
            Err(error) => (format!("lost: {error}"), None),
        };
        let uncounted = |how: String| HostEvent::ChildExited {
            group: self.plan.group.clone(),
            how,
            counted: None,
            last_errors: last_errors.clone(),
        };
        match (code, self.plan.exit_zero) {
            (Some(200), _) | (Some(0), ExitZero::Restarts) => {
                self.events.push(uncounted(how));
                Next::Restart
            }
            (Some(0), ExitZero::Ignored) => {
                self.events.push(uncounted(how));
                self.state.send_replace(State::Gone(self.number));
                Next::Wait
            }
            _ => self.count_error(how, last_errors),
        }
    }

    fn count_error(&mut self, how: String, last_errors: Vec<String>) -> Next {
        let now = Instant::now();
        if self
            .last_error
            .is_some_and(|last| now.duration_since(last) > CRASH_WINDOW)
        {
            self.errors = 0;
        }
        self.errors += 1;
        self.last_error = Some(now);
        let group = self.plan.group.clone();
        self.events.push(HostEvent::ChildExited {
            group,
            how,
            counted: Some(self.errors),
            last_errors,
        });
        if self
            .plan
            .crash_limit
            .is_some_and(|limit| self.errors >= limit)
        {
            self.fatal.send_if_modified(|reason| {
                reason.is_none() && reason.replace(StopReason::TooManyCrashes).is_none()
            });
            return Next::End(None);
        }
        Next::Restart
    }

    /// There is no process: waits for the stop.
    async fn idle(&mut self) -> Option<oneshot::Sender<()>> {
        loop {
            match self.inbox.recv().await {
                Some(Order::Stop(done)) => return Some(done),
                None => return None,
                Some(Order::Crash | Order::Renew(_)) => {}
            }
        }
    }
}

async fn kill(child: &mut Child) {
    let _already_gone = child.kill().await;
}

#[cfg(unix)]
fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

#[cfg(not(unix))]
fn describe(status: ExitStatus) -> String {
    status.to_string()
}

/// `GET /` until there is any answer; only a connection that cannot be made is tried again.
async fn probe(port: u16) {
    let mut headers = Headers::default();
    headers.push("Host", format!("127.0.0.1:{port}"));
    let outgoing = Outgoing {
        method: "GET".to_owned(),
        target: "/".to_owned(),
        headers,
        body: bytes::Bytes::new(),
        chunked: false,
    };
    while matches!(outgoing.send(port).await, Err(Broken::Unreachable)) {
        tokio::time::sleep(PROBE_PAUSE).await;
    }
}
