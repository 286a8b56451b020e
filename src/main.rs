//! The binary: the custom handler when started by the Functions host, commands for people otherwise.

use std::process::ExitCode;

use aiops_rca::commands::{self, Cli};
use aiops_rca::config;
use cap::Cap;
use clap::Parser;

/// An instance of the smallest plan (512 MB) holds the Functions host and this.
const HEAP: usize = 256 << 20;

#[global_allocator]
static ALLOCATOR: Cap<std::alloc::System> = Cap::new(std::alloc::System, HEAP);

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
