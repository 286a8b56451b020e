//! What SQLite reports, as a fault: its own words name no values.

use super::super::{FULL, READ_ONLY};
use crate::fault::Fault;

/// Busy and I/O may pass; the words of SQLite name no values.
pub(super) fn fault(error: &rusqlite::Error) -> Fault {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, PermissionDenied, ReadOnly,
        SystemIoFailure,
    };
    match error.sqlite_error_code() {
        Some(DatabaseBusy | DatabaseLocked) => Fault::transient("the embedded store is busy"),
        Some(DiskFull) => Fault::transient(format!("the disk of the embedded store {FULL}")),
        Some(ReadOnly | PermissionDenied) => {
            Fault::transient(format!("the file of the embedded store {READ_ONLY}"))
        }
        Some(SystemIoFailure) => {
            Fault::transient("the embedded store cannot read or write its file")
        }
        Some(CannotOpen) => Fault::permanent(
            "the file of the embedded store cannot be opened: check its path and rights",
        ),
        Some(code) => Fault::permanent(format!("the embedded store failed: {code:?}")),
        None => Fault::permanent("the embedded store holds something it cannot read"),
    }
}
