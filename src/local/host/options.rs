//! How to run the host: what to run, where to listen, and the times that tests shorten.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::child::ExitZero;
use super::keys::Keys;
use super::settings::Settings;
use crate::storage::Storage;

/// The port that `func start` uses.
pub const DEFAULT_PORT: u16 = 7071;

/// How to run the host; [`HostOptions::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The directory with `host.json`: a staged package, or a checkout.
    pub root: PathBuf,
    /// Instead of `defaultExecutablePath`.
    pub executable: Option<PathBuf>,
    /// Instead of the arguments in `host.json`.
    pub arguments: Option<Vec<String>>,
    /// Where to listen; `0` takes a free port.
    pub address: SocketAddr,
    /// App settings: `%NAME%`, overrides, switched-off functions, and the handler's environment.
    pub settings: Settings,
    /// Further environment of the handler; wins over `settings`.
    pub environment: Vec<(String, String)>,
    /// Where the queues are.
    pub storage: Storage,
    /// The prefix inside `storage`: it is taken off a queue's full name before `storage` is asked.
    pub storage_prefix: String,
    /// Ask for keys, as Azure does. `func` does not by default.
    pub enable_auth: bool,
    /// The keys; generated when absent.
    pub keys: Option<Keys>,
    /// One process for everything, or one per group as on Flex Consumption.
    pub instances: Instances,
    /// Behave as hosts before 2025: no proxying of HTTP even when `host.json` asks for it.
    pub older_host: bool,
    /// Where timers remember their runs over restarts of this host; without it they do not.
    pub state_directory: Option<PathBuf>,
    /// Times and limits that tests shorten.
    pub knobs: Knobs,
}

/// How many handler processes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instances {
    /// One: what `func` and most plans do.
    One,
    /// As on Flex Consumption: all HTTP functions in one, every other function in its own. They share nothing but the storage.
    PerGroup,
}

/// Times and limits. Absent ones come from `host.json`.
#[derive(Debug, Clone)]
pub struct Knobs {
    /// How long a process may take to answer `GET /`.
    pub init_timeout: Option<Duration>,
    /// How long a call may take.
    pub function_timeout: Option<Duration>,
    /// How long a hang is waited for before the handler is killed; without it, as in Azure, the function's timeout.
    pub hang_timeout: Option<Duration>,
    /// From a function's timeout to the kill of its process.
    pub kill_after: Option<Duration>,
    /// How long a received message is hidden; renewed at half of it.
    pub dequeue_invisibility: Duration,
    /// The shortest pause between looks at an empty queue.
    pub poll_min: Duration,
    /// The longest one.
    pub poll_max: Option<Duration>,
    /// How long a failed message stays away.
    pub visibility_timeout: Option<Duration>,
    /// How long running calls may take at the stop before everything is killed.
    pub drain: Duration,
    /// Leave the handler behind at the stop, as the real host does when a call takes longer than the drain.
    pub orphans: bool,
    /// Counted errors that end the host; `None`: it never gives up.
    pub crash_limit: Option<u32>,
    /// What exit code 0 means.
    pub exit_zero: ExitZero,
    /// Whether calls carry `traceparent`.
    pub traceparent: Traceparent,
}

/// Whether calls carry `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traceparent {
    /// Never: a host without telemetry.
    Never,
    /// By turns: none, not sampled, sampled.
    Sometimes,
    /// Always, sampled.
    Always,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            init_timeout: None,
            function_timeout: None,
            hang_timeout: Some(Duration::from_secs(5)),
            kill_after: None,
            dequeue_invisibility: Duration::from_mins(10),
            poll_min: Duration::from_millis(100),
            poll_max: None,
            visibility_timeout: None,
            drain: Duration::from_secs(10),
            orphans: false,
            crash_limit: Some(3),
            exit_zero: ExitZero::Restarts,
            traceparent: Traceparent::Sometimes,
        }
    }
}

impl HostOptions {
    /// Defaults of a development host: localhost, port 7071, no keys, one process, and no setting: what Azure would not
    /// give is not given here either.
    pub fn new(
        root: impl Into<PathBuf>,
        storage: Storage,
        storage_prefix: impl Into<String>,
    ) -> Self {
        let storage_prefix = storage_prefix.into();
        Self {
            root: root.into(),
            executable: None,
            arguments: None,
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_PORT),
            settings: Settings::new(),
            environment: Vec::new(),
            storage,
            storage_prefix,
            enable_auth: false,
            keys: None,
            instances: Instances::One,
            older_host: false,
            state_directory: None,
            knobs: Knobs::default(),
        }
    }
}
