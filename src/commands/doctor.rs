//! `doctor`: checks settings and every connection with read-only calls; says what to do about each fault.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use owo_colors::OwoColorize as _;
use serde_json::json;
use url::Url;

use crate::config::{Config, Environment, PLAYBOOKS};
use crate::failure::{AssetKind, Failure, RunKey, Source, field};
use crate::fault::Fault;
use crate::functions::access::DashboardLock;
use crate::http::Http;
use crate::pipeline::Pipeline;
use crate::sinks::Check;
use crate::sources::Parsed;
use crate::storage::{Inserted, Storage};
use crate::telemetry;
use crate::ticket::machine::Event;
use crate::ticket::{Actor, Channel, Status, Ticket, TicketId};
use crate::trace::Traceparent;

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
    #[arg(long)]
    local: bool,
}

const PATIENCE: Duration = Duration::from_secs(120);
const CLOCK_TOLERANCE: i64 = 120;

fn good(name: &str, line: impl Into<String>) -> Check {
    Check { name: name.to_owned(), ok: true, line: line.into(), fix: None }
}

fn bad(name: &str, line: impl Into<String>, fix: impl Into<String>) -> Check {
    Check { name: name.to_owned(), ok: false, line: line.into(), fix: Some(fix.into()) }
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
    let environment = if arguments.local { super::local::settings_here(environment)? } else { environment };
    let config = Config::read(&environment)?;
    let mut checks = settings(&config);
    checks.extend(connections(&config, now).await);
    let send = arguments.send_test;
    checks.push(match &config.dashboard {
        DashboardLock::Closed => bad("Dashboard", "closed for everybody", "set DASHBOARD_AUTH=entra, or DASHBOARD_KEY"),
        DashboardLock::Open => good("Dashboard", "open, because this is `local`"),
        DashboardLock::Entra { .. } => good("Dashboard", "people sign in with Entra"),
        DashboardLock::Key { .. } => good("Dashboard", "people sign in with the key"),
    });
    let pipeline = config.into_doors().pipeline;
    checks.push(match &pipeline {
        Ok(pipeline) => of(
            "Storage",
            probe(pipeline.store.storage(), pipeline).await,
            "check AzureWebJobsStorage, the account's firewall, and the identity's roles",
        ),
        Err(fault) => {
            bad("Storage", fault.reason(), "set AzureWebJobsStorage, or AzureWebJobsStorage__accountName with a managed identity")
        }
    });
    if let (true, Ok(pipeline)) = (send, &pipeline) {
        checks.push(of(
            "Test failure",
            send_test(pipeline).await,
            "is the function app running on this storage account? Look at its logs and at the dashboard",
        ));
    }
    print(&checks, arguments.json)?;
    Ok(if checks.iter().all(|check| check.ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn settings(config: &Config) -> Vec<Check> {
    if config.problems.is_empty() {
        return vec![good("Settings", "all readable")];
    }
    config.problems.iter().map(|problem| bad(problem.name, problem.text.clone(), "mend this app setting")).collect()
}

async fn connections(config: &Config, now: DateTime<Utc>) -> Vec<Check> {
    let mut checks = Vec::new();
    match &config.jira {
        Some(jira) => checks.extend(jira.check(now).await),
        None => checks.push(good("JIRA", "off")),
    }
    match &config.slack {
        Some(slack) => checks.extend(slack.check().await),
        None => checks.push(good("Slack", "off")),
    }
    let collector = &config.collector;
    checks.push(match &collector.data_factory {
        Some(factory) => of(
            "Data Factory",
            factory.check().await,
            "give the identity a role with pipelineruns/read on the factory, and check its names",
        ),
        None => good("Data Factory", "off (AZURE_DATA_FACTORY_NAME)"),
    });
    checks.push(match &collector.log_analytics {
        Some(logs) => {
            of("Log Analytics", logs.check().await, "give the identity Log Analytics Reader on the workspace, and check its id")
        }
        None => good("Log Analytics", "off (LOG_ANALYTICS_WORKSPACE_ID)"),
    });
    checks.push(match &collector.databricks {
        Some(databricks) => of(
            "Databricks",
            databricks.check().await,
            "check DATABRICKS_WORKSPACE_URL and the token, or add the identity to the workspace",
        ),
        None => good("Databricks", "off (DATABRICKS_WORKSPACE_URL)"),
    });
    checks.push(match &collector.airflow {
        Some(airflow) => of("Airflow", airflow.check().await, "check AIRFLOW_BASE_URL and its credentials"),
        None => good("Airflow", "off (AIRFLOW_BASE_URL)"),
    });
    checks.push(match &config.model {
        Some(model) => {
            of("Language model", model.check(now).await, "check AI_ENDPOINT, AI_MODEL and the key or the identity's role")
        }
        None => good("Language model", "off (AI_PROVIDER)"),
    });
    checks.push(match &config.otlp {
        Some(otlp) => of(
            "Telemetry",
            telemetry::check(otlp, &config.http).await,
            "check OTEL_EXPORTER_OTLP_ENDPOINT (a base URL, OTLP over HTTP) and OTEL_EXPORTER_OTLP_HEADERS",
        ),
        None => good("Telemetry", "logs only (OTEL_EXPORTER_OTLP_ENDPOINT)"),
    });
    checks.extend(playbooks(config));
    if let Some(base) = &config.public_base {
        checks.extend(outside(&config.http, base, now).await);
    } else {
        checks.push(good("Public address", "not set (PUBLIC_BASE_URL): no dashboard links, no playbooks"));
    }
    checks
}

/// Playbooks cannot be tried without running them: their URLs are checked, not called.
fn playbooks(config: &Config) -> Vec<Check> {
    let Some(playbooks) = &config.playbooks else { return vec![good("Playbooks", "off (PLAYBOOK_…)")] };
    let enabled = config.remediation.enabled;
    PLAYBOOKS
        .iter()
        .filter(|(action, _)| playbooks.has(*action))
        .map(|(action, name)| {
            let state = if enabled { "will be called" } else { "will not be called: AUTO_REMEDIATION_ENABLED is not true" };
            good(name, format!("set, for \"{}\"; {state}", action.words()))
        })
        .collect()
}

async fn outside(http: &Http, base: &Url, now: DateTime<Utc>) -> Vec<Check> {
    let Ok(health) = base.join("health") else { return vec![bad("Public address", "is not a base URL", "mend PUBLIC_BASE_URL")] };
    let fix = "playbooks, JIRA and Slack must reach this address: is the app running, and PUBLIC_BASE_URL right?";
    match http.send("the public address", http.request(reqwest::Method::GET, &health)).await {
        Err(silent) => vec![bad("Public address", silent.fault.reason(), fix)],
        Ok(reply) => {
            let mut checks = vec![if reply.is_success() {
                good("Public address", format!("{health} answers {}", reply.status))
            } else {
                bad("Public address", format!("{health} answers {}", reply.status), fix)
            }];
            let date = reply.headers.get("date").and_then(|date| DateTime::parse_from_rfc2822(date.to_str().ok()?).ok());
            if let Some(skew) = date.map(|date| (now - date.with_timezone(&Utc)).num_seconds().abs()) {
                checks.push(if skew <= CLOCK_TOLERANCE {
                    good("Clock", format!("{skew} s apart from the app's"))
                } else {
                    bad(
                        "Clock",
                        format!("{skew} s apart from the app's"),
                        "signatures of Slack are refused after 5 minutes: set this clock",
                    )
                });
            }
            checks
        }
    }
}

/// Writes, reads and deletes one row.
async fn probe(storage: &Storage, pipeline: &Pipeline) -> Result<String, Fault> {
    pipeline.prepare().await?;
    let row = format!("probe-{:016x}", fastrand::u64(..));
    let inserted = storage.insert("index", "doctor", &row, "{}").await?;
    let read = storage.get("index", "doctor", &row).await?;
    storage.delete("index", "doctor", &row, None).await?;
    let mut waiting = 0;
    for queue in crate::pipeline::QUEUES {
        waiting += storage.depth(queue).await?;
    }
    match (inserted, read) {
        (Inserted::Created(_), Some(_)) => {
            Ok(format!("a row was written, read and deleted; {waiting} message(s) wait in the queues"))
        }
        _ => Err(Fault::permanent("a row was written but not found again")),
    }
}

/// A failure that can be told from real ones by its name, sent, watched, closed.
async fn send_test(pipeline: &Pipeline) -> Result<String, Fault> {
    let now = Utc::now();
    let run = format!("doctor-{:016x}", fastrand::u64(..));
    let failure = Failure {
        source: Source::Adf,
        key: RunKey::new(Source::Adf, "doctor", &run, "", ""),
        kind: AssetKind::Pipeline,
        asset: "aiops-rca-test".to_owned(),
        run_id: Some(run),
        run_url: None,
        error_code: None,
        message: "This is a test of aiops-rca (doctor --send-test). Nothing has failed.".to_owned(),
        context: [(field::OWNER.to_owned(), "whoever ran doctor".to_owned())].into(),
        occurred_at: Some(now),
        source_severity: Some(4),
        alert: None,
    };
    let trace = Traceparent::fresh().to_string();
    let accepted = pipeline.accept(Parsed::Failures(vec![failure]), Some(&trace), now).await?;
    let Some(id) = accepted.ticket_id else { return Err(Fault::permanent("the test failure was not accepted")) };
    let shown =
        watch(pipeline, &id, |ticket| !ticket.lags(crate::ticket::Sink::Jira) && !ticket.lags(crate::ticket::Sink::Slack))
            .await?;
    let by = Actor { channel: Channel::Dashboard, name: "aiops-rca doctor".to_owned() };
    let close = Event::StatusChanged { to: Status::Acknowledged, by, at: Utc::now(), jira_status: None };
    pipeline.apply(&id, &close, Utc::now()).await.map_err(|error| Fault::permanent(error.to_string()))?;
    let closed =
        watch(pipeline, &id, |ticket| !ticket.lags(crate::ticket::Sink::Jira) && !ticket.lags(crate::ticket::Sink::Slack))
            .await?;
    let faults: Vec<&str> =
        [&closed.jira.fault, &closed.slack.fault].into_iter().flatten().map(|fault| fault.reason.as_str()).collect();
    if !faults.is_empty() {
        return Err(Fault::permanent(faults.join("; ")));
    }
    Ok(format!(
        "ticket {id}, issue {}, Slack {}: opened, shown and closed in {} s",
        shown.jira.key.as_deref().unwrap_or("off"),
        if shown.slack.ts.is_some() { "posted" } else { "off" },
        (Utc::now() - now).num_seconds(),
    ))
}

async fn watch(pipeline: &Pipeline, id: &TicketId, done: impl Fn(&Ticket) -> bool) -> Result<Ticket, Fault> {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(ticket) = pipeline.store.load(id).await?
            && done(&ticket)
        {
            return Ok(ticket);
        }
        if tokio::time::Instant::now() > give_up {
            return Err(Fault::permanent(format!("{id} was not handled within {} s", PATIENCE.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn print(checks: &[Check], as_json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let failed = checks.iter().filter(|check| !check.ok).count();
    if as_json {
        let checks: Vec<_> = checks.iter().map(|c| json!({"name": c.name, "ok": c.ok, "line": c.line, "fix": c.fix})).collect();
        return writeln!(out, "{}", json!({"ok": failed == 0, "checks": checks}));
    }
    let colours = out.is_terminal();
    for check in checks {
        let mark = if check.ok { "ok  " } else { "FAIL" };
        let mark = match (colours, check.ok) {
            (true, true) => mark.green().to_string(),
            (true, false) => mark.red().bold().to_string(),
            (false, _) => mark.to_owned(),
        };
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
