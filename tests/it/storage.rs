//! The storage room from outside: one contract for every backend, then what is special to each.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail as tests do"
)]

#[path = "storage/azure.rs"]
mod azure;
#[path = "storage/contract.rs"]
mod contract;
#[path = "storage/embedded.rs"]
mod embedded;
#[path = "storage/rights.rs"]
mod rights;
