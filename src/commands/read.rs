//! `read`: the reader, which the handler starts for itself (see [`crate::functions::reader`]).

use std::process::ExitCode;

use clap::Args;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::watch;
use crate::config::{Config, Environment};
use crate::functions::{Handler, wire};
use crate::telemetry;

/// Arguments of `read`.
#[derive(Debug, Args)]
pub struct ReadArguments {
    /// Where the handler waits to hear our port
    line: u16,
}

/// Answers GETs until the handler ends.
pub async fn run(arguments: ReadArguments, environment: Environment) -> anyhow::Result<ExitCode> {
    let config = Config::read(&environment);
    let parts = config.wire()?;
    let telemetry = telemetry::start(&config.log_filter, config.otlp.as_ref(), &parts.http);
    let gone = watch::start()?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let mut line = TcpStream::connect(("127.0.0.1", arguments.line)).await?;
    line.write_u16(listener.local_addr()?.port()).await?;
    let faults = config.faults.clone();
    let handler = Handler::new(config.into_doors(parts))
        .as_reader()
        .with_faults(faults);
    let serving = wire::serve(
        listener,
        move |request| handler.clone().read(request),
        std::future::pending(),
    );
    tokio::select! {
        () = serving => {}
        () = gone.wait() => {}
        // The handler keeps its end open as long as it lives.
        _ended = async { line.read_u8().await } => {}
    }
    telemetry.stop().await;
    Ok(ExitCode::SUCCESS)
}
