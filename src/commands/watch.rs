//! Watches over the handler from a thread of its own: is its host still there, and does its runtime still turn?
//!
//! A Functions host that is killed, or that stops while a call runs, leaves its handler behind: an orphan would go on
//! and hold its port for good. And a runtime whose threads are all busy for ever keeps no deadline: before the host loses
//! patience (two calls that reach `functionTimeout` together stop it) the process ends with the code that the host takes
//! as a wish to be restarted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// The host restarts at once and does not count it.
pub(super) const RESTART: i32 = 200;
/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);
/// Looks without a turn of the runtime.
const STUCK: u32 = 150;
/// Looks after the host has gone, for what can end in order.
const GRACE: u32 = 5;

/// Resolves when the host has gone.
#[derive(Debug, Clone)]
pub(super) struct Gone(watch::Receiver<bool>);

impl Gone {
    pub(super) async fn wait(mut self) {
        if self.0.wait_for(|gone| *gone).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Begins to watch; needs the runtime.
pub(super) fn start() -> std::io::Result<Gone> {
    let turns = Arc::new(AtomicU64::new(0));
    let turning = Arc::clone(&turns);
    tokio::spawn(async move {
        loop {
            turning.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(EVERY).await;
        }
    });
    let (tell, gone) = watch::channel(false);
    let parent = parent();
    std::thread::Builder::new()
        .name("watch".to_owned())
        .spawn(move || {
            let (mut seen, mut still, mut orphaned) = (0, 0, 0);
            loop {
                std::thread::sleep(EVERY);
                let now = turns.load(Ordering::Relaxed);
                still = if now == seen { still + 1 } else { 0 };
                seen = now;
                if still > STUCK {
                    tracing::error!("nothing moves any more: the host starts another process");
                    std::process::exit(RESTART);
                }
                if self::parent() != parent {
                    // Nobody reads a line of ours any more.
                    tell.send_replace(true);
                    orphaned += 1;
                }
                if orphaned > GRACE {
                    std::process::exit(0);
                }
            }
        })?;
    Ok(Gone(gone))
}

#[cfg(unix)]
fn parent() -> u32 {
    std::os::unix::process::parent_id()
}

#[cfg(not(unix))]
fn parent() -> u32 {
    0
}

/// An abort (a stack or a heap at its end too) is a restart as well, not one of the three crashes that stop the host.
#[cfg(unix)]
pub(super) fn restart_on_abort() -> std::io::Result<()> {
    let always = Arc::new(AtomicBool::new(true));
    let abort = signal_hook::consts::SIGABRT;
    signal_hook::flag::register_conditional_shutdown(abort, RESTART, always).map(|_| ())
}

#[cfg(not(unix))]
pub(super) fn restart_on_abort() -> std::io::Result<()> {
    let _nothing_to_do = AtomicBool::new(true);
    Ok(())
}
