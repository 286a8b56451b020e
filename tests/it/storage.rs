//! The storage room from outside: one contract for every backend, then what is special to each.

#[path = "storage/azure.rs"]
mod azure;
#[path = "storage/contract.rs"]
mod contract;
#[path = "storage/embedded.rs"]
mod embedded;
