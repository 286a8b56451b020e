//! The custom handler: listens where the Functions host says, until it is killed.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;

use super::watch::{self, Gone};
use crate::config::{Config, Environment};
use crate::functions::reader::Reader;
use crate::functions::{Handler, wire};
use crate::telemetry;

/// Serves until the process is killed or asked to stop.
pub async fn run(environment: Environment) -> anyhow::Result<ExitCode> {
    let config = Config::read(&environment);
    let parts = config.wire()?;
    let telemetry = telemetry::start(&config.log_filter, config.otlp.as_ref(), &parts.http);
    let Some(port) = config.port else {
        anyhow::bail!(
            "FUNCTIONS_CUSTOMHANDLER_PORT is not set: the Functions host starts this program. To try it here: aiops-rca local --demo"
        );
    };
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .with_context(|| format!("cannot listen on port {port}"))?;
    for problem in &config.problems {
        tracing::error!(
            setting.name = problem.name,
            "a setting needs attention: {}",
            problem.text
        );
    }
    for idle in &config.idle {
        tracing::error!(setting.name = %idle.name, "the Functions host does not call every function: {}", idle.text);
    }
    tracing::info!(port, version = env!("CARGO_PKG_VERSION"), "ready");
    let reader = Reader::new(std::env::current_exe()?, &parts.http);
    let faults = config.faults.clone();
    let handler = Handler::new(config.into_doors(parts))
        .with_reader(reader)
        .with_faults(faults);
    let counting = tokio::spawn(handler.clone().keep_counting());
    let gone = watch::start()?;
    // From here on: a process that cannot even start is to be noticed.
    watch::restart_on_abort()?;
    let serving = handler.clone();
    wire::serve(
        listener,
        move |request| serving.clone().answer(request),
        stop(gone),
    )
    .await;
    counting.abort();
    // The host gives ten seconds in all.
    let _too_late = tokio::time::timeout(Duration::from_secs(2), handler.add_counts()).await;
    telemetry.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Ctrl-C reaches the whole process group of `func start`; otherwise the host kills, or leaves without a word.
async fn stop(gone: Gone) {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = interrupted => {}
        () = gone.wait() => {}
    }
}
