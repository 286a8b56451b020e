//! `local`: the stand-in Functions host with the embedded store; `--demo` plays sample failures.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use chrono::Utc;
use clap::Args;
use owo_colors::OwoColorize as _;

use crate::config::{Config, Environment, SETTINGS};
use crate::local::demo::{Demo, history};
use crate::local::host::{HostError, HostOptions, Instances, StopReason};
use crate::local::{self};
use crate::storage::{Storage, StorageBackend, StorageSettings};
use crate::ticket::store::{TABLES, TicketStore};

/// Where `func` listens.
const PORT: u16 = 7071;
/// Where the embedded store lies in the root.
const STORE: &str = ".aiops-rca/store.db";

/// Arguments of `local`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
#[derive(Debug, Args)]
pub struct LocalArguments {
    /// Port to listen on; 0 takes a free one [default: 7071 as `func` does, with --demo a free one if that is taken]
    #[arg(long)]
    port: Option<u16>,
    /// Play sample failures against simulators of JIRA, Slack, Teams and Logic Apps; nothing real is touched
    #[arg(long)]
    demo: bool,
    /// With --demo: exit when everything has arrived, with a summary and status 0
    #[arg(long, requires = "demo")]
    once: bool,
    /// With --demo: print every call and log line, as without --demo
    #[arg(long, short, requires = "demo")]
    verbose: bool,
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
        let here = std::env::current_dir()?;
        let folders = if here == root {
            vec![here.as_path()]
        } else {
            vec![here.as_path(), root.as_path()]
        };
        ours(from_files(&folders, process)?.0)
    };
    let mut settings = with_store(configured, &store);
    // As the templates set it: the C library reads it.
    settings.insert("MALLOC_ARENA_MAX".to_owned(), "2".to_owned());
    let port = match arguments.port {
        Some(0) => free_port().await?,
        Some(port) => port,
        // Another demo may be running.
        None if arguments.demo && !is_free(PORT).await => free_port().await?,
        None => PORT,
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
    if arguments.demo && !arguments.once {
        let store = TicketStore::new(storage.clone());
        storage.prepare(&TABLES, &[]).await?;
        history::seed(&store, Utc::now()).await?;
    }
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
    let all = arguments.verbose || !arguments.demo;
    let session = local::start(options, all).await.map_err(explain)?;
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
    let mut lines =
        vec!["The demo has played. Look around, press buttons; Ctrl-C stops it.".to_owned()];
    lines.extend(demo.addresses());
    for line in boxed(&lines) {
        say(&line, colours);
    }
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

/// For other commands, if they are asked to work on `local`: its settings by the files in this folder, with its embedded
/// store; and which files there were.
pub(super) fn settings_if(
    local: bool,
    process: Environment,
) -> anyhow::Result<(Environment, Vec<PathBuf>)> {
    if !local {
        return Ok((process, Vec::new()));
    }
    let here = std::env::current_dir()?;
    let (settings, read) = from_files(&[&here], process)?;
    Ok((with_store(settings, &here.join(STORE)), read))
}

/// What else stands in the environment is not handed to the handler.
fn ours(mut settings: Environment) -> Environment {
    settings.retain(|name, _| SETTINGS.iter().any(|setting| setting.name == name));
    settings
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

/// The process's own environment, then `local.settings.json` and `.env` of each folder: what is set first wins. And which
/// files there were.
fn from_files(
    folders: &[&Path],
    process: Environment,
) -> anyhow::Result<(Environment, Vec<PathBuf>)> {
    let mut settings: Environment = process;
    let mut read = Vec::new();
    for folder in folders {
        for (file, pairs) in [
            (
                "local.settings.json",
                of_json as fn(&str) -> anyhow::Result<Vec<(String, String)>>,
            ),
            (".env", of_env),
        ] {
            let path = folder.join(file);
            if !path.is_file() {
                continue;
            }
            let name = || path.display().to_string();
            let text = std::fs::read_to_string(&path).with_context(name)?;
            // Editors on Windows put a mark at the beginning.
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            for (name, value) in pairs(text).with_context(name)? {
                if_absent(&mut settings, &name, value);
            }
            read.push(path);
        }
    }
    Ok((settings, read))
}

fn of_json(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let document: serde_json::Value = serde_json::from_str(text).context("is not JSON")?;
    let values = document.get("Values").and_then(|values| values.as_object());
    let pairs = values.into_iter().flatten().map(|(name, value)| {
        let text = value.as_str().map(str::to_owned);
        (name.clone(), text.unwrap_or_else(|| value.to_string()))
    });
    Ok(pairs.collect())
}

/// A line that cannot be read is named by its number: what stands in it may be a secret.
fn of_env(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for pair in dotenvy::from_read_iter(text.as_bytes()) {
        match pair {
            Ok(pair) => pairs.push(pair),
            Err(dotenvy::Error::LineParse(broken, _)) => {
                let mut lines = text.lines();
                let first = broken.lines().next().unwrap_or_default().trim();
                let place = match lines.position(|line| line.trim() == first) {
                    Some(before) => format!("line {}", before + 1),
                    None => "a line".to_owned(),
                };
                anyhow::bail!(
                    "{place} cannot be read: NAME=value, the value in quotes if it holds spaces, quotes or #"
                );
            }
            Err(_) => anyhow::bail!("cannot be read"),
        }
    }
    Ok(pairs)
}

/// The lines in a frame.
fn boxed(lines: &[String]) -> Vec<String> {
    let width = lines.iter().map(|line| line.chars().count()).max();
    let width = width.unwrap_or_default();
    let edge = "─".repeat(width + 2);
    let inside = lines.iter().map(|line| format!("│ {line:<width$} │"));
    std::iter::once(format!("┌{edge}┐"))
        .chain(inside)
        .chain(std::iter::once(format!("└{edge}┘")))
        .collect()
}

/// Is nobody listening there?
async fn is_free(port: u16) -> bool {
    tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .is_ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_line_is_named_by_its_number_without_what_stands_in_it() {
        let error = of_env("A=1\n# a remark\n\nTOKEN=it's a secret\nB=2\n").unwrap_err();
        let said = format!("{error:#}");
        assert!(said.starts_with("line 4 cannot be read"), "{said}");
        assert!(!said.contains("secret"), "{said}");
        assert_eq!(of_env("A='x y'\nB=2 # two\n").unwrap().len(), 2);
    }

    #[test]
    fn files_are_read_in_order_and_a_mark_at_their_beginning_is_none() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |path: PathBuf, text: &str| std::fs::write(path, text).unwrap();
        write(
            first.path().join(".env"),
            "\u{feff}A='of .env'\nB='of .env'\n",
        );
        write(
            second.path().join(".env"),
            "A='of another'\nC='of another'\n",
        );
        write(
            first.path().join("local.settings.json"),
            "\u{feff}{\"Values\": {\"B\": \"of JSON\"}}",
        );
        let process = Environment::from([("D".to_owned(), "given".to_owned())]);
        let (settings, read) = from_files(&[first.path(), second.path()], process).unwrap();
        let expected = [
            ("A", "of .env"),
            ("B", "of JSON"),
            ("C", "of another"),
            ("D", "given"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(settings, Environment::from(expected));
        assert_eq!(read.len(), 3);
    }

    #[test]
    fn the_frame_is_as_wide_as_its_longest_line() {
        let lines = ["a".to_owned(), "longer".to_owned()];
        assert_eq!(
            boxed(&lines),
            ["┌────────┐", "│ a      │", "│ longer │", "└────────┘"]
        );
    }
}
