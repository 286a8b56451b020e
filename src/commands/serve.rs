//! The custom handler: listens where the Functions host says, until it is killed.

use std::process::ExitCode;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::config::{Config, Environment};
use crate::functions::{Handler, wire};
use crate::telemetry;

/// Serves until the process is killed or asked to stop.
pub async fn run(environment: Environment) -> anyhow::Result<ExitCode> {
    let config = Config::read(&environment)?;
    let telemetry = telemetry::start(&config.log_filter, config.otlp.as_ref(), &config.http);
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
    tracing::info!(port, version = env!("CARGO_PKG_VERSION"), "ready");
    let handler = Handler::new(config.into_doors());
    wire::serve(
        listener,
        move |request| handler.clone().answer(request),
        stop(),
    )
    .await;
    telemetry.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Ctrl-C reaches the whole process group of `func start`; otherwise the host kills.
async fn stop() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
