//! Trying again, bounded: a few tries, eight seconds in all.

use std::time::Duration;

use azure_core::StatusCode;
use azure_core::error::{Error, ErrorKind};
use tokio::time::Instant;

use super::super::{FULL, READ_ONLY};
use super::QUEUES;
use super::transport::carried;
use crate::fault::Fault;

const TRIES: u32 = 4;
/// An answer has to be there after this time, whatever happens.
const BUDGET: Duration = Duration::from_secs(8);
const FIRST_PAUSE: Duration = Duration::from_millis(150);

/// Runs `work` until it succeeds, fails for good, or time is up. It learns whether an earlier try may have
/// reached the store. A Retry-After that goes beyond the budget ends it at once: the caller passes it on.
pub(super) async fn attempts<T, W>(what: &str, mut work: impl FnMut(bool) -> W) -> Result<T, Fault>
where
    W: Future<Output = Result<T, Fault>>,
{
    let end = Instant::now() + BUDGET;
    let mut pause = FIRST_PAUSE;
    let mut number = 1;
    loop {
        let outcome = tokio::time::timeout_at(end, work(number > 1)).await;
        let fault = match outcome {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(fault)) => fault,
            Err(_) => return Err(Fault::transient(format!("{what} did not answer in time"))),
        };
        let Fault::Transient { retry_after, .. } = &fault else {
            return Err(fault);
        };
        let wait = retry_after
            .unwrap_or_default()
            .max(pause.mul_f64(0.75 + fastrand::f64() / 2.0));
        if number == TRIES || Instant::now() + wait >= end {
            return Err(fault);
        }
        tokio::time::sleep(wait).await;
        pause *= 3;
        number += 1;
    }
}

/// Status and code of an answer that was no success and is not worth another try.
pub(super) fn refusal(error: &Error) -> Option<(u16, &str)> {
    match error.kind() {
        ErrorKind::HttpResponse { status, error_code } => Some((
            u16::from(*status),
            error_code.as_deref().unwrap_or_default(),
        )),
        _ => None,
    }
}

/// Sorts what the storage crates report. Their own texts hold URLs, headers and bodies: none of it is passed on.
pub(super) fn fault(what: &str, error: &Error) -> Fault {
    if let Some(fault) = carried(error) {
        return fault.clone();
    }
    let Some((status, code)) = refusal(error) else {
        return Fault::permanent(format!("{what} answered something we cannot read"));
    };
    let known =
        !code.is_empty() && code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric());
    let code = if known { code } else { "no code" };
    match (status, code) {
        // Nothing for the few seconds we would try again: the caller may, later.
        (404, "TableNotFound" | "QueueNotFound") => Fault::transient_after(
            format!("{what}: the table or queue does not exist yet ({code})"),
            Some(Duration::from_secs(10)),
        ),
        (409, "TableBeingDeleted" | "QueueBeingDeleted") => {
            Fault::transient(format!("{what} is busy ({code})"))
        }
        (
            _,
            "AccountIsReadOnly"
            | "ReadOnlyAccount"
            | "AuthorizationPermissionMismatch"
            | "WriteOperationsDisabled",
        ) => Fault::permanent(format!(
            "{what} {READ_ONLY} for us ({status} {code}): check that the identity has the role {}, and that the account is not locked",
            role(what)
        )),
        (_, "AccountQuotaExceeded" | "InsufficientStorage") | (507, _) => {
            Fault::transient(format!("{what} {FULL} ({status} {code})"))
        }
        _ => refused(what, status, code),
    }
}

/// An answer that no repetition helps; `code`: the service's own word, where it is known.
pub(super) fn refused(what: &str, status: u16, code: &str) -> Fault {
    Fault::permanent(match status {
        401 | 403 => format!(
            "{what} refused us ({status} {code}): check the key or SAS of AzureWebJobsStorage, or that the identity has the role \
             {}, and the account's firewall",
            role(what)
        ),
        _ => format!("{what} answered {status} ({code})"),
    })
}

/// The role that a service asks for.
fn role(what: &str) -> &'static str {
    if what == QUEUES {
        "Storage Queue Data Contributor"
    } else {
        "Storage Table Data Contributor"
    }
}

/// Conflict, for tables.
pub(super) const CONFLICT: u16 = StatusCode::Conflict as u16;
/// Precondition failed: the ETag was stale.
pub(super) const STALE: u16 = StatusCode::PreconditionFailed as u16;
/// Not found.
pub(super) const NOT_FOUND: u16 = StatusCode::NotFound as u16;
