//! The binary: the custom handler when started by the Functions host, commands for people otherwise.

use std::process::ExitCode;

use aiops_rca::commands::{self, Cli};
use aiops_rca::config;
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match commands::run(cli, config::environment()) {
        Ok(status) => status,
        Err(error) => {
            // Startup problems belong on stderr: the host shows them as errors, people see them in red.
            commands::complain(&error);
            ExitCode::FAILURE
        }
    }
}
