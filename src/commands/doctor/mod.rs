//! `doctor`: checks settings and every connection with read-only calls; says what to do about each fault.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;
use owo_colors::{OwoColorize as _, Style};
use serde_json::json;

use crate::config::{Config, Environment, SETTINGS};
use crate::fault::Fault;
use crate::flow::Flow;
use crate::functions::access::DashboardLock;
use crate::functions::deployment::{Idle, ROOT};
use crate::patrol::Watch;
use crate::sinks::{Check, bad, good, off};
use crate::storage::{Inserted, Storage};

/// Minutes after which a patrol that says nothing does not run.
const STALE: i64 = 15;

mod connections;
mod names;
mod test_failure;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// Send a synthetic failure through everything (a real JIRA issue and Slack message), then close it
    #[arg(long)]
    send_test: bool,
    /// Check the settings and the store of `local`: local.settings.json and .env of this folder
    #[cfg(feature = "local")]
    #[arg(long)]
    local: bool,
}

fn of(name: &str, outcome: Result<String, Fault>, fix: &str) -> Check {
    match outcome {
        Ok(line) => good(name, line),
        Err(fault) => bad(name, fault.reason(), fix),
    }
}

/// Checks everything; exit status 1 when anything is not as it should be.
pub async fn run(arguments: DoctorArguments, environment: Environment) -> anyhow::Result<ExitCode> {
    let now = Utc::now();
    let mut checks = Vec::new();
    #[cfg(feature = "local")]
    let environment = {
        let (environment, files) = super::local::settings_if(arguments.local, environment)?;
        checks.extend(arguments.local.then(|| read_files(&files)));
        environment
    };
    let environment = here(environment);
    let config = Config::read(&environment);
    let parts = config.wire()?;
    checks.extend(settings(&config));
    checks.extend(names::check(&environment));
    checks.extend(functions(&config));
    checks.extend(connections::check(&config, &parts, now).await);
    let send = arguments.send_test;
    checks.push(match &config.dashboard {
        DashboardLock::Closed => bad(
            "Dashboard",
            "closed for everybody",
            "set DASHBOARD_AUTH=entra, or DASHBOARD_KEY",
        ),
        #[cfg(feature = "local")]
        DashboardLock::Open => good("Dashboard", "open, because this is `local`"),
        DashboardLock::Entra { .. } => good("Dashboard", "people sign in with Entra"),
        DashboardLock::Key { .. } => good("Dashboard", "people sign in with the key"),
    });
    let flow = config.into_doors(parts).flow;
    checks.push(match &flow {
        Ok(flow) => of(
            "Storage",
            probe(flow.store.storage(), flow).await,
            "check AzureWebJobsStorage, the account's firewall, and the identity's roles",
        ),
        Err(fault) => bad(
            "Storage",
            fault.reason(),
            "set AzureWebJobsStorage, or AzureWebJobsStorage__accountName with a managed identity",
        ),
    });
    if let Ok(flow) = &flow {
        checks.extend(stopped(flow).await);
        checks.extend(patrolled(flow, Utc::now()).await);
    }
    if let (true, Ok(flow)) = (send, &flow) {
        checks.push(of(
            "Test failure",
            test_failure::send(flow).await,
            "is the function app running on this storage account? Look at its logs and at the dashboard",
        ));
    }
    print(&checks, arguments.json)?;
    Ok(if checks.iter().all(|check| check.ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Where the settings come from.
#[cfg(feature = "local")]
fn read_files(files: &[std::path::PathBuf]) -> Check {
    let names: Vec<_> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    if names.is_empty() {
        off(
            "Files",
            "neither local.settings.json nor .env is here: the environment alone",
        )
    } else {
        good(
            "Files",
            format!("the environment, then {}", names.join(", then ")),
        )
    }
}

/// Whatever stopped a delivery, it may have been repaired: all are tried again now. No line when none is stopped.
async fn stopped(flow: &Flow) -> Option<Check> {
    match flow.retry_stopped().await {
        Ok(retried) if retried.is_empty() => None,
        Ok(retried) => Some(good(
            "Stopped deliveries",
            format!("{} are tried again now", retried.len()),
        )),
        Err(fault) => Some(bad(
            "Stopped deliveries",
            fault.reason(),
            "check the storage account",
        )),
    }
}

/// How the patrol stands at each scope, as the running app left it.
async fn patrolled(flow: &Flow, now: DateTime<Utc>) -> Vec<Check> {
    if !flow.patrol.on {
        return vec![off("Patrol", "off: failures arrive by reports only")];
    }
    let watches = match flow.watches().await {
        Ok(watches) => watches,
        Err(fault) => return vec![bad("Patrol", fault.reason(), "check the storage account")],
    };
    let check = |watch: &Watch| {
        let name = format!("Patrol {} {}", watch.platform(), watch.name);
        let minutes = |at: DateTime<Utc>| (now - at).num_minutes();
        match (&watch.trouble, watch.answered_at) {
            (Some(trouble), _) => bad(
                &name,
                format!(
                    "since {}: {}",
                    trouble.since.format("%Y-%m-%d %H:%M UTC"),
                    trouble.reason
                ),
                "see the platform's own line above: it names the right or the setting that is missing",
            ),
            (None, None) => off(
                &name,
                "not asked yet: the app has not run with these settings",
            ),
            (None, Some(at)) if minutes(at) > STALE => bad(
                &name,
                format!("asked {} minutes ago for the last time", minutes(at)),
                "does the app run, and is the function Patrol enabled?",
            ),
            (None, Some(at)) => good(
                &name,
                format!(
                    "answered {} minutes ago; {} failed and {} good ends seen{}{}",
                    minutes(at),
                    watch.failed,
                    watch.succeeded,
                    watch
                        .lag
                        .map(|lag| format!(", the last {lag} s after they ended"))
                        .unwrap_or_default(),
                    gaps(watch)
                ),
            ),
        }
    };
    watches.iter().map(check).collect()
}

fn gaps(watch: &Watch) -> String {
    if watch.gaps.is_empty() {
        return String::new();
    }
    format!("; not asked: {}", watch.gaps.join("; "))
}

/// Without a host that names the app's folder: the one we are in, if it is one.
fn here(mut environment: Environment) -> Environment {
    let folder = std::env::current_dir().unwrap_or_default();
    if folder.join("host.json").is_file() {
        environment
            .entry(ROOT.to_owned())
            .or_insert_with(|| folder.to_string_lossy().into_owned());
    }
    environment
}

/// Does the Functions host call our functions?
fn functions(config: &Config) -> Vec<Check> {
    if config.idle.is_empty() {
        return vec![good(
            "Functions",
            "nothing keeps the host from calling them",
        )];
    }
    let check = |idle: &Idle| {
        bad(
            &idle.name,
            idle.text.clone(),
            "correct it in the app's settings or package, and deploy or restart the app",
        )
    };
    config.idle.iter().map(check).collect()
}

fn settings(config: &Config) -> Vec<Check> {
    if config.problems.is_empty() {
        return vec![good("Settings", "all readable")];
    }
    let about = |name: &str| {
        SETTINGS
            .iter()
            .find(|setting| setting.name == name)
            .map_or("see docs/settings.md", |setting| setting.about)
    };
    config
        .problems
        .iter()
        .map(|problem| bad(problem.name, problem.text.clone(), about(problem.name)))
        .collect()
}

/// Writes, reads and deletes one row, and looks into every queue.
async fn probe(storage: &Storage, flow: &Flow) -> Result<String, Fault> {
    flow.prepare().await?;
    let row = format!("probe-{:016x}", fastrand::u64(..));
    let inserted = storage.insert("index", "doctor", &row, "{}").await?;
    let read = storage.get("index", "doctor", &row).await?;
    storage.delete("index", "doctor", &row, None).await?;
    let mut waiting = 0;
    for queue in crate::flow::QUEUES {
        waiting += storage.depth(queue).await?;
        storage.oldest_waiting(queue).await?;
    }
    match (inserted, read) {
        (Inserted::Created(_), Some(_)) => Ok(format!(
            "a row was written, read and deleted; {waiting} message(s) wait in the queues"
        )),
        _ => Err(Fault::permanent("a row was written but not found again")),
    }
}

fn print(checks: &[Check], as_json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let failed = checks.iter().filter(|check| !check.ok).count();
    if as_json {
        let checks: Vec<_> = checks
            .iter()
            .map(
                |c| json!({"name": c.name, "ok": c.ok, "off": c.off, "line": c.line, "fix": c.fix}),
            )
            .collect();
        return writeln!(out, "{}", json!({"ok": failed == 0, "checks": checks}));
    }
    let colours = out.is_terminal();
    for check in checks {
        let (mark, style) = match (check.ok, check.off) {
            (true, true) => ("off ", Style::new().dimmed()),
            (true, false) => ("ok  ", Style::new().green()),
            (false, _) => ("FAIL", Style::new().red().bold()),
        };
        let mark = mark.style(if colours { style } else { Style::new() });
        writeln!(out, "{mark}  {:<28} {}", check.name, check.line)?;
        if let Some(fix) = check.fix.as_ref().filter(|_| !check.ok) {
            writeln!(out, "      {:<28} → {fix}", "")?;
        }
    }
    writeln!(
        out,
        "{}",
        if failed == 0 {
            "Everything is as it should be.".to_owned()
        } else {
            format!("{failed} of {} need attention.", checks.len())
        }
    )
}
