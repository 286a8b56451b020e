//! The whole story under the stand-in host: the real binary, the shipped functions, stateful fakes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

mod apart;
mod asked;
mod carded;
mod costs;
mod cut;
mod first;
mod folded;
mod healing;
mod hostile;
mod shaken;
mod silenced;
mod simulation;
mod interleaving;
mod moved;
mod outages;
mod owned;
mod patrolled;
mod people;
mod planted;
mod posted;
mod reading;
mod reports;
mod stuck;
mod rig;
mod traced;
mod upgrade;
