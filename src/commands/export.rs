//! `export`: tickets with their history and evidence, for those who keep them longer than the store does.

use std::io::Write as _;
use std::process::ExitCode;

use chrono::{Days, NaiveDate};
use clap::Args;
use serde::Serialize;

use crate::config::Environment;
use crate::evidence::Evidence;
use crate::flow::Flow;
use crate::ticket::store::day_name;
use crate::ticket::{AuditEntry, Ticket};

/// How far back it looks where nothing is said.
const OLDEST: Days = Days::new(3 * 366);
/// Tickets of a list that are written before the next ones are read.
const AT_ONCE: usize = 200;

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// Tickets received before this day (UTC), e.g. 2026-09-01
    #[arg(long, value_name = "DATE")]
    before: NaiveDate,
    /// And not before this one; three years earlier if it is left out
    #[arg(long, value_name = "DATE")]
    since: Option<NaiveDate>,
    /// In the store of `local`: by local.settings.json and .env of this folder
    #[cfg(feature = "local")]
    #[arg(long)]
    local: bool,
}

/// One line.
#[derive(Serialize)]
struct Exported<'a> {
    ticket: &'a Ticket,
    audit: Vec<AuditEntry>,
    evidence: Vec<Evidence>,
}

/// Writes one JSON object a line, the oldest day first.
pub async fn run(arguments: ExportArguments, environment: Environment) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "local")]
    let (environment, _) = super::local::settings_if(arguments.local, environment)?;
    let flow = super::flow(&environment).await?;
    let earliest = arguments.before.checked_sub_days(OLDEST);
    let mut day = arguments.since.or(earliest).unwrap_or(arguments.before);
    let mut written = 0;
    while day < arguments.before {
        written += export_day(&flow, &day_name(day)).await?;
        let Some(next) = day.succ_opt() else { break };
        day = next;
    }
    tracing::info!(tickets = written, "exported");
    Ok(ExitCode::SUCCESS)
}

async fn export_day(flow: &Flow, day: &str) -> anyhow::Result<usize> {
    let (store, mut written, mut before) = (&flow.store, 0, None);
    loop {
        let (listed, more) = store
            .list_of_day(day, before.as_ref(), AT_ONCE, &|_| true)
            .await?;
        for row in &listed {
            let Some(ticket) = store.load(&row.id).await? else {
                continue;
            };
            let line = Exported {
                audit: store.audit(&ticket).await?,
                evidence: store.evidence(&ticket.id).await?,
                ticket: &ticket,
            };
            let mut out = std::io::stdout().lock();
            serde_json::to_writer(&mut out, &line)?;
            writeln!(out)?;
            written += 1;
        }
        before = listed.last().map(|listed| listed.id.clone());
        if !more {
            return Ok(written);
        }
    }
}
