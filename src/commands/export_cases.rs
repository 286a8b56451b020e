//! `export-cases`: failures whose diagnosis is in doubt, for people to label.

use std::io::Write as _;
use std::process::ExitCode;

use chrono::Utc;
use clap::Args;

use crate::config::Environment;

/// Arguments of `export-cases`.
#[derive(Debug, Args)]
pub struct ExportCasesArguments {
    /// How many days to look back
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=366))]
    days: u32,
    /// How many tickets to look at, the newest first
    #[arg(long, default_value_t = 10_000)]
    limit: usize,
    /// In the store of `local`: by local.settings.json and .env of this folder
    #[cfg(feature = "local")]
    #[arg(long)]
    local: bool,
}

/// Writes one JSON object a line.
pub async fn run(
    arguments: ExportCasesArguments,
    environment: Environment,
) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "local")]
    let (environment, _) = super::local::settings_if(arguments.local, environment)?;
    let flow = super::flow(&environment).await?;
    let cases = flow
        .cases(Utc::now(), arguments.days, arguments.limit)
        .await?;
    let mut out = std::io::stdout().lock();
    for case in cases {
        serde_json::to_writer(&mut out, &case)?;
        writeln!(out)?;
    }
    Ok(ExitCode::SUCCESS)
}
