//! `local`: the stand-in Functions host with the embedded store; `--demo` plays sample failures.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use owo_colors::OwoColorize as _;

use crate::config::{Config, Environment, SETTINGS};
use crate::local::demo::Demo;
use crate::local::host::{HostError, HostOptions, Instances, StopReason};
use crate::local::{self};
use crate::storage::{Storage, StorageBackend, StorageSettings};

/// Where the embedded store lies in the root.
const STORE: &str = ".aiops-rca/store.db";

/// Arguments of `local`.
#[derive(Debug, Args)]
pub struct LocalArguments {
    /// Port to listen on (7071 as `func` does; 0 takes a free one)
    #[arg(long, default_value_t = 7071)]
    port: u16,
    /// Play sample failures against simulators of JIRA, Slack, Teams and Logic Apps; nothing real is touched
    #[arg(long)]
    demo: bool,
    /// With --demo: exit when everything has arrived, with a summary and status 0
    #[arg(long, requires = "demo")]
    once: bool,
    /// Folder with host.json: a checkout, or a staged package
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// File of the embedded store (used when AzureWebJobsStorage is not set)
    #[arg(long, default_value = STORE)]
    store: PathBuf,
    /// Run this executable instead of this one, e.g. a packaged one, which has neither embedded store nor open dashboard
    #[arg(long)]
    executable: Option<PathBuf>,
    /// With --demo: a storage emulator on this machine instead of the embedded store, by its connection string
    #[arg(long, requires = "demo")]
    emulator: Option<String>,
    /// Ask for function keys, as Azure does
    #[arg(long)]
    auth: bool,
    /// One process per function group, as Flex Consumption does
    #[arg(long)]
    separate: bool,
}

/// Runs until Ctrl-C, or with `--once` until the demo has played.
pub async fn run(arguments: LocalArguments, process: Environment) -> anyhow::Result<ExitCode> {
    let root = arguments
        .root
        .canonicalize()
        .with_context(|| format!("there is no folder {}", arguments.root.display()))?;
    let scratch = arguments.demo.then(Scratch::new).transpose()?;
    let store = scratch.as_ref().map_or_else(
        || root.join(&arguments.store),
        |scratch| scratch.0.join("store.db"),
    );
    let configured = if arguments.demo {
        let mut nothing = nothing_configured();
        if let Some(emulator) = &arguments.emulator {
            nothing.extend(on_emulator(emulator)?);
        }
        nothing
    } else {
        from_files(&root, process)?
    };
    let mut settings = with_store(configured, &store);
    let port = if arguments.port == 0 {
        free_port().await?
    } else {
        arguments.port
    };
    if_absent(
        &mut settings,
        "PUBLIC_BASE_URL",
        format!("http://localhost:{port}"),
    );
    let demo = if arguments.demo {
        let key = arguments
            .executable
            .is_some()
            .then(|| format!("{:032x}", fastrand::u128(..)));
        Some(Demo::start(port, key).await?)
    } else {
        None
    };
    if let Some(demo) = &demo {
        settings.extend(demo.settings());
    }
    let config = Config::read(&settings);
    for problem in &config.problems {
        writeln!(std::io::stdout(), "setting {problem}")?;
    }
    let prefix = settings.get("STORAGE_PREFIX").cloned().unwrap_or_default();
    let storage = Storage::open(&config.storage.clone()?, &config.wire()?.http)?;
    let options = HostOptions {
        executable: Some(match &arguments.executable {
            // The handler runs in the app's directory; the path is meant from here.
            Some(path) => std::path::absolute(path)?,
            None => std::env::current_exe()?,
        }),
        arguments: Some(Vec::new()),
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        enable_auth: arguments.auth,
        instances: if arguments.separate {
            Instances::PerGroup
        } else {
            Instances::One
        },
        state_directory: Some(
            store
                .parent()
                .map_or_else(|| root.clone(), Path::to_path_buf),
        ),
        settings,
        ..HostOptions::new(root, storage, prefix)
    };
    let session = local::start(options).await.map_err(explain)?;
    let Some(demo) = demo else {
        return Ok(status(session.until_stopped().await));
    };
    let colours = std::io::stdout().is_terminal();
    let pace = if arguments.once {
        Duration::from_millis(100)
    } else {
        Duration::from_secs(3)
    };
    let played = tokio::select! {
        played = demo.play(pace, |line| say(line, colours)) => played,
        reason = session.host.wait() => return Ok(status(reason)),
    };
    if arguments.once {
        session.stop().await;
        return Ok(if played {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    say(
        "The demo has played. Everything stays open: look around, press buttons. Ctrl-C stops it.",
        colours,
    );
    Ok(status(session.until_stopped().await))
}

/// The port is named only where the port is the reason.
fn explain(error: HostError) -> anyhow::Error {
    let taken = matches!(&error, HostError::Listen { reason, .. } if reason.kind() == std::io::ErrorKind::AddrInUse);
    let context = if taken {
        "the port is taken: stop what listens there, or try --port 0"
    } else {
        "the host does not start"
    };
    anyhow::Error::new(error).context(context)
}

fn status(reason: StopReason) -> ExitCode {
    if matches!(reason, StopReason::Asked) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn say(line: &str, colours: bool) {
    let mut out = std::io::stdout().lock();
    // A closed terminal ends the session by its signal, not here.
    let _closed = if colours {
        writeln!(out, "{} {line}", "demo │".cyan())
    } else {
        writeln!(out, "demo │ {line}")
    };
}

/// The demo must not reach anything real: every setting of this machine is switched off.
fn nothing_configured() -> Environment {
    SETTINGS
        .iter()
        .map(|setting| (setting.name.to_owned(), String::new()))
        .collect()
}

/// The settings that lead to this storage emulator, with a prefix of this demo alone.
fn on_emulator(connection: &str) -> anyhow::Result<Environment> {
    let StorageBackend::Account(account) =
        StorageSettings::from_connection_string(connection)?.backend
    else {
        anyhow::bail!("--emulator is not the connection string of an account");
    };
    let here = |url: &url::Url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    anyhow::ensure!(
        here(&account.tables) && here(&account.queues),
        "--emulator must be on this machine: the demo touches nothing real"
    );
    Ok(Environment::from([
        ("AzureWebJobsStorage".to_owned(), connection.to_owned()),
        (
            "STORAGE_PREFIX".to_owned(),
            format!("demo{:08x}", fastrand::u32(..)),
        ),
    ]))
}

/// For other commands, if they are asked to work on `local`: its settings by the files in this folder, with its embedded store.
pub(super) fn settings_if(local: bool, process: Environment) -> anyhow::Result<Environment> {
    if !local {
        return Ok(process);
    }
    let root = std::env::current_dir()?;
    Ok(with_store(from_files(&root, process)?, &root.join(STORE)))
}

fn with_store(mut settings: Environment, store: &Path) -> Environment {
    if_absent(&mut settings, "AIOPS_RCA_LOCAL", "true".to_owned());
    if_absent(
        &mut settings,
        "AIOPS_RCA_STORE",
        store.to_string_lossy().into_owned(),
    );
    if_absent(&mut settings, "STORAGE_PREFIX", "rca".to_owned());
    settings
}

/// An empty value is none: `local.settings.json.example` lists every setting.
fn if_absent(settings: &mut Environment, name: &str, value: String) {
    let entry = settings.entry(name.to_owned()).or_default();
    if entry.trim().is_empty() {
        *entry = value;
    }
}

/// The process's own environment, then `local.settings.json`, then `.env`: what is set first wins.
fn from_files(root: &Path, process: Environment) -> anyhow::Result<Environment> {
    let mut settings: Environment = process
        .into_iter()
        .filter(|(name, _)| SETTINGS.iter().any(|setting| setting.name == name))
        .collect();
    let path = root.join("local.settings.json");
    if path.is_file() {
        let text = std::fs::read_to_string(&path).context("local.settings.json cannot be read")?;
        let document: serde_json::Value =
            serde_json::from_str(&text).context("local.settings.json is not JSON")?;
        for (name, value) in document
            .get("Values")
            .and_then(|values| values.as_object())
            .into_iter()
            .flatten()
        {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            if_absent(&mut settings, name, text);
        }
    }
    let path = root.join(".env");
    if path.is_file() {
        for pair in dotenvy::from_path_iter(&path).context(".env cannot be read")? {
            let (name, value) = pair.context("a line of .env cannot be read")?;
            if_absent(&mut settings, &name, value);
        }
    }
    Ok(settings)
}

async fn free_port() -> anyhow::Result<u16> {
    Ok(tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await?
        .local_addr()?
        .port())
}

/// A folder of this run alone, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        let folder =
            std::env::temp_dir().join(format!("aiops-rca-demo-{:016x}", fastrand::u64(..)));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _left_behind = std::fs::remove_dir_all(&self.0);
    }
}
