//! The command line: what each command does, over the rooms above.
//!
//! In: arguments and the environment that `config` has read. Out: an exit status. Printing for people
//! happens here and in `local::console`, nowhere else.

use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::{Config, Environment};
use crate::flow::Flow;

pub mod diagnose;
pub mod doctor;
pub mod export;
pub mod export_cases;
#[cfg(feature = "local")]
pub mod local;
#[cfg(feature = "local")]
pub mod package;
pub mod read;
pub mod replay;
pub mod serve;
mod watch;

/// With the commit it was built from, where that is known.
fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let commit = option_env!("AIOPS_RCA_COMMIT").filter(|commit| !commit.is_empty());
        let of = commit.unwrap_or("development build");
        format!("{} ({of})", env!("CARGO_PKG_VERSION"))
    });
    &VERSION
}

/// Finds the root cause of failed Azure data pipelines.
#[derive(Debug, Parser)]
#[command(name = "aiops-rca", version = version(), about, long_about = None)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "local")]
    /// Run the stand-in Functions host with the embedded store; `--demo` plays sample failures
    Local(local::LocalArguments),
    /// Root cause of error texts, offline
    Diagnose(diagnose::DiagnoseArguments),
    /// Check settings and every connection
    Doctor(doctor::DoctorArguments),
    /// List and replay dead letters
    Replay(replay::ReplayArguments),
    /// Write tickets with their history and evidence, one JSON object a line
    Export(export::ExportArguments),
    /// Write failures whose diagnosis is in doubt, redacted, for people to label
    ExportCases(export_cases::ExportCasesArguments),
    /// Answer GETs for the handler
    #[command(hide = true)]
    Read(read::ReadArguments),
    /// Print a script that completes this command line, for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    #[cfg(feature = "local")]
    /// Stage the deployable function app and zip it
    Package(package::PackageArguments),
}

/// The flow of these settings, with its tables and queues.
async fn flow(environment: &Environment) -> anyhow::Result<Flow> {
    let config = Config::read(environment);
    let parts = config.wire()?;
    let flow = config.into_doors(parts).flow?;
    flow.prepare().await?;
    Ok(flow)
}

/// Runs what was asked for; the custom handler when nothing was.
pub fn run(cli: Cli, environment: Environment) -> anyhow::Result<ExitCode> {
    match cli.command {
        None => on_runtime(serve::run(environment)),
        #[cfg(feature = "local")]
        Some(Command::Local(arguments)) => on_runtime(local::run(arguments, environment)),
        Some(Command::Diagnose(arguments)) => Ok(diagnose::main(&arguments)),
        Some(Command::Read(arguments)) => on_runtime(read::run(arguments, environment)),
        Some(Command::Doctor(arguments)) => on_runtime(doctor::run(arguments, environment)),
        Some(Command::Export(arguments)) => on_runtime(export::run(arguments, environment)),
        Some(Command::ExportCases(arguments)) => {
            on_runtime(export_cases::run(arguments, environment))
        }
        Some(Command::Replay(arguments)) => on_runtime(replay::run(arguments, environment)),
        Some(Command::Completions { shell }) => {
            let mut out = std::io::stdout().lock();
            clap_complete::generate(shell, &mut Cli::command(), "aiops-rca", &mut out);
            Ok(ExitCode::SUCCESS)
        }
        #[cfg(feature = "local")]
        Some(Command::Package(arguments)) => package::main(&arguments),
    }
}

fn on_runtime(task: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // A debug build's calls need more than two megabytes; what is not used costs nothing.
        .thread_stack_size(8 << 20)
        .enable_all()
        .build()?
        .block_on(task)
}

/// Says on stderr why a command ended; the Functions host shows that as an error.
#[expect(
    clippy::print_stderr,
    reason = "the one place where an error reaches stderr: the process ends"
)]
pub fn complain(error: &anyhow::Error) {
    eprintln!("aiops-rca: {error:#}");
}
