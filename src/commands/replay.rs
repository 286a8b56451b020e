//! `replay`: lists dead letters and puts them back into their queues.

use std::io::Write as _;
use std::process::ExitCode;

use chrono::Utc;
use clap::Args;

use crate::config::{Config, Environment};

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// Put this dead letter back (again, even if it was replayed before)
    id: Option<String>,
    /// Put all back that were not replayed yet
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
    let environment = if arguments.local {
        super::local::settings_here(environment)?
    } else {
        environment
    };
    let flow = Config::read(&environment)?.into_doors().flow?;
    flow.prepare().await?;
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
    if replayed.is_empty() {
        writeln!(out, "nothing to replay")?;
        return Ok(if arguments.id.is_some() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        });
    }
    Ok(ExitCode::SUCCESS)
}
