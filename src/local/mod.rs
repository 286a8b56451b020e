//! A Functions host on this machine: `aiops-rca local`.
//!
//! Comes in: the shipped `host.json` and `function.json` files, a storage, the executable to run (this
//! very binary). Goes out: the same HTTP doors, queue and timer calls that Azure would make, and one
//! line on the terminal for each. This room does not know what the functions do: it knows only how the
//! Functions host drives a custom handler, so what runs here is the shipped files on the shipped wire.
//! [`host`] is the host as a library (tests use it), [`console`] prints its events.
//!
//! It is a development host: no scaling, no front end, no identity; `func start` on the staged package
//! does the same with Microsoft's own.

pub mod host;
pub mod console;
pub mod demo;

use tokio::task::JoinHandle;

use host::{Host, HostError, HostOptions, RunningHost, StopReason};

/// A running host whose events are being printed.
#[derive(Debug)]
pub struct Session {
    /// The host itself: its port, its events, its children.
    pub host: RunningHost,
    printer: JoinHandle<()>,
    signals: JoinHandle<()>,
}

/// Starts the host, prints its table of functions and then every event as it happens; without `all`, only what went wrong.
///
/// From here on Ctrl-C, SIGTERM and a closed terminal stop the *host*, so that no handler process is left
/// behind; a caller that does something else meanwhile waits for [`RunningHost::wait`] beside it.
pub async fn start(options: HostOptions, all: bool) -> Result<Session, HostError> {
    let console = console::Console::for_terminal();
    let host = Host::start(options).await?;
    if all {
        console.print_table(&host);
    }
    let printer = tokio::spawn(console.follow(host.events(), all));
    let stopper = host.stopper();
    let signals = tokio::spawn(async move {
        asked_to_stop().await;
        stopper.begin();
    });
    Ok(Session {
        host,
        printer,
        signals,
    })
}

impl Session {
    /// Runs until the host gives up or the terminal asks it to stop.
    pub async fn until_stopped(self) -> StopReason {
        let reason = self.host.wait().await;
        self.signals.abort();
        // The stop is the last event, and the printer ends after printing it.
        let _aborted = self.printer.await;
        reason
    }

    /// Stops the host and waits until its last line is printed.
    pub async fn stop(self) -> StopReason {
        self.host.stop().await;
        self.until_stopped().await
    }
}

/// [`start`], then [`Session::until_stopped`].
pub async fn run(options: HostOptions) -> Result<StopReason, HostError> {
    Ok(start(options, true).await?.until_stopped().await)
}

#[cfg(unix)]
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let one = async |kind| match signal(kind) {
        Ok(mut stream) => {
            stream.recv().await;
        }
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = one(SignalKind::interrupt()) => {}
        () = one(SignalKind::terminate()) => {}
        () = one(SignalKind::hangup()) => {}
    }
}

#[cfg(not(unix))]
async fn asked_to_stop() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
