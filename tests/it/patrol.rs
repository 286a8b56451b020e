//! The patrol in one process: platforms with real run histories, ticks at any time of day.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

mod expected;
mod hostile;
mod platforms;
mod recorded;
mod recoveries;
mod rig;
