//! `replay`: lists dead letters and puts them back into their queues.

use std::io::Write as _;
use std::process::ExitCode;

use chrono::Utc;
use clap::Args;

use crate::config::Environment;

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// Put this dead letter back (again, even if it was replayed before)
    id: Option<String>,
    /// Put all back that were not replayed yet, and try every stopped delivery again now
    #[arg(long, conflicts_with = "id")]
    all: bool,
    /// In the store of `local`: by local.settings.json and .env of this folder
    #[cfg(feature = "local")]
    #[arg(long)]
    local: bool,
}

/// Without arguments: lists.
pub async fn run(arguments: ReplayArguments, environment: Environment) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "local")]
    let (environment, _) = super::local::settings_if(arguments.local, environment)?;
    let flow = super::flow(&environment).await?;
    let mut out = std::io::stdout().lock();
    if arguments.id.is_none() && !arguments.all {
        let letters = flow.store.dead_letters().await?;
        for letter in &letters {
            let state = letter.replayed_at.map_or("waiting".to_owned(), |at| {
                format!("replayed {}", at.format("%Y-%m-%d %H:%M UTC"))
            });
            writeln!(
                out,
                "{}  {:<10}  {:<26}  {}",
                letter.id, letter.queue, state, letter.reason
            )?;
        }
        let stopped = flow.stopped().await?;
        for (ticket, sink) in &stopped {
            let state = if ticket.blocked(*sink).is_some() {
                "blocked"
            } else {
                "retrying"
            };
            let reason = ticket.fault(*sink).map_or("", |fault| &fault.reason);
            writeln!(
                out,
                "{}  {:<10}  {state:<26}  {reason}",
                ticket.id,
                sink.name()
            )?;
        }
        if !stopped.is_empty() {
            writeln!(
                out,
                "{} stopped delivery(ies), tried again automatically. Try them now: aiops-rca replay --all",
                stopped.len()
            )?;
        }
        writeln!(
            out,
            "{} dead letter(s). Put one back: aiops-rca replay <id>; all that wait: aiops-rca replay --all",
            letters.len()
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let replayed = flow.replay(arguments.id.as_deref(), Utc::now()).await?;
    for letter in &replayed {
        writeln!(out, "{} is back in queue {}", letter.id, letter.queue)?;
    }
    let retried = if arguments.all {
        flow.retry_stopped().await?
    } else {
        Vec::new()
    };
    for (ticket, sink) in &retried {
        writeln!(out, "{ticket} is tried again in {}", sink.title())?;
    }
    if replayed.is_empty() && retried.is_empty() {
        writeln!(out, "nothing to replay")?;
        return Ok(if arguments.id.is_some() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        });
    }
    Ok(ExitCode::SUCCESS)
}
