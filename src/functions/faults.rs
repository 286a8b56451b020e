//! Faults that tests inject into a running handler: `AIOPS_RCA_FAULTS`, in builds for tests only.
//!
//! `deadline=SECONDS` shortens every deadline; `hang=Name` makes a function hang, `hang=Name@3` its third call in this
//! process. Once there are any, a request may ask for its own: `?fault=abort|panic|recursion|allocation|spin|hang`.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::wire::Request;

/// The variable that says what; no setting of the app.
pub const VARIABLE: &str = "AIOPS_RCA_FAULTS";

/// What is injected.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    deadline: Option<Duration>,
    hanging: Vec<Hang>,
    on_request: bool,
}

/// A function that hangs; clones count together.
#[derive(Debug, Clone)]
struct Hang {
    function: String,
    /// Only this call, counted from 1.
    call: Option<u64>,
    calls: Arc<AtomicU64>,
}

impl Hang {
    fn parse(text: &str) -> Self {
        let (function, call) = text.split_once('@').unwrap_or((text, ""));
        Self {
            function: function.to_owned(),
            call: call.parse().ok(),
            calls: Arc::default(),
        }
    }

    /// Counts this call of the function.
    fn is_struck(&self) -> bool {
        let number = self.calls.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        self.call.is_none_or(|call| call == number)
    }
}

impl Faults {
    /// `None` in a release build, whatever the text.
    pub fn parse(text: &str) -> Self {
        if !cfg!(debug_assertions) || text.trim().is_empty() {
            return Self::default();
        }
        let mut faults = Self {
            on_request: true,
            ..Self::default()
        };
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            match name.as_ref() {
                "deadline" => faults.deadline = value.parse().ok().map(Duration::from_secs_f64),
                "hang" => faults.hanging.push(Hang::parse(&value)),
                _ => {}
            }
        }
        faults
    }

    /// The deadline to keep instead of this one.
    pub(super) fn deadline(&self, of: Duration) -> Duration {
        self.deadline.unwrap_or(of)
    }

    /// Hangs, if this function is to hang.
    pub(super) async fn hang(&self, function: &str) {
        let mut hangs = false;
        for hang in &self.hanging {
            hangs |= hang.function == function && hang.is_struck();
        }
        if hangs {
            std::future::pending::<()>().await;
        }
    }

    /// Does what the request asks for.
    pub(super) async fn strike(&self, request: &Request) {
        if !self.on_request {
            return;
        }
        match request.parameter("fault").as_deref() {
            Some("abort") => std::process::abort(),
            Some("panic") => std::panic::resume_unwind(Box::new("a fault")),
            Some("recursion") => drop(black_box(deep(1))),
            Some("allocation") => drop(black_box(vec![1_u8; black_box(64 << 30)])),
            Some("spin") => loop {
                black_box(());
            },
            Some("hang") => std::future::pending().await,
            _ => {}
        }
    }
}

/// Without an end.
fn deep(number: u64) -> u64 {
    let frame = black_box([number; 512]);
    if black_box(number) == 0 {
        return 0;
    }
    deep(number.saturating_add(1)).wrapping_add(frame.iter().sum::<u64>())
}
